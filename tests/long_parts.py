"""`make test-long`: the tests marked `long`, a part for each of their files, one after the other.

A part that passed leaves a stamp in `.cache/test-long`, named after the hash of everything tested:
whoever is interrupted goes on with the next part, and an edit begins anew.
"""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STAMPS = ROOT / ".cache/test-long"
TESTED = ("src", "rules", "workflow", "profiles", "config", "envs", "benchmarks", "tests")
PYTEST = [sys.executable, "-m", "pytest", "-m", "long"]


def main() -> int:
    tested = tested_sha256()[:16]
    rows = []
    for part in parts():
        stamp = STAMPS / f"{Path(part).stem}-{tested}"
        if stamp.exists():
            rows.append((part, "passed before", stamp.read_text()))
            continue
        begun = time.monotonic()
        status = subprocess.run([*PYTEST, part], cwd=ROOT, check=False).returncode
        minutes = f"{(time.monotonic() - begun) / 60:.1f}"
        if status == 0:
            STAMPS.mkdir(parents=True, exist_ok=True)
            stamp.write_text(minutes)
        rows.append((part, "passed" if status == 0 else "failed", minutes))
    for part, result, minutes in [("part", "result", "minutes"), *rows]:
        print(f"{part:<40} {result:<14} {minutes:>7}")
    return int(any(result == "failed" for _, result, _ in rows))


def parts() -> list[str]:
    """The files that have such tests."""
    command = [*PYTEST, "--collect-only", "-q", "tests"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return sorted({line.partition("::")[0] for line in done.stdout.splitlines() if "::" in line})


def tested_sha256() -> str:
    """Of every file that a test may depend on."""
    files = [path for name in TESTED for path in sorted((ROOT / name).rglob("*"))]
    digest = hashlib.sha256()
    for path in [ROOT / "Snakefile", ROOT / "pyproject.toml", *files]:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
