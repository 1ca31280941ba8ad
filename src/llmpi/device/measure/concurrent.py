"""Conversations side by side: one model in memory, one row for each of them in every decoding.

They stand behind a system prompt that is computed once and stored once; without one they have
nothing in common, and each has a part of the cache to itself. All come at the same time; their
prompts are computed one after the other, then all generate in step. Each number of conversations
has a context of its own size, made anew where it differs from the one before.
"""

import re
import time
from typing import Any

import numpy as np

from llmpi.device.measure.memory import untouched, watching
from llmpi.device.measure.single import fixed_tokens, steady
from llmpi.engine.info import overheard
from llmpi.engine.llama import Engine, EngineError, Rows
from llmpi.engine.progress import say

NOT_TRIED = {"status": "skipped", "reason": "a smaller number of conversations failed"}
BUFFER = re.compile(r"(?:KV|RS) buffer size = +([\d.]+) MiB")
"""What the engine reserves for keys and values, or for a recurrent state: its own words."""


class Concurrent:
    """A concurrent workload and what was measured of it so far.

    Args:
        name: its id.
        spec: the fields of `llmpi.study.ConcurrentWorkload`.
        load_peak_bytes: peak RSS of loading the model.
    """

    def __init__(
        self, engine: Engine, name: str, spec: dict[str, Any], load_peak_bytes: int | None
    ) -> None:
        self.name = name
        self._engine, self._spec = engine, spec
        self._system = fixed_tokens(engine.vocab_tokens, spec["system_tokens"], seed=2)
        self._levels: dict[int, dict[str, Any]] = {
            count: {
                "conversations": count,
                **NOT_TRIED,
                "context_tokens": context_tokens(spec, count),
                "kv_bytes": None,
                "warmup": [],
                "steady": False,
                "repetitions": [],
                "memory": untouched(load_peak_bytes),
            }
            for count in spec["conversations"]
        }

    def arms(self) -> list[tuple[str, int | None]]:
        """What is to be repeated: (name, conversations), of those that fit."""
        fit = [count for count, level in self._levels.items() if level["status"] == "ok"]
        return [(self.name, count) for count in fit] * self._spec["repetitions"]

    def warm_up(self) -> None:
        """Each number of conversations until two repetitions agree; up to the first that fails."""
        least, limit = self._spec["warmup"], self._spec["warmup_limit"]
        for count, level in self._levels.items():
            done = level["warmup"]
            try:
                self._ready(count)
                while len(done) < least or (done and len(done) < limit and not steady(done)):
                    done.append(self._once(count))
                    say(f"{self.name}: warm-up {len(done)}: {self._rates(count, done[-1])}")
            except EngineError as error:
                level |= {"status": "failed", "reason": str(error)}
                say(f"{self.name}: {count} conversations: {error}")
                return
            level |= {"status": "ok", "reason": None, "steady": steady(done)}

    def repeat(self, count: int | None, progress: str) -> None:
        """One counted repetition with so many conversations."""
        assert count is not None
        level = self._levels[count]
        with watching(level["memory"]):
            level["repetitions"].append(self._once(count))
        say(f"[{progress}] {self.name}: {self._rates(count, level['repetitions'][-1])}")

    def sustain(self) -> None:
        """This kind has no such phase."""

    def record(self) -> dict[str, Any]:
        """What was measured; see `_once` for a repetition. It failed if not even one level fits."""
        levels = list(self._levels.values())
        first = levels[0]
        failed = {"stage": "benchmark", "reason": first["reason"]} if _lost(first) else {}
        return {
            "status": "failed" if failed else "ok",
            **failed,
            "workload": self._spec,
            "levels": [_short(level) if _lost(level) else level for level in levels],
        }

    def _ready(self, count: int) -> None:
        """An empty context for so many conversations, all of whose memory is there."""
        with overheard() as said:
            anew = self._engine.resize(
                context_tokens(self._spec, count), count, apart=not self._system
            )
        if anew:
            level = self._levels[count]
            sizes = [float(mib) for mib in BUFFER.findall("".join(said))]
            level["kv_bytes"] = round(sum(sizes) * 2**20) if sizes else None
            level["context_tokens"] = self._engine.context_tokens
            # What is computed at once is there once it is written: not on the measurement's time.
            prompts = self._prompts(count)
            self._engine.decode_rows(prompts, 0, min(self._engine.ubatch_tokens, len(prompts)))
            self._engine.synchronize()
            self._engine.keep(0)

    def _once(self, count: int) -> dict[str, Any]:
        """One repetition on an empty context.

        Returns:
            `system_s` (computing what all share, before they come), `start_s` (when they come, on
            the monotonic clock), `pp_s` (all prompts), `ttft_each_s` (until each one's first
            token), `ttft_s` (until the last one's), `itl_s` (a value for each step, in which every
            conversation gets a token).
        """
        engine, clock = self._engine, time.monotonic_ns
        self._ready(count)
        prompts, steps, forced = self._prompts(count), _rows_of_steps(count), self._forced(count)
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
        steps.positions[:] = len(self._system) + self._spec["prompt_tokens"]
        itl_ns = []
        for i in range(self._spec["output_tokens"]):
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
        return {
            "system_s": (start - before) / 1e9,
            "start_s": start / 1e9,
            "pp_s": (computed - start) / 1e9,
            "ttft_each_s": [ns / 1e9 for ns in ttft_ns],
            "ttft_s": (first_tokens - start) / 1e9,
            "itl_s": [ns / 1e9 for ns in itl_ns],
        }

    def _prompts(self, count: int) -> Rows:
        """Each conversation's own prompt, one behind the other."""
        size, shared = self._spec["prompt_tokens"], len(self._system)
        rows = Rows(count * size)
        vocabulary = self._engine.vocab_tokens
        rows.tokens[:] = [t for i in range(count) for t in fixed_tokens(vocabulary, size, 3 + i)]
        rows.positions[:] = np.tile(np.arange(shared, shared + size), count)
        rows.sequences[:] = np.repeat(np.arange(count), size)
        rows.wanted[size - 1 :: size] = True
        return rows

    def _forced(self, count: int) -> np.ndarray | None:
        """Tokens to decode instead of the most likely ones, (steps, conversations)."""
        if self._spec["sampling"] != "none":
            return None
        steps = self._spec["output_tokens"]
        tokens = fixed_tokens(self._engine.vocab_tokens, steps * count, seed=1)
        return np.array(tokens, np.int32).reshape(steps, count)

    def _rates(self, count: int, repetition: dict[str, Any]) -> str:
        each_tps = len(repetition["itl_s"]) / sum(repetition["itl_s"])
        return f"{count} conversations: tg {count * each_tps:.1f} t/s, {each_tps:.1f} each"


def context_tokens(spec: dict[str, Any], count: int) -> int:
    """Tokens of context that so many conversations need."""
    return spec["system_tokens"] + count * (spec["prompt_tokens"] + spec["output_tokens"])


def _rows_of_steps(count: int) -> Rows:
    """A row for each conversation."""
    rows = Rows(count)
    rows.sequences[:] = np.arange(count)
    rows.wanted[:] = True
    return rows


def _lost(level: dict[str, Any]) -> bool:
    return level["status"] != "ok"


def _short(level: dict[str, Any]) -> dict[str, Any]:
    """A level that gave no numbers."""
    return {key: level[key] for key in ("conversations", "status", "reason")}
