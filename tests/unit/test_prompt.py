"""The frozen prompt: complete, the same for ever, and safe with what comes from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError

from llmpi.engine.answers import ABSTENTION, prediction
from llmpi.quality.batching.chat import ChatFormat
from llmpi.quality.squad.prompt import EXAMPLES, messages, prompt_sha256

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}: {{ messages[-1].content }}"
ESCAPE = "{{ messages.__class__.__mro__[1].__subclasses__() }}"


def chat(template: str | None) -> ChatFormat:
    return ChatFormat(template, bos_token="<s>", eos_token="</s>")


def render(template: str | None, context: str, question: str, examples: int = len(EXAMPLES)) -> str:
    return chat(template).render(messages(context, question, examples))


def test_worked_turns_then_the_question_in_the_models_own_words() -> None:
    text = render(CHATML, "Fans hum.", "What hums?")
    assert text.count("<|im_start|>user") == len(EXAMPLES) + 1
    assert text.count("<|im_start|>assistant") == len(EXAMPLES) + 1
    assert text.endswith(
        "Passage: Fans hum.\n\nQuestion: What hums?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_template() -> None:
    text = render(None, "Fans hum.", "What hums?")
    assert text.endswith("Passage: Fans hum.\n\nQuestion: What hums?\n\nAnswer:")
    assert text.count("Answer: ") == len(EXAMPLES)


@given(st.text(), st.text())
def test_passage_and_question_arrive_as_they_are(context: str, question: str) -> None:
    """With braces, placeholders and Jinja in them, too."""
    assert render(None, context, question).endswith(
        f"Passage: {context}\n\nQuestion: {question}\n\nAnswer:"
    )


@pytest.mark.parametrize("name", ["{question}", "{context}", "{{ 7 * 7 }}", "{0}"])
def test_placeholders_in_a_passage(name: str) -> None:
    assert f"Passage: {name}\n\nQuestion: {name}" in render(CHATML, name, name)


def test_the_date_stands_still() -> None:
    assert render(DATED, "c", "q").startswith("26 Jul 2024: ")


def test_a_template_runs_in_a_sandbox() -> None:
    with pytest.raises(SecurityError):
        render(ESCAPE, "c", "q")


def test_the_hash_tells_templates_and_examples_apart() -> None:
    hashes = {
        prompt_sha256(chat(template).sha256, examples)
        for template in (None, CHATML, DATED)
        for examples in (0, 1, 3)
    }
    assert len(hashes) == 9
    assert prompt_sha256(chat(CHATML).sha256, 1) == prompt_sha256(chat(CHATML).sha256, 1)


def test_fewer_worked_turns() -> None:
    assert render(CHATML, "c", "q", examples=0).count("<|im_start|>user") == 1
    assert render(CHATML, "c", "q", examples=1).count("<|im_start|>user") == 2


def test_a_system_turn_without_a_template() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert chat(None).render(turns) == "Be brief.\n\nWhy?\n\nAnswer:"
    assert chat(None).begin("assistant") == " "
    assert chat(CHATML).begin("assistant") == ""


@pytest.mark.parametrize(
    ("answer", "scored"),
    [
        ("the pump", "the pump"),
        (" the pump\n", "the pump"),
        ("", ""),
        ("  \n", ""),
        (ABSTENTION, ""),
        ("Unanswerable.", ""),
        ("The question is unanswerable", "The question is unanswerable"),
    ],
)
def test_prediction(answer: str, scored: str) -> None:
    assert prediction(answer) == scored
