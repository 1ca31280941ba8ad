"""Losses over a large vocabulary, a few positions at a time: never are all logits in memory.

Both losses are means over positions, in nats. Gradients are computed along with the loss, so that
no logits are kept or computed twice.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 its usual name
from torch import Tensor

POSITIONS_AT_ONCE = 128

Score = Callable[[Tensor, slice], tuple[Tensor, Tensor]]
"""Of logits [positions, vocabulary], float32, and where they are: the sum of their losses, and its
gradient [positions, vocabulary]."""


def divergence(
    hidden: Tensor,
    output: Tensor,
    teacher_hidden: Tensor,
    teacher_output: Tensor,
    *,
    temperature: float,
    dtype: torch.dtype,
) -> Tensor:
    """KL divergence of the student's predictions from the teacher's, times the temperature squared
    (Hinton, Vinyals and Dean 2015, arXiv 1503.02531), so that gradients keep their size.

    Args:
        hidden, teacher_hidden: [positions, width].
        output, teacher_output: [vocabulary, width].
        dtype: of the matrix products.
    """

    def score(logits: Tensor, here: slice) -> tuple[Tensor, Tensor]:
        theirs = teacher_hidden[here].to(dtype) @ teacher_output.to(dtype).T
        wanted = F.log_softmax(theirs.float() / temperature, 1)
        found = F.log_softmax(logits / temperature, 1)
        shares = wanted.exp()
        loss = wanted.sub_(found).mul_(shares).sum() * temperature**2
        return loss, found.exp_().sub_(shares).mul_(temperature)

    return _Chunked.apply(hidden, output, score, dtype)  # type: ignore[no-untyped-call]


def cross_entropy(
    hidden: Tensor, output: Tensor, following: Tensor, *, dtype: torch.dtype
) -> Tensor:
    """Negative log-likelihood of the tokens that follow.

    Args:
        hidden: [positions, width].
        output: [vocabulary, width].
        following: [positions], the token behind each.
        dtype: of the matrix products.
    """

    def score(logits: Tensor, here: slice) -> tuple[Tensor, Tensor]:
        wanted = following[here, None]
        found = F.log_softmax(logits, 1)
        loss = -found.gather(1, wanted).sum()
        return loss, found.exp_().scatter_add_(1, wanted, -torch.ones_like(found[:, :1]))

    return _Chunked.apply(hidden, output, score, dtype)  # type: ignore[no-untyped-call]


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, output: Tensor, score: Score, dtype: torch.dtype
    ) -> Tensor:
        matrix = output.to(dtype)
        of_hidden, of_output = ctx.needs_input_grad[:2]
        loss = hidden.new_zeros((), dtype=torch.float64)
        grad_hidden = torch.empty_like(hidden) if of_hidden else None
        grad_output = torch.zeros_like(output) if of_output else None
        for begin in range(0, len(hidden), POSITIONS_AT_ONCE):
            here = slice(begin, begin + POSITIONS_AT_ONCE)
            x = hidden[here].to(dtype)
            one, gradient = score((x @ matrix.T).float(), here)
            loss += one
            gradient = gradient.div_(len(hidden)).to(dtype)
            if grad_hidden is not None:
                grad_hidden[here] = gradient @ matrix
            if grad_output is not None:
                grad_output += gradient.T @ x
        ctx.save_for_backward(grad_hidden, grad_output)
        return (loss / len(hidden)).float()

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        found = [None if each is None else each * upstream[0] for each in ctx.saved_tensors]
        return found[0], found[1], None, None
