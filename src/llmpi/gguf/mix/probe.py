"""What a choice of types costs a model: its divergence on a text, no file written for it.

The engine maps a model file, and where it makes no copy of a weight, the next decoding reads what
was written there meanwhile. So the weights of a group are changed, in a copy of the file, for those
that a type would have kept. What this leaves out is that the kernels of quantized types round what
they multiply with to 8 bits, too: about the same for all of them, and measured once.
"""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from llmpi.engine.llama import EngineError
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.params import fill
from llmpi.engine.progress import Progress
from llmpi.errors import LlmpiError
from llmpi.gguf.contents import fields, header, stored
from llmpi.gguf.mix.errors import Importance, write_as_if
from llmpi.gguf.mix.groups import Group
from llmpi.quality.divergence.chunks import score_piece
from llmpi.quality.divergence.log_probs import (
    LogProbs,
    Scorer,
    Tokens,
    Values,
    compare,
    score_and_encode,
)
from llmpi.quality.divergence.windows import Windows, cut
from llmpi.quant_types import FTYPES, TensorType
from llmpi.records import RecordError, check, whole_file

Types = Mapping[str, TensorType]
"""Of groups, by name; of the others the weights are as they were."""
Divergences = NDArray[np.float64]
"""Of each window its mean, nats."""

WINDOW_TOKENS = 512
COPY, PREDICTIONS, ROUNDED = "copy.gguf", "rows", "q8_0.gguf"
"""What is written beside what was probed, and anew by each search: a copy of the model, of its
predictions, and a file of Q8_0."""
KLD = 2
"""Its place among what `compare` gives."""


