"""A conversation of several turns: what its history costs, by what is done with its prefix.

The prefix of a turn's prompt is all that was said before. It is kept in memory, restored from a
file that was written behind the answer before, or computed again. A turn begins when its question
is there, and what is restored then is on its time; saving is not: nobody waits for it.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from llmpi.device.machine.contention import Processors
from llmpi.device.measure.budget import Effort, Pace, effort_of, fitted, told
from llmpi.device.measure.memory import reading, untouched, watching
from llmpi.device.measure.single import agree, fixed_tokens
from llmpi.engine.llama import Engine, EngineError
from llmpi.engine.progress import say
from llmpi.engine.records import (
    Arm,
    ConversationCell,
    ConversationRepetition,
    ConversationTurn,
    ConversationWorkload,
    FailedCell,
    LostPrefix,
    MeasuredPrefix,
    Prefix,
)


class Conversation:
    """A workload of several turns and what was measured of it so far.

    Args:
        name: its id.
        folder: on the storage that prefixes are saved to, where the model file is.
        load_peak_bytes: peak RSS of loading the model.
        processors: that it computes on.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        asked: ConversationWorkload,
        folder: Path,
        load_peak_bytes: int | None,
        processors: Processors,
    ) -> None:
        self.name = name
        self._engine, self._asked, self._processors = engine, asked, processors
        self._folder, self._load_peak_bytes = folder, load_peak_bytes
        self._questions = [self._question(turn) for turn in range(asked["turns"])]
        self._measured: dict[Prefix, MeasuredPrefix] = {}
        self._efforts: dict[Prefix, Effort] = {}
        self._lost: list[LostPrefix] = []
        self._can_cut_back = False

    def arms(self) -> list[tuple[str, Arm]]:
        """What is to be repeated: (name, what is done with the prefix), of those that work."""
        return [
            (self.name, prefix)
            for prefix in self._measured
            for _ in range(self._efforts[prefix].repetitions)
        ]

    def warm_up(self, seconds: float) -> None:
        """Each until two conversations agree.

        Args:
            seconds: what it may take with all that follows, each an equal part of it.
        """
        each_s = seconds / len(self._asked["prefix"])
        for prefix in self._asked["prefix"]:
            part = self._untouched(prefix)
            done = part["warmup"]
            try:
                effort = self._effort(part, each_s)
                least, limit = effort.warmup, effort.warmup_limit
                while len(done) < least or (done and len(done) < limit and not _steady(done)):
                    done.append(self._once(prefix))
                    say(f"{self.name}: warm-up {len(done)}: {_told(prefix, done[-1])}")
            except (EngineError, OSError) as error:
                reason = str(error)
                self._lost.append({"prefix": prefix, "status": "failed", "reason": reason})
                say(f"{self.name}: prefix {prefix}: {reason}")
                continue
            part["steady"] = _steady(done)
            self._measured[prefix] = part

    def repeat(self, arm: Arm, progress: str) -> ConversationRepetition:
        """One counted conversation."""
        part = self._part(arm)
        with watching(part["memory"]):
            done = self._once(part["prefix"])
        part["repetitions"].append(done)
        say(f"[{progress}] {self.name}: {_told(part['prefix'], done)}")
        return done

    def set_aside(self, arm: Arm, repetition: ConversationRepetition) -> None:
        """It does not count any more."""
        part = self._part(arm)
        part["repetitions"].remove(repetition)
        part["set_aside"].append(repetition)

    def sustain(self) -> None:
        """This kind has no such phase."""

    def record(self) -> ConversationCell | FailedCell:
        """What was measured. It failed if nothing of it works."""
        if not self._measured:
            return {
                "status": "failed",
                "stage": "benchmark",
                "reason": self._lost[0]["reason"],
                "workload": self._asked,
                "levels": [],
            }
        return {
            "status": "ok",
            "kind": "conversation",
            "workload": self._asked,
            "apart": None,
            "can_cut_back": self._can_cut_back,
            "prefixes": [*self._measured.values(), *self._lost],
        }

    def _part(self, arm: Arm) -> MeasuredPrefix:
        return next(part for prefix, part in self._measured.items() if prefix == arm)

    def _untouched(self, prefix: Prefix) -> MeasuredPrefix:
        return {
            "status": "ok",
            "prefix": prefix,
            "reason": None,
            "context_tokens": context_tokens(self._asked),
            "warmup": [],
            "steady": False,
            "shortened": None,
            "repetitions": [],
            "set_aside": [],
            "memory": untouched(self._load_peak_bytes),
            "marks": [],
            "energy": None,
        }

    def _effort(self, part: MeasuredPrefix, seconds: float) -> Effort:
        """What there is time for; says so where that is not all."""
        with reading(part["memory"]):
            once = self._once(part["prefix"], tokens=1)
        self._can_cut_back = self._engine.can_cut_back(len(self._questions[0]))
        effort, part["shortened"] = fitted(effort_of(self._asked), [_pace(once)], seconds)
        if part["shortened"]:
            say(f"{self.name}: prefix {part['prefix']}: {told(part['shortened'])}")
        self._efforts[part["prefix"]] = effort
        return effort

    def _question(self, turn: int) -> list[int]:
        """What a turn adds to the prompt; the first one's begins with the system prompt."""
        vocabulary = self._engine.vocab_tokens
        system = [] if turn else fixed_tokens(vocabulary, self._asked["system_tokens"], seed=2)
        return system + fixed_tokens(vocabulary, self._asked["prompt_tokens"], seed=3 + turn)

    def _once(self, prefix: Prefix, tokens: int | None = None) -> ConversationRepetition:
        """One conversation in an empty context; with answers of so many tokens, where not all are
        wanted."""
        engine = self._engine
        if engine.resize(context_tokens(self._asked)):
            # A new context's memory is there once it is written: not on the measurement's time.
            engine.decode(self._questions[0][: engine.ubatch_tokens])
            engine.synchronize()
            engine.keep(0)
        before, start = self._processors.now(), time.monotonic()
        with contextlib.ExitStack() as stack:
            saved = None
            if prefix == "restored":
                saved = stack.enter_context(Saved(engine, self._folder))
            turns = list(self._turns(prefix, saved, tokens or self._output_tokens(prefix)))
        contention = self._processors.since(before)
        repetition: ConversationRepetition = {
            "start_s": start,
            "turns": turns,
            "state_bytes": saved.bytes if saved else None,
        }
        if contention:
            repetition["contention"] = contention
        return repetition

    def _output_tokens(self, prefix: Prefix) -> int:
        return self._efforts[prefix].output_tokens

    def _turns(
        self, prefix: Prefix, saved: "Saved | None", tokens: int
    ) -> Iterator[ConversationTurn]:
        said: list[int] = []  # and computed, in this order
        pending: list[int] = []  # the last token of an answer, which nothing was computed behind
        for number, question in enumerate(self._questions):
            if number:
                time.sleep(self._asked["pause_s"])
            turn, answer = self._turn(prefix, saved, said, pending + question, number, tokens)
            said += [*pending, *question, *answer[:-1]]
            pending = answer[-1:]
            if saved and number + 1 < len(self._questions):
                turn["save_s"] = saved.save()
            yield turn

    def _turn(
        self,
        prefix: Prefix,
        saved: "Saved | None",
        said: list[int],
        new: list[int],
        number: int,
        tokens: int,
    ) -> tuple[ConversationTurn, list[int]]:
        """A turn, and its answer's tokens."""
        engine, clock = self._engine, time.monotonic_ns
        forced = self._forced(number, tokens)
        start = clock()
        if said and saved:
            saved.restore()
        elif said and prefix == "computed":
            engine.keep(0)
            new = said + new
        restored = clock()
        engine.decode(new)
        engine.synchronize()
        prompt_done = clock()
        token = engine.greedy()
        answer: list[int] = []
        itl_ns: list[int] = []
        last = first_token = clock()
        for i in range(tokens):
            answer.append(token if forced is None else forced[i])
            engine.decode(answer[-1:])
            if forced is None:
                token = engine.greedy()
            else:
                engine.synchronize()
            now = clock()
            itl_ns.append(now - last)
            last = now
        turn: ConversationTurn = {
            "start_s": start / 1e9,
            "pp_s": (prompt_done - start) / 1e9,
            "ttft_s": (first_token - start) / 1e9,
            "itl_s": [ns / 1e9 for ns in itl_ns],
            "prompt_tokens": len(new),
            "restore_s": (restored - start) / 1e9 if said and saved else None,
            "save_s": None,
        }
        return turn, [*answer, token]

    def _forced(self, number: int, tokens: int) -> list[int] | None:
        """Tokens to decode instead of the most likely ones."""
        if self._asked["sampling"] != "none":
            return None
        every = fixed_tokens(self._engine.vocab_tokens, (number + 1) * tokens, seed=1)
        return every[-tokens:]


