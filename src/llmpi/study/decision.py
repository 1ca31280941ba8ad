"""What a decision must keep to, and what it costs."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from llmpi.study.fields import Bytes, Id, Part

Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Aim = Literal["quality", "speed", "energy", "memory"]


class Constraints(Part):
    """What a variant must keep to before it is recommended; what is left out is not asked for.

    Failed, throttled, overflowing and broken cells are set aside in any case, and where there are
    quality tasks, what they did not score. Without any, a choice by speed, energy or memory says
    nothing of how well it answers."""

    workload: Id | None = None
    """Workload that the decision is about; by default the first."""
    task: Id | None = None
    """`squad` task whose scores are the quality; by default the first."""
    confidence_pct: float = Field(default=95, ge=50, le=99.9)
    """Of all that is said of quality at once; a trial may ask for less, and the memo says so. The
    losses to put up with are keys of each task under `quality`."""
    prefer: Aim = "quality"
    """What decides among those that keep to everything. Where it cannot tell them apart, the others
    do, in the order quality, speed, energy, memory."""
    tps_at_least: Limit | None = None
    """Token generation, tokens per second."""
    ttft_at_most: Limit | None = None
    """Time to the first token, s."""
    itl_p95_at_most: Limit | None = None
    """95th percentile of the time between tokens, s."""
    answer_s_at_most: Limit | None = None
    """Time to the end of an answer of the task, its whole prompt read: what half of them keep to,
    s. Of a task without answers it is the first task that has some."""
    answer_s_p95_at_most: Limit | None = None
    """The same of 95 % of them, s."""
    f1_drop_at_most: float | None = Field(default=None, ge=0, le=100)
    """Loss of F1 against the widest quantization of the model, percentage points."""
    memory_at_most: Bytes | None = None
    """Memory that it needs, such as `4G`: its own, and the pages of files that decoding reads."""
    power_at_most: Limit | None = None
    """Power while tokens are generated, W; a measured one, not an estimated."""
    j_per_token_at_most: Limit | None = None
    """Energy of a generated token, J; measured."""
    j_per_right_answer_at_most: Limit | None = None
    """Energy of all answers of the task by those that are right, J; measured."""
    battery_hours_at_least: Limit | None = None
    """Hours for which the battery (section `battery`) generates without a pause; measured."""


class Figure(Part):
    """A number that the money rests on: the bare number, or with where it is from."""

    value: float = Field(ge=0, allow_inf_nan=False)
    """The number, in the unit that the key says."""
    source: str = Field(default="your figure", min_length=1)
    """Where it is from."""

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: object) -> object:
        if isinstance(given, dict | Figure):
            return given
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise PydanticCustomError(
                "figure", "should be a number, or a mapping of 'value' and 'source'", {}
            )
        if not math.isfinite(given) or given < 0:
            raise PydanticCustomError("figure", "should be a number that is not negative", {})
        return {"value": given}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        stated = handler.resolve_ref_schema(handler(core))
        return {**stated, "type": ["number", "object"], "minimum": 0}


def _positive(figure: Figure) -> Figure:
    if not figure.value:
        raise PydanticCustomError("figure", "should be more than 0", {})
    return figure


def _percentage(figure: Figure) -> Figure:
    if figure.value > 100:
        raise PydanticCustomError("figure", "should be at most 100", {})
    return _positive(figure)


def _hours(figure: Figure) -> Figure:
    if figure.value > 24:
        raise PydanticCustomError("figure", "should be at most 24", {})
    return _positive(figure)


Positive = Annotated[Figure, AfterValidator(_positive)]
Hours = Annotated[Figure, AfterValidator(_hours)]
Percentage = Annotated[Figure, AfterValidator(_percentage)]


class Hardware(Part):
    """What one board costs, in the currency of `cost`. What is left out costs nothing."""

    board: Figure
    """The board."""
    m2_hat: Figure | None = None
    """The M.2 HAT."""
    ssd: Figure | None = None
    """The SSD, or the memory card."""
    supply: Figure | None = None
    """The power supply."""
    case: Figure | None = None
    """The case."""
    cooling: Figure | None = None
    """The cooler."""


class Engineering(Part):
    """Days of work, for all boards together."""

    price_per_day: Figure
    """What a day costs."""
    setup_days: Figure = Figure(value=0, source="not counted")
    """To set everything up, once."""
    qat_days: Figure = Figure(value=0, source="not counted")
    """On top of it if the variant is trained for its bits, once."""
    maintenance_days_per_year: Figure = Figure(value=0, source="not counted")
    """To keep it running."""


class CloudApi(Part):
    """A cloud API, paid by the token."""

    kind: Literal["api"]
    """`api`: paid by the token."""
    price_per_million_input_tokens: Figure
    """Of the prompt."""
    price_per_million_output_tokens: Figure
    """Of the answer."""
    setup_days: Figure = Figure(value=0, source="not counted")
    """Days of work to set it up, once."""
    co2_g_per_million_output_tokens: Figure | None = None
    """If its operator states it."""


class RentedGpu(Part):
    """A rented GPU, paid by the hour, used or not."""

    kind: Literal["gpu"]
    """`gpu`: paid by the hour."""
    price_per_hour: Figure
    """Of one."""
    hours_per_day: Hours = Figure(value=24, source="rented all day")
    """So long it is rented every day."""
    output_tokens_per_s: Positive
    """What one generates in all, over all that it answers at once, prompts included."""
    power_w: Figure | None = None
    """What one draws, W; for the CO2."""
    setup_days: Figure = Figure(value=0, source="not counted")
    """Days of work to set it up, once."""


class LargerBoard(Part):
    """Another board that is not measured in the study: its figures are stated."""

    kind: Literal["board"]
    """`board`: another board, by what others say of it."""
    hardware: Hardware
    """What one costs."""
    output_tokens_per_s: Positive
    """What one generates, prompts included."""
    busy_power_w: Figure
    """What one draws while it generates, W."""
    idle_power_w: Figure
    """What one draws at rest, W."""


class OtherDevice(Part):
    """Another device of the study, such as the same board without the M.2 HAT."""

    kind: Literal["device"]
    """`device`: as it was measured, with the variant that is recommended for it."""
    device: Id
    """Id of the device; its hardware stands under `hardware`."""


Alternative = Annotated[
    CloudApi | RentedGpu | LargerBoard | OtherDevice, Field(discriminator="kind")
]


class Hat(Part):
    """Two devices of the study that differ in the M.2 HAT and what hangs on it, in nothing else."""

    with_hat: Id
    """Id of the device with it."""
    without_hat: Id
    """Id of the device without it, such as the same board with its `store` on the memory card."""


class Cost(Part):
    """What running it costs, and what the alternatives would.

    Speed and power are the measured ones; a figure is a number ("your figure") or
    `{value: NUMBER, source: TEXT}`."""

    currency: str = Field(min_length=1, max_length=8)
    """Of all prices, such as `EUR`."""
    hardware: dict[Id, Hardware] = Field(min_length=1)
    """What a device costs, by its id."""
    boards: Positive = Figure(value=1, source="one board")
    """So many boards run; they share the engineering."""
    lifespan_years: Positive
    """So long the hardware is used."""
    duty_pct: Percentage
    """Share of the time in which a board generates, per cent; it rests for the remainder."""
    price_per_kwh: Figure
    """Of electricity."""
    grid_co2_g_per_kwh: Figure | None = None
    """CO2 of the grid, g per kWh; without it no CO2 is told."""
    engineering: Engineering | None = None
    """Days of work; by default not counted."""
    alternatives: dict[Id, Alternative] = Field(default_factory=dict)
    """What it is compared with, by id."""
    hat: Hat | None = None
    """The same board with and without the M.2 HAT, to see what it buys."""
    vary_pct: float = Field(default=20, gt=0, lt=100)
    """For the sensitivity every figure is moved down and up by so much, one after another."""

    @model_validator(mode="after")
    def _devices_have_hardware(self) -> Self:
        for name, other in self.alternatives.items():
            if isinstance(other, OtherDevice) and other.device not in self.hardware:
                raise PydanticCustomError(
                    "unknown_name",
                    "no device '{value}' under 'cost.hardware'",
                    {
                        "value": other.device,
                        "allowed": list(self.hardware),
                        "loc": ("cost", "alternatives", name, "device"),
                    },
                )
        return self

    @model_validator(mode="after")
    def _days_have_a_price(self) -> Self:
        for name, other in self.alternatives.items():
            if isinstance(other, CloudApi | RentedGpu) and other.setup_days.value:
                if self.engineering:
                    continue
                raise PydanticCustomError(
                    "section_needed",
                    "setup_days needs the price of a day: add the section 'engineering'",
                    {"loc": ("cost", "alternatives", name, "setup_days")},
                )
        return self
