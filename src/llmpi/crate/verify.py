"""Whether a study's file is what it says: every hash, and all that follows from its records."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from llmpi import __version__, layout
from llmpi.crate.archive import CrateError, unpack
from llmpi.crate.contents import (
    LOCK,
    MANIFEST,
    METADATA,
    following,
    names_of,
    not_held,
    packages,
    records_of,
    services_of,
    study_in,
)
from llmpi.crate.fields import differences, fields_of, shown_value
from llmpi.crate.metadata import metadata_text
from llmpi.crate.recompute import check_derived
from llmpi.crate.records import Manifest
from llmpi.errors import LlmpiError
from llmpi.records import RecordError, check, read
from llmpi.sources_lock import read_lock
from llmpi.study.study import Study
from llmpi.summary.records import Summary

MOST_SAID = 5
OWN = {MANIFEST, METADATA}


class Opened(NamedTuple):
    """A study's file, unpacked."""

    manifest: Manifest
    study: Study
    folder: Path


@contextmanager
def opened(archive: Path, beside: Path | None = None) -> Iterator[Opened]:
    """A study's file, unpacked into a temporary folder, its hashes and names checked.

    Args:
        beside: a folder to make the temporary one in.

    Raises:
        CrateError: it is no such file, or one in it is not what its hash says; with the field.
        OSError: it cannot be read.
    """
    with TemporaryDirectory(prefix=".llmpi-", dir=beside) as made:
        folder = Path(made).resolve() / "study"
        folder.mkdir()
        with _named(archive):
            hashes = unpack(archive, folder)
            manifest = _manifest(folder, hashes)
            _check_hashes(manifest, folder, hashes)
        with _named(archive, _made_otherwise(manifest)):
            study = study_in(folder)
            _check_names(manifest, study)
        yield Opened(manifest, study, folder)


def verify(archive: Path) -> Manifest:
    """Check the hashes, and compute summary, decision and page again.

    Raises:
        CrateError: something is not as it should be; with file and field.
        OSError: it cannot be read.
    """
    with opened(archive) as found:
        verify_opened(archive, found)
        return found.manifest


def verify_opened(archive: Path, found: Opened) -> None:
    """The records fit their types, and all that follows from them is what it says.

    Raises:
        CrateError: it is not, with file and field.
    """
    with _named(archive, _made_otherwise(found.manifest)):
        _check_records(found)
        try:
            check_derived(found.folder, found.study)
        except LlmpiError:
            raise
        except Exception as error:  # of records that fit their types and cannot be
            what = f"{type(error).__name__}: {error}"
            raise CrateError(f"its records cannot be summarized ({what:.300})") from None


@contextmanager
def _named(archive: Path, more: Sequence[str] = ()) -> Iterator[None]:
    """What is wrong with it, with its name before each line."""
    try:
        yield
    except LlmpiError as error:
        lines = str(error).splitlines()
        raise CrateError("\n".join(f"{archive}: {line}" for line in (*lines, *more))) from None


def _made_otherwise(manifest: Manifest) -> list[str]:
    """What else could be why something is computed otherwise here."""
    return _told_otherwise({"llmpi": manifest["llmpi"], **manifest["packages"]})


def _told_otherwise(there: Mapping[str, str]) -> list[str]:
    here = {"llmpi": __version__, **packages()}
    told = [f"{k} {there.get(k)} (here {v})" for k, v in here.items() if there.get(k) != v]
    return [f"it was made with {', '.join(told)}, which may be why"] if told else []


# --- hashes and names -----------------------------------------------------------------------------


def _manifest(folder: Path, hashes: Collection[str]) -> Manifest:
    if missing := OWN.difference(hashes):
        raise CrateError(f"it holds no {missing.pop()}: it is no file of `llmpi export`")
    content = (folder / MANIFEST).read_bytes()
    try:
        return check(content, Manifest, MANIFEST)
    except RecordError as error:
        raise CrateError("\n".join([str(error), *_made_by(content)])) from None


def _made_by(manifest: bytes) -> list[str]:
    """The version that wrote what is no manifest of this one."""
    try:
        found = json.loads(manifest)
    except (ValueError, RecursionError):
        return []
    version = found.get("llmpi") if isinstance(found, dict) else None
    return _told_otherwise({**packages(), "llmpi": version}) if isinstance(version, str) else []


