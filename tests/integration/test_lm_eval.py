"""lm-evaluation-harness on the engine: the real model against one sequence at a time."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
import yaml
from gguf_edit import edited
from lm_eval.api.instance import Instance

from llmpi.engine.llama import Engine, Settings
from llmpi.errors import LlmpiError
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Shape, shape_of
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.lm_eval import evaluate as harness
from llmpi.quality.lm_eval import model as lm_eval_model
from llmpi.quality.lm_eval.model import GgufLM
from llmpi.quality.lm_eval.records import Settings as TaskSettings

TOLERANCE = 0.03  # of a log-likelihood in F16: batches round differently
# So that 96 tokens are the longest sequence, and 4 continuations the most of a request.
SHAPE = Shape(160, (32, 8), (8,), sequences=16)
CAPITALS = [
    ("France", ["Paris", "Rome", "Berlin"], 0),
    ("Italy", ["Paris", "Rome", "Berlin"], 1),
    ("Germany", ["Madrid", "Rome", "Berlin"], 2),
    ("Spain", ["Madrid", "some town by the sea", "Oslo"], 0),
]
LONG = " ".join(f"Box {i} holds {i * i % 17} red and {i * 7 % 11} blue balls." for i in range(16))


@pytest.fixture(scope="module")
def f16(finished) -> Path:
    return finished.folder / "results/gguf/smollm2-135m/F16.gguf"


@pytest.fixture(scope="module")
def model(f16) -> Iterator[GgufLM]:
    with BatchEngine(f16, threads=1, shape=SHAPE) as engine:
        yield GgufLM(engine)


@pytest.fixture(scope="module")
def alone(f16) -> Iterator[Engine]:
    with Engine(f16, Settings(threads=1), context_tokens=256) as engine:
        yield engine


def ask(model: GgufLM, kind: str, asked: Sequence[tuple]) -> list[Any]:
    return getattr(model, kind)([Instance(kind, {}, args, i) for i, args in enumerate(asked)])


def log_likelihood(engine: Engine, context: Sequence[int], continuation: Sequence[int]) -> float:
    """One token after the other, in double precision."""
    engine.keep(0)
    engine.decode(context)
    total = 0.0
    for token in continuation:
        pointer = llama_cpp.llama_get_logits_ith(engine.context, -1)
        logits = np.ctypeslib.as_array(pointer, (engine.vocab_tokens,)).astype(np.float64)
        total += logits[token] - np.logaddexp.reduce(logits)
        engine.decode([token])
    return total


def greedy_text(engine: Engine, prompt: Sequence[int], tokens: int) -> str:
    engine.keep(0)
    engine.decode(prompt)
    answer: list[int] = []
    while len(answer) < tokens and not engine.is_end(token := engine.greedy()):
        answer.append(token)
        engine.decode([token])
    return engine.text(answer)


def test_choices_have_the_log_likelihood_they_have_alone(model, alone) -> None:
    asked = [
        (f"The capital of {country} is", f" {town}")
        for country, towns, _ in CAPITALS
        for town in towns
    ]
    asked += [("Water boils at", f" {i}") for i in range(6)]  # more than one request takes
    asked.append(asked[0])
    got = ask(model, "loglikelihood", asked)
    for texts, (value, _) in zip(asked, got, strict=True):
        want = log_likelihood(alone, *map(alone.tokenize, texts))
        assert value == pytest.approx(want, abs=TOLERANCE)
    assert got[-1] == got[0]
    assert model.batching[-1]["rows"] < sum(len(alone.tokenize(c + k)) for c, k in asked) / 2


def test_choices_that_do_not_fit_together_are_scored_apart(model) -> None:
    asked = [("Note:", " " + f"{word} is followed by " * 14) for word in ("One", "Two", "Three")]
    tokens = [len(model.tok_encode(continuation)) for _, continuation in asked]
    assert max(tokens) < model.max_length < SHAPE.context_tokens < sum(tokens)
    together = [value for value, _ in ask(model, "loglikelihood", asked)]
    alone = [ask(model, "loglikelihood", [one])[0][0] for one in asked]
    assert together == pytest.approx(alone, abs=TOLERANCE)


def test_the_likeliest_continuation_is_greedy(model, alone) -> None:
    context = "The capital of France is the city of"
    said = greedy_text(alone, alone.tokenize(context), 3)
    [(_, greedy), (_, other)] = ask(
        model, "loglikelihood", [(context, said), (context, f"{said} zebra")]
    )
    assert (greedy, other) == (True, False)


def test_spaces_at_the_end_of_a_context_belong_to_the_continuation(model) -> None:
    inside, before = ask(
        model, "loglikelihood", [("Two and two is ", "four"), ("Two and two is", " four")]
    )
    assert inside == before


def test_an_empty_context_is_the_bos(model, alone) -> None:
    [(value, _)] = ask(model, "loglikelihood", [("", "Once upon a time")])
    bos = llama_cpp.llama_vocab_bos(alone.vocab)
    assert value == pytest.approx(
        log_likelihood(alone, [bos], alone.tokenize("Once upon a time")), abs=TOLERANCE
    )


def test_prompts_that_are_all_the_same(model) -> None:
    same = ask(model, "loglikelihood", [("The sky is", " blue")] * 3)
    assert same == ask(model, "loglikelihood", [("The sky is", " blue")]) * 3
    assert ask(model, "loglikelihood", []) == []


def test_a_long_context_is_cut_from_the_left(model, alone) -> None:
    assert model.max_length == 96
    tokens, last = alone.tokenize(LONG), alone.tokenize(" Box")
    assert len(tokens) > 2 * 96 > 2 * len(last)
    got = ask(model, "loglikelihood", [(LONG, " Box"), (LONG, " Box 40 holds")])
    assert got[0][0] == pytest.approx(log_likelihood(alone, tokens[-96:], last), abs=TOLERANCE)
    [said] = ask(model, "generate_until", [(LONG, {"until": [], "max_gen_toks": 6})])
    assert said == greedy_text(alone, tokens[-90:], 6)


def test_a_text_is_scored_in_windows_of_full_length(model, alone) -> None:
    tokens = alone.tokenize(LONG)
    bos = llama_cpp.llama_vocab_bos(alone.vocab)
    want = log_likelihood(alone, [bos], tokens[:96])
    for start in range(96, len(tokens), 96):
        end = min(len(tokens), start + 96)
        want += log_likelihood(alone, tokens[end - 97 : start], tokens[start:end])
    got = ask(model, "loglikelihood_rolling", [(LONG,), ("",), ("Hello",)])
    assert got[0] == pytest.approx(want, rel=1e-3)
    assert got[1] == 0
    hello = log_likelihood(alone, [bos], alone.tokenize("Hello"))
    assert got[2] == pytest.approx(hello, abs=TOLERANCE)


def test_an_answer_is_the_plain_greedy_one(model, alone) -> None:
    prompts = ["Once upon a time", "The capital of France is", "1, 2, 3, 4,", "Once upon a"]
    asked = [(p, {"until": [], "max_gen_toks": 12, "do_sample": False}) for p in prompts]
    want = [greedy_text(alone, alone.tokenize(prompt), 12) for prompt in prompts]
    assert ask(model, "generate_until", asked) == want
    cut = want[0][5:8]  # its first place is where it is cut
    settings = {"until": ["never said", cut], "max_gen_toks": 12}
    assert ask(model, "generate_until", [(prompts[0], settings)]) == [want[0].split(cut)[0]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"do_sample": True, "temperature": 0.7}, "do_sample: false"),
        ({"temperature": 0.7}, "do_sample: false"),
        ({"num_beams": 4}, "num_beams cannot be followed"),
        ({"max_gen_toks": 96}, "max_gen_toks 96 leaves no room for a prompt in 96 tokens"),
    ],
)
def test_what_cannot_be_generated_is_refused(model, settings: dict, said: str) -> None:
    with pytest.raises(LlmpiError, match=said):
        ask(model, "generate_until", [("Hello", settings)])


def test_what_cannot_be_scored_is_refused(model) -> None:
    with pytest.raises(LlmpiError, match="adds no token to the context that ends in 'Hello'"):
        ask(model, "loglikelihood", [("Hello", "")])
    with pytest.raises(LlmpiError, match=r"continuation of \d+ tokens does not fit 96"):
        ask(model, "loglikelihood", [("Hello", LONG)])


def test_a_context_without_room_is_refused(f16) -> None:
    with (
        BatchEngine(f16, threads=1, shape=shape_of(128)) as engine,
        pytest.raises(LlmpiError, match="Raise context_tokens"),
    ):
        GgufLM(engine)


def test_turns_are_put_in_the_models_own_words(model) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    begun = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    assert model.apply_chat_template(turns) == f"{begun}<|im_start|>assistant\n"
    turns.append({"role": "assistant", "content": "The answer:"})
    said = model.apply_chat_template(turns, add_generation_prompt=False)
    assert said == f"{begun}<|im_start|>assistant\nThe answer:"


def test_a_bos_is_where_the_vocabulary_wants_it(model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' model adds none by itself: the engine of one that does is played."""
    monkeypatch.setattr(model, "_adds_bos", True)
    monkeypatch.setattr(model._engine, "tokenize", lambda text: [1, *text.encode()])
    assert model.tok_encode("ab") == [1, 97, 98]
    assert model.tok_encode("ab", add_special_tokens=False) == [97, 98]


