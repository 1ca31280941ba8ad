"""A conversation of several turns: what its history costs, by what is done with its prefix.

The prefix of a turn's prompt is all that was said before. It is kept in memory, restored from a
file that was written behind the answer before, or computed again. A turn begins when its question
is there, and what is restored then is on its time; saving is not: nobody waits for it.
"""

import contextlib
import errno
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from llmpi.device.machine.contention import Processors, together
from llmpi.device.measure.budget import Pace, effort_of, fitted, told, took_s
from llmpi.device.measure.memory import reading, untouched, watching
from llmpi.device.measure.repeated import agree
from llmpi.device.measure.single import fixed_tokens
from llmpi.engine.llama import Engine, EngineError
from llmpi.engine.progress import say
from llmpi.engine.records import (
    Arm,
    Contention,
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
        self._folder, self._effort = folder, effort_of(asked)
        self._questions = [self._question(turn) for turn in range(asked["turns"])]
        self._parts: dict[Prefix, MeasuredPrefix] = {
            prefix: self._untouched(prefix, load_peak_bytes) for prefix in asked["prefix"]
        }
        self._lost: dict[Prefix, LostPrefix] = {}
        self._can_cut_back = False

    def arms(self) -> list[tuple[str, Arm]]:
        """What is to be repeated: (name, what is done with the prefix), of those that work."""
        once: list[tuple[str, Arm]] = [(self.name, part["prefix"]) for part in self._working()]
        return once * self._effort.repetitions

    def warm_up(self, seconds: float) -> None:
        """Each until two conversations agree.

        Args:
            seconds: what all may take with all that follows; where that is not enough, all do less
                alike, lest answers of different lengths stand beside one another.
        """
        self._ready()
        # Behind a first question of one token there would be no end to forget.
        self._engine.decode(self._questions[0] + self._questions[1][:1])
        self._can_cut_back = self._engine.can_cut_back(1)
        paces = [pace for prefix in self._parts if (pace := self._pace(prefix))]
        if not paces:
            return
        whole = Pace(sum(p.prompt_s for p in paces), sum(p.token_s for p in paces))
        self._effort, shortened = fitted(self._effort, [whole], seconds)
        if shortened:
            say(f"{self.name}: {told(shortened)}")
        for part in self._working():
            part["shortened"] = shortened
            self._warm_up(part)

    def repeat(self, arm: Arm, progress: str) -> ConversationRepetition | None:
        """One counted conversation; nothing once one with this prefix has failed."""
        part = self._part(arm)
        if part["prefix"] in self._lost:
            return None
        with watching(part["memory"]):
            done = self._tried(part["prefix"], self._effort.output_tokens)
        if done is None:
            return None
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
        if len(self._lost) == len(self._parts):
            return {
                "status": "failed",
                "stage": "benchmark",
                "reason": next(iter(self._lost.values()))["reason"],
                "workload": self._asked,
                "levels": [],
            }
        return {
            "status": "ok",
            "kind": "conversation",
            "workload": self._asked,
            "apart": None,
            "can_cut_back": self._can_cut_back,
            "prefixes": [*self._working(), *self._lost.values()],
        }

    def _working(self) -> list[MeasuredPrefix]:
        return [part for prefix, part in self._parts.items() if prefix not in self._lost]

    def _part(self, arm: Arm) -> MeasuredPrefix:
        return next(part for prefix, part in self._parts.items() if prefix == arm)

    def _untouched(self, prefix: Prefix, load_peak_bytes: int | None) -> MeasuredPrefix:
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
            "memory": untouched(load_peak_bytes),
            "marks": [],
            "energy": None,
        }

    def _pace(self, prefix: Prefix) -> Pace | None:
        """Of a whole conversation: all its prompts, pauses and savings, and a token of each answer,
        by which later prompts grow that are computed again."""
        with reading(self._parts[prefix]["memory"]):
            done = self._tried(prefix, tokens=1)
        if done is None:
            return None
        turns = done["turns"]
        count = len(turns)
        computed_s = sum(turn["pp_s"] - (turn["restore_s"] or 0.0) for turn in turns)
        per_token_s = computed_s / sum(turn["prompt_tokens"] for turn in turns)
        grown = count * (count - 1) / 2 if prefix == "computed" else 0
        answers_s = sum(sum(turn["itl_s"]) for turn in turns)
        return Pace(took_s(done) - answers_s, answers_s + grown * per_token_s)

    def _warm_up(self, part: MeasuredPrefix) -> None:
        done = part["warmup"]
        least, limit = self._effort.warmup, self._effort.warmup_limit
        while len(done) < least or (done and len(done) < limit and not _steady(done)):
            found = self._tried(part["prefix"], self._effort.output_tokens)
            if found is None:
                return
            done.append(found)
            say(f"{self.name}: warm-up {len(done)}: {_told(part['prefix'], found)}")
        part["steady"] = _steady(done)

    def _tried(self, prefix: Prefix, tokens: int) -> ConversationRepetition | None:
        """One conversation with answers of so many tokens; None where it fails, and then this
        prefix is lost: the others are not."""
        try:
            return self._once(prefix, tokens)
        except (EngineError, OSError) as error:
            reason = str(error)
            if isinstance(error, OSError):
                reason = f"the prefix cannot be saved beside the model: {error.strerror}"
            self._lost[prefix] = {"prefix": prefix, "status": "failed", "reason": reason}
            say(f"{self.name}: prefix {prefix}: {reason}")
            return None

    def _question(self, turn: int) -> list[int]:
        """What a turn adds to the prompt; the first one's begins with the system prompt."""
        vocabulary = self._engine.vocab_tokens
        system = [] if turn else fixed_tokens(vocabulary, self._asked["system_tokens"], seed=2)
        return system + fixed_tokens(vocabulary, self._asked["prompt_tokens"], seed=3 + turn)

    def _ready(self) -> None:
        """An empty context for all turns."""
        engine = self._engine
        if engine.resize(context_tokens(self._asked)):
            # A new context's memory is there once it is written: not on the measurement's time.
            engine.decode(self._questions[0][: engine.ubatch_tokens])
            engine.synchronize()
            engine.keep(0)

    def _once(self, prefix: Prefix, tokens: int) -> ConversationRepetition:
        """One conversation in an empty context, with answers of so many tokens."""
        self._ready()
        start = time.monotonic()
        found: list[Contention | None] = []
        with contextlib.ExitStack() as stack:
            saved = None
            if prefix == "restored":
                saved = stack.enter_context(Saved(self._engine, self._folder))
            turns = list(self._turns(prefix, saved, tokens, found))
        repetition: ConversationRepetition = {
            "start_s": start,
            "turns": turns,
            "state_bytes": self._engine.state_bytes(),
        }
        if contention := together(found):
            repetition["contention"] = contention
        return repetition

    def _turns(
        self, prefix: Prefix, saved: "Saved | None", tokens: int, found: list[Contention | None]
    ) -> Iterator[ConversationTurn]:
        """
        Args:
            found: takes who had the processors in each turn; between them they are nobody's.
        """
        said: list[int] = []  # and computed, in this order
        pending: list[int] = []  # the last token of an answer, which nothing was computed behind
        for number, question in enumerate(self._questions):
            if number:
                time.sleep(self._asked["pause_s"])
            before = self._processors.now()
            turn, answer = self._turn(prefix, saved, said, pending + question, number, tokens)
            found.append(self._processors.since(before))
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
    """A prefix in a file without a name: whatever happens, nothing of it stays behind.

    Raises:
        OSError: the folder cannot be written to, or what is written there is kept in memory.
    """

    def __init__(self, engine: Engine, folder: Path) -> None:
        if kept_in_memory(folder):
            raise OSError(errno.ENODEV, "that is no storage, but memory (tmpfs)")
        self._engine, self._bytes = engine, 0
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._path = f"/proc/self/fd/{self._file.fileno()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # of a full disk
            self._file.close()

    def save(self) -> float:
        """Write the state to storage and forget it, here and in the page cache; the seconds of
        writing."""
        start = time.monotonic()
        self._bytes = self._engine.save(self._path)
        os.fsync(self._file.fileno())
        seconds = time.monotonic() - start
        os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self._engine.keep(0)
        return seconds

    def restore(self) -> None:
        """
        Raises:
            EngineError: it is not there as it was written; llama.cpp would abort the process.
        """
        if os.fstat(self._file.fileno()).st_size != self._bytes:
            raise EngineError("the saved prefix is cut short")
        self._engine.restore(self._path)


def kept_in_memory(folder: Path) -> bool:
    """Whether what is written to a folder stays in memory (proc_pid_mountinfo(5))."""
    device = folder.stat().st_dev
    here = f"{os.major(device)}:{os.minor(device)}"
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    kinds = {line.split()[2]: line.rpartition(" - ")[2].split()[0] for line in lines}
    return kinds.get(here) in ("tmpfs", "ramfs")


def context_tokens(asked: ConversationWorkload) -> int:
    """Tokens of context that all its turns take; with each the last token of the answer before."""
    each = asked["prompt_tokens"] + asked["output_tokens"] + 1
    return asked["system_tokens"] + asked["turns"] * each


def _steady(warmup: list[ConversationRepetition]) -> bool:
    return agree([sum(sum(turn["itl_s"]) for turn in one["turns"]) for one in warmup])


def _told(prefix: Prefix, repetition: ConversationRepetition) -> str:
    first, *later = (turn["ttft_s"] for turn in repetition["turns"])
    return f"prefix {prefix}: first token after {first:.2f} s, then {max(later):.2f} s at most"
