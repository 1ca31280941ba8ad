"""What a study's file holds: the config, every record that the summary reads, what follows."""

import importlib.metadata
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from llmpi import layout, plain_yaml
from llmpi.crate.archive import CrateError
from llmpi.crate.records import NotHeld
from llmpi.decide.records import Recommendation
from llmpi.device.service.records import ServiceBench
from llmpi.engine.records import Failed, SessionRecord
from llmpi.gguf.records import Gguf, Origin
from llmpi.models.records import FailedModel, Model, ModelRecord
from llmpi.quality.ab.records import ComparedPair
from llmpi.quality.evidence import Requirements
from llmpi.quality.kinds import task_kinds
from llmpi.quality.records import Json, Parity
from llmpi.quality.squad.records import Questions
from llmpi.records import read
from llmpi.remote.records import Provisioned
from llmpi.study import inputs
from llmpi.study.fields import RESULTS
from llmpi.study.runs import Scored, scored, variants
from llmpi.study.study import Study
from llmpi.study.task import Task
from llmpi.summary.records import Summary
from llmpi.tune.records import ComparedEnginesRecord, TunedRecord

METADATA = "ro-crate-metadata.json"
MANIFEST = "manifest.json"
CONFIG = "config.yaml"
LOCK = layout.SOURCES_LOCK
DERIVED = (
    layout.SUMMARY_JSON,
    layout.REQUIREMENTS,
    layout.RECOMMENDATION,
    layout.SUMMARY_CSV,
    layout.PAGE,
)
"""What is computed from the rest, and again when it is verified."""

ASKED = Path(layout.ASKED).parts[1]
"""The folder of what endpoints answered."""

RecordType = Any
"""Such as `Gguf | Failed`."""
KINDS: Mapping[str, RecordType] = {
    "models": ModelRecord,
    "gguf": Gguf | Failed,
    "devices": Provisioned,
    "bench": SessionRecord,
    "tuned": TunedRecord,
    "by_engine": ComparedEnginesRecord,
    "parity": Parity | Failed,
}
"""By the names of `llmpi.study.inputs.records`."""
OF_TASKS: Mapping[str, RecordType] = {"questions": Questions, "ab": ComparedPair | Failed}
"""By the folder below `results/`; of another kind of task it is any JSON."""


def records_of(study: Study) -> dict[str, RecordType]:
    """Path -> type of every record that the summary reads."""
    found: dict[str, RecordType] = {}
    for group, paths in inputs.records(study).items():
        for path in paths:
            found[path] = _kind(study, group, path)
    return found


def services_of(study: Study) -> dict[str, RecordType]:
    """The same of records that the page shows where they are there."""
    devices = study.devices if study.service else []
    return {layout.at(layout.SERVICE, study=study.study, device=d): ServiceBench for d in devices}


def _kind(study: Study, group: str, path: str) -> RecordType:
    if group == "quality":
        kind = task_kinds()[study.quality[Path(path).stem].task]
        record = kind.asked if Path(path).parts[1] == ASKED else kind.record
        return reduce(or_, (record, Failed))
    if group == "tasks":
        return OF_TASKS.get(Path(path).parts[1], dict[str, Json])
    return KINDS[group]


def derived(study: Study) -> list[str]:
    return [layout.at(pattern, study=study.study) for pattern in DERIVED]


def following(study: Study) -> dict[str, RecordType]:
    """Path -> type of the records among what follows."""
    kinds = {
        layout.SUMMARY_JSON: Summary,
        layout.REQUIREMENTS: Requirements,
        layout.RECOMMENDATION: Recommendation,
    }
    return {layout.at(pattern, study=study.study): kind for pattern, kind in kinds.items()}


def names_of(study: Study) -> set[str]:
    """All that a study's file holds, but for the manifest, the metadata, the lock file, and what
    the page shows where it is there (`services_of`)."""
    return {CONFIG, *records_of(study), *derived(study)}


PACKAGES = ("altair", "jinja2", "numpy", "pydantic", "pyyaml", "scipy", "vl-convert-python")


