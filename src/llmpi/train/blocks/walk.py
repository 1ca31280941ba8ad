"""All blocks of a model one after another, each kept as soon as it is done."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor

from llmpi.engine.progress import Progress, say
from llmpi.errors import CellError
from llmpi.gguf.records import Kept, LearnedBlock
from llmpi.records import sha256_of_json, whole_file
from llmpi.train.blocks.model import Model
from llmpi.train.blocks.steps import Lesson, advance, error
from llmpi.train.network import Weights


class Learning(Protocol):
    """A block that learns."""

    @property
    def seen(self) -> Mapping[str, Tensor]:
        """All weights, as the block computes with them."""

    def learn(self, lesson: Lesson) -> None:
        """Learn to make its targets of its states."""

    def file_bytes(self) -> dict[str, Tensor]:
        """uint8, what a file holds of the weights that are learned, by their part of the block."""


Begin = Callable[[int, dict[str, Tensor], dict[str, Tensor]], Learning | None]
"""Of a block's number, and its weights unquantized, which may be learned in place, and as llama.cpp
quantized them: the block before it learns. None where there is nothing to learn."""


class Done(TypedDict):
    """What is kept of a block."""

    identity: str
    about: LearnedBlock
    seconds: float
    data: dict[str, Tensor]
    """Bytes of the file, by their part of the block: of what is not as llama.cpp made it."""


class Walked(NamedTuple):
    done: list[Done]
    """What became of each block."""
    states: Tensor
    """What the last one makes of all windows: float32 [windows, positions, width]."""
    targets: Tensor
    """What the unquantized model has there."""


def learned(
    model: Model,
    lesson: Lesson,
    held_out: Tensor,
    wide: dict[str, Tensor],
    plain: dict[str, Tensor],
    begin: Begin,
) -> tuple[LearnedBlock, dict[str, Tensor]]:
    """A block learns; of what llama.cpp made, the beginning and what was learned, the one is kept
    that errs least.

    Args:
        lesson: its seed is the number of the block.
        held_out: int64, windows that are not learned from.
        wide, plain: its weights unquantized, and as llama.cpp quantized them.

    Returns:
        How it went, and the bytes of the file, by their part of the block, of what is not as
        llama.cpp made it.

    Raises:
        CellError: ggml reads other weights of the bytes than the block computed with.
    """
    number = lesson.seed
    unseen, wanted = lesson.states[held_out], lesson.targets[held_out]

    def errs(weights: Weights) -> float:
        return error(model.output(number), weights, unseen, wanted)

    errors: dict[Kept, float] = {"plain": errs(plain)}
    data: dict[Kept, dict[str, Tensor]] = {"plain": {}}
    if block := begin(number, wide, plain):
        errors["searched"], data["searched"] = errs(block.seen), block.file_bytes()
        block.learn(lesson)
        errors["learned"], data["learned"] = errs(block.seen), block.file_bytes()
        _check(model, number, block.seen, data["learned"])
    kept = min(errors, key=lambda name: errors[name])
    about: LearnedBlock = {
        "plain": errors["plain"],
        "searched": errors.get("searched", errors["plain"]),
        "learned": errors.get("learned", errors["plain"]),
        "kept": kept,
        "matrices": len(data[kept]),
    }
    return about, data[kept]


def _check(model: Model, number: int, seen: Weights, data: Mapping[str, Tensor]) -> None:
    for part, held in data.items():
        if not torch.equal(model.read(number, part, held.numpy()), seen[part]):
            raise CellError(
                f"block {number}, {part}: ggml reads other weights of these bytes than the "
                "block computed with; this llmpi does not write as this engine reads"
            )


class Walker:
    """
    Args:
        tokens: int64 [windows, positions].
        held_out: of each window, whether nothing is learned from it.
        begin: a block's learning.
        steps: of a block, as its learning says them.
        folder: for what is done.
        identity: a hash of what, beside what is given here, makes this learning another one.
    """

    def __init__(
        self,
        model: Model,
        tokens: np.ndarray,
        held_out: np.ndarray,
        begin: Begin,
        *,
        steps: int,
        folder: Path,
        identity: str,
    ) -> None:
        self._model, self._tokens, self._begin = model, tokens, begin
        self._blocks, self._steps, self._folder = model.blocks, steps, folder
        self._held_out = torch.from_numpy(np.flatnonzero(held_out))
        self._seen = torch.from_numpy(np.flatnonzero(~held_out))
        self._identity = sha256_of_json(
            [identity, steps, tokens.tolist(), held_out.tolist(), torch.__version__]
        )

    def run(self) -> Walked:
        """Walk to the end; blocks that were done before are taken as they are.

        Raises:
            CellError: ggml reads other weights of the bytes than the block computed with.
        """
        found = self._kept()
        total, begun = self._blocks * self._steps, len(found) * self._steps
        if found:
            say(f"goes on after block {len(found)} of {self._blocks}")
        progress = Progress(total, "steps", done=begun)
        targets, states = self._model.begin(self._tokens)
        for number in range(self._blocks):
            wide, plain = self._model.unquantized(number), self._model.plain(number)
            output = self._model.output(number)
            advance(output, wide, targets)
            if number == len(found):
                found.append(self._learn(number, wide, plain, states, targets, progress))
                progress.add(self._steps)
            advance(output, self._read(number, plain, found[number]), states)
        return Walked(found, states, targets)

    def _learn(
        self,
        number: int,
        wide: dict[str, Tensor],
        plain: dict[str, Tensor],
        states: Tensor,
        targets: Tensor,
        progress: Progress,
    ) -> Done:
        start = time.monotonic()

        def said(step: int, loss: float) -> None:
            progress.at(step, f"block {number + 1} of {self._blocks}, error {loss:.5f}")

        lesson = Lesson(states, targets, self._seen, number, said)
        about, data = learned(self._model, lesson, self._held_out, wide, plain, self._begin)
        done: Done = {
            "identity": self._identity,
            "about": about,
            "seconds": time.monotonic() - start,
            "data": data,
        }
        with whole_file(self._path(number)) as partial:
            torch.save(done, partial)
        say(
            f"block {number + 1} of {self._blocks}: error {about[about['kept']]:.5f}, and "
            f"{about['plain']:.5f} as llama.cpp rounds it"
        )
        return done

    def _read(self, number: int, plain: Weights, done: Done) -> dict[str, Tensor]:
        """A block as ggml will read it of the file."""
        changed = {
            part: self._model.read(number, part, data.numpy())
            for part, data in done["data"].items()
        }
        return {**plain, **changed}

    def _kept(self) -> list[Done]:
        """The blocks that this learning has done before, up to the first that is not there; what
        lies behind it is of another one, and goes."""
        found: list[Done] = []
        for number in range(self._blocks):
            path = self._path(number)
            done: Done | None = torch.load(path, weights_only=True) if path.is_file() else None
            if done is None or done["identity"] != self._identity:
                break
            found.append(done)
        for number in range(len(found), self._blocks):
            self._path(number).unlink(missing_ok=True)
        return found

    def _path(self, number: int) -> Path:
        return self._folder / f"block-{number}.pt"
