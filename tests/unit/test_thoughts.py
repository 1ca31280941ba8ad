"""Where a thought ends, and what a template tells of thoughts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.service.chat import Parting
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
    assert off.marks == on.marks == Marks("[MUSE]", "[/MUSE]")
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


# --- marks that are found by what differs, or that the vocabulary tells ---------------------------

SWITCH = "{% if thinking is undefined %}{% set thinking = true %}{% endif %}"
HARMONY = (
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if loop.last and not add_generation_prompt and m.thinking %}"
    "{{ '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{% endif %}"
    "{{ '<|start|>assistant<|channel|>final<|message|>' + m.content }}"
    "{{ '<|end|>' if add_generation_prompt else '<|return|>' }}"
    "{% else %}{{ '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""OpenAI's harmony: thoughts in a channel, dropped from all turns but the last."""
BLOCKS = (
    "{{ '<|developer_start|>Deliberation: ' }}{{ 'enabled' if enable_thinking else 'disabled' }}"
    "{{ '<|developer_end|>' }}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ '<|assistant_start|>' }}{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for b in m.content.blocks %}{% if b.type == 'thoughts' %}"
    "{{ '<|inner_prefix|>' + b.text + '<|inner_suffix|>' }}{% else %}{{ b.text }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|assistant_end|>' }}"
    "{% else %}{{ '<|user_start|>' + m.content + '<|user_end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant_start|>' }}{% endif %}"
)
"""Apertus: an inner part of a turn, among its blocks."""
STEPS = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '\n<|begin_assistant|>\n' }}"
    "{% if m.reasoning_content and loop.last %}"
    "{{ m.reasoning_content + '\n[BEGIN FINAL RESPONSE]\n' }}{% endif %}{{ m.content }}"
    "{% else %}{{ '<|begin_' + m.role + '|>\n' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '\n<|begin_assistant|>\nHere are my reasoning steps:\n' }}{% endif %}"
)
"""Apriel 1.6: the prompt begins the steps in plain words."""
FORM = (
    "{{ '<|system|>\nGive the solution as [BEGIN FINAL RESPONSE] ... [END FINAL RESPONSE].' }}"
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '\n<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
"""Apriel 1.5: what stands around an answer is asked for, in the system turn."""
XTML = (
    SWITCH + "{% for m in messages %}{{ '<|open|>message role=\"' + m.role + '\"<|sep|>' }}"
    "{% if m.role == 'assistant' %}{% if thinking %}"
    "{{ '<|open|>think<|sep|>' + (m.reasoning_content or '') }}"
    "{{ '<|close|>think<|sep|>' }}{% endif %}"
    "{{ '<|open|>response<|sep|>' + m.content + '<|close|>response<|sep|>' }}"
    "{% else %}{{ m.content }}{% endif %}{{ '<|close|>message<|sep|><|end_of_msg|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|open|>message role=\"assistant\"<|sep|>' }}"
    "{{ '<|open|>' + ('think' if thinking else 'response') + '<|sep|>' }}{% endif %}"
)
"""Kimi K3: tags of three tokens, around answers, too."""
EFFORT = (
    "{% set effort = reasoning_effort if reasoning_effort is defined else 'no_think' %}"
    "{% if effort not in ['high', 'no_think'] %}{{ raise_exception('effort') }}{% endif %}"
    "{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.role == 'assistant' %}"
    "{{ '<think:x>' + (m.reasoning_content or '') + '</think:x>' }}{% endif %}{{ m.content }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant><think:x>"
    "{% if effort == 'no_think' %}</think:x>{% endif %}{% endif %}"
)
"""Hunyuan 3: an effort by name, and marks with the vocabulary's own ending."""
EMPTY = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' }}"
    "{% if m.role == 'assistant' %}<think></think>{% endif %}{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""Kimi K2 Thinking: turns of before have lost their thoughts, not the marks."""

KINDS = {
    # template, marks, the prompt's end without a thought and with one
    "harmony": (
        HARMONY,
        Marks(
            "<|channel|>analysis<|message|>",
            "<|end|><|start|>assistant<|channel|>final<|message|>",
            "<|channel|>final<|message|>",
            end="<|return|>",
        ),
        ("assistant<|channel|>final<|message|>", "<|start|>assistant"),
    ),
    "blocks": (
        BLOCKS,
        Marks("<|inner_prefix|>", "<|inner_suffix|>", end="<|assistant_end|>"),
        ("<|user_end|><|assistant_start|>", "<|user_end|><|assistant_start|>"),
    ),
    "steps": (
        STEPS,
        Marks("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
        (
            "steps:\n\n[BEGIN FINAL RESPONSE]\n\n",
            "<|begin_assistant|>\nHere are my reasoning steps:\n",
        ),
    ),
    "form": (
        FORM,
        Marks("<|assistant|>", "[BEGIN FINAL RESPONSE]", end="[END FINAL RESPONSE]"),
        ("<|assistant|>\n\n[BEGIN FINAL RESPONSE]\n\n", "<|end|>\n<|assistant|>\n"),
    ),
    "XTML": (
        XTML,
        Marks(
            "<|open|>think<|sep|>",
            "<|close|>think<|sep|><|open|>response<|sep|>",
            "<|open|>response<|sep|>",
            end="<|close|>response<|sep|>",
        ),
        ("<|sep|><|open|>response<|sep|>", "<|sep|><|open|>think<|sep|>"),
    ),
    "effort": (
        EFFORT,
        Marks("<think:x>", "</think:x>"),
        ("<assistant><think:x></think:x>", "<assistant><think:x>"),
    ),
    "empty": (EMPTY, THINK, ("Why?<|assistant|>", "Why?<|assistant|>")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_marks_of_other_kinds(kind: str) -> None:
    template, marks, ends = KINDS[kind]
    off, on = (format_of(template, thinking=thinking) for thinking in (False, True))
    assert off.marks == on.marks == marks
    assert on.thinks
    for chat, end in zip((off, on), ends, strict=True):
        assert chat.render(ASKED).text.endswith(end)


@pytest.mark.parametrize("kind", KINDS)
@given(thought=st.text("ab <|", max_size=20), answer=st.text("xy z", min_size=1).map(str.strip))
def test_what_a_model_of_such_a_kind_writes_is_split(kind: str, thought: str, answer: str) -> None:
    """Letter by letter, whatever its tokens are; with a thought, and where it leaves it out."""
    marks = KINDS[kind][1]
    said = f"{marks.open}{thought}\n{marks.close}{answer}{marks.end}"
    found = thoughts(marks)
    at = found.answer_at([*said], False, True)  # type: ignore[arg-type]
    assert at is not None
    assert not found.is_none([*said[:at]])  # type: ignore[arg-type]
    rest = [*said[at:]]
    assert text(found.answer_in(rest)).decode().strip() == answer  # type: ignore[arg-type]
    if marks.answer:
        bare = f"{marks.answer}{answer}{marks.end}"
        at = found.answer_at([*bare], False, True)  # type: ignore[arg-type]
        assert at == len(marks.answer)
        assert found.is_none([*bare[:at]])  # type: ignore[arg-type]


def test_a_turn_that_is_written_down_as_data_shows_no_marks() -> None:
    """Many a template puts out what it does not know."""
    for content in ("m.content", "m.content | tojson"):
        turns = f"{{% for m in messages %}}<{{{{ m.role }}}}>{{{{ {content} }}}}{{% endfor %}}"
        assert (
            format_of(turns + "{% if add_generation_prompt %}<assistant>{% endif %}").marks is None
        )


@pytest.mark.parametrize(
    ("tokens", "marks"),
    [
        (["<s>", "<think>", "</think>", "<tool_call>", "</tool_call>"], ("<think>", "</think>")),
        (["<|END_THINKING|>", "<|START_THINKING|>"], ("<|START_THINKING|>", "<|END_THINKING|>")),
        (
            ["<|begin_of_thought|>", "<|end_of_thought|>"],
            ("<|begin_of_thought|>", "<|end_of_thought|>"),
        ),
        (["<tool_call>", "</tool_call>", "<think>"], None),
        ([], None),
    ],
)
def test_what_a_template_hides_the_vocabulary_tells(
    tokens: list[str], marks: tuple[str, str] | None
) -> None:
    chat = ChatFormat(TURNS, bos_token="", eos_token="", vocabulary=lambda: tokens, thinking=True)
    assert chat.marks == (marks and Marks(*marks[:2]))
    assert chat.thinks == (marks is not None)


def test_marks_around_an_answer_that_the_prompt_asks_for() -> None:
    """Granite 3.3."""
    form = "Write thoughts between <think></think>, then <response></response>."
    chat = format_of(f"{{% if thinking %}}{form}{{% endif %}}{TURNS}")
    assert chat.marks == THINK._replace(begin="<response>", end="</response>")
    assert chat.render(ASKED).text == "<user>Why?<assistant>"


# --- while it is written, as the service has it ---------------------------------------------------

GRANITE = THINK._replace(begin="<response>", end="</response>")
ALL_MARKS = [marks for _, marks, _ in KINDS.values()] + [GRANITE]
CUTS = st.lists(st.integers(0, 60), max_size=12).map(sorted)


def parted(marks: Marks, said: str, cuts: list[int], *, opened: bool = False) -> tuple[str, str]:
    """What a stream of such pieces comes to: thought and answer."""
    parting = Parting(marks, opened)
    ends = [*cuts, len(said)]
    pieces = [said[a:b] for a, b in zip([0, *cuts], ends, strict=True)]
    parts = [parting.feed(piece) for piece in pieces] + [parting.feed("", ended=True)]
    return "".join(p.thought for p in parts), "".join(p.answer for p in parts)


@pytest.mark.parametrize("marks", ALL_MARKS)
@given(
    cuts=CUTS,
    opened=st.booleans(),
    thought=st.text("ab <|", max_size=20),
    answer=st.text("xy z", min_size=1).map(str.strip).filter(bool),
)
def test_a_thought_is_parted_however_it_is_streamed(
    marks: Marks, cuts: list[int], opened: bool, thought: str, answer: str
) -> None:
    begun = "" if opened else marks.open
    said = f"{begun}{thought}\n{marks.close}\n\n{marks.begin}{answer}{marks.end}"
    assert parted(marks, said, cuts, opened=opened) == (f"{thought}\n", answer)


@pytest.mark.parametrize("marks", ALL_MARKS)
@given(cuts=CUTS, answer=st.text("xy z", min_size=1).map(str.strip).filter(bool))
def test_an_answer_without_a_thought_is_an_answer(
    marks: Marks, cuts: list[int], answer: str
) -> None:
    for said in (answer, f"{marks.answer}{answer}{marks.end}", f"{marks.begin}{answer}{marks.end}"):
        assert parted(marks, said, cuts) == ("", answer)


@given(cuts=CUTS, said=st.text("<think>/ a", max_size=30))
def test_what_is_parted_is_what_is_scored(cuts: list[int], said: str) -> None:
    """The service and the tasks tell a thought by two pieces of code: they tell the same."""
    for opened in (False, True):
        answer = parted(THINK, said, cuts, opened=opened)[1]
        assert answer.lstrip() == (answer_of([*said], opened=opened) or "")


def test_a_thought_that_does_not_end_is_no_answer() -> None:
    assert parted(THINK, "<think>on and on </thi", [3, 9]) == ("on and on </thi", "")
