"""What a type costs in time on a board, by the rates that were measured there."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from llmpi.engine.llama import EngineError
from llmpi.engine.records import Rates
from llmpi.gguf import footprint
from llmpi.gguf.contents import stored
from llmpi.gguf.footprint import Footprint, Quantized
from llmpi.gguf.mix.groups import UNIFORM, BudgetError, Group
from llmpi.gguf.quantizers import kinds
from llmpi.quant_types import FLOATS, TENSOR_TYPES

NS = 1_000_000_000
HEADS = ("output.weight", "token_embd.weight")
"""The output matrix, or the table that is one as well: only the last token of a prompt meets it."""


class Shape(NamedTuple):
    """Of a matrix."""

    rows: int
    columns: int


class Times(NamedTuple):
    """How often a token is multiplied with a matrix of a shape."""

    shape: Shape
    times: int
    """Of experts, those that are chosen; none, where rows of it are looked up."""


class Told(NamedTuple):
    """What the engine says of an unquantized file."""

    whole: Footprint
    uniform: Quantized
    """Where all is asked to be of the type `UNIFORM`."""


def told(base: Path) -> Told:
    """
    Raises:
        EngineError: the engine does not know the model.
        AccidentError: the memory or the disk did not suffice.
    """
    said = footprint.ask_one(footprint.Question(base, [UNIFORM]))
    made = said if isinstance(said, str) else said["quants"][UNIFORM]
    if isinstance(said, str) or isinstance(made, str):
        raise EngineError(f"what {base.name} takes, the engine cannot say: {made}")
    return Told(said, made)


def products(base: Path, said: Footprint) -> dict[str, Times]:
    """What a token is multiplied with, by the tensors of the file.

    An embedding that is the output matrix as well counts as that: the row that is looked up is a
    part in thousands.
    """
    shapes = {name: one.shape for name, one in stored(base).items()}
    found = {}
    for weight in said["weights"]:
        shape = shapes[weight["name"]]
        if len(shape) > 1:
            matrices = math.prod(shape[:-2]) * weight["read_bytes"] / weight["bytes"]
            number = round(matrices) if weight["multiplies"] else 0
            found[weight["name"]] = Times(Shape(*shape[-2:]), number)
    return found


def wanted(base: Path) -> tuple[list[tuple[str, Shape]], int]:
    """Types and shapes that are to be timed for a model, each once, and how many weights it has.

    Raises:
        EngineError: the engine does not know the model.
    """
    said = told(base)
    times = products(base, said.whole)
    found: dict[tuple[str, Shape], None] = {}
    for weight, made in zip(said.whole["weights"], said.uniform["kinds"], strict=True):
        shape, number = times.get(weight["name"], Times(Shape(0, 0), 0))
        if number and made not in FLOATS:
            suiting = (k for k in TENSOR_TYPES if shape.columns % kinds()[k].block == 0)
            found |= dict.fromkeys((kind, shape) for kind in (*suiting, made))
    return [*found], sum(weight["elements"] for weight in said.whole["weights"])


class Cost(NamedTuple):
    """Seconds of a token that is decoded, and of one of a prompt."""

    token_s: float
    prompt_token_s: float


class Timed(NamedTuple):
    """What there is to choose, within a time if there is a limit."""

    groups: list[Group]
    """With their nanoseconds; types that were not timed there are left out."""
    limit: int | None
    """Nanoseconds that they may take together."""
    prompts: dict[str, dict[str, float]]
    """Seconds of a prompt's token, by group and type."""
    rest: Cost
    """What a token takes beside them."""


def timed(
    groups: Sequence[Group],
    times: Mapping[str, Times],
    uniform: Mapping[str, str],
    rates: Rates,
    tokens_per_s: float | None,
) -> Timed:
    """
    Args:
        times: of each tensor.
        uniform: the types of the file whose tokens were timed, by tensor: what they took beside its
            quantized matrices is what any file's take.

    Raises:
        BudgetError: no types are so fast, or the widest are.
    """
    seconds = {
        (rate["type"], Shape(rate["rows"], rate["columns"])): Cost(
            median(rate["product_s"]), median(rate["prompt_product_s"]) / rates["prompt_tokens"]
        )
        for rate in rates["rates"]
    }

    def of(kind: str, tensors: Iterable[str]) -> Cost | None:
        """None where a product was not timed."""
        token_s = prompt_token_s = 0.0
        for name in tensors:
            shape, number = times[name]
            if number:
                if (kind, shape) not in seconds:
                    return None
                cost = seconds[kind, shape]
                token_s += number * cost.token_s
                prompt_token_s += number * (
                    cost.token_s / rates["prompt_tokens"] if name in HEADS else cost.prompt_token_s
                )
        return Cost(token_s, prompt_token_s)

    quantized = [name for group in groups for name in group.tensors]
    within = [cost for name in quantized if (cost := of(uniform[name], [name]))]
    if len(within) < len(quantized):
        raise BudgetError(f"the types of a {rates['quant']} were not timed on {rates['device']}")
    rest = Cost(
        median(rates["token_s"]) - sum(cost.token_s for cost in within),
        median(rates["prompt_s"]) / rates["prompt_tokens"]
        - sum(cost.prompt_token_s for cost in within),
    )
    found: list[Group] = []
    prompts: dict[str, dict[str, float]] = {}
    for group in groups:
        costs = {kind: cost for kind in group.bytes if (cost := of(kind, group.tensors))}
        if not costs:
            raise BudgetError(f"no type of {group.name} was timed on {rates['device']}")
        sizes = {kind: group.bytes[kind] for kind in costs}
        nanoseconds = {kind: round(NS * cost.token_s) for kind, cost in costs.items()}
        found.append(group._replace(bytes=sizes, nanoseconds=nanoseconds))
        prompts[group.name] = {kind: cost.prompt_token_s for kind, cost in costs.items()}
    if tokens_per_s is None:
        return Timed(found, None, prompts, rest)
    limit = math.ceil(NS * (1 / tokens_per_s - rest.token_s))
    _check(found, limit, rest.token_s, rates["device"])
    return Timed(found, limit, prompts, rest)


def _check(groups: Sequence[Group], limit: int, rest_s: float, device: str) -> None:
    least = sum(min(group.costs.values()) for group in groups)
    if least > limit:
        raise BudgetError(
            f"the fastest that its types allow on {device} are {_tps(least, rest_s)} tokens/s; ask "
            "for fewer"
        )
    widest = sum(group.costs[next(iter(group.bytes))] for group in groups)
    if widest <= limit:
        raise BudgetError(
            f"in its widest types it has {_tps(widest, rest_s)} tokens/s on {device}; ask for more"
        )


def _tps(nanoseconds: int, rest_s: float) -> str:
    return f"{math.floor(100 / (nanoseconds / NS + rest_s) + 1e-6) / 100:g}"