class Saved:
    """A prefix in a file without a name: whatever happens, nothing of it stays behind."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by __exit__
        self._path = f"/proc/self/fd/{self._file.fileno()}"
        self.bytes: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def save(self) -> float:
        """Write the state to storage and forget it, here and in the page cache; the seconds of
        writing."""
        start = time.monotonic()
        self.bytes = self._engine.save(self._path)
        os.fsync(self._file.fileno())
        seconds = time.monotonic() - start
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._engine.keep(0)
        return seconds

    def restore(self) -> None:
        self._engine.restore(self._path)


def context_tokens(asked: ConversationWorkload) -> int:
    """Tokens of context that all its turns take; with each the last token of the answer before."""
    each = asked["prompt_tokens"] + asked["output_tokens"] + 1
    return asked["system_tokens"] + asked["turns"] * each


def _steady(warmup: list[ConversationRepetition]) -> bool:
    return agree([_answers_s(one) for one in warmup])


def _answers_s(repetition: ConversationRepetition) -> float:
    return sum(sum(turn["itl_s"]) for turn in repetition["turns"])


def _pace(repetition: ConversationRepetition) -> Pace:
    """Of a whole conversation: all its prompts, and a token of every answer."""
    turns = repetition["turns"]
    prompts_s = sum(turn["ttft_s"] + (turn["save_s"] or 0.0) for turn in turns)
    return Pace(prompts_s, _answers_s(repetition) / len(turns[0]["itl_s"]))


def _told(prefix: Prefix, repetition: ConversationRepetition) -> str:
    first, *later = (turn["ttft_s"] for turn in repetition["turns"])
    return f"prefix {prefix}: first token after {first:.2f} s, then {max(later):.2f} s at most"
