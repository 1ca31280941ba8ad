"""Questions of a task answered on a device: which, how, and what was computed of them before."""

import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import made_records as made
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import tiny_llama

from llmpi.device.machine.contention import Processors
from llmpi.device.machine.energy import Samples, add_energy
from llmpi.device.measure import answers as subject
from llmpi.device.measure.answers import Answers, sample_tokens
from llmpi.device.measure.budget import Pace, took_s
from llmpi.device.measure.rounds import Rounds
from llmpi.engine import info as engine_info
from llmpi.engine.chat.thoughts import Marks, Thought, Thoughts
from llmpi.engine.llama import Engine, Model, Settings
from llmpi.engine.packed import packed, unpacked
from llmpi.engine.records import AnsweredQuestion, Sample, Session
from llmpi.plan.asked import Asked
from llmpi.plan.measuring import _answered
from llmpi.quality.answers import Answered, Given, answered
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Request, Schedule, shape_of
from llmpi.quality.records import Conversation, SampleSettings, VariantFile
from llmpi.quality.sample import drawn, rendered
from llmpi.quality.sample import sample as sampled
from llmpi.study.computation import DEFAULT
from llmpi.study.measuring import AnswersWorkload
from llmpi.study.quality import TASKS
from llmpi.study.runs import Run, Scored
from llmpi.study.runs import Session as SessionId
from llmpi.study.study import Study
from llmpi.study.task import Task
from llmpi.summary.records import SampleCell
from llmpi.summary.samples import samples
from llmpi.summary.sound import sound

MOST = 6


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine_info.log_to(lambda _: None)
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def engine(gguf: Path) -> Iterator[Engine]:
    with Engine(gguf, Settings(threads=1), context_tokens=16) as tiny:
        yield tiny


def sample(prompts: Sequence[Sequence[int]]) -> Sample:
    return {
        "status": "ok",
        "task": "qa",
        "of": 9,
        "left_out": 0,
        "max_new_tokens": MOST,
        "marks": None,
        "questions": [
            {"number": 2 * i, "prompt": [*prompt], "thought": None}
            for i, prompt in enumerate(prompts)
        ],
        "gguf_sha256": "0" * 64,
    }


# --- on the device --------------------------------------------------------------------------------


def test_an_answer_has_the_tokens_of_the_scored_one(engine: Engine, gguf: Path) -> None:
    """However it ends: each prompt is asked both ways."""
    prompts = [[i + 3, 40, 50 + i, 60 - i] for i in range(6)]
    requests = [Request(tuple(prompt), MOST) for prompt in prompts]
    with BatchEngine(gguf, threads=1, shape=shape_of(2048)) as batched:
        batched.one_at_a_time = "the test wants it"
        batched.share([[one] for one in requests])
        outcomes, _ = batched.run([[one] for one in requests])
    workload = Answers(engine, "real", made.answers_asked(), sample(prompts), 1, Processors(1))
    workload.warm_up(600)
    for _, number in workload.arms():
        workload.repeat(number, "1/1")
    record = workload.record()
    assert record["status"] == "ok"
    assert [one["number"] for one in record["repetitions"]] == [0, 2, 4, 6, 8, 10]
    for one, outcome in zip(record["repetitions"], outcomes, strict=True):
        assert one["prompt_tokens"] == 4
        assert (one["answer_tokens"], one["stopped"]) == (len(outcome.tokens), outcome.stopped)
        assert len(one["itl_s"]) == one["answer_tokens"] - (not one["stopped"])
    assert record["context_tokens"] == sample_tokens(sample(prompts)) == 4 + MOST
    assert len(record["warmup"]) == 1


@given(
    text=st.lists(st.sampled_from(["<t>", "</t>", "a", " ", "b"]), min_size=1, max_size=12),
    opened=st.booleans(),
    thinks=st.booleans(),
)
def test_an_answer_ends_where_the_schedule_ends_it(
    text: list[str], opened: bool, thinks: bool
) -> None:
    """Of any text a model may write, with thoughts that end or do not."""
    end, words = len(text), [*text, "end"]
    thoughts = Thoughts(
        Marks("<t>", "</t>"), lambda tokens: "".join(words[t] for t in tokens).encode()
    )
    thought = Thought(5, opened) if thinks else None

    class Memory:
        def copy(self, source: int, target: int, tokens: int) -> None: ...
        def drop(self, sequence: int) -> None: ...

    schedule = Schedule(
        [[Request((0,), 3, thought=thought)]],
        (),
        shape_of(2048),
        Memory(),
        is_end=lambda token: token == end,
        ended=lambda *_: False,
        answer_at=thoughts.answer_at,
    )
    said = 0
    while schedule.next_batch():
        logits = np.zeros(len(words), np.float32)
        logits[min(said, end)] = 1
        schedule.take_logits(lambda _, row=logits: row)
        said += 1
    outcome = schedule.outcomes[0]
    told = thought and {"tokens": thought.tokens, "opened": thought.opened}
    answer = subject._Answer({"number": 0, "prompt": [0], "thought": told}, 3, thoughts)  # type: ignore[typeddict-item]
    steps = 0
    while answer.goes_on(min(steps, end), ended=steps >= end):
        steps += 1
    assert tuple(answer.tokens) == outcome.tokens
    assert answer.stopped == outcome.stopped
    assert answer._answer_at == outcome.answer_at


