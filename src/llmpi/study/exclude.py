"""What a sweep leaves out."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from llmpi.study.fields import Part


class Exclude(Part):
    """Combinations to leave out: all that match every key given here."""

    model: str | None = None
    """Id of a model."""
    quant: str | None = None
    """Quantization."""
    device: str | None = None
    """Id of a device or of a group of devices."""
    runtime: str | None = None
    """Id of a runtime."""
    workload: str | None = None
    """Id of a workload."""

    @model_validator(mode="after")
    def _not_everything(self) -> Self:
        if not self.model_fields_set:
            raise PydanticCustomError(
                "empty_exclude", "names nothing; it would drop everything", {}
            )
        return self
