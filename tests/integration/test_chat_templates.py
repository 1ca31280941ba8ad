"""How the models of today are asked, with the templates that the engine's sources ship."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gguf_edit import edited
from support import ROOT, first_of

from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.thoughts import Marks
from llmpi.engine.chat.turns import Prompt, turns_of
from llmpi.engine.records import Message
from llmpi.gguf import engine_source
from llmpi.quality.batching.asking import Asking, Refused
from llmpi.quality.batching.engine import BatchEngine
from llmpi.quality.batching.schedule import Outcome, Request, shape_of
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.records import Answer, Conversation, Decoding
from llmpi.quality.squad.evaluate import evaluate
from llmpi.quality.squad.items import score_items
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.questions import prepare
from llmpi.records import sha256_of
from llmpi.study.tasks.squad import SquadTask

TEMPLATE = "tokenizer.chat_template"
ASKED: list[Message] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why?"},
]
CHATML = (
    "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n"
    "<|im_start|>assistant\n"
)
SMOLLM3 = (
    "<|im_start|>system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\n"
    "Reasoning Mode: {mode}\n\n## Custom Instructions\n\nBe brief.\n\n<|im_end|>\n"
    "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
)
GEMMA_2 = "<bos><start_of_turn>user\nBe brief.\nWhy?<end_of_turn>\n<start_of_turn>model\n"
GEMMA_4 = "<bos><|turn>system\n{think}Be brief.<turn|>\n<|turn>user\nWhy?<turn|>\n<|turn>model\n"
LLAMA_3 = (
    "<bos><|start_header_id|>system<|end_header_id|>\n\n"
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
GRANITE = (
    "<|start_of_role|>system<|end_of_role|>Be brief.<|end_of_text|>\n"
    "<|start_of_role|>user<|end_of_role|>Why?<|end_of_text|>\n"
    "<|start_of_role|>assistant<|end_of_role|>"
)
R1 = "<bos>Be brief.<｜User｜>Why?<｜Assistant｜><think>\n"
PHI_4 = "<|system|>Be brief.<|end|><|user|>Why?<|end|><|assistant|>"
GEMMA_3 = "<bos><start_of_turn>user\nBe brief.\n\nWhy?<end_of_turn>\n<start_of_turn>model\n"
NO_THOUGHT = "<think>\n\n</think>\n\n"
GPT_OSS = (
    "<|start|>system<|message|>You are ChatGPT, a large language model trained by OpenAI.\n"
    "Knowledge cutoff: 2024-06\nCurrent date: 26 Jul 2024\n\nReasoning: medium\n\n"
    "# Valid channels: analysis, commentary, final. Channel must be included for every message."
    "<|end|><|start|>developer<|message|># Instructions\n\nBe brief.\n\n<|end|>"
    "<|start|>user<|message|>Why?<|end|><|start|>assistant"
)
APERTUS = (
    "<bos><|system_start|>Be brief.<|system_end|><|developer_start|>Deliberation: {mode}\n"
    "Tool Capabilities: disabled<|developer_end|><|user_start|>Why?<|user_end|><|assistant_start|>"
)
APRIEL_1_6 = (
    "<bos><|begin_system|>\nYou are a thoughtful, systematic AI assistant from ServiceNow Language "
    "Models (SLAM) lab.\n    Analyze each question carefully, present your reasoning step-by-step, "
    "then provide the final\n    response after the marker [BEGIN FINAL RESPONSE].\nBe brief.\n"
    "<|begin_user|>\nWhy?\n<|begin_assistant|>\nHere are my reasoning steps:\n"
)
APRIEL_1_5 = (
    "<bos><|system|>\nYou are a thoughtful and systematic AI assistant built by ServiceNow "
    "Language Models (SLAM) lab. Before providing an answer, analyze the problem carefully and "
    "present your reasoning step by step. After explaining your thought process, provide the final "
    "solution in the following format: [BEGIN FINAL RESPONSE] ... [END FINAL RESPONSE].Be brief."
    "\n<|end|>\n<|user|>\nWhy?\n<|end|>\n<|assistant|>\n"
)
ANSWERS = "\n[BEGIN FINAL RESPONSE]\n\n"
K3 = (
    '<|open|>message role="system"<|sep|>Be brief.<|close|>message<|sep|><|end_of_msg|>'
    '<|open|>message role="user"<|sep|>Why?<|close|>message<|sep|><|end_of_msg|>'
    '<|open|>message role="assistant"<|sep|>'
)
K3_EFFORT = (
    '<|open|>message role="system" type="thinking-effort"<|sep|>`thinking_effort` guides on how '
    "much to think in your thinking channel (not including the response channel), supported values "
    "include `low`, `medium`, `high`, and `max`.\nNow the system is invoked with "
    "`thinking_effort=max`.<|close|>message<|sep|><|end_of_msg|>"
)
K2 = (
    "<|im_system|>system<|im_middle|>Be brief.<|im_end|><|im_user|>user<|im_middle|>Why?<|im_end|>"
    "<|im_assistant|>assistant<|im_middle|>"
)

WRITTEN = {
    "Phi-4-mini": (
        "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
    "Gemma 3": (
        "{{ bos_token }}{% if messages[0].role == 'system' %}"
        "{% set first = messages[0].content + '\n\n' %}{% set turns = messages[1:] %}"
        "{% else %}{% set first = '' %}{% set turns = messages %}{% endif %}"
        "{% for m in turns %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\n' + (first if loop.first else '') }}"
        "{{ m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
}
"""After their documentation: the engine's sources do not ship these two."""

