"""One workload on a loaded engine: its warm-up, its repetitions, its sustained phase.

Nothing but decoding and sampling happens between the clocks.
"""

import random
import time
from collections.abc import Iterator

from llmpi.device.machine.contention import Processors
from llmpi.device.measure.memory import reading, untouched, watching
from llmpi.device.measure.repeated import Repeated, context_tokens
from llmpi.engine.fixed_text import passage
from llmpi.engine.llama import Engine
from llmpi.engine.open_texts import open_text
from llmpi.engine.progress import say
from llmpi.engine.records import Repetition, SingleWorkload
from llmpi.engine.speculation import Speculation


class Single(Repeated):
    """A workload of one conversation and what was measured of it so far.

    Args:
        name: its id.
        load_peak_bytes: peak RSS of loading the model, which every workload needs.
        processors: that it computes on.
        speculation: what drafts tokens, where the runtime asks for it.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        asked: SingleWorkload,
        load_peak_bytes: int | None,
        processors: Processors,
        speculation: Speculation | None = None,
    ) -> None:
        super().__init__(name, asked, untouched(load_peak_bytes))
        self._engine, self._speculation, self._processors = engine, speculation, processors
        self._forced: list[int] | None = None
        if asked["sampling"] == "none":
            self._forced = fixed_tokens(engine.vocab_tokens, asked["output_tokens"], seed=1)
            self._speculation = None

    def _first(self) -> Repetition:
        with reading(self._memory):
            return super()._first()

    def repeat(self, depth: int | None, progress: str) -> Repetition:
        with watching(self._memory):
            return super().repeat(depth, progress)

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

    def _ready(self, depth: int | None) -> list[int]:
        """The prompt, before an empty context of the workload's own size."""
        prompt = self._prompt() if depth is None else fixed_tokens(self._engine.vocab_tokens, depth)
        if self._engine.resize(context_tokens(self._asked)):
            # A new context's memory is there once it is written: not on the measurement's time.
            self._engine.decode(prompt[: self._engine.ubatch_tokens])
            self._engine.synchronize()
            self._engine.keep(0)
        if self._speculation:
            self._speculation.make_room(context_tokens(self._asked))
        return prompt

    def _prompt(self) -> list[int]:
        """The workload's own."""
        engine, kind, count = self._engine, self._asked["prompt"], self._asked["prompt_tokens"]
        if kind == "random":
            return fixed_tokens(engine.vocab_tokens, count)
        return passage(engine, count) if kind == "passage" else open_text(engine, kind, count)

    def _once(self, depth: int | None, tokens: int | None = None) -> Repetition:
        """One repetition on an empty context; of so many tokens, where not all are wanted.

        The first token comes out of the prompt's own logits; each of the timed steps decodes one
        token and, unless tokens are forced, samples the next. Who drafts reads the prompt, too, in
        the prompt's time.
        """
        engine, speculation = self._engine, self._speculation
        prompt = self._ready(depth)
        itl_ns, output = [], []
        clock = time.monotonic_ns
        before = self._processors.now()
        start = clock()
        engine.decode(prompt)
        if speculation:
            speculation.begin(prompt)
        engine.synchronize()
        prompt_done = clock()
        token = engine.greedy()
        last = first_token = clock()
        for got in self._steps(token, tokens or self._effort.output_tokens):
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
        if speculation:
            repetition["steps"] = speculation.steps
            repetition["drafted"] = speculation.drafted
            repetition["accepted"] = speculation.accepted
        return repetition

    def _steps(self, token: int, left: int) -> Iterator[list[int]]:
        """Generate behind the prompt and its first token: what each decoding gives."""
        engine, speculation = self._engine, self._speculation
        if self._forced is not None:
            for forced in self._forced[:left]:
                engine.decode([forced])
                engine.synchronize()
                yield [forced]
        elif speculation:
            speculation.say(token)
            while left:
                got = speculation.extend(engine, left)
                left -= len(got)
                yield got
        else:
            for _ in range(left):
                engine.decode([token])
                token = engine.greedy()
                yield [token]


def fixed_tokens(vocab_tokens: int, count: int, seed: int = 0) -> list[int]:
    """The same pseudo-random tokens in every run of every model with this vocabulary."""
    return [random.Random(f"llmpi {seed} {i}").randrange(vocab_tokens) for i in range(count)]
