"""What the settings of every kind of quality task have in common."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from llmpi.study.fields import Part

if TYPE_CHECKING:
    from llmpi.study.study import Study


class Task(Part):
    """A quality task. A kind is a subclass in a module of its own in `llmpi.study.tasks`.

    `task` is its name, a literal text, by which a config says which kind it is.
    """

    task: str
    """The kind."""

    FILES: ClassVar[Sequence[str]] = ()
    """Keys that name files or folders, which must be there."""

    def check(self, study: "Study", task: str) -> None:
        """What it must be to the rest of the study.

        Args:
            task: its id.

        Raises:
            PydanticCustomError: it is not, with the place in the config as `loc`.
        """

    def summary_files(self, study: "Study", task: str) -> list[str]:  # noqa: ARG002
        """The files of `results/` that a summary reads beside its score of each variant."""
        return []

    @property
    def dataset(self) -> tuple[str, str] | None:
        """The data set of the hub that it asks for, and its revision."""
        return None