# --- whole tasks ----------------------------------------------------------------------------------


def write_tasks(folder: Path) -> None:
    """A task of each kind over a local file, and one that wants the hub."""
    documents = [dict(zip(("country", "towns", "answer"), row, strict=True)) for row in CAPITALS]
    data = folder / "capitals.jsonl"
    data.write_text("".join(json.dumps(document) + "\n" for document in documents))
    local = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
    }
    tasks: dict[str, dict[str, Any]] = {
        "capital_choice": {
            **local,
            "output_type": "multiple_choice",
            "doc_to_text": "The capital of {{country}} is",
            "doc_to_choice": "{{towns}}",
            "doc_to_target": "answer",
            "metric_list": [{"metric": "acc"}],
            "metadata": {"version": 1.5},
        },
        "capital_answer": {
            **local,
            "output_type": "generate_until",
            "doc_to_text": "The capital of {{country}} is the city of",
            "doc_to_target": "{{towns[answer]}}",
            "generation_kwargs": {"until": [".", ",", "\n"], "max_gen_toks": 8},
            "metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["^ "]}],
        },
        "capital_text": {
            **local,
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "The capital of {{country}} is {{towns[answer]}}.",
            "metric_list": [{"metric": "word_perplexity"}],
        },
    }
    tasks["from_the_hub"] = {**tasks["capital_text"], "dataset_path": "nobody/no-such-data"}
    del tasks["from_the_hub"]["dataset_kwargs"]
    for name, task in tasks.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **task}))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    write_tasks(folder)
    return folder


