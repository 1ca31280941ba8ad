"""Chat templates out of model files."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.hostile import spoiled
from llmpi.engine.chat import template
from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.records import Message

PARTS = (
    *("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", "{{ messages }}"),
    *("{% for i in range(99999) %}", "{% for j in range(99999) %}", "{% endfor %}", "{% endif %}"),
    *("{{ 9 ** 9 ** 9 }}", "{{ 9 ** (9 ** 9) }}", "{{ 'x' * 10 ** 9 }}", "{{ 'x' * 10 ** 15 }}"),
    *("{{ messages.__class__.__mro__ }}", "{{ ''.__class__ }}", "{% include '/etc/passwd' %}"),
    *("{{ cycler.__init__.__globals__ }}", "{{ raise_exception('no') }}", "{{ nothing.there }}"),
    *("{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{% set x = [] %}", "{{ x.append(x) }}"),
    *("{% if 1 %}" * 1500, "{" * 5000, "{# ", "{% raw %}", "{{ 1 / 0 }}", "{{ [1] | tojson }}"),
    "{{ strftime_now('%Y' * 9999) }}",
    *("{{ '%999999999d' | format(1) }}", "{{ messages | pprint }}"),
    *("{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}", "{{ namespace() }}"),
)  # fmt: skip


class Given(NamedTuple):
    template: str
    messages: list[Message]


def inputs(draw: random.Random) -> Iterator[Given]:
    while True:
        parts = [draw.choice(PARTS) for _ in range(draw.randint(1, 3))]
        if draw.random() < 0.3:
            parts.append(spoiled.text(draw))
        turn: Message = {"role": "user", "content": spoiled.text(draw)}
        # As the engine gives it, out of the bytes of a file.
        text = "".join(parts).encode("utf-8", "replace").decode()
        yield Given(text, [turn] * draw.randint(0, 3))


REFUSALS = (template.TemplateError,)


@contextmanager
def receiver(_folder: Path) -> Iterator[Callable[[Given], None]]:
    # As many as there are in a benchmark's time; the product waits longer.
    template.RENDER_S, template.START_S = 1.0, 5.0

    def receive(given: Given) -> None:
        chat = ChatFormat(given.template, bos_token="<s>", eos_token="</s>")
        assert isinstance(chat.render(given.messages).text, str)

    yield receive
