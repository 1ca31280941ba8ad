"""What a study may say: the model of its config file, section by section.

The Snakefile validates the config with `llmpi.study.file.parse_study` before any job starts.
`config/README.md` and `config/schema.json` are generated from these models
(`llmpi.study.reference`).
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from llmpi.quant_types import PUBLISHED, width_order
from llmpi.study import checks
from llmpi.study.decision import Constraints, Cost
from llmpi.study.devices import Devices, LocalDevice, SshDevice, group_of
from llmpi.study.engines import Engines
from llmpi.study.exclude import Exclude
from llmpi.study.fields import Id, Part, Quants, unique
from llmpi.study.measuring import AnswersWorkload, AnyWorkload, Runtime, Workload
from llmpi.study.models import Model
from llmpi.study.quality import Descent, Gate, QualityTask
from llmpi.study.service import Service
from llmpi.study.task import Beside
from llmpi.study.tasks.squad import SquadTask
from llmpi.study.training import Calibration, Mixing, Qat, Rounding
from llmpi.study.tuning import Tune

Language = Literal["en", "ja"]


class Battery(Part):
    """For words per battery life."""

    wh: float = Field(default=5.0, gt=0)
    """Capacity, Wh."""
    tokens_per_word: float = Field(default=1.5, gt=0)
    """Tokens of an average word."""


class Study(Part):
    """A study: models x quantizations x devices x runtimes x workloads, and the quality tasks."""

    study: Id
    """Id of the study; measurements and the report are filed under it."""
    models: dict[Id, Model] = Field(min_length=1)
    """Models by id."""
    quants: Quants
    """Quantizations to sweep, as llama.cpp spells them; `TYPE+imatrix` is made with an importance
    matrix, `TYPE+round` with a rounding that is learned, `TYPE-qat` by quantization-aware training;
    `MIX-4.5bpw`, `MIX-700M`, `MIX-12tps-DEVICE` and `MIX-0.02nats` are mixes of types by a budget;
    `as-published` is the model's GGUF file as it is, and all of its `files`."""
    calibration: Calibration | None = None
    """What importance matrices are made on, mixes searched, and roundings learned."""
    mix: Mixing = Mixing()
    """How mixes are searched."""
    rounding: Rounding = Rounding()
    """How roundings are learned."""
    qat: Qat | None = None
    """What models are trained on, and how."""
    devices: Devices = Field(min_length=1)
    """Devices by id, and groups of them; here and everywhere else, a group is its boards."""
    workloads: dict[Id, AnyWorkload] = Field(min_length=1)
    """Workloads by id; one at least of the kind `single`."""
    runtimes: dict[Id, Runtime] = Field(
        default_factory=lambda: {"default": Runtime()}, min_length=1
    )
    """Settings of the engine to sweep, by id; the speed of every variant is measured with each."""
    engines: Engines = Field(default_factory=dict)
    """Engines to hold against one another on every device, such as `[0.3.35, 0.3.36]`, or by id:
    the others against the first, each with its interval. All else, and every decision, is made with
    the engine that llmpi pins."""
    tune: Tune = Tune()
    """How settings are searched, for runtimes with `tune: true`."""
    quality: dict[Id, QualityTask] = Field(default_factory=dict)
    """Quality tasks by id; scored on the workstation once per model and quantization, and again
    for a runtime that changes the output (`scored_with`). Endpoints are asked the questions
    of `squad` tasks and the prompts of `ab` tasks, too, but none with `tools` and no task with
    `grammar`; `divergence` and `lm_eval` want the likelihood of every token, which they do not
    tell."""
    scored_with: Literal["runtimes", "default"] = "runtimes"
    """`runtimes`: quality is also scored with another `kv_cache`, or without flash attention, where
    a runtime has it so; once for all runtimes that compute the same. `default`: only as llama.cpp
    computes by default; what computes otherwise has no score, and is not recommended."""
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
    languages: Annotated[list[Language], AfterValidator(unique)] = Field(
        default=["en", "ja"], min_length=1
    )
    """Languages that the page and the memo are written in, the first one shown first: English,
    Japanese."""
    exclude: list[Exclude] = Field(default_factory=list)
    """Combinations of the sweep to leave out."""

    def __hash__(self) -> int:
        """What follows from a study is kept by it; the sections under it are mappings, and have
        no hash."""
        return hash(self.study)

    @property
    def classes(self) -> dict[str, list[str]]:
        """Groups of equal boards, and every other device as one of its own: name -> devices."""
        found: dict[str, list[str]] = {}
        for name, device in self.devices.items():
            found.setdefault(group_of(device) or name, []).append(name)
        return found

    @property
    def served_on(self) -> dict[str, SshDevice]:
        """The service's devices by id, in the order of the rollout; by default all behind SSH."""
        listed = self.service.devices if self.service else []
        named = [board for name in listed for board in self.classes.get(name, [name])]
        return {
            name: device
            for name in named or self.devices
            if isinstance(device := self.devices[name], SshDevice)
        }

    @property
    def singles(self) -> dict[str, Workload]:
        """The workloads of one conversation, on which the decision rests."""
        return {name: one for name, one in self.workloads.items() if isinstance(one, Workload)}

    @property
    def single_workloads(self) -> list[str]:
        """Their ids."""
        return [*self.singles]

    @property
    def answer_workloads(self) -> dict[str, AnswersWorkload]:
        """The workloads of a task's questions."""
        return {w: one for w, one in self.workloads.items() if isinstance(one, AnswersWorkload)}

    @property
    def squad_tasks(self) -> dict[str, SquadTask]:
        """The tasks with scores that gates, the descent and the decision can rest on."""
        return {name: task for name, task in self.quality.items() if isinstance(task, SquadTask)}

    @property
    def answering(self) -> list[str]:
        """Ids of the tasks that ask questions, so that it is known what an answer takes."""
        return [task for task, asked in self.quality.items() if asked.ANSWERS]

    @property
    def asking(self) -> list[str]:
        """Ids of the tasks that a variant must be scored on before it is recommended."""
        named = {gate.task for gate in self.gates} | {self.descent.task if self.descent else None}
        return [name for name, task in self.quality.items() if task.asks or name in named]

    def quants_of(self, model: str) -> list[str]:
        """A model's quantizations: its own list, or else the study's, published files by name."""
        asked = self.models[model]
        named = [
            variant
            for quant in asked.quants or self.quants
            for variant in (asked.published if quant == PUBLISHED else [quant])
        ]
        return list(dict.fromkeys(named))

    def _served(self) -> list[str]:
        """What endpoints are asked of, each as `device/model/quantization/runtime`."""
        asked = self.runtimes.items() if self.scored_with == "runtimes" else []
        return [
            f"{device}/{served.model}/{served.quant}/{name}"
            for device in self.devices
            for name, runtime in asked
            for served in (runtime.endpoint.serves if runtime.endpoint else [])
        ]

    @field_validator("gates")
    @classmethod
    def _gates_differ(cls, gates: list[Gate]) -> list[Gate]:
        unique([f"{gate.task}/{gate.metric}" for gate in gates])
        return gates

    @field_validator("workloads")
    @classmethod
    def _one_is_single(cls, workloads: dict[str, AnyWorkload]) -> dict[str, AnyWorkload]:
        checks.one_is_single(workloads)
        return workloads

    @model_validator(mode="after")
    def _sections_go_together(self) -> Self:
        quants = {model: self.quants_of(model) for model in self.models}
        groups = [name for name in self.classes if name not in self.devices]
        behind_ssh = [n for n, device in self.devices.items() if isinstance(device, SshDevice)]
        checks.gates_name_tasks(self.gates, self.squad_tasks)
        checks.descent_can_stop(self.descent, self.squad_tasks)
        checks.thoughts_fit(self.models, self.quality)
        checks.samples_are_of_tasks(self.answer_workloads, self.quality)
        checks.weights_name_workloads(self.tune, self.workloads)
        checks.energy_is_metered_there(self.tune, self.runtimes, self.devices)
        checks.exclusions_name_parts(
            self.exclude,
            {
                "model": self.models,
                "quant": sorted({q for own in quants.values() for q in own}, key=width_order),
                "device": [*self.devices, *groups],
                "runtime": self.runtimes,
                "workload": self.workloads,
            },
        )
        checks.constraints_can_be_held(
            self.constraints,
            self.single_workloads,
            self.squad_tasks,
            self.answering,
        )
        checks.cost_names_devices(self.cost, self.classes)
        checks.service_names_devices(self.service, [*behind_ssh, *groups])
        checks.service_has_a_variant(self.service, quants, self.runtimes, self.constraints)
        limited = [n for n, d in self.devices.items() if isinstance(d, LocalDevice) and d.limits]
        checks.engines_can_be_compared(self.engines, self.devices, self.runtimes)
        checks.endpoints_serve_variants(self.runtimes, quants, limited)
        checks.drafts_are_variants(self.runtimes, quants)
        checks.mixes_name_devices(self.models, self.quants, self.classes, self.runtimes)
        checks.files_are_published(self.models, self.quants)
        checks.variants_can_be_made(self.models, quants, self.calibration, self.qat)
        made_with = {"calibration": self.calibration, "qat": self.qat}
        beside = Beside(
            variants=[f"{model}/{quant}" for model, own in quants.items() for quant in own],
            served=self._served(),
            texts={key: part.text for key, part in made_with.items() if part},
        )
        for task, asked in self.quality.items():
            asked.check(task, beside)
        return self
