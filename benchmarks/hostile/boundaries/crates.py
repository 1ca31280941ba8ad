"""Studies as files of others, for `llmpi verify`: archives, and in them what hashes cannot tell."""

import hashlib
import io
import json
import random
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.hostile import spoiled
from llmpi.crate.archive import NO_DATE, ORDINARY, UNIX, names_in
from llmpi.crate.contents import CONFIG, MANIFEST, METADATA, not_held
from llmpi.crate.fields import fields_of
from llmpi.crate.metadata import metadata_text
from llmpi.crate.recompute import write_derived
from llmpi.crate.records import Manifest
from llmpi.crate.verify import verify
from llmpi.study.study import Study
from llmpi.summary.predictions import Planned

HASH, WHEN = "0" * 64, "2026-01-01T00:00:00+00:00"
STUDY = {
    "study": "s",
    "models": {"m": {"source": {"path": "../../canary"}}},
    "quants": ["F16"],
    "devices": {"here": {"transport": "local"}},
    "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8}},
    "languages": ["en"],
}
FAILED = {"status": "failed", "stage": "benchmark", "reason": "it died"}
MODEL: dict[str, object] = {
    "status": "ok",
    "source": {"path": "../../canary", "files": None, "checkpoint": None, "sha256": None},
    "origin": {"kind": "path", "path": "../../canary"},
    "checkpoint": None,
    "licence": None,
    "format": "gguf",
    "files": {"m.gguf": {"sha256": HASH, "bytes": 5}},
    "fetched": WHEN,
    "ggufs": [],
}
DEVICE: dict[str, object] = {
    "status": "ok",
    "device": "here",
    "store": "/x",
    "interpreter": "/x/python",
    "preparation": None,
    "provisioned": WHEN,
    "machine": {
        "arch": "aarch64",
        "userland_bits": 64,
        "page_bytes": 4096,
        "board": None,
        "cpu": None,
        "cpu_features": [],
        "processors": 4,
        "memory_bytes": 8_000_000_000,
        "swap_bytes": 0,
        "kernel": "6.12",
        "os": None,
        "python": "3.11",
        "glibc": None,
        "hwcap": [0, 0],
    },
    "engine": {
        "name": "llama-cpp-python",
        "version": "1",
        "llama_cpp_commit": "1",
        "features": [],
        "build_flags": None,
        "library_sha256": HASH,
    },
}
RECORDS = {
    "results/models/m/manifest.json": MODEL,
    "results/gguf/m/F16.json": FAILED,
    "results/devices/here.json": DEVICE,
    "results/bench/s/here/m/F16/default.json": FAILED,
}


def sound() -> dict[str, bytes]:
    """The files of a study in which nothing worked, but for the manifest and the metadata."""
    study = Study.model_validate(STUDY)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        for name, record in RECORDS.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(record))
        (folder / CONFIG).write_text(yaml.safe_dump(study.model_dump(mode="json")))
        said = [Planned(None, None, None, "nothing is known of it")]
        run = {"llmpi": "1", "snakemake": "9", "summarized": WHEN}
        write_derived(folder, study, run, said)  # type: ignore[arg-type]  # its config is made
        return {name: (folder / name).read_bytes() for name in names_in(folder)}


def manifest_of(files: Mapping[str, bytes]) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        described: dict[str, object] = {}
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            try:
                fields = fields_of(path)
            except ValueError:
                fields = None
            digest = hashlib.sha256(content).hexdigest()
            described[name] = {"sha256": digest, "bytes": len(content), "fields": fields}
        for name, record in RECORDS.items():
            (folder / name).write_text(json.dumps(record))
        missing = not_held(Study.model_validate(STUDY), folder)
    return {
        "format": 1,
        "study": "s",
        "redacted": False,
        "llmpi": "1",
        "summarized": WHEN,
        "python": "3.11",
        "packages": {},
        "files": described,
        "not_held": missing,
    }


def archive(files: Mapping[str, bytes], manifest: object) -> bytes:
    """With metadata as they follow from the manifest, if any do."""
    text = json.dumps(manifest).encode()
    try:
        about = metadata_text(manifest, hashlib.sha256(text).hexdigest(), len(text))  # type: ignore[arg-type]  # hostile
    except (LookupError, TypeError, AttributeError):
        about = "{}"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for name, content in {METADATA: about.encode(), MANIFEST: text, **files}.items():
            info = zipfile.ZipInfo(name, NO_DATE)
            info.create_system, info.external_attr, info.compress_type = UNIX, ORDINARY, 8
            opened.writestr(info, content)
    return packed.getvalue()


def inputs(draw: random.Random) -> Iterator[bytes]:
    whole = sound()
    manifest = manifest_of(whole)
    yield archive(whole, manifest)
    while True:
        files, how = dict(whole), draw.randrange(5)
        if how == 0:
            yield spoiled.bytes_(draw, archive(files, manifest))
        elif how == 1:
            name = draw.choice(sorted(files))
            other = spoiled.text(draw)[:1000].encode("utf-8", "replace").decode() or "x"
            files[other] = files.pop(name)
            yield archive(files, manifest_of({**whole, "extra.json": b"{}"}))
        elif how == 2:
            yield archive(files, spoiled.data(draw, manifest))
        elif how == 3:
            config = spoiled.data(draw, yaml.safe_load(files[CONFIG]))
            files[CONFIG] = spoiled.dumped(draw, config)
            yield archive(files, manifest_of(files))
        else:
            name = draw.choice([name for name in sorted(files) if name.endswith(".json")])
            files[name] = spoiled.dumped(draw, spoiled.data(draw, json.loads(files[name])))
            yield archive(files, manifest_of(files))


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[bytes], None]]:
    tempfile.tempdir = str(folder)

    def receive(content: bytes) -> None:
        file = folder / "study.zip"
        file.write_bytes(content)
        found: Manifest = verify(file)
        assert found["study"] == "s"

    yield receive