PROMPTS: dict[str, tuple[Prompt, Prompt]] = {
    "Qwen-Qwen3-0.6B": (Prompt(CHATML + NO_THOUGHT), Prompt(CHATML)),
    "Qwen3.5-4B": (
        Prompt(CHATML + NO_THOUGHT),
        Prompt(CHATML + "<think>\n", opened=True),
    ),
    "HuggingFaceTB-SmolLM3-3B": (
        Prompt(SMOLLM3.format(mode="/no_think") + "<think>\n\n</think>\n"),
        Prompt(SMOLLM3.format(mode="/think")),
    ),
    "google-gemma-2-2b-it": (Prompt(GEMMA_2, folded=True), Prompt(GEMMA_2, folded=True)),
    "Gemma 3": (Prompt(GEMMA_3), Prompt(GEMMA_3)),
    "google-gemma-4-31B-it": (
        Prompt(GEMMA_4.format(think="") + "<|channel>thought\n<channel|>"),
        Prompt(GEMMA_4.format(think="<|think|>\n")),
    ),
    "meta-llama-Llama-3.2-3B-Instruct": (Prompt(LLAMA_3), Prompt(LLAMA_3)),
    "Phi-4-mini": (Prompt(PHI_4), Prompt(PHI_4)),
    "LFM2-8B-A1B": (Prompt("<bos>" + CHATML), Prompt("<bos>" + CHATML)),
    "LFM2.5-Instruct": (Prompt("<bos>" + CHATML), Prompt("<bos>" + CHATML)),
    "ibm-granite-granite-4.0": (Prompt(GRANITE), Prompt(GRANITE)),
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": (
        Prompt(f"{R1}\n</think>\n\n"),
        Prompt(R1, opened=True),
    ),
    "openai-gpt-oss-120b": (Prompt(GPT_OSS + "<|channel|>final<|message|>"), Prompt(GPT_OSS)),
    "Apertus-8B-Instruct": (
        Prompt(APERTUS.format(mode="disabled")),
        Prompt(APERTUS.format(mode="enabled")),
    ),
    "Apriel-1.6-15b-Thinker-fixed": (
        Prompt(APRIEL_1_6 + ANSWERS),
        Prompt(APRIEL_1_6, opened=True),
    ),
    "unsloth-Apriel-1.5": (Prompt(APRIEL_1_5 + ANSWERS), Prompt(APRIEL_1_5, opened=True)),
    "Kimi-K3": (
        Prompt(K3 + "<|open|>response<|sep|>"),
        Prompt(K3_EFFORT + K3 + "<|open|>think<|sep|>", opened=True),
    ),
    "Kimi-K2-Thinking": (Prompt(K2), Prompt(K2)),
}
"""Behind a system turn: with thoughts off, and on."""

