"""`make test-long`: the tests marked `long`, a part for each of their files, one after the other.

A part that passed leaves a stamp in `.cache/test-long`, named after the hash of everything tested,
and each test that passed is noted beside it: whoever is interrupted goes on with the next test, and
an edit begins anew.
"""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAMPS = ROOT / ".cache/test-long"
TESTED = ("src", "rules", "workflow", "profiles", "config", "envs", "benchmarks", "tests")


class Resumed:
    """A plugin of pytest: what passed is noted, and not run again.

    Args:
        kept: file of the tests that passed, of an earlier run too.
    """

    def __init__(self, kept: Path) -> None:
        self._kept = kept
        self._passed = kept.read_text().splitlines() if kept.is_file() else []
        self._failed: set[str] = set()

    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        passed = [item for item in items if item.nodeid in self._passed]
        config.hook.pytest_deselected(items=passed)
        items[:] = [item for item in items if item not in passed]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self._failed.add(report.nodeid)
        elif report.when == "teardown" and report.nodeid not in self._failed:
            with self._kept.open("a") as out:
                out.write(f"{report.nodeid}\n")


def main() -> int:
    tested = tested_sha256()[:16]
    STAMPS.mkdir(parents=True, exist_ok=True)
    rows = []
    for part in parts():
        stamp = STAMPS / f"{Path(part).stem}-{tested}"
        if stamp.exists():
            rows.append((part, "passed before", stamp.read_text()))
            continue
        begun = time.monotonic()
        command = [sys.executable, __file__, part, f"{stamp}.tests"]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        minutes = f"{(time.monotonic() - begun) / 60:.1f}"
        if status == 0:
            stamp.write_text(minutes)
        rows.append((part, "passed" if status == 0 else "failed", minutes))
    for part, result, minutes in [("part", "result", "minutes"), *rows]:
        print(f"{part:<40} {result:<14} {minutes:>7}")
    return int(any(result == "failed" for _, result, _ in rows))


def run(part: str, kept: Path) -> int:
    """What is left of a part, in this process."""
    status = pytest.main(["-m", "long", part], plugins=[Resumed(kept)])
    all_passed_before = status == pytest.ExitCode.NO_TESTS_COLLECTED and kept.is_file()
    return 0 if all_passed_before else int(status)


def parts() -> list[str]:
    """The files that have such tests."""
    command = [sys.executable, "-m", "pytest", "-m", "long", "--collect-only", "-q", "tests"]
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
    sys.exit(run(sys.argv[1], Path(sys.argv[2])) if sys.argv[1:] else main())
