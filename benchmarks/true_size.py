"""A model of 1.2 billion weights from safetensors to the report, against what `llmpi plan` says.

A checkpoint of Llama-3.2-1B's shape with random weights and Llama 3's vocabulary goes through every
stage but training, beside one of a quarter of its layers: a study of two models. Measured are, of
all processes that Snakemake starts for a stage, the peak of the memory (resident, mapped files with
it, as a plan means it; of a measurement what its record says it needs; and what of it is
anonymous), by how much the disk fills, and the time: of the processors, so that what else runs here
counts little, and by the clock.

Beside them stands what `llmpi plan` says in an empty folder. Its times are of a machine of its
constants; the small model's stages, run in turns with the large one's, give the rates of this one:
what is planned for the large model is taken times what the small one took, by what was planned of
it.

With `--halved` each stage of the large model is done again in a control group of half the anonymous
memory that it took (as root): it must end with status 1 and words that say what to do, leave no
file, and be finished by running it again. Measuring is left out: of a device too small that is the
result.

What is done is kept in `~/.cache/llmpi/benchmarks/true_size`, so that whoever is interrupted goes
on with the next stage; `--fresh` begins anew, but for the checkpoints.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.made_checkpoint import TINY, made_checkpoint
from benchmarks.peer import ROOT, cache_folder
from benchmarks.watched import Watched, held, watched
from benchmarks.whole import whole
from llmpi import layout
from llmpi.device.machine.limits import limited
from llmpi.engine.records import SessionRecord
from llmpi.records import read

STUDY = "true-size"
LARGE, SMALL = "llama-1b", "quarter"
LAYERS = {LARGE: 16, SMALL: 4}
QUANTS = ("F16", "Q4_0")
SMALL_SHARE = 0.01
"""Of the whole study's disk, of what counts as a stage that fills it."""
TO_DO = re.compile(r"run again|make room", re.IGNORECASE)


class Figures(NamedTuple):
    """Of a stage of one model, planned or measured; None where nothing is planned."""

    memory_bytes: float | None = None
    disk_bytes: float | None = None
    seconds: float | None = None
    """Of the processors, where measured."""
    anonymous_bytes: float | None = None
    elapsed_s: float | None = None


class Stage(NamedTuple):
    """Files to make, in a plan's words."""

    name: str
    targets: tuple[str, ...]


def stages(model: str) -> list[Stage]:
    """In the order of the work."""
    own = {"study": STUDY, "model": model, "device": "here", "runtime": "default"}

    def each(pattern: str, **more: str) -> tuple[str, ...]:
        return tuple(layout.at(pattern, **own, quant=quant, **more) for quant in QUANTS)

    def scored(task: str) -> Stage:
        return Stage(f"score {task}", each(layout.QUALITY, computation="f16", task=task))

    return [
        Stage("fetch", (layout.at(layout.MODEL_MANIFEST, **own),)),
        Stage("convert", each(layout.GGUF_MANIFEST)[:1]),
        Stage("quantize", each(layout.GGUF_MANIFEST)[1:]),
        scored("field"),
        Stage("reference of text", (layout.at(layout.REFERENCE, **own, task="text"),)),
        scored("text"),
        *(
            Stage(f"measure {quant}", (target,))
            for quant, target in zip(QUANTS, each(layout.BENCH), strict=True)
        ),
    ]


REPORT = Stage("report", (layout.at(layout.PAGE, study=STUDY),))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.true_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--halved", action="store_true", help="with half of the memory, too")
    parser.add_argument("--fresh", action="store_true", help="do every stage again")
    parser.add_argument("--tiny", action="store_true", help="of small widths, to try the benchmark")
    args = parser.parse_args()
    run = Run(cache_folder() / "true_size" / ("tiny" if args.tiny else "1b"), fresh=args.fresh)
    run.prepare(TINY if args.tiny else {})
    rows = run.measured()
    tell(rows, run.planned(), run.planned_whole_bytes, held(run.results))
    if args.halved:
        done = run.halved(rows)
        print(f"halved: {sum(done.values())} of {len(done)}")


