"""What a study may say: the models of its config file, and their cross-checks.

The Snakefile validates the config with `config_file.parse_study` before any job starts.
`config/README.md` and `config/schema.json` are generated from these models
(`llmpi.study.reference`).
"""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from llmpi.quant_types import is_trained, wants_imatrix, width_order
from llmpi.study.decision import (
    Constraints,
    Cost,
)
from llmpi.study.devices import (
    Device,
    SshDevice,
    group_of,
    single_devices,
)
from llmpi.study.fields import Id, Part, Quants, check_name, unique
from llmpi.study.measuring import (
    AnyWorkload,
    Runtime,
    Workload,
)
from llmpi.study.models import Model, ScratchSource
from llmpi.study.quality import Descent, Gate, QualityTask
from llmpi.study.service import ServedVariant, Service
from llmpi.study.tasks.squad import SquadTask
from llmpi.study.training import Calibration, Qat
from llmpi.study.tuning import Tune

Language = Literal["en", "ja"]


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


class Study(Part):
    """A study: models x quantizations x devices x runtimes x workloads, and the quality tasks."""

    study: Id
    """Id of the study; measurements and the report are filed under it."""
    models: dict[Id, Model] = Field(min_length=1)
    """Models by id."""
    quants: Quants
    """Quantizations to sweep, as llama.cpp spells them; `TYPE+imatrix` is made with an importance
    matrix, `TYPE-qat` by quantization-aware training."""
    calibration: Calibration | None = None
    """What importance matrices are made on."""
    qat: Qat | None = None
    """What models are trained on, and how."""
    devices: Annotated[dict[Id, Device], AfterValidator(single_devices)] = Field(min_length=1)
    """Devices by id, and groups of them; here and everywhere else, a group is its boards."""
    workloads: dict[Id, AnyWorkload] = Field(min_length=1)
    """Workloads by id; one at least of the kind `single`."""
    runtimes: dict[Id, Runtime] = Field(
        default_factory=lambda: {"default": Runtime()}, min_length=1
    )
    """Settings of the engine to sweep, by id; the speed of every variant is measured with each."""
    tune: Tune = Tune()
    """How settings are searched, for runtimes with `tune: true`."""
    quality: dict[Id, QualityTask] = Field(default_factory=dict)
    """Quality tasks by id; scored once per model and quantization, on the workstation."""
    gates: list[Gate] = Field(default_factory=list)
    """Minimum quality a variant must reach."""
    descent: Descent | None = None
    """Stop at the first bit width that does not hold."""
    constraints: Constraints | None = None
    """What a variant must keep to before it is recommended."""
    cost: Cost | None = None
    """What running it costs, and what the alternatives would."""
    service: Service | None = None
    """The service on devices."""
    battery: Battery = Battery()
    """The battery that words per battery life are stated for; the paper's by default."""
    languages: list[Language] = Field(default=["en", "ja"], min_length=1)
    """Languages that the page and the memo are written in, the first one shown first: English,
    Japanese."""
    exclude: list[Exclude] = Field(default_factory=list)
    """Combinations of the sweep to leave out."""

    @property
    def classes(self) -> dict[str, list[str]]:
        """Groups of equal boards, and every other device as one of its own: name -> devices."""
        found: dict[str, list[str]] = {}
        for name, device in self.devices.items():
            found.setdefault(group_of(device) or name, []).append(name)
        return found

    @field_validator("languages")
    @classmethod
    def _languages_differ(cls, languages: list[Language]) -> list[Language]:
        unique([*languages])
        return languages

    @field_validator("workloads")
    @classmethod
    def _one_is_single(cls, workloads: dict[str, AnyWorkload]) -> dict[str, AnyWorkload]:
        if not any(isinstance(asked, Workload) for asked in workloads.values()):
            raise PydanticCustomError(
                "single",
                "one workload of the kind single is needed, beside which concurrent ones are shown",
                {},
            )
        return workloads

    @property
    def single_workloads(self) -> list[str]:
        """Ids of the workloads of one conversation, on which the decision rests."""
        return [name for name, asked in self.workloads.items() if isinstance(asked, Workload)]

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
            "quant": sorted(quants, key=width_order),
            "device": {**self.devices, **self.classes},
            "runtime": self.runtimes,
            "workload": self.workloads,
        }
        scored = [task for task, spec in self.quality.items() if isinstance(spec, SquadTask)]
        for i, gate in enumerate(self.gates):
            check_name(gate.task, scored, "squad task", "quality", ("gates", i, "task"))
        if self.descent:
            check_name(self.descent.task, scored, "squad task", "quality", ("descent", "task"))
            asked = self.quality[self.descent.task]
            if isinstance(asked, SquadTask) and asked.shards > 1:
                raise PydanticCustomError(
                    "shards",
                    "the descent asks '{task}' block by block, no further than it takes to tell: "
                    "take its 'shards' out, or descend on another task",
                    {"task": self.descent.task, "loc": ("quality", self.descent.task, "shards")},
                )
        for workload in self.tune.weights:
            check_name(
                workload, self.workloads, "workload", "workloads", ("tune", "weights", workload)
            )
        for i, rule in enumerate(self.exclude):
            for key, names in known.items():
                name = getattr(rule, key)
                if name is not None:
                    check_name(name, names, key, f"{key}s", ("exclude", i, key))
        return self

    @model_validator(mode="after")
    def _decision_names_are_known(self) -> Self:
        if limits := self.constraints:
            scored = [task for task, asked in self.quality.items() if isinstance(asked, SquadTask)]
            where = "constraints"
            if limits.workload:
                workload = (where, "workload")
                single = self.single_workloads
                check_name(limits.workload, single, "single workload", "workloads", workload)
            if limits.task:
                check_name(limits.task, scored, "squad task", "quality", (where, "task"))
            if limits.f1_drop_at_most is not None and not scored:
                raise PydanticCustomError(
                    "section_needed",
                    "f1_drop_at_most needs a task of the kind squad under 'quality'",
                    {"loc": (where, "f1_drop_at_most")},
                )
        if cost := self.cost:
            named = [(("cost", "hardware", device), device) for device in cost.hardware]
            if hat := cost.hat:
                named += [(("cost", "hat", key), name) for key, name in hat]
            for loc, device in named:
                check_name(device, self.classes, "device", "devices", loc)
        return self

    @model_validator(mode="after")
    def _service_names_are_known(self) -> Self:
        if not (service := self.service):
            return self
        behind_ssh = [n for n, device in self.devices.items() if isinstance(device, SshDevice)]
        groups = [name for name in self.classes if name not in self.devices]
        for i, name in enumerate(service.devices):
            place = ("service", "devices", i)
            check_name(name, [*behind_ssh, *groups], "device behind SSH", "devices", place)
        if isinstance(variant := service.variant, ServedVariant):
            where = ("service", "variant")
            check_name(variant.model, self.models, "model", "models", (*where, "model"))
            quants = self.models[variant.model].quants or self.quants
            check_name(variant.quant, quants, "quant", "quants", (*where, "quant"))
            check_name(variant.runtime, self.runtimes, "runtime", "runtimes", (*where, "runtime"))
            if not self.runtimes[variant.runtime].repack:
                raise PydanticCustomError(
                    "repack",
                    "the server always repacks weights; choose a runtime without repack: false",
                    {"loc": (*where, "runtime")},
                )
        elif not self.constraints:
            raise PydanticCustomError(
                "section_needed",
                "a recommended variant needs the section 'constraints'",
                {"loc": ("service", "variant")},
            )
        return self

    @model_validator(mode="after")
    def _variants_can_be_made(self) -> Self:
        for model, spec in self.models.items():
            source = spec.source
            if isinstance(source, ScratchSource):
                ready = [name for name, other in self.models.items() if not other.is_scratch]
                place = ("models", model, "source", "vocabulary_of")
                check_name(source.vocabulary_of, ready, "model that exists", "models", place)
                if not self.qat:
                    raise _missing("qat", f"{model} is to be trained from scratch")
            for quant in spec.quants or self.quants:
                if wants_imatrix(quant) and not self.calibration:
                    raise _missing("calibration", f"{quant} needs an importance matrix")
                if is_trained(quant) and not self.qat:
                    raise _missing("qat", f"{quant} is to be trained")
        return self

    @model_validator(mode="after")
    def _tasks_fit_the_study(self) -> Self:
        for task, asked in self.quality.items():
            asked.check(self, task)
        return self


def _missing(key: str, why: str) -> PydanticCustomError:
    return PydanticCustomError(
        "section_needed",
        "{why}: add the section '{key}', with a 'text'",
        {"key": key, "why": why, "loc": ()},
    )
