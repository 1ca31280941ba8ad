"""One workload on a loaded engine: its warm-up, its repetitions, its sustained phase.

Nothing but decoding and sampling happens between the clocks.
"""

import random
import time
from collections.abc import Iterator, Sequence

from llmpi.device.machine.contention import Processors
from llmpi.device.measure.budget import Pace, effort_of, fitted, pace_of, told
from llmpi.device.measure.memory import reading, untouched, watching
from llmpi.engine.fixed_text import passage
from llmpi.engine.llama import Engine
from llmpi.engine.progress import say
from llmpi.engine.prompt_lookup import PromptLookup
from llmpi.engine.records import (
    Arm,
    ConcurrentRepetition,
    Repetition,
    Shortened,
    SingleCell,
    SingleWorkload,
)

STEADY_WITHIN = 0.03


class Single:
    """A workload of one conversation and what was measured of it so far.

    Args:
        name: its id.
        load_peak_bytes: peak RSS of loading the model, which every workload needs.
        processors: that it computes on.
        lookup: what drafts tokens, where the runtime asks for it.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        asked: SingleWorkload,
        load_peak_bytes: int | None,
        processors: Processors,
        lookup: PromptLookup | None = None,
    ) -> None:
        self.name = name
        self._engine, self._asked, self._lookup = engine, asked, lookup
        self._processors, self._effort = processors, effort_of(asked)
        self._shortened: Shortened | None = None
        self._output: list[int] = []
        self._forced: list[int] | None = None
        if asked["sampling"] == "none":
            self._forced = fixed_tokens(engine.vocab_tokens, asked["output_tokens"], seed=1)
        self._warmup: list[Repetition] = []
        self._done: dict[int | None, list[Repetition]] = {None: []}
        self._done |= {depth: [] for depth in asked["depths"]}
        self._set_aside: list[Repetition] = []
        self._sustained: list[tuple[float, float]] = []
        self._memory = untouched(load_peak_bytes)

    def arms(self) -> list[tuple[str, Arm]]:
        """What is to be repeated: (name, None) for the workload itself, (name, depth) behind it."""
        once: list[tuple[str, Arm]] = [(self.name, depth) for depth in self._done]
        return once * self._effort.repetitions

    def warm_up(self, seconds: float) -> None:
        """Until two repetitions in a row agree, within the bounds the workload sets.

        Args:
            seconds: what it may take with all that follows; a slow one does less.
        """
        with reading(self._memory):
            pace = pace_of(self._once(None, tokens=1))
        per_token_s = pace.prompt_s / self._asked["prompt_tokens"]
        behind = [Pace(depth * per_token_s, pace.token_s) for depth in self._asked["depths"]]
        left_s = seconds - self._asked["sustained_s"]
        self._effort, self._shortened = fitted(self._effort, [pace, *behind], left_s)
        if self._shortened:
            say(f"{self.name}: {told(self._shortened)}")
        least, limit = self._effort.warmup, self._effort.warmup_limit
        while len(self._warmup) < least or (
            self._warmup and len(self._warmup) < limit and not steady(self._warmup)
        ):
            self._warmup.append(self._once(None))
            say(f"{self.name}: warm-up {len(self._warmup)}: {self._rates(self._warmup[-1], None)}")

    def repeat(self, depth: int | None, progress: str) -> Repetition:
        """One counted repetition, behind `depth` tokens or the workload's own prompt."""
        with watching(self._memory):
            done = self._once(depth)
        self._done[depth].append(done)
        behind = "" if depth is None else f" behind {depth} tokens"
        say(f"[{progress}] {self.name}{behind}: {self._rates(done, depth)}")
        return done

    def set_aside(self, depth: int | None, repetition: Repetition) -> None:
        """It does not count any more."""
        self._done[depth].remove(repetition)
        self._set_aside.append(repetition)

    def sustain(self) -> None:
        """Generate for `sustained_s`, in stretches of about a second."""
        seconds = self._asked["sustained_s"]
        if not seconds:
            return
        prompt = self._ready(None)
        start = mark = time.monotonic()
        tokens = 0
        while mark - start < seconds:
            self._engine.keep(0)
            self._engine.decode(prompt)
            for _ in range(self._engine.context_tokens - len(prompt)):
                self._engine.decode([self._engine.greedy()])
                tokens += 1
                now = time.monotonic()
                if now - mark >= 1:
                    self._sustained.append((mark, tokens / (now - mark)))
                    mark, tokens = now, 0
                    if mark - start >= seconds:
                        break
        first, last = self._sustained[0][1], self._sustained[-1][1]
        say(f"{self.name}: {seconds:g} s sustained: tg {first:.1f} t/s first, {last:.1f} last")

    def record(self) -> SingleCell:
        """What was measured."""
        return {
            "status": "ok",
            "kind": "single",
            "workload": self._asked,
            "apart": None,
            "context_tokens": context_tokens(self._asked),
            "warmup": self._warmup,
            "steady": steady(self._warmup),
            "shortened": self._shortened,
            "repetitions": self._done[None],
            "set_aside": self._set_aside,
            "depths": [
                {"depth_tokens": depth, "repetitions": done}
                for depth, done in self._done.items()
                if depth is not None
            ],
            "sustained": self._sustained,
            "memory": self._memory,
            "output": self._output,
            "marks": [],
            "energy": None,
        }

    def _ready(self, depth: int | None) -> list[int]:
        """The prompt, before an empty context of the workload's own size."""
        if depth is None and self._asked["prompt"] == "passage":
            prompt = passage(self._engine, self._asked["prompt_tokens"])
        else:
            count = self._asked["prompt_tokens"] if depth is None else depth
            prompt = fixed_tokens(self._engine.vocab_tokens, count)
        if self._engine.resize(context_tokens(self._asked)):
            # A new context's memory is there once it is written: not on the measurement's time.
            self._engine.decode(prompt[: self._engine.ubatch_tokens])
            self._engine.synchronize()
            self._engine.keep(0)
        return prompt

    def _once(self, depth: int | None, tokens: int | None = None) -> Repetition:
        """One repetition on an empty context; of so many tokens, where not all are wanted.

        The first token comes out of the prompt's own logits; each of the timed steps decodes one
        token and, unless tokens are forced, samples the next.
        """
        engine = self._engine
        prompt = self._ready(depth)
        itl_ns, output = [], []
        clock = time.monotonic_ns
        before = self._processors.now()
        start = clock()
        engine.decode(prompt)
        engine.synchronize()
        prompt_done = clock()
        token = engine.greedy()
        last = first_token = clock()
        for got in self._steps(prompt, token, tokens or self._effort.output_tokens):
            now = clock()
            itl_ns += [now - last, *[0] * (len(got) - 1)]
            output += got
            last = now
        contention = self._processors.since(before)
        if depth is None:
            self._output = [token, *output]
        repetition: Repetition = {
            "start_s": start / 1e9,
            "pp_s": (prompt_done - start) / 1e9,
            "ttft_s": (first_token - start) / 1e9,
            "itl_s": [ns / 1e9 for ns in itl_ns],
        }
        if contention:
            repetition["contention"] = contention
        if (lookup := self._lookup) and self._forced is None:
            repetition["steps"] = lookup.steps
            repetition["drafted"], repetition["accepted"] = lookup.drafted, lookup.accepted
        return repetition

    def _steps(self, prompt: list[int], token: int, left: int) -> Iterator[list[int]]:
        """Generate behind the prompt and its first token: what each decoding gives."""
        engine = self._engine
        if self._forced is not None:
            for forced in self._forced[:left]:
                engine.decode([forced])
                engine.synchronize()
                yield [forced]
        elif self._lookup is not None:
            self._lookup.begin([*prompt, token])
            while left:
                got = self._lookup.extend(engine, left)
                left -= len(got)
                yield got
        else:
            for _ in range(left):
                engine.decode([token])
                token = engine.greedy()
                yield [token]

    def _rates(self, repetition: Repetition, depth: int | None) -> str:
        itl = repetition["itl_s"]
        pp_tps = (depth or self._asked["prompt_tokens"]) / repetition["pp_s"]
        return f"pp {pp_tps:.1f} t/s, tg {len(itl) / sum(itl):.1f} t/s"


def context_tokens(asked: SingleWorkload) -> int:
    """Tokens of context a workload needs, or asks for."""
    longest = max(asked["prompt_tokens"], *asked["depths"], 0) + asked["output_tokens"]
    return asked["context_tokens"] or longest


def steady(warmup: Sequence[Repetition] | Sequence[ConcurrentRepetition]) -> bool:
    """Whether the last two repetitions of the warm-up agree on tg."""
    return agree([sum(repetition["itl_s"]) for repetition in warmup])


def agree(seconds: Sequence[float]) -> bool:
    """Whether the last two do."""
    if len(seconds) < 2:
        return False
    *_, before, last = seconds
    return abs(last - before) < STEADY_WITHIN * before


def fixed_tokens(vocab_tokens: int, count: int, seed: int = 0) -> list[int]:
    """The same pseudo-random tokens in every run of every model with this vocabulary."""
    return [random.Random(f"llmpi {seed} {i}").randrange(vocab_tokens) for i in range(count)]
