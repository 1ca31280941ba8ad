"""The frozen prompt: complete, the same for ever, and safe with what comes from outside."""

import threading
from typing import get_args

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.engine.answers import ABSTENTION, prediction
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.template import TemplateError
from llmpi.quality.squad.prompt import PROMPTS, messages, prompt_sha256
from llmpi.quality.squad.records import PromptNumber
from llmpi.study.tasks.squad import SquadTask

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED = "{{ strftime_now('%d %b %Y') }}: {{ messages[-1].content }}"
ESCAPE = "{{ messages.__class__.__mro__[1].__subclasses__() }}"


def chat(template: str | None) -> ChatFormat:
    return ChatFormat(template, bos_token="<s>", eos_token="</s>")


def render(template: str | None, context: str, question: str, examples: int = 4) -> str:
    return chat(template).render(messages(context, question, examples)).text


def test_worked_turns_then_the_question_in_the_models_own_words() -> None:
    text = render(CHATML, "Fans hum.", "What hums?")
    assert text.count("<|im_start|>user") == 4 + 1
    assert text.count("<|im_start|>assistant") == 4 + 1
    assert text.endswith(
        "Passage: Fans hum.\n\nQuestion: What hums?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_without_a_template() -> None:
    text = render(None, "Fans hum.", "What hums?")
    assert text.endswith("Passage: Fans hum.\n\nQuestion: What hums?\n\nAnswer:")
    assert text.count("Answer: ") == 4


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
    with pytest.raises(TemplateError, match="SecurityError: access to attribute '__class__'"):
        render(ESCAPE, "c", "q")


LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
HOSTILE = {
    "no end": (LOOPS, "has no end: it was broken off after 1 s"),
    "no end as it is compiled": ("{{ 9 ** (9 ** 12) }}", "has no end: it was broken off after"),
    "no end in C": ("{{ messages|length ** 9 + 9 ** (9 ** 9 + messages|length) }}", "has no end"),
    "a flood": (
        "{{ ('x' * 9999999) * messages|length * 9999 }}",
        "it asks for more than 2 GiB of memory",
    ),
    "a long prompt": ("{{ 'x' * 20000000 }}", "it writes more than 10,000,000 characters"),
    "a deep one": ("{% if 1 %}" * 2000, "the model's chat template"),
    "no template": ("{% for %}", "TemplateSyntaxError"),
    "raises": ("{{ raise_exception('Only user turns') }}", "ValueError: Only user turns"),
    "half a character": ("{{ '\\ud800' }}", "UnicodeEncodeError"),
    "another file": ("{% include '/etc/passwd' %}", "TemplateNotFound|no loader"),
}


@pytest.mark.parametrize(("template", "said"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_template(template: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 28."""
    monkeypatch.setattr("llmpi.engine.chat.template.RENDER_S", 1.0)
    monkeypatch.setattr("llmpi.engine.chat.template.START_S", 5.0)
    with pytest.raises(TemplateError, match=said):
        render(template, "c", "q")


def test_what_a_template_without_an_end_takes_is_taken_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A study asks thousands of prompts: the next ones have what each adds, a quarter second."""
    monkeypatch.setattr("llmpi.engine.chat.template.RENDER_S", 2.0)
    # It ends for what is tried, and for no question.
    loops = f"{{% if messages[-1].content == 'go on' %}}{LOOPS}{{% endif %}}" + CHATML
    format_ = chat(loops)
    for within_s in (2, 0, 0):
        with pytest.raises(TemplateError, match=f"broken off after {within_s} s"):
            format_.render([{"role": "user", "content": "go on"}])


def test_a_template_that_gets_no_processor_is_none_without_an_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a machine that has other things to do: what counts is what it takes."""
    monkeypatch.setattr("llmpi.engine.chat.template.RENDER_S", 0.5)
    others = {*psutil.Process().children()}
    format_ = chat(CHATML)
    before = format_.render(messages("c", "q", 0)).text
    [process] = {*psutil.Process().children()} - others
    process.suspend()
    threading.Timer(2, process.resume).start()
    assert format_.render(messages("c", "q", 0)).text == before


def test_a_template_goes_on_after_what_it_refused() -> None:
    refusing = "{% if messages|length > 1 %}{{ raise_exception('no') }}{% endif %}" + CHATML
    format_ = chat(refusing)
    with pytest.raises(TemplateError, match="ValueError: no"):
        format_.render(messages("c", "q", 1))
    assert format_.render(messages("c", "q", 0)).text.endswith("assistant\n")


def test_the_hash_tells_templates_examples_and_prompts_apart() -> None:
    hashes = {
        prompt_sha256(chat(template).sha256, examples, prompt)
        for template in (None, CHATML, DATED)
        for examples in (0, 1, 3)
        for prompt in PROMPTS
    }
    assert len(hashes) == 18
    assert prompt_sha256(chat(CHATML).sha256, 1) == prompt_sha256(chat(CHATML).sha256, 1)


@pytest.mark.parametrize(
    ("prompt", "sha256"),
    [
        (1, "5c68593839d493610d33cac2d7ed53349969c796ebf157579192798851704de6"),
        (2, "a3a0e3b399e71df086f3f52e31327d73ff936254a041a358b2fa8a2445340b9b"),
    ],
)
def test_prompts_are_frozen(prompt: PromptNumber, sha256: str) -> None:
    """Scores of other words are not to be compared: those are another prompt, of another number."""
    assert prompt_sha256(chat(None).sha256, 4, prompt) == sha256


def test_what_may_be_asked_for_is_what_there_is() -> None:
    asked = SquadTask.model_fields["prompt"].annotation
    assert get_args(asked) == get_args(PromptNumber) == tuple(PROMPTS)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_worked_questions_lean_to_neither_side(prompt: PromptNumber) -> None:
    """Half are unanswerable, whatever even number of them is taken, over two passages."""
    examples = PROMPTS[prompt].examples
    for taken in (2, 4):
        abstained = [example.reply == ABSTENTION for example in examples[:taken]]
        assert sum(abstained) == taken / 2
    passages = [example.passage for example in examples]
    assert passages == [passages[0]] * 2 + [passages[2]] * 2
    assert len({*passages}) == 2
    for passage, _, reply in examples:
        assert reply == ABSTENTION or reply in passage


@pytest.mark.parametrize("prompt", PROMPTS)
def test_each_passage_is_read_once(prompt: PromptNumber) -> None:
    turns = [turn["content"] for turn in messages("Fans hum.", "What hums?", 4, prompt)[::2]]
    for passage in {example.passage for example in PROMPTS[prompt].examples}:
        assert sum(passage in turn for turn in turns) == 1
    assert turns[-1] == turns[0].replace(PROMPTS[prompt].examples[0].passage, "Fans hum.").replace(
        PROMPTS[prompt].examples[0].question, "What hums?"
    )


def test_fewer_worked_turns() -> None:
    assert render(CHATML, "c", "q", examples=0).count("<|im_start|>user") == 1
    assert render(CHATML, "c", "q", examples=1).count("<|im_start|>user") == 2


def test_a_system_turn_without_a_template() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert chat(None).render(turns).text == "Be brief.\n\nWhy?\n\nAnswer:"
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
