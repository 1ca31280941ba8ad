"""A finished study below the working directory, and its file."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import made_records as made
import small_results
import yaml
from made_records import write

from llmpi import layout
from llmpi.crate.archive import names_in, pack
from llmpi.crate.contents import CONFIG, MANIFEST, METADATA
from llmpi.crate.export import export
from llmpi.crate.fields import fields_of
from llmpi.crate.metadata import metadata_text
from llmpi.crate.recompute import write_derived
from llmpi.records import sha256_of
from llmpi.study.runs import expand_runs
from llmpi.study.study import Study
from llmpi.summary.predictions import boards, planned
from llmpi.summary.read import read_records

CONFIG_FILE = Path("config/s.yaml")
PROVENANCE = {
    "llmpi": "0.1.0", "snakemake": "9.27", "summarized": "2026-01-02T03:04:05+00:00", "config": {}
}  # fmt: skip


def given(**more: object) -> dict[str, object]:
    """The config of a study of two variants on one device, one of which died."""
    return {
        "study": "s",
        "models": {"m": {"source": {"path": "models/m.gguf"}}},
        "quants": ["F16", "Q4_0"],
        "devices": {"pi": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 4, "repetitions": 3}},
        "quality": {"qa": {"task": "squad", "squad_file": "models/qa.json"}},
        "languages": ["en"],
        "constraints": {"tps_at_least": 1},
        **more,
    }


def finish(study: Study) -> None:
    """What follows from the records, as the last rules leave it."""
    runs = [
        run
        for run in expand_runs(study)
        if run.workload in study.single_workloads and not study.runtimes[run.runtime].endpoint
    ]
    said = planned(study, runs, boards(study, read_records(study).sessions))
    write_derived(Path.cwd(), study, PROVENANCE, said)  # type: ignore[arg-type]


def write_config(config: Mapping[str, object]) -> Path:
    CONFIG_FILE.parent.mkdir(exist_ok=True)
    CONFIG_FILE.write_text(yaml.safe_dump(dict(config), sort_keys=False))
    for name in ("models/m.gguf", "models/qa.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return CONFIG_FILE


def write_small(
    config: Mapping[str, object] | None = None, also: Callable[[], None] = lambda: None
) -> Study:
    """Its config and its records, finished.

    Args:
        also: writes more of them.
    """
    config = config or given()
    write_config(config)
    study = Study.model_validate(config)
    small_results.write_results()
    write(layout.PROVISIONED, made.provisioned("pi", made.machine()), device="pi")
    also()
    finish(study)
    return study


def exported(out: str = "s.crate.zip", *, redact: bool = False) -> Path:
    export(CONFIG_FILE, Path(out), redact=redact)
    return Path(out)


def packed(folder: Path, out: Path) -> Path:
    """The files of a folder as an archive, whatever is in them."""
    names = names_in(folder)
    first = [name for name in (METADATA, MANIFEST, CONFIG) if name in names]
    pack(out, folder, [*first, *(name for name in names if name not in first)])
    return out


def describe_again(folder: Path) -> None:
    """The manifest and the metadata of files that were changed, as a forger would write them."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    for name, file in manifest["files"].items():
        path = folder / name
        file.update(sha256=sha256_of(path), bytes=path.stat().st_size, fields=fields_of(path))
    (folder / MANIFEST).write_text(json.dumps(manifest))
    sealed(folder)


def sealed(folder: Path) -> None:
    """The metadata of a manifest that was changed."""
    path = folder / MANIFEST
    text = metadata_text(json.loads(path.read_bytes()), sha256_of(path), path.stat().st_size)
    (folder / METADATA).write_text(text)
