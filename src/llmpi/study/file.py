"""From config files to a `Study`, or to errors that name file, line, key, value and remedy."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import BaseModel, Tag, ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from llmpi import plain_yaml
from llmpi.errors import LlmpiError
from llmpi.study.devices import EngineWheel, SshDevice
from llmpi.study.fields import Loc
from llmpi.study.models import PathSource
from llmpi.study.runs import expand_runs
from llmpi.study.study import Study

PYDANTIC_KINDS = frozenset(get_args(ErrorType))
VALUE_IN_FRONT = frozenset({"slug", "inside", "size", "figure"})
"""Errors of our own whose message goes on from the value; those of all others say it themselves."""
OF_ADDRESS = "^https?://"
"""So the pattern of an address begins; what was written in its place may hold a key, and is not
shown."""


class ConfigError(LlmpiError):
    """The config does not describe a study. `problems` holds one line for each thing wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def load_study(path: Path) -> Study:
    """Read and validate one config file.

    Raises:
        ConfigError: the file is missing, is no YAML, or describes no study.
    """
    text, _ = _read(path)  # a clear error first, for a key that stands twice
    return parse_study(plain_yaml.load(text) or {}, [path])


# What stands in a config is anything, until the study's models have checked it.
def parse_study(config: Mapping[str, object], files: Sequence[Path]) -> Study:  # unread yet
    """Validate `config`, which was merged from `files` (the last one wins) and `--config`.

    Raises:
        ConfigError: with every problem pydantic found, in the order of the file.
    """
    trees = {path: _read(path)[1] for path in files}
    try:
        study = Study.model_validate(dict(config))
    except ValidationError as error:
        raise ConfigError([_problem(e, trees) for e in error.errors()]) from None
    problems = [
        f"{_where(loc, trees)}: {_key(loc)}: there is no file or folder '{path}'"
        for loc, path in _named_files(study)
        if not Path(path).exists()
    ]
    if not expand_runs(study):
        problems.append(f"{_where(('exclude',), trees)}: exclude: nothing of the sweep is left")
    if problems:
        raise ConfigError(problems)
    return study


def _named_files(study: Study) -> Iterator[tuple[Loc, str]]:
    for name, engine in study.engines.items():
        if engine.wheel:
            yield ("engines", name, "wheel"), engine.wheel
    for name, model in study.models.items():
        for source in model.sources:
            if isinstance(source, PathSource):
                inside = ("checkpoint",) if source is not model.source else ()
                yield ("models", name, "source", *inside, "path"), source.path
    for name, task in study.quality.items():
        for key in task.FILES:
            if path := getattr(task, key):
                yield ("quality", name, key), path
    for name, device in study.devices.items():
        if isinstance(device, SshDevice) and isinstance(device.engine, EngineWheel):
            yield ("devices", name, "engine", "wheel"), device.engine.wheel


# --- wording --------------------------------------------------------------------------------------


def _problem(error: ErrorDetails, trees: Mapping[Path, yaml.Node | None]) -> str:
    loc: Loc = tuple(error.get("ctx", {}).get("loc", ())) or _plain(error["loc"])
    where = _where(loc, trees, whole=error["type"] != "missing")
    return f"{where}: {_key(loc)}: {_what(error, loc)}"


def _what(error: ErrorDetails, loc: Loc) -> str:
    context = error.get("ctx", {})
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return "unknown key" + _nearest(str(loc[-1]), _fields_at(error["loc"][:-1]))
    if kind == "missing":
        return "this key is needed"
    if kind == "which_source":
        return f"{_show(value)}: {error['msg']}" + _typo_in(value, error["msg"])
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        key = context["discriminator"].strip("'")
        tag = value.get(key) if isinstance(value, dict) else value
        text = f"{key}: {_show(tag)}" if tag is not None else f"'{key}' is needed"
        return text + _nearest(str(tag), _members(error["loc"]))
    if kind in ("literal_error", "enum"):
        allowed = [part.strip(" '") for part in context["expected"].replace(" or ", ",").split(",")]
        return f"{_show(value)} is not possible here" + _nearest(str(value), allowed)
    if "allowed" in context:
        return error["msg"] + _nearest(str(context["value"]), context["allowed"])
    if kind not in PYDANTIC_KINDS | VALUE_IN_FRONT:
        return error["msg"]
    if kind == "string_pattern_mismatch" and context["pattern"].startswith(OF_ADDRESS):
        return f"this address does not look right; it must match {context['pattern']}"
    if kind == "string_pattern_mismatch":
        return f"{_show(value)} does not look right; it must match {context['pattern']}"
    if isinstance(value, str | int | float | bool) or value is None:
        return f"{_show(value)}: {_sentence(error['msg'])}"
    return _sentence(error["msg"])


def _members(loc: Loc) -> list[str]:
    """The tags of the union that stands at `loc`."""
    *_, (here, _) = _walk(loc)
    return list(here) if isinstance(here, dict) else []


def _nearest(name: str, allowed: Sequence[str]) -> str:
    close = get_close_matches(name, allowed, n=1, cutoff=0.5) or [
        candidate for candidate in allowed if candidate.lower() == name.lower()
    ]
    listed = ", ".join(allowed) if allowed else "nothing is defined there"
    return f"; did you mean '{close[0]}'? Allowed: {listed}" if close else f"; allowed: {listed}"