def _check_hashes(manifest: Manifest, folder: Path, hashes: dict[str, str]) -> None:
    files = manifest["files"]
    if one := sorted(hashes.keys() - files.keys() - OWN):
        raise CrateError(f"{one[0]}: {MANIFEST} does not name it")
    if one := sorted(files.keys() - hashes.keys() | files.keys() & OWN):
        raise CrateError(f"{one[0]}: {MANIFEST} names it, and it is not there")
    changed = [name for name, file in files.items() if file["sha256"] != hashes[name]]
    if changed:
        told = [f"{name}: {_what_changed(manifest, folder, name)}" for name in changed[:MOST_SAID]]
        raise CrateError("\n".join(told))
    written = folder / MANIFEST
    computed = metadata_text(manifest, hashes[MANIFEST], written.stat().st_size)
    _check_metadata((folder / METADATA).read_bytes(), computed)
    for name, file in files.items():
        if file["bytes"] != (folder / name).stat().st_size:
            raise CrateError(f"{MANIFEST}: files.{name}.bytes: it has another size")


def _what_changed(manifest: Manifest, folder: Path, name: str) -> str:
    fields = manifest["files"][name]["fields"]
    if fields is None:
        return "it was changed: its SHA-256 is not the one that was exported"
    try:
        now = fields_of(folder / name) or {}
    except ValueError as error:
        return f"it was changed, and cannot be read any more: {error}"
    changed = [key for key in dict.fromkeys([*fields, *now]) if fields.get(key) != now.get(key)]
    if not changed:
        return "it was changed, in none of its values: its SHA-256 is another"
    return f"{', '.join(changed[:MOST_SAID])}: changed since it was exported"


def _check_metadata(said: bytes, computed: str) -> None:
    if said == computed.encode():
        return
    try:
        found = list(differences(json.loads(said), json.loads(computed)))
    except (ValueError, RecursionError) as error:
        raise CrateError(f"{METADATA}: it is no JSON: {error}") from None
    place = f"{found[0].place}: says {shown_value(found[0].said)}" if found else "as a whole"
    raise CrateError(f"{METADATA}: {place}: it is not what follows from {MANIFEST}")


def _check_names(manifest: Manifest, study: Study) -> None:
    if manifest["study"] != study.study:
        raise CrateError(f"{MANIFEST}: study: the config is of another, {study.study}")
    wanted, there = names_of(study), manifest["files"].keys() - {LOCK}
    if missing := sorted(wanted - there):
        raise CrateError(f"{missing[0]}: the config asks for it, and it is not there")
    if more := sorted(there - wanted - services_of(study).keys()):
        raise CrateError(f"{more[0]}: the config asks for no such file")


# --- records --------------------------------------------------------------------------------------


def _check_records(found: Opened) -> None:
    manifest, study, folder = found
    for name, kind in {**records_of(study), **following(study)}.items():
        check((folder / name).read_bytes(), kind, name)
    for name, kind in services_of(study).items():
        if (folder / name).is_file():
            check((folder / name).read_bytes(), kind, name)
    if (folder / LOCK).is_file():
        read_lock(folder / LOCK)
    for name, file in manifest["files"].items():
        try:
            is_same = fields_of(folder / name) == file["fields"]
        except ValueError as error:
            raise CrateError(f"{name}: cannot be read: {error}") from None
        if not is_same:
            raise CrateError(f"{MANIFEST}: files.{name}.fields: they are not those of the file")
    _check_manifest(found)


def _check_manifest(found: Opened) -> None:
    """What it says follows from the files."""
    manifest, study, folder = found
    summary = read(folder / layout.at(layout.SUMMARY_JSON, study=study.study), Summary)
    provenance = summary["provenance"]
    said = {
        "llmpi": manifest["llmpi"],
        "summarized": manifest["summarized"],
        "not_held": manifest["not_held"],
    }
    follows = {
        "llmpi": provenance["llmpi"],
        "summarized": provenance["summarized"],
        "not_held": not_held(study, folder),
    }
    for one in differences(said, follows):
        raise CrateError(
            f"{MANIFEST}: {one.place}: says {shown_value(one.said)}, the files say "
            f"{shown_value(one.computed)}"
        )
