"""The frozen prompt: complete, the same for ever, and safe with what comes from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.exceptions import SecurityError

from llmpi.quality.prompt import ABSTENTION, EXAMPLES, ChatPrompt, prediction

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}: {{ messages[-1].content }}"
ESCAPE = "{{ messages.__class__.__mro__[1].__subclasses__() }}"


def chat(template: str | None) -> ChatPrompt:
    return ChatPrompt(template, bos_token="<s>", eos_token="</s>")


def test_worked_turns_then_the_question_in_the_models_own_words() -> None:
    text = chat(CHATML).render("Fans hum.", "What hums?")
    assert text.count("<|im_start|>user") == len(EXAMPLES) + 1
    assert text.count("<|im_start|>assistant") == len(EXAMPLES) + 1
    assert text.endswith(
        "Passage: Fans hum.\n\nQuestion: What hums?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_template() -> None:
    text = chat(None).render("Fans hum.", "What hums?")
    assert text.endswith("Passage: Fans hum.\n\nQuestion: What hums?\n\nAnswer:")
    assert text.count("Answer: ") == len(EXAMPLES)


@given(st.text(), st.text())
def test_passage_and_question_arrive_as_they_are(context: str, question: str) -> None:
    """With braces, placeholders and Jinja in them, too."""
    assert (
        chat(None)
        .render(context, question)
        .endswith(f"Passage: {context}\n\nQuestion: {question}\n\nAnswer:")
    )


@pytest.mark.parametrize("name", ["{question}", "{context}", "{{ 7 * 7 }}", "{0}"])
def test_placeholders_in_a_passage(name: str) -> None:
    assert f"Passage: {name}\n\nQuestion: {name}" in chat(CHATML).render(name, name)


def test_the_date_stands_still() -> None:
    assert chat(DATED).render("c", "q").startswith("26 Jul 2024: ")


def test_a_template_runs_in_a_sandbox() -> None:
    with pytest.raises(SecurityError):
        chat(ESCAPE).render("c", "q")


def test_the_hash_tells_templates_apart() -> None:
    hashes = {chat(template).sha256 for template in (None, CHATML, DATED)}
    assert len(hashes) == 3
    assert chat(CHATML).sha256 == chat(CHATML).sha256


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
