"""A stage whose process the machine kills: an error that says what to do, no file, another try.

A real tiny model through the real rules; `short_process` makes the machine too small for the
processes of one module.
"""

import contextlib
import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny_llama
import yaml
from support import ROOT, only_root, run_snakemake

from llmpi.accidents import AccidentError, accident
from llmpi.device.machine.limits import limited
from llmpi.gguf.footprint import Question, ask
from llmpi.gguf.mix.seconds import told
from llmpi.gguf.quantize import quantize
from llmpi.records import is_ok, read, sha256_of, write_json

SHORT = ROOT / "tests/short_process"
TEXT = "the thin thing in the inn\nis in the other inn then\n"
OF_QUANT = "tiny/{}/f16"
STAGES = {
    "convert": ("llmpi.gguf.quantize", "results/gguf/tiny/F16.json"),
    "quantize": ("llmpi.gguf.quantize", "results/gguf/tiny/Q4_0.json"),
    "look into": ("llmpi.gguf.inspect", "results/gguf/tiny/Q8_0.json"),
    "calibrate": ("llmpi.gguf.calibrate", "results/imatrix/tiny.json"),
    "train": ("llmpi.train", "results/gguf/tiny/Q4_0-qat.json"),
    "reference": ("llmpi.quality.divergence.measure", "results/reference/tiny/tiny/text.json"),
    "divergence": (
        "llmpi.quality.divergence.measure",
        f"results/quality/tiny/{OF_QUANT.format('Q4_0')}/text.json",
    ),
    "answers": (
        "llmpi.quality.batching.answer",
        f"results/quality/tiny/{OF_QUANT.format('Q4_0')}/own.json",
    ),
    "predictions": ("llmpi.device.measure.parity", "results/predictions/tiny/Q4_0.json"),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def on_a_small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same, its `results/` on a disk of 64 MB."""
    only_root("mounting")
    folder = made_study(tmp_path_factory.mktemp("small"))
    (results := folder / "results").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", str(results)], check=True)
    yield folder
    subprocess.run(["umount", str(results)], check=True)


def made_study(folder: Path) -> Path:
    tiny_llama.tiny_llama(folder)
    for name in ("text.txt", "other.txt"):
        (folder / name).write_text(f"{name} {TEXT * 200}")
    (folder / "own.jsonl").write_text('{"id": "a", "prompt": "the inn"}\n')
    training = {"steps": 2, "sequences": 2, "sequence_tokens": 32, "held_out_sequences": 2}
    config: dict[str, Any] = {
        "study": "tiny",
        "models": {"tiny": {"source": {"path": "tiny.gguf"}}},
        "quants": ["F16", "Q8_0", "Q4_0", "Q4_0+imatrix", "Q4_0-qat"],
        "calibration": {"text": {"text_file": "text.txt"}, "chunks": 2},
        "qat": {"text": {"text_file": "text.txt"}, "training": training},
        "devices": {"here": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 4}},
        "quality": {
            "text": {
                "task": "divergence",
                "text_file": "other.txt",
                "window_tokens": 32,
                "chunks": 2,
            },
            "own": {"task": "ab", "prompts": "own.jsonl", "max_new_tokens": 4},
        },
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config))
    return folder


def run(study: Path, target: str, short: str = "") -> subprocess.CompletedProcess[str]:
    arguments = ["--cores", "2", "--configfile", "study.yaml", "--", target]
    return run_snakemake(*arguments, cwd=study, check=False, of_jobs=SHORT, LLMPI_SHORT=short)


@pytest.mark.parametrize("stage", STAGES)
def test_what_the_kernel_kills_is_tried_again(study: Path, stage: str) -> None:
    module, target = STAGES[stage]
    killed = run(study, target, f"{module} killed")
    assert killed.returncode == 1, killed.stdout
    assert "this machine's memory did not suffice, of which" in killed.stdout
    assert "run fewer jobs at once" in killed.stdout
    assert "please report it" not in killed.stdout
    assert not (study / target).exists()
    assert not list((study / "results").rglob("*.part"))
    again = run(study, target)
    assert again.returncode == 0, again.stdout
    assert is_ok(read(study / target, dict))


@pytest.mark.parametrize(
    ("stage", "function"),
    [
        ("calibrate", "chunked"),
        ("quantize", "describe"),
        ("look into", "footprint"),
        ("reference", "score_chunks"),
        ("divergence", "score_chunks"),
        ("answers", "BatchEngine.run"),
    ],
)
def test_what_is_killed_at_work_leaves_nothing(study: Path, stage: str, function: str) -> None:
    module, target = STAGES[stage]
    results = study / "results"
    remove_made(results, target)
    assert run(study, target).returncode == 0  # what it rests on is there
    remove_made(results, target)
    before = files(results)
    killed = run(study, target, f"{module} killed in {function}")
    assert killed.returncode == 1, killed.stdout
    assert "this machine's memory did not suffice, of which" in killed.stdout
    assert files(results) == before


WRITES = [stage for stage in STAGES if stage not in ("look into", "divergence", "predictions")]


@pytest.mark.parametrize("stage", WRITES)
def test_a_full_disk_leaves_nothing_and_is_tried_again(on_a_small_disk: Path, stage: str) -> None:
    study, (_, target) = on_a_small_disk, STAGES[stage]
    assert run(study, target).returncode == 0
    results, ballast = study / "results", study / "results/ballast"
    remove_made(results, target)
    before = files(results)
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    full = run(study, target)
    ballast.unlink()
    assert full.returncode == 1, full.stdout
    assert re.search(r"disk is full|has no room for|GB are free", full.stdout), full.stdout
    assert "please report it" not in full.stdout
    assert files(results) <= before
    again = run(study, target)
    assert again.returncode == 0, again.stdout


def remove_made(results: Path, target: str) -> None:
    for made in results.glob(f"{target.removeprefix('results/').removesuffix('json')}*"):
        made.unlink()
    shutil.rmtree(results / "blocks", ignore_errors=True)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["killed", "killed in footprint", "killed in _answer"])
def test_what_the_engine_could_not_say_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Of rates, which all studies share; a plan says what it can."""
    monkeypatch.setenv("PYTHONPATH", str(SHORT), prepend=os.pathsep)
    monkeypatch.setenv("LLMPI_SHORT", f"llmpi.gguf.no_alloc {how}")
    model = tiny_llama.tiny_llama(tmp_path)
    with pytest.raises(AccidentError, match="memory did not suffice"):
        told(model)
    [said] = ask([Question(model)])
    assert "SIGKILL" in str(said)


def test_what_the_engine_cannot_say_on_a_full_disk_is_no_result(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is of some thousand characters; the job itself and its files are shorter."""
    model = tiny_llama.tiny_llama(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(full))
    with pytest.raises(AccidentError, match="disk is full"):
        told(model)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes the machine too small, as its argument says, for processes started from here."""
    monkeypatch.setenv("PYTHONPATH", str(SHORT), prepend=os.pathsep)
    return lambda how: monkeypatch.setenv("LLMPI_SHORT", f"llmpi.gguf.quantize {how}")


def made(model: Path, out: Path, quant: str = "Q4_0") -> Any:
    manifest: Any = {"status": "ok", "sha256": sha256_of(model), "lineage": ["F16"]}
    return quantize(model, manifest, out, quant)


@pytest.mark.parametrize("megabytes", [0, 20, 35, 45, 56])
def test_an_allocation_that_fails_is_no_result(short, tmp_path: Path, megabytes: int) -> None:
    """From the interpreter's own to the engine's."""
    short(str(megabytes << 20))
    model = tiny_llama.tiny_llama(tmp_path)
    with pytest.raises(AccidentError, match="memory did not suffice"):
        made(model, tmp_path / "out/Q4_0.gguf")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_control_group_that_is_too_small_is_no_result(short, tmp_path: Path) -> None:
    only_root("a control group")
    model = tiny_llama.tiny_llama(tmp_path)
    with limited({"memory": 8 << 20, "cpus": None}) as [group]:
        short(str(group))
        with pytest.raises(AccidentError, match=r"was killed \(SIGKILL\)"):
            made(model, tmp_path / "out/Q4_0.gguf")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_job_leaves_its_partial_file_to_the_next_only(tmp_path: Path) -> None:
    """One that still runs keeps its own."""
    write = "from llmpi.records import whole_file; from pathlib import Path; import time, sys\n"
    write += (
        "with whole_file(Path(sys.argv[1])) as partial: print(partial, flush=True); time.sleep(99)"
    )
    command = [sys.executable, "-c", write, str(tmp_path / "a[1].json")]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running,
    ):
        assert killed.stdout and running.stdout
        stale, alive = (Path(p.stdout.readline().strip()) for p in (killed, running))
        killed.kill()
        killed.wait()
        assert stale.exists() and alive.exists()
        write_json(tmp_path / "a[1].json", {})
        assert alive.exists() and not stale.exists()
        running.kill()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 8 KB."""
    only_root("mounting")
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_no_result(full: Path, tmp_path: Path) -> None:
    with pytest.raises(AccidentError, match=r"disk is full .* Make room there and run again"):
        made(tiny_llama.tiny_llama(tmp_path), full / "Q4_0.gguf")
    assert list(full.iterdir()) == []


def test_what_a_killed_job_left_takes_no_room_of_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / "out/.Q4_0.gguf.abcdefgh.part"
    left.parent.mkdir()
    left.write_bytes(b"half a file")
    looked = []
    monkeypatch.setattr("llmpi.gguf.quantize.check_room", lambda *_: looked.append(left.exists()))
    assert is_ok(made(tiny_llama.tiny_llama(tmp_path), tmp_path / "out/Q4_0.gguf"))
    assert looked == [False]


def test_the_disk_that_is_full_is_among_those_that_are_told(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results may lie on disks of their own; the fullest comes first."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/gguf").symlink_to(full)
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert "free are 0.00 GB in results/gguf, " in str(accident(error))


def test_a_type_that_cannot_be_made_is_a_result(tmp_path: Path) -> None:
    """Whoever tries it again sees the same."""
    (tmp_path / "cut.gguf").write_bytes(tiny_llama.tiny_llama(tmp_path).read_bytes()[:50_000])
    assert made(tmp_path / "cut.gguf", tmp_path / "Q4_0.gguf")["status"] == "failed"
