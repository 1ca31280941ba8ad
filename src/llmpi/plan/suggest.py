"""What of the catalogue suits a board and a need, before anything is downloaded.

The planner's ranges, for the models of `llmpi.plan.catalogue`. How well they answer it does not
know.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from llmpi.plan.catalogue import CATALOGUE, Listed
from llmpi.plan.config_json import of_config
from llmpi.plan.model import ask_all
from llmpi.plan.predict import Prediction, context, predict
from llmpi.plan.presets import PRESETS, Board, Range, Storage, lying_on
from llmpi.study.devices import Preset
from llmpi.study.measuring import Runtime

NeedName = Literal["chat", "extraction", "questions"]


class Need(NamedTuple):
    """What is asked of a model, in tokens: typical figures, and ours."""

    about: str
    prompt_tokens: int
    output_tokens: int
    context_tokens: int
    tps_at_least: float
    """To keep up with: a reader, in a conversation; else nobody waits for single tokens."""


NEEDS: dict[NeedName, Need] = {
    "chat": Need("a turn of a conversation", 256, 128, 4096, 3.0),
    "extraction": Need("facts out of a page of text", 1024, 64, 2048, 0.0),
    "questions": Need("a short answer out of a passage", 512, 32, 2048, 0.0),
}
QUANTS = ("Q8_0", "Q4_K_M", "Q4_0")
"""From wide to narrow."""


@dataclass(frozen=True)
class Suggestion:
    """A variant on the board."""

    model: str
    """Its id in the catalogue."""
    listed: Listed
    quant: str
    parameters: int
    prediction: Prediction
    answer_s: Range | None
    """The whole prompt and the whole answer; None where the speed of prompts is not known there."""
    answer_j: Range | None
    """Of generating the answer, at the wall. What the prompt takes is not known."""

    @property
    def name(self) -> str:
        return f"{self.model}/{self.quant}"


class Suggested(NamedTuple):
    """Larger models first, and of each its widest quantization."""

    suits: Sequence[Suggestion]
    too_slow: Sequence[Suggestion]
    """Slower than the need's tokens per second, or an answer takes too long."""
    too_large: Sequence[Suggestion]


def suggest(
    preset: Preset,
    need: NeedName,
    *,
    storage: Storage | None = None,
    answer_s_at_most: float | None = None,
) -> Suggested:
    """What suits a board.

    Args:
        storage: what the models' files lie on.
        answer_s_at_most: the likely time of an answer.
    """
    found = _all(lying_on(PRESETS[preset], storage), NEEDS[need])
    large = [one for one in found if one.prediction.fit in ("overflow", "dies")]
    rest = [one for one in found if one not in large]
    slow = [one for one in rest if _is_slow(one, NEEDS[need], answer_s_at_most)]
    return Suggested([one for one in rest if one not in slow], slow, large)


def _all(board: Board, need: Need) -> list[Suggestion]:
    """Every variant, the largest model first."""
    runtime = Runtime()
    asked = context(runtime, need.context_tokens, need.prompt_tokens)
    models = {name: of_config(one.config, one.hub) for name, one in CATALOGUE.items()}
    ask_all((model, QUANTS, [asked]) for model in models.values())
    found = [
        _suggestion(name, quant, model.parameters, predict(
            model, quant, board, runtime,
            context_tokens=need.context_tokens, prompt_tokens=need.prompt_tokens,
        ), need)
        for name, model in models.items()
        for quant in QUANTS
    ]  # fmt: skip
    return sorted(found, key=lambda one: -one.parameters)


def _suggestion(
    name: str, quant: str, parameters: int, found: Prediction, need: Need
) -> Suggestion:
    pp, tg, joules = found.pp_tps, found.tg_tps, found.tg_j_per_token
    answer = pp and Range(
        *(
            need.prompt_tokens / p + need.output_tokens / t
            for p, t in zip(reversed(pp), reversed(tg), strict=True)
        )
    )
    return Suggestion(
        name,
        CATALOGUE[name],
        quant,
        parameters,
        found,
        answer,
        joules and joules.scaled(need.output_tokens),
    )


def _is_slow(one: Suggestion, need: Need, answer_s_at_most: float | None) -> bool:
    if one.prediction.tg_tps.likely < need.tps_at_least:
        return True
    return answer_s_at_most is not None and (
        one.answer_s is None or one.answer_s.likely > answer_s_at_most
    )
