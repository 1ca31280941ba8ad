"""The loop: steps, looks at the held-out text, checkpoints, and when to stop."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from llmpi.engine.progress import Progress, say
from llmpi.errors import CellError
from llmpi.gguf.records import LookAtHeldOut
from llmpi.records import sha256_of_json, whole_file
from llmpi.study.training import Training
from llmpi.train import loss as losses
from llmpi.train.network import Network, Weights, output_name
from llmpi.train.student import Student
from llmpi.train.text import Text
from llmpi.train.updates import OptimizerState, optimizer_of, update

LAST, BEST = "last.pt", "best.pt"


class Look(NamedTuple):
    """At the held-out text, means over positions."""

    loss: float
    """What training makes small."""
    nll: float
    """Nats per token; its exponential is the perplexity."""


class State(TypedDict):
    """What a checkpoint holds."""

    identity: str
    history: list[LookAtHeldOut]
    weights: Mapping[str, Tensor]


class LastState(State):
    """What training goes on from."""

    optimizer: OptimizerState
    step: int


class Trainer:
    """
    Args:
        student: trained in place, on the device its weights are on.
        teacher: weights of the unquantized model, or None to learn from the text alone.
        folder: for checkpoints.
        identity: what, beside the settings, makes this training another one.
    """

    def __init__(
        self,
        student: Student,
        teacher: Weights | None,
        network: Network,
        text: Text,
        settings: Training,
        *,
        folder: Path,
        identity: Mapping[str, object],  # only its hash is kept
    ) -> None:
        self._student, self._network, self._text, self._settings = student, network, text, settings
        self._dtype = torch.bfloat16 if settings.bf16 else torch.float32
        self._device = student.parameters()[0].device
        self._teacher = teacher and {name: self._frozen(w) for name, w in teacher.items()}
        self._folder = folder
        self._identity = sha256_of_json([identity, settings.model_dump(), torch.__version__])
        self._optimizer = optimizer_of(student, settings)
        self._step = 0
        self.history: list[LookAtHeldOut] = []

    def _frozen(self, weight: Tensor) -> Tensor:
        """Of the teacher: matrices as the products want them."""
        return weight.to(self._dtype) if weight.dim() > 1 else weight

    def run(self) -> None:
        """Train to the end, from the last checkpoint if there is one; the student then holds the
        weights with the best held-out loss.

        Raises:
            CellError: the loss is no number any more; the last checkpoint is kept.
        """
        self._resume()
        if not self.history:
            self._look(None)
        progress, begin = Progress(self._settings.steps, "steps", done=self._step), self._step
        since: list[float] = []
        before = self.history[-1]["seconds"] - time.monotonic()
        while self._step < self._settings.steps and not self._stale():
            found = self.step(self._step)
            if not math.isfinite(found):
                raise self._diverged(f"the training loss is {found} in step {self._step + 1}")
            self._step += 1
            since.append(found)
            held_out = self.history[-1]["loss"]
            progress.at(self._step - begin, f"loss {found:.4f}, held-out {held_out:.4f}")
            last = self._step == self._settings.steps
            if last or self._step % self._settings.evaluate_every == 0:
                self._look(sum(since) / len(since), before + time.monotonic())
                since.clear()
        if self._stale():
            say(f"no better held-out loss at {self._settings.patience} looks: stopped early")
        self._take(torch.load(self._folder / BEST, map_location=self._device, weights_only=True))

    # --- a step -----------------------------------------------------------------------------------

    def step(self, number: int) -> float:
        """Do the step of this number, counted from 0, and return its loss."""
        settings, student = self._settings, self._student
        batch = self._text.batch(number, settings.sequences, settings.seed)
        parts = self._tokens(batch).chunk(settings.accumulation)
        student.drop_gradients()
        total = 0.0
        for part in parts:
            loss = self._loss(part) / len(parts)
            loss.backward()
            total += loss.item()
        update(student, self._optimizer, settings, number)
        return total

    def _loss(self, tokens: Tensor) -> Tensor:
        hidden, layers = self._network.hidden_states(
            self._student.seen,
            tokens,
            dtype=self._dtype,
            recompute=self._settings.recompute,
        )
        if self._teacher is None:
            return self._nll(tokens, hidden)
        return self._distance(self._teacher, tokens, hidden, layers)

    def _nll(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        seen = self._student.seen
        return losses.cross_entropy(
            hidden[:, :-1].flatten(0, 1),
            seen[output_name(seen)],
            tokens[:, 1:].flatten(),
            dtype=self._dtype,
        )

    def _distance(
        self, teacher: Weights, tokens: Tensor, hidden: Tensor, layers: list[Tensor]
    ) -> Tensor:
        """From what the teacher makes of the same tokens."""
        settings, seen = self._settings, self._student.seen
        with torch.no_grad():
            theirs, their_layers = self._network.hidden_states(teacher, tokens, dtype=self._dtype)
        loss = losses.divergence(
            hidden.flatten(0, 1),
            seen[output_name(seen)],
            theirs.flatten(0, 1),
            teacher[output_name(teacher)],
            temperature=settings.temperature,
            dtype=self._dtype,
        )
        if settings.hidden_weight:
            pairs = zip(layers, their_layers, strict=True)
            far = [(a - b).square().mean() / b.square().mean() for a, b in pairs]
            loss = loss + settings.hidden_weight * torch.stack(far).mean()
        return loss

    def _tokens(self, windows: Any) -> Tensor:
        return torch.from_numpy(windows).to(self._device)

    # --- held-out text, checkpoints ---------------------------------------------------------------

    @torch.no_grad()
    def look(self) -> Look:
        found = torch.zeros(2, dtype=torch.float64)
        held_out = self._tokens(self._text.held_out)
        progress = Progress(len(held_out), "held-out sequences")
        for tokens in held_out.split(self._settings.sequences):
            progress.at(0)
            hidden, layers = self._network.hidden_states(
                self._student.seen, tokens, dtype=self._dtype
            )
            loss = nll = self._nll(tokens, hidden)
            if self._teacher is not None:
                loss = self._distance(self._teacher, tokens, hidden, layers)
            found += torch.stack([loss, nll]).cpu() * (len(tokens) / len(held_out))
            progress.add(len(tokens))
        return Look(*found.tolist())

    def _look(self, train_loss: float | None, seconds: float = 0.0) -> None:
        found = self.look()
        if not all(map(math.isfinite, found)):
            raise self._diverged(f"the held-out loss is {found.loss} after step {self._step}")
        best = min((look["loss"] for look in self.history), default=math.inf)
        self.history.append(
            {
                "step": self._step,
                "loss": found.loss,
                "nll": found.nll,
                "train_loss": train_loss,
                "seconds": round(seconds, 3),
            }
        )
        say(
            f"step {self._step}: held-out loss {found.loss:.4f}, "
            f"perplexity {math.exp(found.nll):.2f}"
        )
        if found.loss < best:
            self._save(BEST, self._state())
        last: LastState = {
            **self._state(),
            "optimizer": self._optimizer.state_dict(),
            "step": self._step,
        }
        self._save(LAST, last)

    def _stale(self) -> bool:
        """Whether the last `patience` looks were no better than one before."""
        found = [look["loss"] for look in self.history]
        best = found.index(min(found))
        return len(found) - 1 - best >= self._settings.patience

    def _diverged(self, what: str) -> CellError:
        return CellError(
            f"{what}: take a smaller learning_rate; the last good checkpoint is "
            f"{self._folder / LAST}"
        )

    def _state(self) -> State:
        return {
            "identity": self._identity,
            "history": self.history,
            "weights": self._student.weights,
        }

    def _save(self, name: str, state: State) -> None:
        with whole_file(self._folder / name) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        """Go on at the last checkpoint of this training; one of another is left to be replaced."""
        path = self._folder / LAST
        if not path.is_file():
            return
        state: LastState = torch.load(path, map_location=self._device, weights_only=True)
        if state["identity"] != self._identity:
            say(f"{path} is of another training, and is not taken up")
            return
        self._take(state)
        self._optimizer.load_state_dict(state["optimizer"])
        self._step, self.history = state["step"], state["history"]
        say(f"goes on after step {self._step}")

    @torch.no_grad()
    def _take(self, state: State) -> None:
        for name, weight in self._student.weights.items():
            weight.copy_(state["weights"][name])
        self._student.quantize()


def make_deterministic() -> None:
    """The same training gives the same weights, on the same machine with as many threads."""
    torch.use_deterministic_algorithms(True)
    # That is to find code that reads what nobody wrote, and costs a write of every new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
