"""Conversations side by side: one model in memory, one row for each of them in every decoding.

They stand behind a system prompt that is computed once and stored once; without one they have
nothing in common, and each has a part of the cache to itself. All come at the same time; their
prompts are computed one after the other, then all generate in step. Each number of conversations
has a context of its own size, made anew where it differs from the one before.
"""

import re
import time
from typing import TYPE_CHECKING

from llmpi.device.machine.contention import Processors
from llmpi.device.measure.budget import Effort, effort_of, fitted, pace_of, told
from llmpi.device.measure.lost import lost, not_tried
from llmpi.device.measure.memory import reading, untouched, watching
from llmpi.device.measure.repeated import steady
from llmpi.device.measure.single import fixed_tokens
from llmpi.engine.info import overheard
from llmpi.engine.llama import Engine, EngineError, Rows
from llmpi.engine.progress import say
from llmpi.engine.records import (
    Arm,
    ConcurrentCell,
    ConcurrentRepetition,
    ConcurrentWorkload,
    FailedCell,
    MeasuredLevel,
)

if TYPE_CHECKING:
    import numpy as np

BUFFER = re.compile(r"(?:KV|RS) buffer size = +([\d.]+) MiB")
"""What the engine reserves for keys and values, or for a recurrent state: its own words."""