class Run:
    """The study in its folder."""

    def __init__(self, folder: Path, *, fresh: bool) -> None:
        self._folder, self.results = folder, folder / "results"
        self._kept, self._config = folder / "rows.json", folder / "study.json"
        self._kept_halved = folder / "halved.json"
        self.planned_whole_bytes = 0
        if fresh:
            for left in (self.results, folder / ".snakemake", folder / "logs"):
                shutil.rmtree(left, ignore_errors=True)
            self._kept.unlink(missing_ok=True)
            self._kept_halved.unlink(missing_ok=True)

    def prepare(self, widths: dict[str, int]) -> None:
        models = {
            name: made_checkpoint(self._folder / name, layers, widths)
            for name, layers in LAYERS.items()
        }
        self._config.write_text(json.dumps(study(models)))

    def planned(self) -> dict[tuple[str, str], Figures]:
        """By model and stage: what `llmpi plan` says before anything is there."""
        with tempfile.TemporaryDirectory() as empty:
            command = [sys.executable, "-m", "llmpi.cli", "plan", "--json"]
            done = subprocess.run(
                [*command, "--configfile", str(self._config)],
                cwd=empty,
                capture_output=True,
                text=True,
                check=False,
            )
        if not done.stdout:
            raise SystemExit(f"llmpi plan failed: {done.stderr}")
        plan = json.loads(done.stdout)
        self.planned_whole_bytes = plan["totals"]["workstation_bytes"]
        found = {
            (one["model"], one["stage"]): Figures(
                one["memory_bytes"], one["disk_bytes"], one["seconds"][1]
            )
            for one in plan["stages"]
        }
        for one in plan["sessions"]:
            model, quant = one["model"], one["quant"]
            measuring = Figures(one["needed_bytes"], 0, one["measure_s"][1])
            found[model, f"measure {quant}"] = measuring
            made = (model, "convert" if quant == QUANTS[0] else "quantize")
            found[made] = found[made]._replace(disk_bytes=one["file_bytes"])
        return found

    def measured(self) -> dict[tuple[str, str], Figures]:
        """By model and stage; what was done before is not done again."""
        kept = json.loads(self._kept.read_text()) if self._kept.is_file() else []
        rows = {(model, name): Figures(*figures) for model, name, figures in kept}
        turns = zip(stages(LARGE), stages(SMALL), strict=True)
        todo = [(model, one) for pair in turns for model, one in zip(LAYERS, pair, strict=True)]
        for model, stage in [*todo, (LARGE, REPORT)]:
            if (model, stage.name) in rows:
                continue
            self._forget(model, stage)
            took = self._snakemake(stage)
            if took.returncode != 0:
                raise SystemExit(f"{model}, {stage.name} failed:\n{took.out[-3000:]}")
            needed = self._needed(stage) or took.resident_bytes
            rows[model, stage.name] = Figures(
                needed, took.disk_bytes, took.processor_s, took.anonymous_bytes, took.seconds
            )
            print(f"{model}, {stage.name}: done in {took.seconds:.0f} s", flush=True)
            self._kept.write_text(json.dumps([(*key, figures) for key, figures in rows.items()]))
        return rows

    def _needed(self, stage: Stage) -> int | None:
        """Of a measurement the memory that its record says it needs, which is what is planned."""
        if not stage.name.startswith("measure"):
            return None
        record = whole(read(self._folder / stage.targets[0], SessionRecord))
        cell = record["workloads"]["chat"]
        assert cell["status"] == "ok" and cell["kind"] == "single"
        memory = cell["memory"]
        assert memory["anonymous_bytes"] and memory["file_bytes"] is not None
        return memory["anonymous_bytes"] + memory["file_bytes"]

    def halved(self, rows: Mapping[tuple[str, str], Figures]) -> dict[str, bool]:
        """Whether each stage ends as it should with half of its memory; what did is kept.

        The last one first: what is made anew makes those anew that come after it.
        """
        is_kept = self._kept_halved.is_file()
        done: dict[str, bool] = json.loads(self._kept_halved.read_text()) if is_kept else {}
        for stage in [REPORT, *reversed(stages(LARGE))]:
            if not stage.name.startswith("measure") and not done.get(stage.name):
                done[stage.name] = self._halved(stage, rows[LARGE, stage.name])
                self._kept_halved.write_text(json.dumps(done))
        return done

    def _halved(self, stage: Stage, took: Figures) -> bool:
        assert took.anonymous_bytes
        self._forget(LARGE, stage)
        before = self._files()
        half = int(took.anonymous_bytes / 2)
        with limited({"memory": half, "cpus": None}) as [group]:
            short = self._snakemake(stage, snakefile=self._in_group(group))
        left = self._files() - before - self._finished(stage)
        again = self._snakemake(stage)
        wrong = {
            f"status {short.returncode}": short.returncode != 1,
            "no words": not TO_DO.search(short.out),
            "called a fault of llmpi": "please report it" in short.out,
            f"left {', '.join(sorted(map(str, left)))}": bool(left),
            f"again: status {again.returncode}": again.returncode != 0,
        }
        said = ", ".join(what for what, is_so in wrong.items() if is_so) or "ended as it should"
        words = next((line for line in short.out.splitlines() if TO_DO.search(line)), "")
        print(f"{stage.name} in {half / 1e6:.0f} MB: {said}\n  {words[:300]}", flush=True)
        return not any(wrong.values())

    def _forget(self, model: str, stage: Stage) -> None:
        """Its targets and what is named like them; of questions the answers, too."""
        for target in stage.targets:
            path = self._folder / target
            for made in path.parent.glob(f"{path.stem}.*"):
                shutil.rmtree(made) if made.is_dir() else made.unlink()
        if stage.name == "score field":
            shutil.rmtree(self.results / "blocks" / model, ignore_errors=True)

    def _files(self) -> set[Path]:
        return {path for path in self.results.rglob("*") if path.is_file()}

    def _finished(self, stage: Stage) -> set[Path]:
        """What may be there: the targets that fit in, and blocks of answers to go on from."""
        done = [self._folder / target for target in stage.targets]
        whole_ones = (path.parent.glob(f"{path.stem}.*") for path in done if path.is_file())
        return {*chain(*whole_ones), *(self.results / "blocks").rglob("*.json")}

    def _in_group(self, procs: Path) -> Path:
        """A workflow whose jobs enter a control group."""
        snakefile = self._folder / "halved.smk"
        enter = f"set -euo pipefail; echo 0 > {procs}; "
        snakefile.write_text(f"include: {str(ROOT / 'Snakefile')!r}\nshell.prefix({enter!r})\n")
        return snakefile

    def _snakemake(self, stage: Stage, *, snakefile: Path = ROOT / "Snakefile") -> Watched:
        command = [sys.executable, "-m", "snakemake", "--cores", "all", "--nolock"]
        command += ["--snakefile", str(snakefile), "--profile", str(ROOT / "profiles/default")]
        command += ["--configfile", str(self._config)]
        path = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        environment = {**os.environ, "PYTHONPATH": path}
        return watched([*command, "--", *stage.targets], self._folder, self.results, environment)


