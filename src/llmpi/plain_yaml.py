"""YAML from strangers as plain data: texts, numbers, lists and mappings, of a bounded size.

PyYAML's `safe_load` makes no objects, but it follows aliases until memory ends, breaks with errors
of Python's own at what is nested too deeply, and reads `010` as 8 and `1:30` as 90, as YAML 1.1 has
it. What is refused here says where it stands. Light enough for the Snakefile.
"""

import re
from pathlib import Path
from typing import Any

import yaml

MOST_CHARACTERS = 4_000_000
MOST_DEPTH = 60
MOST_VALUES = 200_000
"""Once every alias is written out."""

TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null")}
CONTAINERS = {"tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
MERGE = "tag:yaml.org,2002:merge"
"""Of the key `<<`."""

OCTAL = re.compile(r"[-+]?0[0-9_]+")
SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


class YamlError(ValueError):
    """No YAML, or not what may stand in such a file."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason)
        self.line = line
        """Of the text, counted from 1."""


def compose(text: str) -> yaml.Node | None:
    """The tree of `text`, None where it is empty. Its size and depth are bounded, its values plain.

    Raises:
        YamlError: with the line, if one can be told.
    """
    if len(text) > MOST_CHARACTERS:
        raise YamlError(f"{len(text):,} characters are more than the {MOST_CHARACTERS:,} it may be")
    try:
        _check_extent(text)
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        if tree is not None:
            _check_values(tree)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        raise YamlError(f"no valid YAML: {reason}", mark.line + 1 if mark else None) from None
    return tree


def load(text: str) -> Any:
    """The data in `text`, None where it is empty.

    Raises:
        YamlError: as `compose`.
    """
    tree = compose(text)
    return None if tree is None else yaml.SafeLoader("").construct_document(tree)


def own(path: Path) -> Any:
    """The data in a file of this package, which needs no checks: by libyaml where PyYAML has it, in
    a tenth of the time."""
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _check_extent(text: str) -> None:
    """Depth and number of values, told from the events: nothing is built, nothing recurses."""
    sizes: dict[str, int] = {}  # of what an anchor names
    open_parts: list[tuple[str | None, int]] = []  # anchor, values so far when it began
    values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.CollectionStartEvent):
            open_parts.append((event.anchor, values))
            if len(open_parts) > MOST_DEPTH:
                raise YamlError(f"nested deeper than {MOST_DEPTH} levels", line)
            values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_parts.pop()
            if anchor:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if any(event.anchor == anchor for anchor, _ in open_parts):
                raise YamlError(f"'*{event.anchor}' stands inside of what it names", line)
            values += sizes.get(event.anchor or "", 0)
        if values > MOST_VALUES:
            raise YamlError(f"more than {MOST_VALUES:,} values, its aliases written out", line)


def _check_values(tree: yaml.Node) -> None:
    loader = yaml.SafeLoader("")
    seen: set[int] = set()
    ahead = [tree]
    while ahead:
        node = ahead.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.tag == MERGE and _can_be_merged(value):
                    ahead += [value]
                elif isinstance(key, yaml.ScalarNode):
                    ahead += [key, value]
                else:
                    raise YamlError("a key must be a text", key.start_mark.line + 1)
        elif isinstance(node, yaml.SequenceNode):
            ahead += node.value
        if isinstance(node, yaml.ScalarNode):
            _check_scalar(node, loader, line)
        elif node.tag not in CONTAINERS:
            raise YamlError(f"the tag {_tag(node)} means nothing here", line)


def _can_be_merged(node: yaml.Node) -> bool:
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return all(isinstance(part, yaml.MappingNode) for part in parts)


def _check_scalar(node: yaml.ScalarNode, loader: yaml.SafeLoader, line: int) -> None:
    text = node.value
    if re.search("[\ud800-\udfff]", text):
        raise YamlError("half a character (a lone surrogate, \\uD800 to \\uDFFF)", line)
    if node.tag == "tag:yaml.org,2002:timestamp" and not node.style:
        raise YamlError(f"{text} would be a date: write it in quotes", line)
    if node.tag not in TAGS:
        what = f"'{text}'" if not node.style and node.tag.endswith((":merge", ":value")) else None
        raise YamlError(f"{what or f'the tag {_tag(node)}'} means nothing here", line)
    try:
        value = loader.construct_object(node)
    except ValueError:
        raise YamlError(f"{text:.50} is no {node.tag.rpartition(':')[2]}", line) from None
    if node.tag.endswith((":int", ":float")) and (
        OCTAL.fullmatch(text) or SEXAGESIMAL.fullmatch(text)
    ):
        raise YamlError(
            f"{text:.50} would be read as {value}: write {value}, or '{text:.50}' in quotes if it "
            "is a text",
            line,
        )


def _tag(node: yaml.Node) -> str:
    return node.tag.replace("tag:yaml.org,2002:", "!!")
