"""A run as it is seen so far: what runs, what is done, and when the rest will be."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from llmpi.engine.progress import Step, step_in
from llmpi.job_lines import ERROR, FAILED, WARNING, JobLine

IMPORTANT = (FAILED, ERROR, WARNING)
"""How a line begins that is not to scroll away."""
FEWEST_S = 1.0
"""Of a job of which nothing is known: Snakemake's own share."""
QUICK = frozenset(
    (
        *("check_devices", "prepare_questions", "prepare_corpus", "merge_shards", "compare_pair"),
        *(
            "ask_for_rates",
            "publish_gguf",
            "sample_questions",
            "summarize",
            "recommend",
            "memo",
            "report",
        ),
    )
)
"""Rules of which nothing need be known: seconds, however large the model."""


class Kind(NamedTuple):
    """Jobs that take about as long as one another."""

    rule: str
    device: str
    """Where it has the machine to itself; empty for this machine's own work."""
    model: str


@dataclass
class Job:
    """One that runs."""

    name: str
    kind: Kind
    wildcards: Mapping[str, str]
    began: float = field(default_factory=time.monotonic)
    said: str = ""
    step: Step | None = None

    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def unfinished(self) -> Step | None:
        """The step it is in, whatever else it says meanwhile."""
        return self.step if self.step and self.step.done < self.step.total else None


@dataclass
class Took:
    """How long jobs took, and those of them of which something was expected."""

    jobs: int = 0
    seconds: float = 0.0
    planned_s: float = 0.0
    planned_took_s: float = 0.0

    def add(self, seconds: float, planned_s: float | None) -> None:
        self.jobs += 1
        self.seconds += seconds
        if planned_s:
            self.planned_s += planned_s
            self.planned_took_s += seconds


@dataclass
class Run:
    """What the events of a run add up to. Each costs the same, however many jobs there are."""

    study: str = "run"
    total: int = 0
    done: int = 0
    running: dict[int, Job] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    failed_cells: int = 0
    """Jobs that ended well, but whose record says that it cannot work."""
    here: frozenset[str] = frozenset()
    """Devices that are this machine."""
    devices: tuple[str, ...] = ()
    left: Counter[Kind] = field(default_factory=Counter)
    """Jobs that have not ended."""
    expected_s: dict[Kind, float] = field(default_factory=dict)
    """Of one job, before it was run."""
    _took: dict[tuple[str, ...], "Took"] = field(default_factory=dict)
    """By kind; by rule and device; by rule."""
    _by_name: dict[str, Job] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    # --- events -----------------------------------------------------------------------------------

    def begin(self, jobid: int, rule: str, name: str, wildcards: Mapping[str, str]) -> Job:
        kind = Kind(rule, wildcards.get("device", ""), wildcards.get("model", ""))
        job = Job(name, kind, wildcards)
        self.failed.discard(jobid)  # it is tried again
        self.running[jobid] = self._by_name[name] = job
        return job

    def finish(self, jobid: int) -> Job | None:
        job = self._end(jobid)
        self.done += 1
        if job:
            self.left[job.kind] -= 1
            for like in _alike(job.kind):
                took = self._took.setdefault(like, Took())
                took.add(job.elapsed_s(), self.expected_s.get(job.kind))
        return job

    def fail(self, jobid: int) -> Job | None:
        self.failed.add(jobid)
        return self._end(jobid)

    def _end(self, jobid: int) -> Job | None:
        job = self.running.pop(jobid, None)
        if job and self._by_name.get(job.name) is job:
            del self._by_name[job.name]
        return job

    def hear(self, line: JobLine) -> Job | None:
        """A line of a job; None if no such job runs."""
        job = self._by_name.get(line.job)
        if job:
            job.said, job.step = line.text, step_in(line.text) or job.unfinished()
        return job

    # --- what follows -----------------------------------------------------------------------------

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def eta_s(self) -> float | None:
        """Seconds to the end, as the slowest lane has it; None before anything is known.

        This machine's own work is one lane, whose jobs share its cores; so are the measurements on
        it. Every other device is one of its own.
        """
        lanes: defaultdict[str, float] = defaultdict(float)
        known = False
        for kind, count in self.left.items():
            seconds = self._seconds(kind)
            known = known or seconds is not None
            lanes[self._lane(kind)] += max(count, 0) * (FEWEST_S if seconds is None else seconds)
        for job in self.running.values():
            seconds = self._seconds(job.kind)
            if seconds is not None:
                lanes[self._lane(job.kind)] -= min(job.elapsed_s(), seconds)
        return max(0.0, *lanes.values()) if known else None

    @property
    def is_guessed(self) -> bool:
        """Whether nothing is known of some that is left: the end is later than `eta_s` then."""
        return any(
            count > 0 and kind.rule not in QUICK and self._seconds(kind) is None
            for kind, count in self.left.items()
        )

    def told_eta(self) -> str:
        """For a person; empty before anything is known, and at the end."""
        seconds = self.eta_s()
        if seconds is None or self.done >= self.total:
            return ""
        return f"{'at least' if self.is_guessed else 'about'} {told_time(seconds)} left"

    def _lane(self, kind: Kind) -> str:
        return "" if kind.device in self.here else kind.device

    def _seconds(self, kind: Kind) -> float | None:
        """Of a job: as its like took in this run; else as planned, by how right the plan was."""
        took = next((self._took[like] for like in _alike(kind) if like in self._took), None)
        expected = self.expected_s.get(kind)
        if kind in self._took or expected is None:
            return took.seconds / took.jobs if took else None
        return (
            expected * took.planned_took_s / took.planned_s if took and took.planned_s else expected
        )


def _alike(kind: Kind) -> tuple[tuple[str, ...], ...]:
    """Whose jobs tell how long one of this kind takes, the nearest first."""
    return kind, kind[:2], kind[:1]


def told_time(seconds: float) -> str:
    """For a person: two digits."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
