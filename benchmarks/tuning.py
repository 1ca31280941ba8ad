"""How often the search for settings is wrong, and what it finds, by simulation.

The peer is what is usually done: Optuna's estimator maximizes the speed of single, unpaired
measurements, as many as ours takes in all, and the best one measured wins.

A board is made up: each level of a setting changes the seconds by a random factor (in logarithms:
mean +2 %, standard deviation 6 %, and a third of that for pairs), heat drifts by 30 % over the
blocks, and every turn has noise of its own, normal or with the heavy tail of Student's t with two
degrees of freedom (a busy machine). `nothing to gain` has no effects at all.
"""

import argparse
import itertools
import math
import random
import statistics
from collections.abc import Callable
from typing import NamedTuple

import optuna

from llmpi.device.records import TurnRequest
from llmpi.engine.records import (
    Conditions,
    CooledTurn,
    FailedTurn,
    Output,
    Position,
    Repetition,
    Runtime,
    TurnEnergy,
    Turns,
)
from llmpi.study import measuring
from llmpi.study.tuning import Tune
from llmpi.tune.ledger import Measure
from llmpi.tune.records import Searched
from llmpi.tune.search import search
from llmpi.tune.space import Setting, Space, levels_of

BASE = measuring.Runtime()
PROCESSORS = 4
PROMPT_TOKENS = 512
Slowness = Callable[[Runtime], float]
CONDITIONS: Conditions = {
    "at": "2026-01-01T00:00:00+00:00",
    "governor": None,
    "frequency_hz": None,
    "temperature_c": None,
    "throttled": None,
    "load_1min": 0.0,
    "memory_available_bytes": None,
    "swap_free_bytes": None,
}


class Board:
    """A device: seconds of a repetition are `slowness(runtime)`, times drift, times noise.

    Args:
        slowness: of a runtime; a RuntimeError is the engine's death.
        noise: standard deviation of the seconds' logarithm, or the scale of its t distribution.
        heavy: whether it is a t distribution.
        output: of a runtime, any number: what is equal predicts the same.
        peak_bytes: of a runtime.
        power_w: of a runtime; without it there is no meter.
    """

    def __init__(
        self,
        slowness: Slowness,
        seed: int,
        *,
        noise: float = 0.02,
        heavy: bool = False,
        output: Callable[[Runtime], int] = lambda _: 0,
        peak_bytes: Callable[[Runtime], int] = lambda _: 100,
        power_w: Callable[[Runtime], float] | None = None,
    ) -> None:
        self._slowness, self._noise, self._heavy = slowness, noise, heavy
        self._output, self._peak_bytes, self._power_w = output, peak_bytes, power_w
        self._random = random.Random(seed)
        self.blocks: list[list[TurnRequest]] = []

    def __call__(self, turns: list[TurnRequest]) -> Turns:
        """As `llmpi.device.measure.turns.run`."""
        self.blocks.append(turns)
        return {
            "status": "ok",
            "turns": [self._turn(turn) for turn in turns],
            "before": CONDITIONS,
            "after": CONDITIONS,
            "took_s": 10.0 * len(turns),
        }

    @property
    def turns(self) -> int:
        return sum(map(len, self.blocks))

    def seconds(self, runtime: Runtime) -> float:
        heat = 1 + 0.3 * math.sin(len(self.blocks) / 5)
        tail = math.sqrt(self._random.expovariate(1)) if self._heavy else 1.0
        noise = self._random.gauss(0, self._noise) / tail
        return heat * self._slowness(runtime) * math.exp(noise)

    def _turn(self, asked: TurnRequest) -> CooledTurn | FailedTurn:
        runtime = asked["runtime"]
        try:
            seconds = self.seconds(runtime)
        except RuntimeError as error:
            return {"status": "failed", "reason": str(error), "cooled": None}
        half_s = seconds / 2
        times: Repetition = {"start_s": 0.0, "pp_s": half_s, "ttft_s": half_s, "itl_s": [half_s]}
        return {
            "status": "ok",
            "workloads": {"chat": [times]},
            "peak_rss_bytes": self._peak_bytes(runtime),
            "output": predicted(self._output(runtime)) if asked["check"] else None,
            "took_s": seconds,
            "cooled": None,
            "energy": self._energy(runtime, seconds),
        }

    def _energy(self, runtime: Runtime, seconds: float) -> TurnEnergy | None:
        if self._power_w is None:
            return None
        joules = {"chat": [self._power_w(runtime) * seconds]}
        return {"status": "ok", "tier": "metered", "energy_j": joules}


def predicted(token: int) -> Output:
    """What a turn predicts: always this token, at 90 %."""
    position: Position = {
        "tokens": [token],
        "logprobs": [math.log(0.9)],
        "rest_logprob": math.log(0.1),
    }
    return {"positions": [position] * 4, "sha256": str(token)}


def space_of(tune: Tune) -> Space:
    levels = levels_of(tune.space, PROCESSORS)
    return Space(BASE, levels, threads=PROCESSORS, longest_prompt_tokens=PROMPT_TOKENS)


