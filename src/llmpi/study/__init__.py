"""What a study may say: the models of its config file, and their cross-checks.

The Snakefile validates the config with `config_file.parse_study` before any job starts.
`config/README.md` and `config/schema.json` are generated from these models (`llmpi.config_docs`).
"""

from collections.abc import Iterable
from typing import Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from llmpi.quant_types import FTYPES
from llmpi.study.devices import Device, EngineWheel, Limits, LocalDevice, SshDevice
from llmpi.study.measuring import Runtime, Workload
from llmpi.study.models import HubSource, Model, PathSource, PypiSource
from llmpi.study.parts import Id, Part, Quants, check_name, unique
from llmpi.study.quality import Descent, DivergenceTask, Gate, QualityTask, SquadTask

__all__ = [
    "Battery",
    "Descent",
    "DivergenceTask",
    "EngineWheel",
    "Exclude",
    "Gate",
    "HubSource",
    "Limits",
    "LocalDevice",
    "Model",
    "PathSource",
    "PypiSource",
    "QualityTask",
    "Runtime",
    "SquadTask",
    "SshDevice",
    "Study",
    "Workload",
]


class Battery(Part):
    """For words per battery life."""

    wh: float = Field(default=5.0, gt=0)
    """Capacity, Wh."""
    tokens_per_word: float = Field(default=1.5, gt=0)
    """Tokens of an average word."""


class Exclude(Part):
    """Combinations to leave out: all that match every key given here."""

    model: str | None = None
    """Id of a model."""
    quant: str | None = None
    """Quantization."""
    device: str | None = None
    """Id of a device."""
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


class Study(Part):
    """A study: models x quantizations x devices x runtimes x workloads, and the quality tasks."""

    study: Id
    """Id of the study; measurements and the report are filed under it."""
    models: dict[Id, Model] = Field(min_length=1)
    """Models by id."""
    quants: Quants
    """Quantizations to sweep, as llama.cpp spells them."""
    devices: dict[Id, Device] = Field(min_length=1)
    """Devices by id."""
    workloads: dict[Id, Workload] = Field(min_length=1)
    """Workloads by id."""
    runtimes: dict[Id, Runtime] = Field(
        default_factory=lambda: {"default": Runtime()}, min_length=1
    )
    """Settings of the engine to sweep, by id; the speed of every variant is measured with each."""
    quality: dict[Id, QualityTask] = Field(default_factory=dict)
    """Quality tasks by id; scored once per model and quantization, on the workstation."""
    gates: list[Gate] = Field(default_factory=list)
    """Minimum quality a variant must reach."""
    descent: Descent | None = None
    """Stop at the first bit width that does not hold."""
    battery: Battery = Battery()
    """The battery that words per battery life are stated for; the paper's by default."""
    exclude: list[Exclude] = Field(default_factory=list)
    """Combinations of the sweep to leave out."""

    @field_validator("gates")
    @classmethod
    def _gates_differ(cls, gates: list[Gate]) -> list[Gate]:
        unique([f"{gate.task}/{gate.metric}" for gate in gates])
        return gates

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        quants = {q for model in self.models.values() for q in (model.quants or self.quants)}
        known: dict[str, Iterable[str]] = {
            "model": self.models,
            "quant": [q for q in FTYPES if q in quants],
            "device": self.devices,
            "runtime": self.runtimes,
            "workload": self.workloads,
        }
        scored = [task for task, spec in self.quality.items() if isinstance(spec, SquadTask)]
        for i, gate in enumerate(self.gates):
            check_name(gate.task, scored, "squad task", "quality", ("gates", i, "task"))
        if self.descent:
            check_name(self.descent.task, scored, "squad task", "quality", ("descent", "task"))
        for i, rule in enumerate(self.exclude):
            for key, names in known.items():
                name = getattr(rule, key)
                if name is not None:
                    check_name(name, names, key, f"{key}s", ("exclude", i, key))
        return self
