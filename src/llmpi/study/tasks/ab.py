"""Settings of the kind `ab`."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from llmpi import layout
from llmpi.study.fields import check_name
from llmpi.study.task import Task

if TYPE_CHECKING:
    from llmpi.study.study import Study


class AbTask(Task):
    """Your own prompts: any two variants side by side, by rule and by people who do not know which.

    One line of the file is a prompt, what is expected of its answer, and its tags; see
    docs/methodology.md."""

    task: Literal["ab"]
    """`ab`: what each variant makes of your prompts, and pairs of variants compared."""
    prompts: str = Field(min_length=1)
    """The file, one JSON object a line."""
    pairs: list[tuple[str, str]] = Field(default_factory=list)
    """Pairs of variants, each as `model/quantization`. By default every variant against the widest
    of its model."""
    judgements: str | None = Field(default=None, min_length=1)
    """Folder with files that people saved from the blind sheets."""
    seed: int = Field(default=0, ge=0)
    """Of the order on the sheets."""
    max_new_tokens: int = Field(default=160, ge=1, le=8192)
    """Bound on the tokens of an answer."""
    context_tokens: int = Field(default=4096, ge=512, le=1_000_000)
    """Context that all prompts computed together share."""

    FILES = ("prompts", "judgements")

    def check(self, study: "Study", task: str) -> None:
        """Its pairs name variants of the study."""
        named = [
            f"{model}/{quant}"
            for model, asked in study.models.items()
            for quant in asked.quants or study.quants
        ]
        for i, pair in enumerate(self.pairs):
            for name in pair:
                place = ("quality", task, "pairs", i)
                check_name(name, named, "variant", "models and quants", place)

    def summary_files(self, study: "Study", task: str) -> list[str]:
        from llmpi.study.runs import pairs_of  # which knows the study, as that knows this

        return [
            layout.at(layout.AB, study=study.study, task=task, pair=pair)
            for pair in pairs_of(study, task)
        ]