def found(measure: Measure, seed: str = "s", **tune: object) -> Searched:
    """The record of a search on a made-up board; `tune` are fields of `Tune`."""
    asked = Tune.model_validate({"trials": 40, "minutes": 600, **tune})
    return search(space_of(asked), asked, {"chat": 1.0}, measure, seed)


def random_slowness(seed: int) -> Slowness:
    """Effects of the levels drawn at random, with interactions of any two."""

    def effect(*what: object) -> float:
        return random.Random(f"{seed} {what}").gauss(0.02, 0.06)

    base = BASE.model_dump()

    def slowness(runtime: Runtime) -> float:
        changed = [(key, value) for key, value in runtime.items() if value != base[key]]
        pairs = itertools.combinations(changed, 2)
        return math.exp(sum(effect(*c) for c in changed) + sum(effect(*p) / 3 for p in pairs))

    return slowness


def usual(board: Board, turns: int, seed: int) -> Runtime:
    """The peer: the runtime of the best of so many single measurements."""
    space = space_of(Tune())
    settings = set(space.settings([range(count) for count in space.counts]))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(dict.fromkeys(space.levels, 0))

    def objective(trial: optuna.Trial) -> float:
        setting: Setting = tuple(
            trial.suggest_categorical(key, range(len(values)))
            for key, values in space.levels.items()
        )
        if setting not in settings:
            raise optuna.TrialPruned
        board.blocks.append([])  # time goes by: heat drifts
        return board.seconds(space.runtime(setting))

    study.optimize(objective, n_trials=turns)
    return space.runtime(tuple(study.best_params[key] for key in space.levels))


class Tally(NamedTuple):
    """What came of the searches on one kind of board, ours and the usual one's."""

    replaced_pct: float
    slower_pct: float
    worst: float
    mean: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("--runs", type=int, default=100, help="of each kind (default: %(default)s)")
    runs = parser.parse_args().runs
    tallies: dict[tuple[bool, str], list[Tally]] = {}
    equal = []
    print(f"{'':40}{'default':>10}{'slower':>8}{'worst':>8}{'mean':>8}{'turns':>7}{'again':>7}")
    print(f"{'':40}{'replaced':>10}{'':>8}{'speed-up':>16}{'':>7}{'equal':>7}")
    for noise, heavy in ((0.01, False), (0.03, False), (0.01, True)):
        for effects in (False, True):
            ways, turns, again = _tally(effects, noise, heavy, runs)
            name = f"noise {noise:.0%}{', heavy tail' if heavy else ''}"
            name += ", random effects" if effects else ", nothing to gain"
            for way, t in ways.items():
                more = f"{turns:>7.0f}{again:>6.0f}%" if way == "ours" else ""
                print(
                    f"{name + ', ' + way:40}{t.replaced_pct:>9.0f}%{t.slower_pct:>7.0f}%"
                    f"{t.worst:>8.3f}{t.mean:>8.3f}{more}"
                )
                tallies.setdefault((effects, way), []).append(t)
            equal.append(again)
    for way in ("ours", "usual"):
        print(f"{way}_false_winners_pct: {max(t.replaced_pct for t in tallies[False, way]):.1f}")
        print(f"{way}_slower_pct: {max(t.slower_pct for t in tallies[True, way]):.1f}")
        print(f"{way}_speed_up: {statistics.fmean(t.mean for t in tallies[True, way]):.3f}")
    print(f"again_equal_pct: {min(equal):.1f}")


def _tally(
    effects: bool, noise: float, heavy: bool, runs: int
) -> tuple[dict[str, Tally], float, float]:
    """The tallies, our median number of turns, and how often another search of ours was equal.

    Equal: the true speeds differ by no more than the greater noise that the two searches state.
    """
    runtimes: dict[str, list[tuple[Runtime, float]]] = {"ours": [], "usual": []}
    turns, equal, base = [], 0, BASE.model_dump(exclude={"tune", "endpoint"})
    for seed in range(runs):
        slowness = random_slowness(seed) if effects else lambda _: 1.0
        boards = [Board(slowness, 3 * seed + i, noise=noise, heavy=heavy) for i in range(3)]
        first, second = (found(board, f"{seed} {i}") for i, board in enumerate(boards[:2]))
        turns.append(boards[0].turns)
        chosen = {"ours": first["runtime"], "usual": usual(boards[2], turns[-1], seed)}
        for way, runtime in chosen.items():
            runtimes[way].append((runtime, 1 / slowness(runtime)))
        ratio = slowness(second["runtime"]) / slowness(first["runtime"])
        stated_pct = max(first["noise_pct"], second["noise_pct"])
        equal += abs(math.log(ratio)) <= math.log1p(stated_pct / 100)
    tallies = {
        way: Tally(
            replaced_pct=100 * statistics.fmean(runtime != base for runtime, _ in found_here),
            slower_pct=100 * statistics.fmean(speed_up < 1 for _, speed_up in found_here),
            worst=min(speed_up for _, speed_up in found_here),
            mean=statistics.fmean(speed_up for _, speed_up in found_here),
        )
        for way, found_here in runtimes.items()
    }
    return tallies, statistics.median(turns), 100 * equal / runs


if __name__ == "__main__":
    main()
