"""Where a thought ends, and what a template tells of thoughts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.engine.answers import prediction
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.chat.thoughts import Marks, Thoughts
from llmpi.engine.records import Message

THINK = Marks("<think>", "</think>")


def text(tokens: tuple[str, ...] | list[str]) -> bytes:
    return "".join(tokens).encode()


def thoughts(marks: Marks = THINK) -> Thoughts:
    return Thoughts(marks, text)  # type: ignore[arg-type]  # tokens are their own texts here


def answer_of(said: list[str], *, opened: bool = False, ended: bool = True) -> str | None:
    """What is scored of it."""
    found = thoughts().answer_at(said, opened, ended)  # type: ignore[arg-type]
    if found is None:
        return None
    behind = thoughts().behind(said[:found]) if found else b""  # type: ignore[arg-type]
    return (behind + text(said[found:])).decode().lstrip()


@pytest.mark.parametrize("opened", [False, True])
def test_an_empty_thought_before_an_abstention(opened: bool) -> None:
    """Case 23."""
    said = ["<think>", "\n\n", "</think>", "\n\n", "un", "answerable"]
    assert prediction(answer_of(said, opened=opened) or "") == ""
    assert answer_of(said, opened=opened) == "unanswerable"


@given(st.lists(st.sampled_from(["a", " b", "\n", "</", "think", ">\n\n", "<", ">", "é"])))
def test_a_thought_is_what_stands_before_its_closing_mark(said: list[str]) -> None:
    """However the marks fall into tokens."""
    whole = "".join(said)
    found = answer_of(said, opened=True)
    assert found == (whole.partition("</think>")[2].lstrip() if "</think>" in whole else None)
    begun = whole.lstrip().startswith("<think>")
    if not begun:
        assert answer_of(said) == whole.lstrip() or answer_of(said) == whole


@given(st.lists(st.sampled_from(["<", "think", ">", "x", "</", " "]), max_size=8))
def test_what_is_told_early_stays(said: list[str]) -> None:
    """Once an answer has begun, no later token makes it a thought."""
    told: list[int] = []
    for count in range(len(said) + 1):
        found = thoughts().answer_at(said[:count], False)  # type: ignore[arg-type]
        assert not told or found == told[0]
        told += [] if found is None else [found]


def test_the_marks_may_be_of_no_known_name() -> None:
    said = ["<|channel>", "thought", "\nx", "<channel|>", "yes"]
    found = thoughts(Marks("<|channel>thought", "<channel|>")).answer_at(said, False)  # type: ignore[arg-type]
    assert found == 4


def test_white_space_behind_a_thought_is_none_of_the_answer() -> None:
    """Else a stop at blank lines, or a bound of one token, would find no answer at all."""
    said = ["<think>", "hm", "</think>", "\n\n", "Paris"]
    told = [thoughts().answer_at(said[:n], False) for n in range(len(said) + 1)]  # type: ignore[arg-type]
    assert told == [None, None, None, None, None, 4]
    assert thoughts().answer_at(said[:4], False, ended=True) == 4  # type: ignore[arg-type]


# --- what templates tell --------------------------------------------------------------------------

ASKED: list[Message] = [{"role": "user", "content": "Why?"}]
TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


def format_of(template: str, *, thinking: bool = False) -> ChatFormat:
    return ChatFormat(template, bos_token="<s>", eos_token="</s>", thinking=thinking)


def test_a_switch_by_whatever_name() -> None:
    template = TURNS + "{% if not let_me_reason %}[MUSE]\n\n[/MUSE]\n\n{% endif %}"
    off, on = (format_of(template, thinking=thinking) for thinking in (False, True))
    assert off.marks == on.marks == ("[MUSE]", "[/MUSE]")
    assert off.render(ASKED).text == "<user>Why?<assistant>[MUSE]\n\n[/MUSE]\n\n"
    assert on.render(ASKED).text == "<user>Why?<assistant>"
    assert not on.render(ASKED).opened


def test_a_prompt_that_opens_a_thought_without_a_switch() -> None:
    template = (
        "{% for m in messages %}<{{ m.role }}>{{ m.content.split('</ponder>')[-1] }}{% endfor %}"
        "{{ '<assistant><ponder>\n' }}"
    )
    on, off = (format_of(template, thinking=thinking).render(ASKED) for thinking in (True, False))
    assert on.opened and on.text.endswith("<ponder>\n")
    assert not off.opened and off.text.endswith("<ponder>\n\n</ponder>\n\n")


def test_who_speaks_is_no_mark() -> None:
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"
    for added in ("<no_think>", "</think>"):
        chat = format_of(turns + "{% if not enable_thinking %}" + added + "{% endif %}")
        assert chat.marks is None or chat.marks.open != "<assistant>"


def test_a_switch_that_wants_a_number_is_none() -> None:
    asks = "Think within {{ thinking_budget }} tokens." + TURNS
    assert format_of(asks, thinking=True).render(ASKED).text.startswith("Think within  tokens.")


def test_all_system_turns_are_folded() -> None:
    silent = "{% for m in messages if m.role == 'user' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    turns: list[Message] = [{"role": "system", "content": word} for word in ("one", "two")]
    assert "<user>one\ntwo\nWhy?" in format_of(silent).render([*turns, *ASKED]).text


def test_no_thought_is_waited_for_behind_one_that_is_closed() -> None:
    template = TURNS + "{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    off, on = (format_of(template, thinking=thinking) for thinking in (False, True))
    assert off.thought(off.render(ASKED).text, 64) is None
    assert on.thought(on.render(ASKED).text, 64) == (64, False)
    assert on.thought("<think>\n", 1) == (16, True)


def test_other_marks_are_no_thoughts() -> None:
    """Tools have marks, too."""
    tools = "Call tools between <tool_call> and </tool_call>." + TURNS
    assert format_of(tools).marks is None
    assert not format_of(tools, thinking=True).thinks


def test_a_template_without_a_system_turn() -> None:
    """Case 24."""
    refusing = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + TURNS
    silent = (
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    system: Message = {"role": "system", "content": "Be brief."}
    for template in (refusing, silent):
        chat = format_of(template)
        assert "Why?" in chat.render(ASKED).text
        assert not chat.render(ASKED).folded
        prompt = chat.render([system, *ASKED])
        assert prompt.folded
        assert "<user>Be brief.\nWhy?" in prompt.text
