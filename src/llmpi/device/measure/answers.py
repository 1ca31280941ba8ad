"""Questions of a quality task, answered one by one as the workstation scores them.

What is computed of an answer out of tokens and speeds is held against this. A question's prompt is
read whole, by itself; the answer is greedy, and ends by the same rules as the scored one.
"""

import statistics
from time import monotonic_ns

from llmpi.device.machine.contention import Processors
from llmpi.device.measure.budget import took_s
from llmpi.device.measure.memory import reading, untouched, watching
from llmpi.engine.chat.thoughts import Marks, Thoughts
from llmpi.engine.llama import Engine
from llmpi.engine.progress import say
from llmpi.engine.records import (
    AnsweredQuestion,
    AnswersCell,
    AnswersWorkload,
    Arm,
    FailedCell,
    Sample,
    SampledQuestion,
)


class Answers:
    """A workload of questions and what was measured of it so far.

    Args:
        name: its id.
        sample: what is asked.
        load_peak_bytes: peak RSS of loading the model.
        processors: that it computes on.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        asked: AnswersWorkload,
        sample: Sample,
        load_peak_bytes: int | None,
        processors: Processors,
    ) -> None:
        self.name = name
        self._engine, self._asked, self._sample = engine, asked, sample
        self._processors = processors
        self._questions = {one["number"]: one for one in sample["questions"]}
        marks = sample["marks"]
        self._thoughts = Thoughts(Marks(**marks), engine.text_with_special) if marks else None
        self._memory = untouched(load_peak_bytes)
        self._left_s = 0.0
        self._warmup: list[AnsweredQuestion] = []
        self._done: list[AnsweredQuestion] = []
        self._set_aside: list[AnsweredQuestion] = []
        self._late = 0

    def arms(self) -> list[tuple[str, Arm]]:
        """What is to be repeated: (name, number of the question)."""
        once: list[tuple[str, Arm]] = [(self.name, number) for number in self._questions]
        return once * self._asked["repetitions"]

    def warm_up(self, seconds: float) -> None:
        """The shortest question, once.

        Args:
            seconds: what all may take; what is likely to take longer is not asked.
        """
        with reading(self._memory):
            done = self._once(self._sample["questions"][0])
        self._warmup.append(done)
        self._left_s = seconds - took_s(done)
        say(f"{self.name}: warm-up 1: {_told(done)}")

    def repeat(self, number: Arm, progress: str) -> AnsweredQuestion | None:
        """One counted answer; nothing once there was no time for one: who comes first is drawn, so
        that long questions are not left out before others."""
        question = self._questions[number]  # type: ignore[index]  # of this workload's arms
        if self._late or self._likely_s(question) > self._left_s:
            self._late += 1
            return None
        with watching(self._memory):
            done = self._once(question)
        self._left_s -= took_s(done)
        self._done.append(done)
        say(f"[{progress}] {self.name}: {_told(done)}")
        return done

    def set_aside(self, _: Arm, answered: AnsweredQuestion) -> None:
        """It does not count any more."""
        self._done.remove(answered)
        self._set_aside.append(answered)

    def sustain(self) -> None:
        """This kind has no such phase."""

    def record(self) -> AnswersCell | FailedCell:
        """What was measured. It failed if nothing was."""
        if not self._done:
            return {
                "status": "failed",
                "stage": "benchmark",
                "reason": "there was no time for an answer: raise timeout_s",
                "workload": self._asked,
                "levels": [],
            }
        return {
            "status": "ok",
            "kind": "answers",
            "workload": self._asked,
            "apart": None,
            "of": self._sample["of"],
            "left_out": self._sample["left_out"],
            "late": self._late,
            "context_tokens": sample_tokens(self._sample),
            "warmup": self._warmup,
            "repetitions": self._done,
            "set_aside": self._set_aside,
            "memory": self._memory,
            "marks": [],
            "energy": None,
        }

    def _likely_s(self, question: SampledQuestion) -> float:
        """By the pace of the answers so far, and as many new tokens as the longest of them."""
        so_far = [*self._warmup, *self._done]
        prompt_s = sum(one["pp_s"] for one in so_far) / sum(one["prompt_tokens"] for one in so_far)
        steps = [s for one in so_far for s in one["itl_s"]]
        token_s = statistics.fmean(steps) if steps else so_far[0]["pp_s"]
        return len(question["prompt"]) * prompt_s + max(len(o["itl_s"]) for o in so_far) * token_s

    def _once(self, question: SampledQuestion) -> AnsweredQuestion:
        """One answer behind an empty context."""
        engine, clock, prompt = self._engine, monotonic_ns, question["prompt"]
        if engine.resize(sample_tokens(self._sample)):
            # A new context's memory is there once it is written: not on the measurement's time.
            engine.decode(prompt[: engine.ubatch_tokens])
            engine.synchronize()
            engine.keep(0)
        answer = _Answer(question, self._sample["max_new_tokens"], self._thoughts)
        itl_ns: list[int] = []
        before = self._processors.now()
        start = clock()
        engine.decode(prompt)
        engine.synchronize()
        prompt_done = clock()
        token = engine.greedy()
        last = first_token = clock()
        while answer.goes_on(token, ended=engine.is_end(token)):
            engine.decode([token])
            token = engine.greedy()
            now = clock()
            itl_ns.append(now - last)
            last = now
        contention = self._processors.since(before)
        found: AnsweredQuestion = {
            "start_s": start / 1e9,
            "pp_s": (prompt_done - start) / 1e9,
            "ttft_s": (first_token - start) / 1e9,
            "itl_s": [ns / 1e9 for ns in itl_ns],
            "number": question["number"],
            "prompt_tokens": len(prompt),
            "thought_tokens": answer.thought_tokens,
            "answer_tokens": len(answer.tokens) - answer.thought_tokens,
            "stopped": answer.stopped,
        }
        if contention:
            found["contention"] = contention
        return found


class _Answer:
    """The tokens of an answer, and where it ends: as a schedule of the scoring has it
    (`llmpi.quality.batching.schedule`)."""

    def __init__(self, question: SampledQuestion, most: int, thoughts: Thoughts | None) -> None:
        self._thought, self._most, self._thoughts = question["thought"], most, thoughts
        self._answer_at = None if self._thought else 0
        self.tokens: list[int] = []
        self.stopped = False

    @property
    def thought_tokens(self) -> int:
        """Of a thought that did not end, all; what is none but the answer's own mark is not one."""
        if self._answer_at is None:
            return len(self.tokens)
        thought = self.tokens[: self._answer_at]
        is_none = thought and self._thoughts and self._thoughts.is_none(thought)
        return 0 if is_none else len(thought)

    def goes_on(self, token: int, *, ended: bool) -> bool:
        """Take a token; whether another one is wanted."""
        self.stopped = ended
        if not ended:
            self.tokens.append(token)
        count = len(self.tokens)
        if self._answer_at is None and (thought := self._thought):
            over = ended or count == thought["tokens"]
            # Without marks nothing can be told of a thought, as of a scored answer.
            self._answer_at = (
                self._thoughts.answer_at(self.tokens, thought["opened"], over)
                if self._thoughts
                else 0
            )
        if ended:
            return False
        if self._answer_at is None:
            return not self._thought or count < self._thought["tokens"]
        return count - self._answer_at < self._most


def sample_tokens(sample: Sample) -> int:
    """Tokens of context that each of the questions fits with its answer."""
    return max(map(_whole_tokens, sample["questions"])) + sample["max_new_tokens"]


def _whole_tokens(question: SampledQuestion) -> int:
    thought = question["thought"]
    return len(question["prompt"]) + (thought["tokens"] if thought else 0)


def _told(done: AnsweredQuestion) -> str:
    prompt, new = done["prompt_tokens"], done["thought_tokens"] + done["answer_tokens"]
    return f"{prompt} tokens and {new} of answer in {took_s(done):.2f} s"