def _typo_in(value: object, message: str) -> str:
    if not isinstance(value, dict):
        return ""
    allowed = message.rpartition(": ")[2].split(", ")
    close = [m for key in value for m in get_close_matches(str(key), allowed, n=1, cutoff=0.5)]
    return f"; did you mean '{close[0]}'?" if close else ""


def _sentence(message: str) -> str:
    message = message.removeprefix("Input should be ").removeprefix("Value error, ")
    return f"should be {message}" if message[:2] in ("a ", "gr", "le") else message


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _key(loc: Loc) -> str:
    return ".".join(str(part) for part in loc) or "(the whole file)"


# --- where it stands ------------------------------------------------------------------------------


def _plain(loc: Loc) -> Loc:
    """Drop what pydantic adds to a location: union tags and '[key]'."""
    parts: list[str | int] = []
    for node, part in _walk(loc):
        if node != "tag" and part != "[key]":
            parts.append(part)
    return tuple(parts)


Place = type[BaseModel] | list["Place"] | dict[str, "Place"] | None
"""What may stand somewhere: a model, [item] of a container, {tag: member} of a union, a value."""


def _walk(loc: Loc) -> Iterator[tuple[Place | Literal["tag"], str | int]]:
    """Follow `loc` through the models: yields what stands there ('tag' for a union's tag)."""
    here: Place = Study
    for part in loc:
        if isinstance(here, dict):
            here = here.get(str(part))
            yield "tag", part
            continue
        if isinstance(here, type):
            field = here.model_fields.get(str(part))
            here = _target(field.annotation) if field else None
        elif isinstance(here, list):
            here = here[0]
        yield here, part


def _target(annotation: object) -> Place:
    """What lies behind an annotation."""
    args = [a for a in get_args(annotation) if a is not type(None)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    origin = getattr(annotation, "__origin__", None)
    if origin in (dict, list):
        return [_target(args[-1])]
    if tagged := {tag: _target(a) for a in args if (tag := _explicit_tag(a))}:
        return tagged
    members = [_target(a) for a in args]
    models = [m for m in members if isinstance(m, type)]
    if len(models) > 1:
        return {_tag(model): model for model in models}
    return next((m for m in members if m is not None), None)


def _explicit_tag(annotation: object) -> str | None:
    """What `Tag` names a member of a union."""
    marks = getattr(annotation, "__metadata__", ())
    return next((mark.tag for mark in marks if isinstance(mark, Tag)), None)


def _tag(model: type[BaseModel]) -> str:
    """The tag of a member that is told by a literal field, its own first one."""
    first = next(key for key in model.model_fields if key in model.__annotations__)
    return str(get_args(model.model_fields[first].annotation)[0])


def _at(loc: Loc) -> Place | Literal["tag"]:
    return [Study, *(node for node, _ in _walk(loc))][-1]


def _fields_at(loc: Loc) -> list[str]:
    here = _at(loc)
    if here == "tag":  # the location ends on a union's tag: the member it names
        *front, tag = loc
        union = _at(tuple(front))
        here = union[str(tag)] if isinstance(union, dict) else None
    if isinstance(here, type):
        return list(here.model_fields)
    return []


def _where(loc: Loc, trees: Mapping[Path, yaml.Node | None], *, whole: bool = True) -> str:
    """`file:line` of the deepest part of `loc` that a file holds; the last file wins.

    `--config` where the `whole` of it should be in a file, but is in none.
    """
    best: tuple[int, str] = (-1, "--config")
    for path, tree in trees.items():
        node, depth = tree, 0
        line = 1
        for part in loc:
            child = _child(node, part)
            if child is None:
                break
            line, node = child
            depth += 1
        if depth >= best[0] and (depth == len(loc) or not whole):
            best = (depth, f"{path}:{line}")
    return best[1]


def _child(node: yaml.Node | None, part: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part].start_mark.line + 1, node.value[part]
    return None


def _read(path: Path) -> tuple[str, yaml.Node | None]:
    """The text of `path` and its YAML tree, refused where it is missing, malformed, more than a
    config may be, or says a key twice."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(plain_yaml.MOST_CHARACTERS + 1)
        tree = plain_yaml.compose(text)
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    except plain_yaml.YamlError as error:
        line = f":{error.line}" if error.line else ""
        raise ConfigError([f"{path}{line}: {error}"]) from None
    problems = [f"{path}:{line}: {_key(loc)}: stands here twice" for line, loc in _twice(tree, ())]
    if problems:
        raise ConfigError(problems)
    if tree is not None and not isinstance(tree, yaml.MappingNode):
        raise ConfigError([f"{path}: should hold keys and values at its top"])
    if found := tree and _child(tree, "__use_yte__"):
        raise ConfigError([f"{path}:{found[0]}: __use_yte__: a config is data, this is a program"])
    return text, tree


def _twice(node: yaml.Node | None, loc: Loc) -> Iterator[tuple[int, Loc]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*loc, key.value)
            if key.value in seen:
                yield key.start_mark.line + 1, here
            seen.add(key.value)
            yield from _twice(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _twice(item, (*loc, i))
