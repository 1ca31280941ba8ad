"""The scales of a quantized model learn to predict as the unquantized one does, codes as they are.

The second pass of EfficientQAT (Chen et al. 2024, arXiv 2407.11062: E2E-QP), with one block's
weights in memory at a time: on the way there only a block's input is kept, and on the way back the
block is unpacked and computed again.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from llmpi.engine.progress import Progress, say
from llmpi.errors import CellError
from llmpi.gguf.records import LookAtHeldOut
from llmpi.records import sha256_of_json, whole_file
from llmpi.study.training import Training
from llmpi.train.blocks.model import Model, name_of
from llmpi.train.blocks.steps import batches
from llmpi.train.predictions import Predictions, Windows
from llmpi.train.rounding.grids import GRIDS
from llmpi.train.updates import OptimizerState, rate_share

FASTER = 5.0
"""The rate of a scale, in shares of itself, over the learning rate of weights."""
KEPT = "scales.pt"


class State(TypedDict):
    """What is gone on from."""

    identity: str
    step: int
    history: list[LookAtHeldOut]
    factors: list[Tensor]
    best: list[Tensor]
    optimizer: OptimizerState


class Scales:
    """
    Args:
        model: its file holds what its blocks have learned.
        history: looks before, with this model's last.
        folder: for what is done.
        identity: a hash of what, beside the settings, makes this training another one.
    """

    def __init__(
        self,
        model: Model,
        windows: Windows,
        settings: Training,
        history: list[LookAtHeldOut],
        *,
        folder: Path,
        identity: str,
    ) -> None:
        self._model, self._windows, self._settings = model, windows, settings
        self._predictions = Predictions(model, windows, settings)
        self.history, self._before = list(history), history[-1]
        self._path = folder / KEPT
        self._identity = sha256_of_json([identity, settings.model_dump(), torch.__version__])
        self._begin = {
            (number, part): self._stored(number, part)
            for number in range(model.blocks)
            for part, kind in model.kinds(number).items()
            if kind in GRIDS
        }
        """float16 [blocks, 1], as they are in the file."""
        self._factors = {
            at: torch.ones_like(scales, dtype=torch.float32) for at, scales in self._begin.items()
        }
        """That they are multiplied with."""
        self._best = [each.clone() for each in self._factors.values()]
        self._step = 0

    def run(self) -> None:
        """Learn to the end; `learned` is then of the best look.

        Raises:
            CellError: the loss is no number any more; what was there at the last look is kept.
        """
        if not self._factors:
            say("leaves the scales as they are: of these types they are quantized themselves")
            return
        settings, total = self._settings, self._settings.steps
        optimizer = torch.optim.Adam([*self._factors.values()], betas=(0.9, 0.95), fused=True)
        self._resume(optimizer)
        progress, begun = Progress(total, "steps", done=self._step), self._step
        before = self.history[-1]["seconds"] - time.monotonic()
        order = [*batches(self._windows.seen, total, settings.seed, each=settings.sequences)]
        since: list[float] = []
        for number in range(self._step, total):
            for group in optimizer.param_groups:
                group["lr"] = FASTER * settings.learning_rate * rate_share(number, settings)
            since.append(self._learn(order[number]))
            if not math.isfinite(since[-1]):
                raise CellError(
                    f"the training loss is {since[-1]} in step {number + 1} of the scales: take a "
                    f"smaller learning_rate; the last good checkpoint is {self._path}"
                )
            optimizer.step()
            self._step = number + 1
            progress.at(self._step - begun, f"scales, loss {since[-1]:.4f}")
            if self._step == total or self._step % settings.evaluate_every == 0:
                self._look(math.fsum(since) / len(since), before + time.monotonic())
                since.clear()
                self._save(optimizer)

    @torch.no_grad()
    def learned(self) -> Iterator[tuple[str, np.ndarray]]:
        """Names of matrices, and their bytes in the file with the scales that were best."""
        for (at, begin), factors in zip(self._begin.items(), self._best, strict=True):
            held = self._model.stored(*at)
            data, learned = held.data.copy(), (begin.float() * factors).half().cpu()
            blocks = data.reshape(len(begin), -1)
            blocks[:, _scale_of(held.kind)] = learned.view(torch.uint8).numpy()
            yield name_of(*at), data

    # --- a step -----------------------------------------------------------------------------------

    def _learn(self, some: Tensor) -> float:
        """Put gradients on the factors; the loss."""
        for factors in self._factors.values():
            factors.grad = torch.zeros_like(factors)
        parts = some.chunk(self._settings.accumulation)
        return math.fsum(self._add_gradients(part, 1 / len(parts)) for part in parts)

    def _add_gradients(self, some: Tensor, share: float) -> float:
        model = self._model
        state, inputs = model.embedded(self._windows.tokens[some.numpy()]), []
        with torch.no_grad():
            for number in range(model.blocks):
                inputs.append(state)
                state = model.output(number)(self._weights(number)[0], state)
        state.requires_grad_()
        loss = self._predictions.distance(state, some) * share
        [upstream] = torch.autograd.grad(loss, state)
        for number in reversed(range(model.blocks)):
            weights, codes = self._weights(number)
            asked = [inputs.pop(), *(weights[part] for part in codes)]
            for each in asked:
                each.requires_grad_()
            made = model.output(number)(weights, asked[0])
            upstream, *slopes = torch.autograd.grad(made, asked, upstream)
            for (part, code), slope in zip(codes.items(), slopes, strict=True):
                of_scale = (slope.view_as(code) * code).sum(1, keepdim=True)
                at = number, part
                held = self._factors[at].grad
                assert held is not None
                held += of_scale * self._begin[at].float()
        return loss.item()

    @torch.no_grad()
    def _weights(self, number: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A block as a file with these scales has it, and the codes [blocks, block] of those of its
        matrices that learn."""
        weights, codes = self._model.plain(number), {}
        for part, weight in weights.items():
            at = number, part
            if at not in self._begin:
                continue
            scale = self._begin[at].float()
            # Exact: a code times a scale has fewer digits than a float32.
            codes[part] = torch.where(scale != 0, weight.view(len(scale), -1) / scale, 0)
            learned = (scale * self._factors[at]).half().float()
            weights[part] = (codes[part] * learned).view_as(weight)
        return weights, codes

    def _stored(self, number: int, part: str) -> Tensor:
        held = self._model.stored(number, part)
        blocks = held.data.reshape(math.prod(held.shape) // GRIDS[held.kind].block, -1)
        found = np.ascontiguousarray(blocks[:, _scale_of(held.kind)])
        return torch.from_numpy(found).view(torch.float16).to(self._windows.targets.device)

    # --- looks and checkpoints --------------------------------------------------------------------

    def _look(self, train_loss: float, seconds: float) -> None:
        loss, nll = self._predictions.look(lambda number: self._weights(number)[0])
        step = self._before["step"] + self._step
        say(f"step {step}: held-out loss {loss:.4f}, perplexity {math.exp(nll):.2f}")
        before = self.history.index(self._before)
        if loss < min(look["loss"] for look in self.history[before:]):
            self._best = [each.clone() for each in self._factors.values()]
        self.history.append(
            {
                "step": step,
                "loss": loss,
                "nll": nll,
                "train_loss": train_loss,
                "seconds": round(seconds, 3),
            }
        )

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        state: State = {
            "identity": self._identity,
            "step": self._step,
            "history": self.history,
            "factors": [*self._factors.values()],
            "best": self._best,
            "optimizer": optimizer.state_dict(),
        }
        with whole_file(self._path) as partial:
            torch.save(state, partial)

    def _resume(self, optimizer: torch.optim.Optimizer) -> None:
        if not self._path.is_file():
            return
        device = self._windows.targets.device
        state: State = torch.load(self._path, map_location=device, weights_only=True)
        if state["identity"] != self._identity:
            return
        for factors, kept in zip(self._factors.values(), state["factors"], strict=True):
            factors.copy_(kept)
        self._best, self.history, self._step = state["best"], state["history"], state["step"]
        optimizer.load_state_dict(state["optimizer"])
        say(f"goes on after step {self._step} of the scales")


def _scale_of(kind: str) -> slice:
    """The bytes of a block that are its scale."""
    begin = GRIDS[kind].scale_at
    return slice(begin, begin + 2)