def evaluate(finished, tasks: Path, *names: str, **changed: Any) -> dict[str, Any]:
    settings: TaskSettings = {
        "computation": BY_DEFAULT,
        "thinking_tokens": None,
        "tasks": list(names),
        "include_path": str(tasks),
        "limit": None,
        "num_fewshot": None,
        "apply_chat_template": False,
        "context_tokens": 1024,
    }
    gguf = changed.pop("gguf", finished.folder / "results/gguf/smollm2-135m/Q4_0.gguf")
    manifest = finished.json("gguf/smollm2-135m/Q4_0.json")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tasks / "huggingface"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        return harness.evaluate_lm_eval(gguf, manifest, {**settings, **changed}, threads=1)  # type: ignore[typeddict-item]


def test_tasks_over_local_files(finished, tasks) -> None:
    names = ("capital_choice", "capital_answer", "capital_text")
    record = evaluate(finished, tasks, *names)
    assert record["status"] == "ok", record
    items = record["items"]
    assert record["summary"]["items"] == len(items) == 12
    metrics = record["summary"]["metrics"]
    assert set(metrics) == {
        "capital_choice/acc,none",
        "capital_answer/exact_match,none",
        "capital_text/word_perplexity,none",
    }

    choices = [item for item in items if item["task"] == "capital_choice"]
    right = [
        item["target"] == max(range(3), key=lambda i: item["responses"][i][0]) for item in choices
    ]
    assert metrics["capital_choice/acc,none"]["pct"] == 100 * sum(right) / 4 >= 75

    answers = [item for item in items if item["task"] == "capital_answer"]
    assert not any(mark in item["responses"][0] for item in answers for mark in ".,\n")
    exact = [item["responses"][0].removeprefix(" ") == item["target"] for item in answers]
    assert metrics["capital_answer/exact_match,none"]["pct"] == 100 * sum(exact) / 4

    texts = [item for item in items if item["task"] == "capital_text"]
    per_word = sum(item["responses"][0] for item in texts) / sum(
        len(item["target"].split()) for item in texts
    )
    perplexity = metrics["capital_text/word_perplexity,none"]
    assert perplexity["value"] == pytest.approx(math.exp(-per_word))
    assert perplexity["higher_is_better"] is False

    assert record["tasks"]["capital_choice"]["version"] == 1.5
    assert record["harness"] == "0.4.13"
    manifest = finished.json("gguf/smollm2-135m/Q4_0.json")
    assert record["gguf_sha256"] == manifest["sha256"]
    again = evaluate(finished, tasks, *names)
    times = ("started", "ended")
    assert {**again, **{key: record[key] for key in times}} == record