class Concurrent:
    """A concurrent workload and what was measured of it so far.

    Args:
        name: its id.
        load_peak_bytes: peak RSS of loading the model.
        processors: that it computes on.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        asked: ConcurrentWorkload,
        load_peak_bytes: int | None,
        processors: Processors,
    ) -> None:
        self.name = name
        self._engine, self._asked, self._processors = engine, asked, processors
        self._load_peak_bytes = load_peak_bytes
        self._system = fixed_tokens(engine.vocab_tokens, asked["system_tokens"], seed=2)
        self._fit: dict[int, MeasuredLevel] = {}
        self._efforts: dict[int, Effort] = {}
        self._lost = {count: not_tried(count) for count in asked["conversations"]}

    def arms(self) -> list[tuple[str, Arm]]:
        """What is to be repeated: (name, conversations), of those that fit."""
        most = self._asked["repetitions"]
        return [
            (self.name, count)
            for i in range(most)
            for count in self._fit
            if i < self._efforts[count].repetitions
        ]

    def warm_up(self, seconds: float) -> None:
        """Each number of conversations until two repetitions agree; up to the first that fails.

        Args:
            seconds: what it may take with all that follows, each number an equal part of it; a slow
                one does less.
        """
        each_s = seconds / len(self._asked["conversations"])
        for count in self._asked["conversations"]:
            level = self._untouched(count)
            done = level["warmup"]
            try:
                effort = self._effort(level, each_s)
                least, limit = effort.warmup, effort.warmup_limit
                while len(done) < least or (done and len(done) < limit and not steady(done)):
                    done.append(self._once(level))
                    say(f"{self.name}: warm-up {len(done)}: {_rates(count, done[-1])}")
            except EngineError as error:
                self._lost[count] = lost(count, str(error))
                say(f"{self.name}: {count} conversations: {error}")
                return
            level["steady"] = steady(done)
            self._fit[count] = level
            del self._lost[count]

    def repeat(self, count: int | None, progress: str) -> ConcurrentRepetition:
        """One counted repetition with so many conversations."""
        assert count is not None
        level = self._fit[count]
        with watching(level["memory"]):
            done = self._once(level)
        level["repetitions"].append(done)
        say(f"[{progress}] {self.name}: {_rates(count, done)}")
        return done

    def set_aside(self, count: int | None, repetition: ConcurrentRepetition) -> None:
        """It does not count any more."""
        assert count is not None
        level = self._fit[count]
        level["repetitions"].remove(repetition)
        level["set_aside"].append(repetition)

    def sustain(self) -> None:
        """This kind has no such phase."""

    def record(self) -> ConcurrentCell | FailedCell:
        """What was measured. It failed if not even one level fits."""
        lost = list(self._lost.values())
        if not self._fit:
            return {
                "status": "failed",
                "stage": "benchmark",
                "reason": lost[0]["reason"],
                "workload": self._asked,
                "levels": lost,
            }
        return {
            "status": "ok",
            "kind": "concurrent",
            "workload": self._asked,
            "apart": None,
            "levels": [*self._fit.values(), *lost],
        }

    def _untouched(self, count: int) -> MeasuredLevel:
        return {
            "status": "ok",
            "conversations": count,
            "reason": None,
            "context_tokens": context_tokens(self._asked, count),
            "kv_bytes": None,
            "warmup": [],
            "steady": False,
            "shortened": None,
            "repetitions": [],
            "set_aside": [],
            "memory": untouched(self._load_peak_bytes),
            "marks": [],
            "energy": None,
        }

    def _effort(self, level: MeasuredLevel, seconds: float) -> Effort:
        """What there is time for; says so where that is not all."""
        with reading(level["memory"]):
            pace = pace_of(self._once(level, tokens=1))
        effort, level["shortened"] = fitted(effort_of(self._asked), [pace], seconds)
        if level["shortened"]:
            say(f"{self.name}: {level['conversations']} conversations: {told(level['shortened'])}")
        self._efforts[level["conversations"]] = effort
        return effort

    def _ready(self, level: MeasuredLevel) -> None:
        """An empty context for so many conversations, all of whose memory is there."""
        count = level["conversations"]
        with overheard() as said:
            anew = self._engine.resize(
                context_tokens(self._asked, count), count, apart=not self._system
            )
        if anew:
            sizes = [float(mib) for mib in BUFFER.findall("".join(said))]
            level["kv_bytes"] = round(sum(sizes) * 2**20) if sizes else None
            level["context_tokens"] = self._engine.context_tokens
            # What is computed at once is there once it is written: not on the measurement's time.
            prompts = self._prompts(count)
            self._engine.decode_rows(prompts, 0, min(self._engine.ubatch_tokens, len(prompts)))
            self._engine.synchronize()
            self._engine.keep(0)

    def _once(self, level: MeasuredLevel, tokens: int | None = None) -> ConcurrentRepetition:
        """One repetition on an empty context; of so many tokens, where not all are wanted."""
        engine, clock, count = self._engine, time.monotonic_ns, level["conversations"]
        self._ready(level)
        prompts, steps, forced = self._prompts(count), _rows_of_steps(count), self._forced(count)
        found = self._processors.now()
        before = clock()
        if self._system:
            engine.decode(self._system)
            engine.fork(count)
            engine.synchronize()
        start = clock()
        firsts, ttft_ns = [], []
        for at in range(0, len(prompts), engine.ubatch_tokens):
            end = min(at + engine.ubatch_tokens, len(prompts))
            engine.decode_rows(prompts, at, end)
            engine.synchronize()
            computed = clock()
            if ready := int(prompts.wanted[at:end].sum()):
                firsts += engine.logits(ready).argmax(axis=1).tolist()
                ttft_ns += [clock() - start] * ready
        last = first_tokens = clock()
        steps.tokens[:] = firsts
        steps.positions[:] = len(self._system) + self._asked["prompt_tokens"]
        itl_ns = []
        for i in range(tokens or self._efforts[count].output_tokens):
            if forced is not None:
                steps.tokens[:] = forced[i]
            engine.decode_rows(steps)
            if forced is None:
                steps.tokens[:] = engine.logits(count).argmax(axis=1)
            else:
                engine.synchronize()
            steps.positions += 1
            now = clock()
            itl_ns.append(now - last)
            last = now
        contention = self._processors.since(found)
        repetition: ConcurrentRepetition = {
            "system_s": (start - before) / 1e9,
            "start_s": start / 1e9,
            "pp_s": (computed - start) / 1e9,
            "ttft_each_s": [ns / 1e9 for ns in ttft_ns],
            "ttft_s": (first_tokens - start) / 1e9,
            "itl_s": [ns / 1e9 for ns in itl_ns],
        }
        if contention:
            repetition["contention"] = contention
        return repetition

    def _prompts(self, count: int) -> Rows:
        """Each conversation's own prompt, one behind the other."""
        import numpy as np

        size, shared = self._asked["prompt_tokens"], len(self._system)
        rows = Rows(count * size)
        vocabulary = self._engine.vocab_tokens
        rows.tokens[:] = [t for i in range(count) for t in fixed_tokens(vocabulary, size, 3 + i)]
        rows.positions[:] = np.tile(np.arange(shared, shared + size), count)
        rows.sequences[:] = np.repeat(np.arange(count), size)
        rows.wanted[size - 1 :: size] = True
        return rows

    def _forced(self, count: int) -> "np.ndarray | None":
        """Tokens to decode instead of the most likely ones, (steps, conversations)."""
        if self._asked["sampling"] != "none":
            return None
        import numpy as np

        steps = self._asked["output_tokens"]
        tokens = fixed_tokens(self._engine.vocab_tokens, steps * count, seed=1)
        return np.array(tokens, np.int32).reshape(steps, count)


def context_tokens(asked: ConcurrentWorkload, count: int) -> int:
    """Tokens of context that so many conversations need."""
    return asked["system_tokens"] + count * (asked["prompt_tokens"] + asked["output_tokens"])


def _rates(count: int, repetition: ConcurrentRepetition) -> str:
    each_tps = len(repetition["itl_s"]) / sum(repetition["itl_s"])
    return f"{count} conversations: tg {count * each_tps:.1f} t/s, {each_tps:.1f} each"


def _rows_of_steps(count: int) -> Rows:
    """A row for each conversation."""
    import numpy as np

    rows = Rows(count)
    rows.sequences[:] = np.arange(count)
    rows.wanted[:] = True
    return rows
