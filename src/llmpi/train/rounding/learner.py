"""All blocks of a model one after another, each kept as soon as it is done."""

import time
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from llmpi.engine.progress import Progress, say
from llmpi.errors import CellError
from llmpi.gguf.records import Kept, RoundedBlock
from llmpi.records import sha256_of_json, whole_file
from llmpi.train.llama import Weights
from llmpi.train.rounding.blocks import advance, error
from llmpi.train.rounding.model import Model

HELD_OUT_EVERY = 8
"""Of so many windows one is not learned from."""


class Done(TypedDict):
    """What is kept of a block."""

    identity: str
    about: RoundedBlock
    seconds: float
    data: dict[str, Tensor]
    """Bytes of the file, by their part of the block: of what is not as llama.cpp made it."""


class Learner:
    """
    Args:
        tokens: int64 [windows, positions].
        folder: for what is done.
        identity: a hash of what, beside what is given here, makes this learning another one.
    """

    def __init__(
        self,
        model: Model,
        blocks: int,
        tokens: np.ndarray,
        *,
        steps: int,
        folder: Path,
        identity: str,
    ) -> None:
        self._model, self._blocks, self._tokens = model, blocks, tokens
        self._steps, self._folder = steps, folder
        held_out = np.arange(len(tokens)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        self._held_out = torch.from_numpy(np.flatnonzero(held_out))
        self._seen = torch.from_numpy(np.flatnonzero(~held_out))
        self._identity = sha256_of_json([identity, steps, tokens.tolist(), torch.__version__])

    def run(self) -> list[Done]:
        """What became of each block; those that were done before are taken as they are.

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
            advance(self._model.output, wide, targets)
            if number == len(found):
                found.append(self._learn(number, wide, plain, states, targets, progress))
                progress.add(self._steps)
            advance(self._model.output, self._read(number, plain, found[number]), states)
        return found

    def _learn(
        self,
        number: int,
        wide: Weights,
        plain: Weights,
        states: Tensor,
        targets: Tensor,
        progress: Progress,
    ) -> Done:
        start = time.monotonic()
        block, output = self._model.block(number, wide, plain), self._model.output
        unseen, wanted = states[self._held_out], targets[self._held_out]
        errors: dict[Kept, float] = {"plain": error(output, plain, unseen, wanted)}
        if block.matrices:
            errors["searched"] = error(output, block.seen, unseen, wanted)
            block.learn(
                states,
                targets,
                self._seen,
                steps=self._steps,
                seed=number,
                said=lambda step, loss: progress.at(
                    step, f"block {number + 1} of {self._blocks}, error {loss:.5f}"
                ),
            )
            errors["learned"] = error(output, block.seen, unseen, wanted)
        kept = min(errors, key=lambda name: errors[name])
        if kept == "searched":
            for each in block.matrices.values():
                each.reset()
        matrices = {} if kept == "plain" else block.matrices
        data = {part: torch.from_numpy(each.file_bytes()) for part, each in matrices.items()}
        done: Done = {
            "identity": self._identity,
            "about": {
                "plain": errors["plain"],
                "searched": errors.get("searched", errors["plain"]),
                "learned": errors.get("learned", errors["plain"]),
                "kept": kept,
                "matrices": len(matrices),
            },
            "seconds": time.monotonic() - start,
            "data": data,
        }
        read = self._read(number, plain, done)
        for part, each in matrices.items():
            if not torch.equal(read[part], each.seen):
                raise CellError(
                    f"block {number}, {part}: ggml reads other weights of these bytes than the "
                    "block computed with; this llmpi does not write as this engine reads"
                )
        with whole_file(self._path(number)) as partial:
            torch.save(done, partial)
        say(
            f"block {number + 1} of {self._blocks}: error {errors[kept]:.5f}, and "
            f"{errors['plain']:.5f} as llama.cpp rounds it"
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
        """The blocks that this learning has done before, up to the first that is not there."""
        found: list[Done] = []
        for number in range(self._blocks):
            path = self._path(number)
            done: Done | None = torch.load(path, weights_only=True) if path.is_file() else None
            if done is None or done["identity"] != self._identity:
                break
            found.append(done)
        return found

    def _path(self, number: int) -> Path:
        return self._folder / f"block-{number}.pt"
