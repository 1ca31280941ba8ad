"""What the settings of every kind of quality task have in common."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from llmpi.study.fields import Part, TextSource

NotOverHttp = Literal["more than answers", "form"]
"""What a task wants that no endpoint gives, such as how likely every token is; or that an answer is
held to a form while it is written."""
Order = Mapping[str, Sequence[str]]
"""Model -> its quantizations, from the widest to the narrowest."""


@dataclass(frozen=True)
class Beside:
    """The rest of a study, as far as a task may have to fit it.

    Args:
        variants: each as `model/quantization`.
        served: what endpoints are asked of, each as `device/model/quantization/runtime`; nothing
            where they are not (`scored_with: default`).
        texts: what variants are made with, by the section of the config.
    """

    variants: Collection[str]
    served: Collection[str]
    texts: Mapping[str, TextSource]


class Task(Part):
    """A quality task. A kind is a subclass in a module of its own in `llmpi.study.tasks`.

    `task` is its name, a literal text, by which a config says which kind it is.
    """

    task: str
    """The kind."""

    FILES: ClassVar[Sequence[str]] = ()
    """Keys that name files or folders, which must be there."""
    BOUND: ClassVar[str | None] = None
    """Key that bounds how many items are asked."""
    ANSWERS: ClassVar[bool] = False
    """Whether questions are answered, so that seconds and joules of an answer are known."""
    OVER_HTTP: ClassVar[bool] = False
    """Whether answers over HTTP are all that it takes, so that endpoints are asked it, too."""
    JUDGING: ClassVar[Sequence[str]] = ()
    """Keys that concern the decision alone; no score depends on them."""

    def check(self, task: str, beside: Beside) -> None:
        """Whether it fits the rest of the study.

        Args:
            task: its id.

        Raises:
            PydanticCustomError: it does not, with the place in the config as `loc`.
        """

    def summary_files(self, study: str, task: str, order: Order) -> list[str]:  # noqa: ARG002
        """The files of `results/` that a summary reads beside its score of each variant.

        Args:
            study, task: their ids.
        """
        return []

    def questions_file(self, study: str, task: str) -> str:
        """The file of what it asks, of a kind with `ANSWERS`; it has `max_new_tokens` and
        `context_tokens`, too.

        Args:
            study, task: their ids.
        """
        raise NotImplementedError

    @property
    def unlike_on_a_board(self) -> str | None:
        """The key by which its answers are made as no device makes them, if there is one."""
        return None

    @property
    def not_over_http(self) -> NotOverHttp | None:
        """Why no endpoint is asked it, if none is."""
        if not self.OVER_HTTP:
            return "more than answers"
        return "form" if self.unlike_on_a_board else None

    @property
    def asks(self) -> bool:
        """Whether a variant must not lose more of something than a margin."""
        return any(getattr(self, key) is not None for key in self.JUDGING)

    @property
    def dataset(self) -> tuple[str, str] | None:
        """The data set of the hub that it asks for, and its revision."""
        return None
