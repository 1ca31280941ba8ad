"""What a mix is to be: of the least loss within a budget, or of the least cost within a loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmpi.gguf.mix.groups import Group
from llmpi.gguf.mix.solver import Losses, as_expected, cheapest_of, chosen
from llmpi.quant_types import TensorType

Chosen = dict[str, TensorType]
"""Of each group."""

MIDDLE_BITS = 4.5
"""Of a weight, where the probes of a search begin that is told no bytes and no time."""
TIGHTER = 6
"""Choices that are measured at most, until one keeps to its loss, beyond the two."""


@dataclass(frozen=True)
class Goal:
    """The least loss of all that cost no more than `limit`; without one the least cost of all whose
    weights lose no more than `nats`."""

    groups: Sequence[Group]
    limit: int | None = None
    nats: float = 0

    @property
    def choices(self) -> int:
        """That are measured at most."""
        return 2 if self.limit is not None else 2 + TIGHTER

    def bits(self) -> float:
        """Of a weight, about: of a budget of time as many as may be expected."""
        if self.limit is None:
            return MIDDLE_BITS
        if any(group.nanoseconds for group in self.groups):
            types = as_expected(self.groups, self.limit)
            size = sum(group.bytes[types[group.name]] for group in self.groups)
        else:
            size = self.limit
        return 8 * size / sum(group.parameters for group in self.groups)

    def choose(self, losses: Mapping[str, Losses], beside_nats: float = 0) -> Chosen:
        """By what types lose, and by what all together lose beside the sum.

        Raises:
            BudgetError: there is none.
        """
        if self.limit is not None:
            return chosen(self.groups, losses, self.limit)
        return cheapest_of(self.groups, losses, self.nats - beside_nats)

    def rank(self, types: Chosen, nats: float) -> tuple[bool, float]:
        """Of what was measured: whether it loses too much, and what is to be least."""
        if self.limit is not None:
            return False, nats
        cost = sum(group.costs[types[group.name]] for group in self.groups)
        return (True, nats) if nats > self.nats else (False, cost)
