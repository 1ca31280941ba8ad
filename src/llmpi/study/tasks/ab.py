"""Settings of the kind `ab`."""

from typing import Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from llmpi import layout
from llmpi.study.fields import LocalPath, Points, check_name
from llmpi.study.task import Beside, Order, Task

Answering = tuple[str, ...]
"""Whose answers: a model and a quantization, as llmpi's engine answers; or a device, a model, a
quantization and a runtime, as its endpoint does."""

OF_ENDPOINT = ("device", "model", "quantization", "runtime")


class AbTask(Task):
    """Your own prompts: any two variants side by side, by rule and by people who do not know which.

    One line of the file is a prompt, what is expected of its answer, and its tags; see
    docs/methodology.md. `llmpi questions` makes it out of a CSV of question and answer pairs."""

    task: Literal["ab"]
    """`ab`: what each variant makes of your prompts, and pairs of variants compared."""
    prompts: LocalPath
    """The file, one JSON object a line."""
    pairs: list[tuple[str, str]] = Field(default_factory=list)
    """Pairs whose answers are compared, each a variant as `model/quantization` or, as an endpoint
    answers, `device/model/quantization/runtime`. By default every variant against the widest of its
    model; what an endpoint answers stands in no pair that does not name it."""
    judgements: LocalPath | None = None
    """Folder with files that people saved from the blind sheets."""
    seed: int = Field(default=0, ge=0)
    """Of the order on the sheets."""
    max_new_tokens: int = Field(default=160, ge=1, le=8192)
    """Bound on the tokens of an answer."""
    context_tokens: int = Field(default=4096, ge=512, le=1_000_000)
    """Context that all prompts computed together share."""
    grammar: bool = False
    """Whether an answer is held to its form while it is written: to `expect.json_schema`, or to a
    call of one of the prompt's `tools`. Two tasks with the same prompts show what that gives."""

    passed_drop_at_most: Points | None = 5
    """Loss against the widest quantization in the share of prompts whose answer meets what is
    expected that is put up with, percentage points; null asks for nothing."""
    safety_drop_at_most: Points | None = 2
    """The same for every tag that begins with `safety`, each by itself."""

    ANSWERS = True
    OVER_HTTP = True
    FILES = ("prompts", "judgements")
    JUDGING = ("passed_drop_at_most", "safety_drop_at_most")

    def check(self, task: str, beside: Beside) -> None:
        """Its pairs name variants of the study, or what an endpoint is asked of."""
        for i, pair in enumerate(self.pairs):
            for name in pair:
                place = ("quality", task, "pairs", i)
                if name.count("/") != len(OF_ENDPOINT) - 1:
                    check_name(name, beside.variants, "variant", "models and quants", place)
                    continue
                if self.not_over_http:
                    raise PydanticCustomError(
                        "pair",
                        "no endpoint is asked this task, as answers are held to a form while they "
                        "are written (grammar): leave {name} to a task without it",
                        {"name": name, "loc": place},
                    )
                where = "devices and runtimes, where endpoints are asked (scored_with)"
                check_name(name, beside.served, "answers of an endpoint", where, place)

    def compared(self, order: Order) -> dict[str, tuple[Answering, Answering]]:
        """The pairs that are compared, by an id that names a file.

        No id of a model, a device or a runtime and no quantization holds a comma, and none of the
        last is `vs`: two pairs never have one name.
        """
        found: list[tuple[Answering, Answering]]
        found = [(tuple(a.split("/")), tuple(b.split("/"))) for a, b in self.pairs]
        if not found:
            for model, quants in order.items():
                widest, *narrower = quants or [""]
                found += [((model, widest), (model, quant)) for quant in narrower]
        return {",".join([*a, "vs", *b]): (a, b) for a, b in found}

    def questions_file(self, study: str, task: str) -> str:  # noqa: ARG002
        return self.prompts

    @property
    def unlike_on_a_board(self) -> str | None:
        return "grammar" if self.grammar else None

    def summary_files(self, study: str, task: str, order: Order) -> list[str]:
        pairs = self.compared(order)
        return [layout.at(layout.AB, study=study, task=task, pair=pair) for pair in pairs]
