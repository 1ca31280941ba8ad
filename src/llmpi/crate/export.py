"""Write a finished study as one file, from what lies in `results/`; nothing is run."""

import json
import platform
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from pydantic import ValidationError

from llmpi import layout
from llmpi.crate.archive import CrateError, names_in, pack
from llmpi.crate.contents import (
    CONFIG,
    LOCK,
    MANIFEST,
    METADATA,
    config_text,
    derived,
    following,
    not_held,
    packages,
    records_of,
    services_of,
)
from llmpi.crate.fields import fields_of
from llmpi.crate.metadata import metadata_text
from llmpi.crate.recompute import check_derived, planned_in, write_derived
from llmpi.crate.records import CrateFile, Manifest
from llmpi.crate.redact import Redaction, names_here, redacted
from llmpi.engine.progress import Progress
from llmpi.engine.shown import visible
from llmpi.records import check, read, sha256_of, write_json
from llmpi.sources_lock import Lock, read_lock
from llmpi.study.fields import RESULTS
from llmpi.study.file import load_study
from llmpi.study.models import HubSource
from llmpi.study.study import Study
from llmpi.summary.records import Provenance, Summary


def export(config: Path, out: Path, *, redact: bool) -> str:
    """Write the study of a config into `out`: its SHA-256.

    Raises:
        CrateError: it is not finished, its report is older than its records, or something cannot be
            taken out of it.
        LlmpiError: the config describes no study, or a record does not fit its type.
    """
    if out.exists():
        raise CrateError(f"{out}: there is such a file; name another with --out")
    study = load_study(config)
    with TemporaryDirectory(prefix="llmpi-") as beside:
        folder = Path(beside).resolve() / "study"
        _gather(study, config, folder)
        try:
            check_derived(folder, study)
        except CrateError as error:
            raise CrateError(
                f"{error}\nThe report is not of these records and this config: run "
                f"snakemake --cores 4 --configfile {config}"
            ) from None
        if redact:
            bare = Path(beside).resolve() / "redacted"
            study = _redact(study, folder, bare)
            folder = bare
        _describe(study, folder, is_redacted=redact)
        first = (METADATA, MANIFEST, CONFIG)
        pack(out, folder, [*first, *(name for name in names_in(folder) if name not in first)])
    return sha256_of(out)


def _gather(study: Study, config: Path, folder: Path) -> None:
    """Everything as it is, each record checked against its type."""
    kinds = {**records_of(study), **services_of(study), **following(study)}
    more = [name for name in services_of(study) if Path(name).is_file()]
    names = [*records_of(study), *more, *derived(study)]
    if missing := [name for name in names if not Path(name).is_file()]:
        raise CrateError(
            f"{missing[0]}: there is no such file{_more(missing)}: the study is not finished; run "
            f"snakemake --cores 4 --configfile {config}"
        )
    progress = Progress(len(names), "files read")
    for number, name in enumerate(names, start=1):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(name, target)
        if name in kinds:
            check(target.read_bytes(), kinds[name], name)
        progress.at(number)
    (folder / CONFIG).write_text(config_text(study), "utf-8")
    if entries := _locked(study, config.parent / layout.SOURCES_LOCK):
        (folder / LOCK).write_text(yaml.safe_dump(entries), "utf-8")


def _more(missing: list[str]) -> str:
    return f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""


def _locked(study: Study, path: Path) -> Lock:
    """The entries of the lock file that are of this study."""
    sources = [source for model in study.models.values() for source in model.sources]
    hub = {source.hub for source in sources if isinstance(source, HubSource)}
    hub |= {task.dataset[0] for task in study.quality.values() if task.dataset}
    lock = read_lock(path)
    return {key: entry for key, entry in lock.items() if key.split()[-1].split("@")[0] in hub}


# --- without what is private ----------------------------------------------------------------------


def _redact(study: Study, folder: Path, bare: Path) -> Study:
    """The study without what is private, into a folder of its own, and what follows from that."""
    config = study.model_dump(mode="json", context=RESULTS)
    redaction = Redaction(config, _folders(folder), names_here())
    try:
        other = Study.model_validate(redaction.config(config))
    except ValidationError as error:
        first = error.errors()[0]
        raise CrateError(
            f"{'.'.join(map(str, first['loc']))}: cannot be taken out of the config: {first['msg']}"
        ) from None
    kinds, others = ({**records_of(one), **services_of(one)} for one in (study, other))
    for (name, kind), instead in zip(kinds.items(), others, strict=True):
        if not (folder / name).is_file():
            continue
        try:
            record = redacted(kind, (folder / name).read_bytes(), redaction)
        except ValidationError as error:
            first = error.errors()[0]
            raise CrateError(
                f"{name}: {first['loc'][-1]}: what is private cannot be taken out: {first['msg']}"
            ) from None
        (bare / instead).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (bare / instead).write_text(visible(text) + "\n", "utf-8")
    (bare / CONFIG).write_text(config_text(other), "utf-8")
    if (folder / LOCK).is_file():
        (bare / LOCK).write_text(redaction.names((folder / LOCK).read_text("utf-8")), "utf-8")
    said = [
        one._replace(
            board=one.board and redaction.text(one.board),
            reason=one.reason and redaction.text(one.reason),
        )
        for one in planned_in(folder, study)
    ]
    write_derived(bare, other, _provenance(study, folder), said)
    return other


def _folders(folder: Path) -> list[str]:
    """Where devices have llmpi."""
    found = []
    for name in sorted((folder / layout.at(layout.PROVISIONED, device="x")).parent.glob("*.json")):
        record = json.loads(name.read_bytes())
        found += [record["store"], record["interpreter"]]
    return found


# --- what it says of itself -----------------------------------------------------------------------


def _provenance(study: Study, folder: Path) -> Provenance:
    summary = read(folder / layout.at(layout.SUMMARY_JSON, study=study.study), Summary)
    return summary["provenance"]


def _describe(study: Study, folder: Path, *, is_redacted: bool) -> None:
    provenance = _provenance(study, folder)
    manifest: Manifest = {
        "format": 1,
        "study": study.study,
        "redacted": is_redacted,
        "llmpi": provenance["llmpi"],
        "summarized": provenance["summarized"],
        "python": platform.python_version(),
        "packages": packages(),
        "files": {name: described(folder / name) for name in names_in(folder)},
        "not_held": not_held(study, folder),
    }
    write_json(folder / MANIFEST, manifest)
    written = folder / MANIFEST
    text = metadata_text(manifest, sha256_of(written), written.stat().st_size)
    (folder / METADATA).write_text(text, "utf-8")


def described(path: Path) -> CrateFile:
    """What the manifest says of a file."""
    return {
        "sha256": sha256_of(path),
        "bytes": path.stat().st_size,
        "fields": fields_of(path),
    }