def packages() -> dict[str, str]:
    """Versions here of what summary, decision and page are computed with."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


# --- the config -----------------------------------------------------------------------------------


def config_text(study: Study) -> str:
    """The config as results have it: it does not say where keys lie."""
    config = study.model_dump(mode="json", context=RESULTS)
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)


MOST_ENTRIES = 2000
"""Of a section of the config."""
MOST_CELLS = 200_000
"""Of the sweep: those that are excluded, too."""


def study_in(folder: Path) -> Study:
    """The study of a config from elsewhere; what it names on that machine need not be here.

    Raises:
        CrateError: it is none, or a sweep of more than such a file may hold.
    """
    try:
        config = plain_yaml.load((folder / CONFIG).read_text("utf-8"))
        for section, entries in (config if isinstance(config, dict) else {}).items():
            if isinstance(entries, dict | list) and len(entries) > MOST_ENTRIES:
                raise CrateError(
                    f"{CONFIG}: {section}: {len(entries):,} entries are more than {MOST_ENTRIES:,}"
                )
        study = Study.model_validate(config)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CrateError(f"{CONFIG}: {place or 'as a whole'}: {first['msg']}") from None
    except ValueError as error:  # YAML's and UTF-8's
        raise CrateError(f"{CONFIG}: {error}") from None
    cells = _cells(study)
    if cells > MOST_CELLS:
        raise CrateError(f"{CONFIG}: a sweep of {cells:,} cells is more than {MOST_CELLS:,}")
    return study


def _cells(study: Study) -> int:
    """Bound on what the sweep expands to; a rule that excludes looks at each."""
    variants = sum(len(study.quants_of(model)) for model in study.models)
    places = len(study.devices) * len(study.workloads) * (1 + len(study.exclude))
    return variants * len(study.runtimes) * (places + len(study.quality))


# --- what it does not hold ------------------------------------------------------------------------


def not_held(study: Study, folder: Path) -> list[NotHeld]:
    """Models, variants and data, by what the records in `folder` say of them."""
    return [
        *(one for model in study.models for one in _model(model, folder)),
        *_variants(study, folder),
        *_data(study, folder),
    ]


def _model(model: str, folder: Path) -> Iterator[NotHeld]:
    path = folder / layout.at(layout.MODEL_MANIFEST, model=model)
    if not path.is_file():  # every cell of it is excluded
        return
    found: Model | FailedModel = read(path, ModelRecord)
    for name, file in found["files"].items():
        origin = found["origin"] if name.endswith(".gguf") else found["checkpoint"]
        yield {
            "what": "model",
            "name": f"{model}: {name}",
            "sha256": file["sha256"],
            "bytes": file["bytes"],
            "source": _source(origin or found["origin"], name),
        }


def _source(origin: Origin, file: str) -> str:
    match origin["kind"]:
        case "hub":
            return f"https://huggingface.co/{origin['hub']}/resolve/{origin['revision']}/{file}"
        case "pypi":
            return f"https://pypi.org/project/{origin['pypi']}/{origin['version']}/"
        case "path":
            return f"a file: {origin['path']}"
        case "scratch":
            return f"made from the seed {origin['seed']}"


def _variants(study: Study, folder: Path) -> Iterator[NotHeld]:
    for variant in variants(study):
        found = read(folder / layout.at(layout.GGUF_MANIFEST, **variant._asdict()), Gguf | Failed)
        if found["status"] == "ok":
            yield {
                "what": "variant",
                "name": f"{variant.model} {variant.quant}",
                "sha256": found["sha256"],
                "bytes": found["bytes"],
                "source": f"made of the model {variant.model}",
            }


HASHES = ("questions_sha256", "prompts_sha256")
"""Of a score: which data it was made on."""


def _data(study: Study, folder: Path) -> Iterator[NotHeld]:
    for task, asked in study.quality.items():
        yield {
            "what": "data",
            "name": task,
            "sha256": _hash_of_data(study, task, folder),
            "bytes": None,
            "source": _source_of_data(asked),
        }


def _source_of_data(asked: Task) -> str:
    if asked.dataset:
        return "https://huggingface.co/datasets/{} at {}".format(*asked.dataset)
    files = [str(getattr(asked, key)) for key in asked.FILES if getattr(asked, key)]
    return f"files: {', '.join(files)}" if files else "made where it was scored"


def _hash_of_data(study: Study, task: str, folder: Path) -> str | None:
    """As the first score says that has one."""
    for one in scored(study):
        found = read(folder / inputs.scores(study, Scored(*one), task), dict[str, Json])
        corpus = found.get("corpus")
        told = [found.get(key) for key in HASHES]
        told.append(corpus.get("sha256") if isinstance(corpus, dict) else None)
        for value in told:
            if isinstance(value, str):
                return value
    return None
