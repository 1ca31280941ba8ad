"""What suits a board, for people and for machines."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from llmpi.aligned import aligned
from llmpi.plan.catalogue import DATED
from llmpi.plan.plan_text import range_text
from llmpi.plan.suggest import NEEDS, NeedName, Suggested, Suggestion
from llmpi.study.devices import Preset, Storage

HEAD = ("model/quantization", "weights", "memory", "fit", "tg t/s", "an answer, s", "J, generating")
UNKNOWN = (
    "Not known: how well they answer, which a study shows (larger ones tend to answer better), the",
    "joules of the prompt, and what a model thinks before it answers. In brackets the range that",
    "holds nine times of ten; joules at the wall. tight: it depends on what else runs.",
)


class Asking(NamedTuple):
    """What was asked for."""

    board: Preset
    need: NeedName
    storage: Storage | None = None
    answer_s_at_most: float | None = None


def as_json(found: Suggested, asking: Asking) -> str:
    """Ranges are [least, likely, most]."""
    parts = {state: [_flat(one) for one in ones] for state, ones in found._asdict().items()}
    asked = {**asking._asdict(), **NEEDS[asking.need]._asdict()}
    return json.dumps({"catalogue": DATED, "asked": asked, **parts}, indent=1)


def _flat(one: Suggestion) -> dict[str, object]:  # any JSON
    return {
        "name": one.name,
        "hub": one.listed.hub,
        "gated": one.listed.gated,
        "shape_read_in": one.listed.read_in,
        "parameters": one.parameters,
        **one.prediction._asdict(),
        "answer_s": one.answer_s,
        "answer_j": one.answer_j,
    }


def table(found: Suggested, asking: Asking) -> str:
    return "\n".join(_lines(found, asking))


def _lines(found: Suggested, asking: Asking) -> Iterator[str]:
    asked, storage = NEEDS[asking.need], f" --storage {asking.storage}" if asking.storage else ""
    least = f", at {asked.tps_at_least:g} tokens/s at least" if asked.tps_at_least else ""
    yield (
        f"{asking.board}, {asked.about}: {asked.prompt_tokens} tokens of prompt and "
        f"{asked.output_tokens} of answer{least}"
    )
    yield ""
    if found.suits:
        yield from aligned([HEAD, *map(_row, found.suits)])
    else:
        yield f"Nothing of the catalogue suits. Boards: {', '.join(get_args(Preset))}"
    yield ""
    if found.too_slow:
        yield f"Too slow: {_names(found.too_slow)}"
    if found.too_large:
        yield f"Too large for its memory: {_names(found.too_large)}"
    yield from UNKNOWN
    yield f"The catalogue is of {DATED}; where each shape was read: --json."
    if found.suits:
        first = found.suits[0].name
        yield (
            f"A line becomes a config: llmpi suggest --board {asking.board}{storage} "
            f"--need {asking.need} --take {first} --host raspberrypi.local --out config/my.yaml"
        )


def _names(ones: Sequence[Suggestion]) -> str:
    return ", ".join(one.name for one in ones)


def _row(one: Suggestion) -> tuple[str, ...]:
    return (
        one.name,
        f"{one.parameters / 1e9:.2f} G",
        f"{one.prediction.needed_bytes / 1e9:.2f} GB",
        one.prediction.fit,
        range_text(one.prediction.tg_tps),
        range_text(one.answer_s),
        range_text(one.answer_j),
    )
