"""Try every boundary and count."""

import argparse
import contextlib
import json
import os
import pkgutil
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from benchmarks.hostile import __doc__ as about
from benchmarks.hostile import boundaries

START_S = 120.0
PATIENCE_S = 60.0
CANARY = "nobody's but mine"


class Found(NamedTuple):
    """Of a boundary."""

    counts: Counter[str]
    faults: list[str]
    """What each traceback, hang or file was."""


def main() -> None:
    names = [module.name for module in pkgutil.iter_modules(boundaries.__path__)]
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", choices=[*names, []], help="boundaries; default: all")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="default: random"
    )
    parser.add_argument("--inputs", type=int, default=200, help="for each boundary")
    args = parser.parse_args()
    chosen = args.names or names
    total: Counter[str] = Counter()
    faults: list[str] = []
    print(f"{'boundary':22} inputs  words  taken  tracebacks  hangs  files_outside      s")
    for name in chosen:
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="llmpi-hostile-") as folder:
            found = tried(name, args.seed, args.inputs, Path(folder))
        counts = found.counts
        print(
            f"{name:22} {counts['inputs']:6} {counts['words']:6} {counts['taken']:6} "
            f"{counts['tracebacks']:11} {counts['hangs']:6} {counts['files_outside']:14} "
            f"{time.monotonic() - begun:6.0f}",
            flush=True,
        )
        total.update(counts)
        faults += [f"{name}: {fault}" for fault in found.faults]
    print("".join(f"\n{fault}" for fault in faults[:50]))
    print(f"seed: {args.seed}")
    print(f"boundaries: {len(chosen)}")
    for key in ("inputs", "tracebacks", "hangs", "files_outside"):
        print(f"{key}: {total[key]}")
    sys.exit(bool(faults))


def tried(name: str, seed: int, count: int, folder: Path) -> Found:
    """Give a boundary `count` inputs; what hangs or dies is one fault, and the rest goes on."""
    patience = getattr(import_module(f"{boundaries.__name__}.{name}"), "PATIENCE_S", PATIENCE_S)
    found = Found(Counter(), [])
    work, beside = folder / "work", folder / "beside"
    for place in (work, beside):
        place.mkdir()
    canaries = [folder / "canary", beside / "canary", folder / "canary.gguf"]
    for canary in canaries:
        canary.write_text(CANARY)
    first = 0
    while first < count:
        first = _run(name, seed, first, count, work, patience, found)
    there = {path for path in folder.rglob("*") if path != work and work not in path.parents}
    strange = there - {beside, folder / "said", *canaries}
    strange |= {c for c in canaries if not c.is_file() or c.read_text() != CANARY}
    found.counts["files_outside"] += len(strange)
    found.faults.extend(f"files outside: {path}" for path in sorted(strange))
    return found


def _run(
    name: str, seed: int, first: int, last: int, work: Path, patience: float, found: Found
) -> int:
    """Runs the process once; returns the input to go on with."""
    command = [sys.executable, "-m", "benchmarks.hostile.attempts", name, str(seed)]
    process = subprocess.Popen(
        [*command, str(first), str(last), str(work)],
        stdout=subprocess.PIPE,
        stderr=(said := (work.parent / "said").open("w+b")),
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "PIP_"))},
            "HOME": str(work),
            "TMPDIR": str(work),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        start_new_session=True,
    )
    assert process.stdout
    now, begun = first, False
    try:
        for line in _lines(process, patience):
            if line is None:
                found.counts.update(inputs=1, hangs=1)
                found.faults.append(f"input {now}: no end after {patience:.0f} s")
                return now + 1
            told = json.loads(line)
            now = told["number"]
            begun = told["outcome"] == "begun"
            if begun:
                continue
            _count(told, found)
            now += 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    said.seek(max(0, said.tell() - 1000))
    tail = said.read().decode(errors="replace")
    if begun or now < last:
        found.counts.update(inputs=1, tracebacks=1)
        found.faults.append(f"input {now}: the process ended: {tail}")
        now += 1
    return now


def _count(told: dict[str, object], found: Found) -> None:
    outside = told["outside"]
    assert isinstance(outside, list)
    found.counts.update(inputs=1, files_outside=len(outside))
    found.faults.extend(f"input {told['number']}: changed {path}" for path in outside)
    if told["outcome"] == "traceback":
        found.counts["tracebacks"] += 1
        found.faults.append(f"input {told['number']}: {told['said']}")
    else:
        found.counts[str(told["outcome"])] += 1


def _lines(process: subprocess.Popen[bytes], patience: float) -> Iterator[bytes | None]:
    """The lines of a process as they come; None where none comes for too long."""
    assert process.stdout
    pending, limit = b"", START_S
    while True:
        ready, _, _ = select.select([process.stdout], [], [], limit)
        if not ready:
            yield None
            return
        piece = os.read(process.stdout.fileno(), 1 << 16)
        if not piece:
            return
        limit = patience
        *lines, pending = (pending + piece).split(b"\n")
        yield from lines


if __name__ == "__main__":
    main()