def study(models: Mapping[str, Path]) -> dict[str, Any]:
    return {
        "study": STUDY,
        "models": {name: {"source": {"path": str(path)}} for name, path in models.items()},
        "quants": QUANTS,
        "devices": {"here": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 64, "output_tokens": 16, "repetitions": 3}},
        "quality": {
            "field": {
                "task": "squad",
                "squad_file": str(ROOT / "config/data/field_qa.json"),
                "questions": 16,
                "max_new_tokens": 16,
            },
            "text": {"task": "divergence", "python_topics": True, "chunks": 4},
        },
    }


# --- the table ------------------------------------------------------------------------------------


def tell(
    rows: Mapping[tuple[str, str], Figures],
    planned: Mapping[tuple[str, str], Figures],
    planned_whole_bytes: float,
    whole_bytes: float,
) -> None:
    """A row for each stage of the large model, and how far the plan was off at most."""
    head = ("stage", "MB", "planned", "off", "anonymous", "disk MB", "planned", "off")
    print(*_cells((*head, "cpu s", "planned", "by rates", "factor", "clock s")))
    memory, disk, time = [], [_off(whole_bytes, planned_whole_bytes)], []
    for stage in [*stages(LARGE), REPORT]:
        took = rows[LARGE, stage.name]
        asked = planned.get((LARGE, stage.name), Figures())
        rated_s = None
        if asked.seconds:
            ruler, ruled = rows[SMALL, stage.name], planned[SMALL, stage.name]
            assert ruler.seconds and ruled.seconds and took.seconds
            rated_s = asked.seconds * ruler.seconds / ruled.seconds
            time.append(max(rated_s / took.seconds, took.seconds / rated_s))
        memory_off = _off(took.memory_bytes, asked.memory_bytes)
        disk_off = _off(took.disk_bytes, asked.disk_bytes)
        if max(took.disk_bytes or 0, asked.disk_bytes or 0) < SMALL_SHARE * whole_bytes:
            disk_off = None
        memory.append(memory_off)
        disk.append(disk_off)
        shown = [
            *(_mb(took.memory_bytes), _mb(asked.memory_bytes), _pct(memory_off)),
            _mb(took.anonymous_bytes),
            *(_mb(took.disk_bytes), _mb(asked.disk_bytes), _pct(disk_off)),
            *map(_s, (took.seconds, asked.seconds, rated_s)),
            f"{time[-1]:.2f}" if rated_s else "-",
            _s(took.elapsed_s),
        ]
        print(*_cells((stage.name, *shown)))
    print(f"all: {_mb(whole_bytes)} MB of disk, planned {_mb(planned_whole_bytes)}")
    print(f"memory_off_pct_max: {max(map(abs, filter(None, memory))):.1f}")
    print(f"disk_off_pct_max: {max(map(abs, filter(None, disk))):.1f}")
    print(f"time_factor_max: {max(time):.2f}", flush=True)


def _off(took: float | None, planned: float | None) -> float | None:
    """Of what was measured, in per cent."""
    return 100 * (planned / took - 1) if took and planned is not None else None


def _cells(values: tuple[str, ...]) -> Iterator[str]:
    yield f"{values[0]:18}"
    yield from (f"{value:>10}" for value in values[1:])


def _mb(size: float | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f}"


def _pct(off: float | None) -> str:
    return "-" if off is None else f"{off:+.1f} %"


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


if __name__ == "__main__":
    main()
