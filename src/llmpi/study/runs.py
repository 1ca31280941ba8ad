"""A study expanded into its runs, in the order of the config.

The rules ask for each job of thousands, so a study is expanded once: it does not change.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

from llmpi.quant_types import (
    FLOATS,
    RATED_WITH,
    is_mix,
    is_published,
    rated_on,
    type_of,
    width_order,
)
from llmpi.study.computation import DEFAULT, computation_of
from llmpi.study.devices import group_of
from llmpi.study.exclude import Exclude
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask, Answering


class Variant(NamedTuple):
    """A model at a quantization."""

    model: str
    quant: str


class Scored(NamedTuple):
    """What a score belongs to: a variant, and how the engine computes it."""

    model: str
    quant: str
    computation: str = DEFAULT
    """Its id, see `llmpi.study.computation`."""

    @property
    def variant(self) -> Variant:
        return Variant(self.model, self.quant)

    @property
    def name(self) -> str:
        """For a person; what is as usual is not said."""
        how = "" if self.computation == DEFAULT else f" ({self.computation})"
        return f"{self.model} {self.quant}{how}"


class Session(NamedTuple):
    """What is measured in one go: a variant on a device with a runtime, all its workloads."""

    device: str
    model: str
    quant: str
    runtime: str

    @property
    def variant(self) -> Variant:
        return Variant(self.model, self.quant)


class Run(NamedTuple):
    """One cell of the sweep: a workload of a session."""

    device: str
    model: str
    quant: str
    runtime: str
    workload: str

    @property
    def session(self) -> Session:
        return Session(*self[:-1])

    @property
    def variant(self) -> Variant:
        return Variant(self.model, self.quant)


# A process has one study, a test has several, and need not keep them all.
once = lru_cache(maxsize=4)


@once
def expand_runs(study: Study) -> Sequence[Run]:
    """Every run that no `exclude` rule drops."""
    every = (
        Run(device, variant.model, variant.quant, runtime, workload)
        for device in study.devices
        for variant in _all_variants(study)
        for runtime in study.runtimes
        for workload in study.workloads
    )
    return [
        run
        for run in every
        if _is_possible(study, run) and not any(_drops(study, rule, run) for rule in study.exclude)
    ]


@once
def sessions(study: Study) -> Mapping[Session, Sequence[str]]:
    """Every session, with the workloads that are measured in it."""
    found: dict[Session, list[str]] = {}
    for run in expand_runs(study):
        found.setdefault(run.session, []).append(run.workload)
    return found


@once
def compared_by_engine(study: Study) -> Sequence[Session]:
    """Every session in which engines are held against one another: of one model in llmpi's own
    engine, with a conversation by itself."""
    singles = {*study.single_workloads}
    return [
        session
        for session, workloads in sessions(study).items()
        if study.engines
        and study.runtimes[session.runtime].is_of_one_model
        and not singles.isdisjoint(workloads)
    ]


@once
def variants(study: Study) -> Sequence[Variant]:
    """Every variant that is still run somewhere."""
    return list(dict.fromkeys(run.variant for run in expand_runs(study)))


@once
def made(study: Study) -> Sequence[Variant]:
    """Every variant whose file is made: what is run somewhere, or drafts there, or is decoded for
    the rates of a board that another is made for."""
    drafting = [draft for session in sessions(study) if (draft := draft_of(study, session))]
    needed = [*variants(study), *drafting]
    rated = [Variant(one.model, RATED_WITH) for one in needed if rated_on(one.quant)]
    return list(dict.fromkeys([*needed, *rated]))


def draft_of(study: Study, session: Session) -> Variant | None:
    """What drafts tokens for a session, where a model does."""
    asked = study.runtimes[session.runtime].draft
    return Variant(asked.model or session.model, asked.quant) if asked else None


@once
def scored(study: Study) -> Sequence[Scored]:
    """What quality is scored of: each variant by default, and then as its runtimes compute it."""
    found = {variant: [DEFAULT] for variant in variants(study)}
    if study.scored_with == "runtimes":
        for session in sessions(study):
            if not (runtime := study.runtimes[session.runtime]).endpoint:
                found[session.variant].append(computation_of(runtime))
    return [
        Scored(*variant, computation)
        for variant, used in found.items()
        for computation in dict.fromkeys(used)
    ]


@once
def asked_over_http(study: Study) -> Sequence[tuple[Session, str]]:
    """Every session with an endpoint, and each task that it is asked."""
    if study.scored_with != "runtimes":
        return []
    there = [s for s in sessions(study) if study.runtimes[s.runtime].endpoint]
    tasks = [name for name, task in study.quality.items() if not task.not_over_http]
    return [(session, task) for session in there for task in tasks]


def stands_for(study: Study, device: str, variant: Variant) -> str:
    """The device that does for this one what does not depend on the board: one of its group.

    Each variant of a group has its board, drawn by its name: the work is spread, and another board
    or variant in the study moves as little of it as can be (rendezvous hashing: Thaler,
    Ravishankar, *Using name-based mappings to increase hit rates*, 1998).
    """
    group = group_of(study.devices[device])
    return _stand_ins(study).get((group, variant), device) if group else device


@once
def _stand_ins(study: Study) -> Mapping[tuple[str, Variant], str]:
    """Of each group and variant that is measured there."""
    boards: dict[tuple[str, Variant], set[str]] = {}
    for session in sessions(study):
        if group := group_of(study.devices[session.device]):
            boards.setdefault((group, session.variant), set()).add(session.device)

    def weight(board: str, variant: Variant) -> bytes:
        return hashlib.sha256("/".join((board, *variant)).encode()).digest()

    return {
        (group, variant): max(found, key=lambda board: weight(board, variant))
        for (group, variant), found in boards.items()
    }


def by_width(study: Study, model: str) -> Sequence[str]:
    """A model's quantizations that are run somewhere, from the widest to the narrowest.

    The first is the reference of the others.
    """
    return _by_width(study)[model]


@once
def _by_width(study: Study) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {model: [] for model in study.models}
    for variant in variants(study):
        found[variant.model].append(variant.quant)
    return {
        model: sorted(quants, key=partial(width, study, model)) for model, quants in found.items()
    }


def width(study: Study, model: str, quant: str) -> tuple[bool, tuple[int, float, str]]:
    """Key that sorts a model's quantizations as `by_width` does: what is made in full of a
    checkpoint comes before what was published of it."""
    asked = study.models.get(model)
    beside = asked is not None and asked.checkpoint is not None
    return not (beside and quant in FLOATS), width_order(quant)


def next_wider(study: Study, model: str, quant: str) -> list[str]:
    """A model's quantizations of the type next wider than this one's, however they are made.

    Of published files the reference alone: how wide the others are is not known before they are
    fetched; and of mixes none, whose names do not tell.
    """
    widest, *others = by_width(study, model)
    steps = [widest, *(q for q in others if not (is_published(q) or is_mix(q)))]
    wider = [q for q in steps if width_order(q)[0] < width_order(quant)[0]]
    return [q for q in wider if type_of(q) == type_of(wider[-1])]


@lru_cache(maxsize=32)
def pairs_of(study: Study, task: str) -> Mapping[str, tuple[Variant | Session, Variant | Session]]:
    """The pairs that an A/B task compares, by an id that names a file: answers of a variant, or of
    the endpoint of a session."""
    asked = study.quality[task]
    assert isinstance(asked, AbTask)
    order = {model: by_width(study, model) for model in study.models}
    pairs = asked.compared(order).items()
    return {pair: (_answering(a), _answering(b)) for pair, (a, b) in pairs}


def _answering(named: Answering) -> Variant | Session:
    return Variant(*named) if len(named) == len(Variant._fields) else Session(*named)


def _all_variants(study: Study) -> Iterator[Variant]:
    for model in study.models:
        for quant in study.quants_of(model):
            yield Variant(model, quant)


def _is_possible(study: Study, run: Run) -> bool:
    """An endpoint has what it serves; it is asked by one conversation at a time, for which alone a
    model drafts, and for another variant than itself. Questions of a task are answered without
    drafts, as they are scored."""
    runtime = study.runtimes[run.runtime]
    if runtime.speculation and run.workload in study.answer_workloads:
        return False
    if not (runtime.endpoint or runtime.draft):
        return True
    if run.workload not in study.single_workloads:
        return False
    if runtime.endpoint:
        return bool(runtime.endpoint.served(*run.variant))
    return draft_of(study, run.session) != run.variant


def _drops(study: Study, rule: Exclude, run: Run) -> bool:
    named = {**run._asdict(), "group": group_of(study.devices[run.device])}
    wanted = {key: getattr(rule, key) for key in rule.model_fields_set}
    return all(
        value is None or value == named[key] or (key == "device" and value == named["group"])
        for key, value in wanted.items()
    )