@pytest.mark.long
def test_limit_and_examples_reach_the_harness(finished, tasks) -> None:
    record = evaluate(
        finished, tasks, "capital_choice", limit=2, num_fewshot=1, apply_chat_template=True
    )
    assert record["status"] == "ok", record
    assert record["summary"]["items"] == 2
    assert record["tasks"]["capital_choice"]["shots"] == 1


@pytest.mark.long
def test_thoughts_are_counted(finished, tasks, tmp_path: Path) -> None:
    """The prompt opens one, and this model knows nothing of closing it."""
    opens = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}"
        "<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n<think>\n' }}"
    )
    plain = finished.folder / "results/gguf/smollm2-135m/Q4_0.gguf"
    file = edited(plain, tmp_path / "opens.gguf", {"tokenizer.chat_template": opens})
    asked = {"gguf": file, "apply_chat_template": True}
    summary = evaluate(finished, tasks, "capital_answer", thinking_tokens=24, **asked)["summary"]
    thinking = summary["thinking"]
    assert thinking["answers"] == thinking["thoughts"] == summary["items"] == 4
    assert thinking["thoughts_cut"] == 4
    assert 16 < thinking["thought_tokens_mean"] <= 24  # the model may end within one
    assert "thinking" not in evaluate(finished, tasks, "capital_answer", **asked)["summary"]


@pytest.mark.long
def test_a_task_without_its_data_fails_with_a_reason(finished, tasks) -> None:
    record = evaluate(finished, tasks, "from_the_hub")
    assert (record["status"], record["stage"]) == ("failed", "quality")
    assert "nobody/no-such-data" in record["reason"]
    assert "\n" not in record["reason"]


def test_an_engine_that_cannot_start_is_a_result(tasks, tmp_path: Path) -> None:
    class Broken:
        folder = tmp_path

        @staticmethod
        def json(_: str) -> dict[str, Any]:
            return {"status": "ok", "sha256": "0"}

    record = evaluate(Broken, tasks, "capital_choice")
    assert (record["status"], record["reason"]) == (
        "failed",
        "the engine failed: llama.cpp cannot load Q4_0.gguf",
    )


def test_a_task_that_is_not_there_is_named(tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = lm_eval_model.TaskManager
    monkeypatch.setattr(  # the harness's own tasks take long to read
        lm_eval_model,
        "TaskManager",
        lambda include_path, **_: manager(include_path=include_path, include_defaults=False),
    )
    with pytest.raises(LlmpiError, match=r"no task capital_chioce, and neither has .*tasks"):
        lm_eval_model._task_manager(["capital_chioce", "capital_text"], str(tasks))