THINK = Marks("<think>", "</think>")
MARKS: dict[str, Marks | None] = {
    "Qwen-Qwen3-0.6B": THINK,
    "Kimi-K2-Thinking": THINK,
    "ibm-granite-granite-3.3-2B-Instruct": THINK._replace(begin="<response>", end="</response>"),
    "ByteDance-Seed-OSS": Marks("<seed:think>", "</seed:think>"),
    "tencent-Hy3": Marks("<think:opensource>", "</think:opensource>"),
    "google-gemma-4-31B-it": Marks("<|channel>thought", "<channel|>"),
    "Apertus-8B-Instruct": Marks("<|inner_prefix|>", "<|inner_suffix|>"),
    "Apriel-1.6-15b-Thinker-fixed": Marks("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
    "unsloth-Apriel-1.5": Marks(
        "<|assistant|>", "[BEGIN FINAL RESPONSE]", end="[END FINAL RESPONSE]"
    ),
    "openai-gpt-oss-120b": Marks(
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
        "<|channel|>final<|message|>",
        end="<|return|>",
    ),
    "Kimi-K3": Marks(
        "<|open|>think<|sep|>",
        "<|close|>think<|sep|><|open|>response<|sep|>",
        "<|open|>response<|sep|>",
        end="<|close|>response<|sep|>",
    ),
    "upstage-Solar-Open-100B": Marks(
        "<|think|>", "<|end|><|begin|>assistant<|content|>", "<|content|>", end="<|end|>"
    ),
    "muse-glimmer": Marks(
        "to=self<|message|>",
        "<|eom|><|start|>assistant to=user<|message|>",
        " to=user<|message|>",
        end="<|eot|>",
    ),
    **dict.fromkeys(
        (
            *("meta-llama-Llama-3.2-3B-Instruct", "Qwen-Qwen2.5-7B-Instruct", "Qwen3-Coder"),
            *("google-gemma-2-2b-it", "ibm-granite-granite-4.0", "microsoft-Phi-3.5-mini-instruct"),
            *("LFM2-8B-A1B", "GigaChat3.1-10B-A1.8B", "mistralai-Mistral-Nemo-Instruct-2407"),
        )
    ),
}
"""None: who does not think has none, whatever else stands in the template."""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("engine") / "source"
    pin = engine_source.pin(ROOT / "envs/workstation.lock")
    engine_source.unpack(pin, folder, ["models/templates"])
    shipped = (folder / "models/templates").glob("*.jinja")
    return WRITTEN | {file.stem: file.read_text("utf-8") for file in shipped}


@pytest.mark.parametrize("thinking", [False, True], ids=["off", "on"])
@pytest.mark.parametrize("name", PROMPTS)
def test_the_exact_prompt(name: str, thinking: bool, templates: dict[str, str]) -> None:
    chat = ChatFormat(templates[name], bos_token="<bos>", eos_token="<eos>", thinking=thinking)
    assert chat.render(ASKED) == PROMPTS[name][thinking]


@pytest.mark.parametrize("name", MARKS)
def test_the_marks(name: str, templates: dict[str, str]) -> None:
    assert ChatFormat(templates[name], bos_token="<bos>", eos_token="<eos>").marks == MARKS[name]


SETTINGS: Any = {
    "computation": BY_DEFAULT,
    "max_new_tokens": 16,
    "context_tokens": 4096,
    "thinking_tokens": None,
    "examples": 1,
    "prompt": 1,
    "language": "en",
    "block_questions": None,
}
THOUGHT = "\nThe passage names it, or it does not.\n"


@pytest.fixture(scope="module")
def gguf(finished: Any) -> Path:
    return Path(finished.folder / "results/gguf/smollm2-135m/Q4_0.gguf")


def scored(gguf: Path, folder: Path, **settings: Any) -> Any:
    data = str(ROOT / "config/data/field_qa.json")
    asked = SquadTask(task="squad", squad_file=data, questions=8)
    manifest: Any = {"status": "ok", "sha256": sha256_of(gguf)}
    questions: Any = prepare(asked, Path())
    return evaluate(gguf, manifest, questions, SETTINGS | settings, threads=2, store=folder)


def test_a_file_that_wants_an_end_behind_its_prompts(gguf: Path, tmp_path: Path) -> None:
    """Case 22: it scores as it does without."""
    fields = {"tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.add_eos_token": True}
    other = edited(gguf, tmp_path / "other.gguf", fields)
    before, after = (scored(file, tmp_path / "blocks") for file in (gguf, other))
    assert before["summary"]["metrics"]["exact"]["pct"] > 0
    assert [i["answer"] for i in after["items"]] == [i["answer"] for i in before["items"]]
    assert before["sent"]["begin"][0] == {"text": "<|im_start|>", "special": True}
    assert after["sent"] == before["sent"]


@pytest.fixture
def thinking(
    gguf: Path, templates: dict[str, str], tmp_path: Path
) -> Iterator[tuple[BatchEngine, Decoding]]:
    """The demo's model behind Qwen3's template, thoughts allowed."""
    file = edited(gguf, tmp_path / "qwen.gguf", {TEMPLATE: templates["Qwen-Qwen3-0.6B"]})
    with BatchEngine(file, threads=2, shape=shape_of(4096)) as engine:
        yield engine, {**SETTINGS, "thinking_tokens": 64}


def test_thoughts_put_into_a_mouth_change_no_score(
    thinking: tuple[BatchEngine, Decoding],
) -> None:
    engine, settings = thinking
    asking = Asking(engine, settings)
    document = json.loads((ROOT / "config/data/field_qa.json").read_text("utf-8"))
    paragraphs = parse(document, "field")[:6]
    talks: list[Conversation] = [
        {"messages": messages(p.context, q.question, 2), "continuation": "unanswerable"}
        for p in paragraphs
        for q in p.questions
    ]
    requests = [
        request for request in map(asking.request, talks) if not isinstance(request, Refused)
    ]
    assert len(requests) == len(talks)
    assert all(not request.score for request in requests)
    engine.share([requests])
    outcomes, _ = engine.run([requests])
    plain = [asking.answer(*pair) for pair in zip(requests, outcomes, strict=True)]
    assert all(answer["thought"] is None for answer in plain)

    def aloud(outcome: Outcome) -> Outcome:
        assert engine.marks
        before = f"{engine.marks.open}{THOUGHT}{engine.marks.close}\n\n"
        tokens = (*engine.tokenize(before), *outcome.tokens)
        found = engine.answer_at(tokens, False, outcome.stopped)
        return outcome._replace(tokens=tokens, answer_at=found)

    thought = [asking.answer(r, aloud(o)) for r, o in zip(requests, outcomes, strict=True)]
    order = range(len(paragraphs))
    alike = [score_items(paragraphs, order, said, "en") for said in (plain, thought)]
    for before, after in zip(*alike, strict=True):
        assert THOUGHT in after["thought"]
        assert 0 < after["thought_tokens"] <= after["new_tokens"] - before["new_tokens"]
        for key in ("answer", "prediction", "exact", "f1", "error"):
            assert after[key] == before[key], key


MOUTHS = (
    *("Qwen-Qwen3-0.6B", "Qwen3.5-4B", "google-gemma-4-31B-it", "openai-gpt-oss-120b"),
    *("ibm-granite-granite-3.3-2B-Instruct", "Apertus-8B-Instruct", "unsloth-Apriel-1.5"),
    *("Apriel-1.6-15b-Thinker-fixed", "Kimi-K3", "Kimi-K2-Thinking", "upstage-Solar-Open-100B"),
    *("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "mistralai-Ministral-3-14B-Reasoning-2512"),
)


@pytest.mark.parametrize("name", first_of(MOUTHS, 4))
def test_thoughts_of_every_kind_change_no_score(
    name: str, gguf: Path, templates: dict[str, str], tmp_path: Path
) -> None:
    """Right and wrong answers and abstentions, in a mouth behind the template of each kind."""
    file = edited(gguf, tmp_path / "other.gguf", {TEMPLATE: templates[name]})
    document = json.loads((ROOT / "config/data/field_qa.json").read_text("utf-8"))
    paragraphs = parse(document, "field")[:4]
    said = itertools.cycle(["unanswerable", "the third of May", None])
    with BatchEngine(file, threads=2, shape=shape_of(4096)) as engine:
        plain, aloud = (
            Asking(engine, {**SETTINGS, "thinking_tokens": tokens}) for tokens in (None, 64)
        )
        marks = engine.marks
        assert marks

        def answered(asking: Asking, talk: Conversation, answer: str, thought: str) -> Answer:
            request = asking.request(talk)
            assert isinstance(request, Request)
            opened = request.thought is not None and request.thought.opened
            text = f"{thought}{marks.close}\n\n{marks.begin}{answer}{marks.end}"
            begun = "" if opened else marks.open
            tokens = tuple(engine.tokenize(begun + text if thought else answer))
            at = engine.answer_at(tokens, opened, True) if request.thought else 0
            return asking.answer(request, Outcome(tokens, True, answer_at=at))

        found: tuple[list[Answer], list[Answer]] = [], []
        for paragraph in paragraphs:
            for question in paragraph.questions:
                turns = messages(paragraph.context, question.question, 2)
                talk: Conversation = {"messages": turns, "continuation": None}
                answer = next(said) or next(iter(question.golds), "unanswerable")
                found[0].append(answered(plain, talk, answer, ""))
                found[1].append(answered(aloud, talk, answer, THOUGHT))
    order = range(len(paragraphs))
    alike = [score_items(paragraphs, order, one, "en") for one in found]
    assert 0 < sum(item["exact"] for item in alike[0]) < len(alike[0])
    for before, after in zip(*alike, strict=True):
        assert THOUGHT.strip() in after["thought"]
        assert after["thought_tokens"] > 0 == before["thought_tokens"]
        for key in ("answer", "prediction", "exact", "f1", "error"):
            assert after[key] == before[key], key


SILENT = {
    *("CohereForAI-c4ai-command-r-plus-tool_use", "GigaChat3-10B-A1.8B", "GigaChat3.1-10B-A1.8B"),
    *("Kimi-K2-Instruct", "LFM2-8B-A1B", "MiMo-VL", "MiniMax-M1", "Qwen-Qwen2.5-7B-Instruct"),
    *("Mistral-Small-3.2-24B-Instruct-2506", "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use"),
    *("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "Qwen3-Coder", "google-gemma-2-2b-it"),
    *("fireworks-ai-llama-3-firefunction-v2", "ibm-granite-granite-4.0", "moonshotai-Kimi-K2"),
    *("ibm-granite-granite-4.1", "meetkai-functionary-medium-v3.1", "Phi-4-mini", "Gemma 3"),
    *("meetkai-functionary-medium-v3.2", "meta-llama-Llama-3.1-8B-Instruct"),
    *("meta-llama-Llama-3.2-3B-Instruct", "meta-llama-Llama-3.3-70B-Instruct"),
    *("microsoft-Phi-3.5-mini-instruct", "mistralai-Mistral-Nemo-Instruct-2407"),
    "unsloth-mistral-Devstral-Small-2507",
}
"""Templates that the engine ships for models that do not think, or that say nothing of it."""


def test_no_other_template_hides_its_thoughts(templates: dict[str, str]) -> None:
    """A template that comes with a newer engine is looked at before it is listed."""
    found = set()
    for name, text in templates.items():
        turns = turns_of(text, bos_token="<bos>", eos_token="<eos>")
        turns.probe()
        if turns.marks is None:
            found.add(name)
    assert found == SILENT


def test_a_thought_without_an_end_is_no_answer(gguf: Path, tmp_path: Path) -> None:
    """The prompt opens one, and this model knows nothing of closing it."""
    opens = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content.split('</think>')[-1] }}"
        "<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\n<think>\n' }}"
    )
    file = edited(gguf, tmp_path / "opens.gguf", {TEMPLATE: opens})
    found = scored(file, tmp_path / "blocks", thinking_tokens=24)
    summary = found["summary"]
    assert summary["thoughts"] == summary["items"]
    assert summary["thoughts_cut"] == summary["errors"] > 0
    for item in found["items"]:
        if item["error"]:
            assert (item["exact"], item["f1"], item["answer"]) == (0, 0.0, "")
            assert "its thought" in item["error"]  # cut, or ended by the model within it
    assert scored(file, tmp_path / "blocks")["summary"]["thoughts_cut"] == 0