class Probes:
    """A model whose weights are changed under the engine.

    Args:
        base: unquantized GGUF.
        folder: for a copy of it, and for its predictions.
        text: that is read, and
        windows: so many of it, spread evenly; all, where there are fewer.
        importance: by tensor, where a matrix is quantized with.

    Raises:
        EngineError: the file cannot be loaded.
        LlmpiError: the text is too short, or the disk has no room.
    """

    def __init__(
        self,
        base: Path,
        folder: Path,
        text: str,
        windows: int,
        groups: Sequence[Group],
        importance: Mapping[str, Importance],
        threads: int,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._base, self._folder, self._threads = base, folder, threads
        copy = folder / COPY
        shutil.copyfile(base, copy)
        self._whole, self._copy = stored(base), stored(copy, edit=True)
        self._groups = {group.name: group for group in groups}
        self._all = [*self._groups]
        self._importance = importance
        self._now: dict[str, TensorType] = {}
        self.window_tokens = window_of(base)
        self._model = Windows(copy, self.window_tokens, threads, from_file=True)
        self._pool = ThreadPoolExecutor(threads)
        try:
            tokens = spread(_cut(self._model.tokenize(text), self.window_tokens), windows)
            self._held = LogProbs.create(folder / PREDICTIONS, tokens, self._model.vocab_tokens)
            self._read(self._model, score_and_encode)
        except (EngineError, LlmpiError):
            self.__exit__()
            raise
        self.windows = len(tokens)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()
        self._model.close()

    def offer(self, groups: Sequence[Group]) -> None:
        """Further groups that may be asked for; of those that share a tensor one at a time."""
        self._groups |= {group.name: group for group in groups}

    def divergences(self, types: Types) -> Divergences:
        """Of the model with these types from itself as it was.

        Raises:
            EngineError: it predicts no numbers.
        """
        for name in {*self._now} - {*types}:  # first: a part of it may be among the others
            self._become(name, None)
        for name, kind in types.items():
            if self._now.get(name) != kind:
                self._become(name, kind)
        return self._read(self._model, compare)[KLD].mean(axis=-1)

    def rounding(self) -> Divergences:
        """What the kernels of quantized types add: the divergence of a file of Q8_0 less that of
        its weights.

        Raises:
            EngineError: the file cannot be made or loaded.
        """
        file = self._folder / ROUNDED
        params = llama_cpp.llama_model_quantize_default_params()
        fill(params, ftype=FTYPES["Q8_0"], nthread=self._threads)
        if llama_cpp.llama_model_quantize(os.fsencode(self._base), os.fsencode(file), params) != 0:
            raise EngineError(f"the quantizer makes no Q8_0 of {self._base.name}")
        with Windows(file, self.window_tokens, self._threads) as model:
            of_file = self._read(model, compare)[KLD].mean(axis=-1)
        file.unlink()
        return of_file - self.divergences(dict.fromkeys(self._all, "Q8_0"))

    def _become(self, name: str, kind: TensorType | None) -> None:
        for tensor in self._groups[name].tensors:
            whole = self._whole[tensor]
            out = self._copy[tensor].data
            if kind:
                write_as_if(whole, kind, self._importance.get(tensor), out)
            else:
                out[:] = whole.data
        if kind:
            self._now[name] = kind
        else:
            del self._now[name]

    def _read(self, model: Windows, scorer: Scorer) -> Values:
        """Values [quantities, windows, positions] of all windows."""
        held = self._held
        first = held.tokens.shape[1] // 2
        found: list[list[Values]] = [[] for _ in held.tokens]
        for begin in range(0, len(held.tokens), model.at_once):
            group = held.tokens[begin : begin + model.at_once]
            for i, position, logits in model.read(group):
                following = group[i, position + 1 : position + 1 + len(logits)]
                rows = held.rows[begin + i, position - first : position - first + len(logits)]
                piece = score_piece(self._pool, scorer, logits, following, rows)
                found[begin + i].append(piece)
        values = np.stack([np.concatenate(pieces, axis=1) for pieces in found], axis=1)
        if not np.isfinite(values).all():
            raise EngineError("the model predicts no finite numbers")
        return values


def remove_written(folder: Path) -> None:
    """All but what was probed, of a search that has ended in whatever way."""
    for name in (COPY, PREDICTIONS, ROUNDED):
        (folder / name).unlink(missing_ok=True)


def window_of(gguf: Path) -> int:
    """`WINDOW_TOKENS`, or what the model was made for, if that is less."""
    with header(gguf) as handle:
        said = fields(handle)
    trained = said.get(f"{said['general.architecture']}.context_length")
    return min(WINDOW_TOKENS, trained) if isinstance(trained, int) else WINDOW_TOKENS


def _cut(tokens: Tokens, window: int) -> Tokens:
    """
    Raises:
        LlmpiError: there are less than two windows.
    """
    if len(tokens) < 2 * window:
        raise LlmpiError(
            f"the calibration text has {len(tokens)} tokens, and the search of a mix needs at "
            f"least {2 * window}: take a longer text under 'calibration'"
        )
    return cut(tokens, window)


def spread(windows: Tokens, count: int) -> Tokens:
    """So many of [windows, window], from all over the text."""
    if count >= len(windows):
        return windows
    return windows[np.arange(count) * len(windows) // count]


class Probed:
    """The divergences of a search, asked for by types: none is measured twice.

    Args:
        path: of what was measured so far, a line for each; it fits this very search only.
        identity: what makes the divergences others.
        total: how many will be asked for, at most.
    """

    def __init__(self, probes: Probes, path: Path, identity: str, *, total: int) -> None:
        self._probes, self._path = probes, path
        self._known = _kept(path, identity)
        lines = [identity, *map(json.dumps, self._known.items())]
        with whole_file(path) as partial:
            partial.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        self._before = self.count
        self._progress = Progress(total, "probes", done=self._before)

    @property
    def count(self) -> int:
        return len(self._known)

    def __call__(self, types: Types) -> Divergences:
        return self._once(_key(types), lambda: self._probes.divergences(types))

    def rounding(self) -> Divergences:
        return self._once("rounding", self._probes.rounding)

    def _once(self, key: str, probe: Callable[[], Divergences]) -> Divergences:
        if key not in self._known:
            found = probe().tolist()
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, found]) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._known[key] = found
            self._progress.at(self.count - self._before)
        return np.array(self._known[key])


Probe = tuple[str, list[FiniteFloat]]
"""Which types, and the divergence of each window."""


def _kept(path: Path, identity: str) -> dict[str, list[float]]:
    """What was measured in this very search, up to the first line that a cut power has spoiled."""
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    first, *lines = text.split("\n")
    found: dict[str, list[float]] = {}
    for line in lines if first == identity else []:
        try:
            key, divergences = check(line, Probe, str(path))
        except RecordError:
            break
        found[key] = divergences
    return found


def _key(types: Types) -> str:
    return json.dumps(dict(sorted(types.items())))