def test_what_there_is_no_time_for_is_not_asked(engine: Engine) -> None:
    workload = Answers(engine, "real", made.answers_asked(), sample([[1, 2]] * 3), 1, Processors(1))
    workload.warm_up(600)
    workload._left_s = 0.0
    assert [workload.repeat(number, "1/1") for _, number in workload.arms()] == [None] * 3
    record = workload.record()
    assert record["status"] == "failed"
    assert "raise timeout_s" in record["reason"]


def test_disturbed_answers_are_asked_again(engine: Engine) -> None:
    workload = Answers(
        engine, "real", made.answers_asked(), sample([[1, 2], [3, 4]]), 1, Processors(1)
    )
    workload.warm_up(600)
    order = Rounds({"real": workload}, 100.0, 1e12).through(workload.arms())
    assert sorted(order) == [("real", 0), ("real", 2)]
    done = workload.repeat(0, "1/1")
    assert done
    workload.set_aside(0, done)
    record = workload.record()
    assert record["status"] == "ok"
    assert len(record["repetitions"]) == 2
    assert record["set_aside"] == [done]
    assert took_s(done) == pytest.approx(done["ttft_s"] + sum(done["itl_s"]))


def test_a_sample_travels_whole() -> None:
    told = {"real": sample([[*range(900), i] for i in range(30)])}
    assert unpacked(packed(told)) == told
    assert len(packed(told)) < 5000


# --- on the workstation ---------------------------------------------------------------------------


def settings(**more: Any) -> SampleSettings:
    found: SampleSettings = {
        "kind": "squad",
        "task": "qa",
        "questions": 4,
        "seed": 0,
        "examples": 0,
        "prompt": 1,
        "max_new_tokens": MOST,
        "context_tokens": 512,
        "thinking_tokens": None,
    }
    return {**found, **more}  # type: ignore[typeddict-item]


def said(characters: int) -> Conversation:
    return {
        "messages": [{"role": "user", "content": "a" * characters}],
        "continuation": None,
    }