def test_marks_that_nothing_explains_are_named(gguf: Path) -> None:
    """Neither the demo's template nor its vocabulary knows of thoughts."""
    asked: Conversation = {"messages": ASKED, "continuation": None}
    with BatchEngine(gguf, threads=2, shape=shape_of(4096)) as engine:
        asking = Asking(engine, SETTINGS)
        request = asking.request(asked)
        marked, plain = (
            asking.answer(request, Outcome(tuple(engine.tokenize(said)), True))
            for said in ("<think>hm</think>Paris<|im_start|>user", "Paris, <b>said</b> he")
        )
    assert marked["marks"] == ["<|im_start|>", "<think>", "</think>"]
    assert "marks" not in plain


def test_thoughts_that_a_template_knows_nothing_of_are_refused(gguf: Path, tmp_path: Path) -> None:
    found = scored(gguf, tmp_path / "blocks", thinking_tokens=24)
    assert found["status"] == "failed"
    assert "its chat template shows nothing of thoughts" in found["reason"]


def test_turns_that_a_template_refuses_cost_themselves(gguf: Path, tmp_path: Path) -> None:
    refusing = (
        "{% if 'pump' in messages[-1].content %}{{ raise_exception('no pumps') }}{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{{ '<|im_start|>assistant\n' }}"
    )
    file = edited(gguf, tmp_path / "refusing.gguf", {TEMPLATE: refusing})
    found = scored(file, tmp_path / "blocks")
    items = found.get("items") or pytest.fail(str(found))
    refused = [item for item in items if item["error"]]
    assert 0 < len(refused) < len(items)
    assert all("no pumps" in item["error"] for item in refused)