@given(st.lists(st.integers(1, 99), min_size=1, max_size=40), st.integers(2, 12), st.integers(0, 9))
def test_all_lengths_are_drawn(lengths: list[int], questions: int, seed: int) -> None:
    every = [said(length) for length in lengths]
    found = drawn(every, settings(questions=questions, seed=seed))
    assert len(set(found)) == len(found) == min(questions, len(lengths))
    assert found == drawn(every, settings(questions=questions, seed=seed))
    drawn_lengths = [lengths[number] for number in found]
    assert drawn_lengths == sorted(drawn_lengths)
    ordered = sorted(lengths)
    part = -(-len(lengths) // len(found))
    assert drawn_lengths[0] <= ordered[part - 1]
    assert drawn_lengths[-1] >= ordered[-part]


def test_a_question_that_does_not_fit_is_left_out(gguf: Path) -> None:
    with Model(gguf, Settings(threads=1), vocabulary_alone=True) as model:
        found = rendered(model, {7: said(30), 3: said(5), 5: said(900)}, settings())
    assert [one["number"] for one in found["questions"]] == [3, 7], "the shortest comes first"
    assert found["left_out"] == 1
    assert found["marks"] is None


@pytest.mark.parametrize("kind", [kind for kind in TASKS if kind.ANSWERS])
def test_a_kind_that_asks_says_what(kind: type[Task]) -> None:
    name = kind.__module__.rpartition(".")[2]
    assert callable(import_module(f"llmpi.quality.{name}.conversations").conversations)
    assert kind.questions_file is not Task.questions_file
    assert {"max_new_tokens", "context_tokens"} <= {*kind.model_fields}


def test_what_failed_before_is_passed_on(tmp_path: Path) -> None:
    failed = made.failed("no room", "quantize")
    assert sampled(tmp_path / "no.gguf", failed, tmp_path / "no.json", settings()) == failed


def test_prompts_of_ones_own_are_drawn_and_rendered(gguf: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": "a" * length}) for length in (3, 9, 6, 12)]
    (tmp_path / "own.jsonl").write_text("\n".join(lines))
    manifest: VariantFile = {"status": "ok", "sha256": "0" * 64}
    asked = settings(kind="ab", questions=2, examples=None, prompt=None)
    found = sampled(gguf, manifest, tmp_path / "own.jsonl", asked)
    assert found["status"] == "ok"
    assert (found["of"], found["left_out"]) == (4, 0)
    assert {one["number"] for one in found["questions"]} <= {0, 1, 2, 3}
    assert [len(one["prompt"]) for one in found["questions"]] == sorted(
        len(one["prompt"]) for one in found["questions"]
    )


@pytest.mark.parametrize(("had_s", "fit"), [(100.0, 12), (20.0, 5), (1.0, 1)])
def test_what_a_plan_says_of_its_time(had_s: float, fit: int) -> None:
    """A prompt of 1 s and 20 tokens in 2 s, twelve times and once before."""
    workload = AnswersWorkload(kind="answers", task="qa")
    planned = _answered("real", workload, Asked(100, 120), had_s, Pace(1 / 100, 1 / 10))
    assert (planned.asked_s, planned.effort_s) == pytest.approx((39, 3 + 3 * fit))
    assert planned.effort.repetitions == fit
    assert planned.whole == (fit == 12)
    assert planned.late == (fit == 1)


# --- in the summary -------------------------------------------------------------------------------

ID = SessionId("pi", "m", "Q4_0", "default")


def study() -> Study:
    return Study.model_validate(
        {
            "study": "s",
            "models": {"m": {"source": {"path": "m.gguf"}}},
            "quants": ["Q4_0"],
            "devices": {"pi": {"transport": "local"}},
            "workloads": {
                "chat": {"prompt_tokens": 64, "output_tokens": 8},
                "real": {"kind": "answers", "task": "qa"},
            },
            "quality": {"qa": {"task": "squad", "squad_file": "qa.json"}},
        }
    )


def session(done: Sequence[AnsweredQuestion]) -> Session:
    return {**made.session({"real": made.answers_cell(done)}), "idle": None}


def found(record: Session, scored: Answered | None = None) -> SampleCell:
    """pp 90 and tg 10 tokens/s: each is said to take 2 s."""
    row = made.row(tg_tps=10)
    row["workload"], row["computation"] = "chat", DEFAULT
    row["pp_j_per_token"], row["tg_j_per_token"] = 0.1, 1.0
    told = {"qa": {Scored("m", "Q4_0"): scored}} if scored else {}
    [cell] = samples(study(), {ID: record}, {Run(*ID, "chat"): row}, told)
    return cell


def test_predicted_stands_beside_measured() -> None:
    record = session(
        [
            made.answered_question(0, 2.0),
            made.answered_question(4, 4.0, 200.0),
            made.answered_question(8, 3.0, 300.0),
        ]
    )
    meter: Any = {"kind": "hwmon", "accuracy_pct": None, "path": None, "interval_s": 1.0}
    add_energy(record, Samples([90.0, 400.0], [5.0, 5.0], []), meter)
    cell = found(record)
    assert (cell["p50_s"], cell["p95_s"]) == (3.0, 4.0)
    assert cell["j_per_answer"] == pytest.approx(15.0)
    [beside] = cell["against"]
    assert beside["predicted_p50_s"] == pytest.approx(2.0)
    assert beside["predicted_j_per_answer"] == pytest.approx(19.0)
    assert beside["ratio"] == pytest.approx(1.5)
    assert beside["ratio_low"] is not None
    assert beside["ratio_high"] is not None
    assert beside["ratio_low"] < 1.5 < beside["ratio_high"]
    assert beside["parts"] is False
    assert (cell["scored"], cell["as_scored"]) == (0, 0)


def test_where_they_part() -> None:
    [beside] = found(session([made.answered_question(i, 3.0) for i in range(5)]))["against"]
    assert beside["ratio_low"] == pytest.approx(3 / (90 / 80 + 10 / 9))
    assert beside["ratio_high"] == pytest.approx(3 / (90 / 100 + 10 / 12))
    assert beside["parts"] is True


def test_other_tokens_than_the_scored_ones_are_told() -> None:
    """Of two, one was scored with ten more; a third was not scored."""
    scored = answered([Given(90, 0, 10, True, 0, 0), Given(90, 0, 20, True, 0, 4)])
    cell = found(session([made.answered_question(i, 2.0) for i in (0, 4, 8)]), scored)
    assert (cell["as_scored"], cell["scored"], cell["answers"]) == (1, 2, 3)
    [beside] = cell["against"]
    assert beside["ratio"] == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"pp_s": 0.0}, "one took no time"),
        ({"ttft_s": 0.1}, "one took no time"),
        ({"itl_s": [-1.0]}, "one took no time"),
        ({"prompt_tokens": 0}, "tokens cannot be"),
        ({"answer_tokens": -1}, "tokens cannot be"),
    ],
)
def test_answers_that_cannot_be(spoilt: dict[str, Any], says: str) -> None:
    done = {**made.answered_question(0, 2.0), **spoilt}
    failed = sound(session([done]), "real.json")["workloads"]["real"]  # type: ignore[typeddict-item]
    assert says in failed["reason"]  # type: ignore[typeddict-item]


def test_an_answer_may_end_at_once() -> None:
    """With no token at all, and no time behind the prompt."""
    done: AnsweredQuestion = {**made.answered_question(0, 2.0), "itl_s": [], "answer_tokens": 0}
    assert sound(session([done]), "real.json")["workloads"]["real"]["status"] == "ok"  # type: ignore[typeddict-item]
