"""Mixes against llama.cpp's own: divergence from the F16 at the same bytes, on held-out text.

The model is the demo's, smeared (see `benchmarks.smeared`): 576 wide, so that most types of
llama.cpp's mixes fall back. Both are quantized with the same importance matrix, made on the first
half of the text, on which the mix is searched as well; the second half is measured on, window by
window. A model that lies on the lattice of a type says nothing: `lattice_kl_min` is the least
divergence of a type under 8 bits in all tensors, and below 0.001 there is no result.

`kl_ratio_fallback` is ours over theirs at the bytes of IQ4_NL, with a 95 % interval over windows
(paired bootstrap); of every type that is asked for `kl_ratio_TYPE`. `predicted_TYPE` over
`measured_TYPE` is what the search expected of the mix, and what it measured with the weights that
the mix keeps, nats; `rounding_TYPE` what the kernels of quantized types add to that.
"""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.smeared import smeared_demo
from benchmarks.whole import whole
from llmpi.engine import info
from llmpi.gguf.calibrate import calibrate
from llmpi.gguf.contents import stored
from llmpi.gguf.mix.groups import grouped
from llmpi.gguf.mix.probe import Probes
from llmpi.gguf.mix.search import search
from llmpi.gguf.quantize import quantize
from llmpi.gguf.quantizers import kinds
from llmpi.gguf.records import Gguf, Start
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.quality.divergence.records import Corpus
from llmpi.quant_types import TENSOR_TYPES, TensorType
from llmpi.records import sha256_of, sha256_of_text
from llmpi.study.fields import TextSource

LEAST_LATTICE_KL = 0.001
RESAMPLES = 2000


class Ratio(NamedTuple):
    """Ours over theirs, and its 95 % interval."""

    value: float
    low: float
    high: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mix", description=__doc__)
    parser.add_argument("--quants", nargs="+", default=["IQ4_NL"], help="default: %(default)s")
    parser.add_argument("--windows", type=int, default=8, help="of a probe (default: %(default)s)")
    parser.add_argument("--chunks", type=int, default=32, help="of the matrix")
    parser.add_argument("--scored-chunks", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    info.log_to(lambda _: None)
    with smeared_demo() as base:
        for metric, value in measured(base, base.parent, args).items():
            print(f"{metric}: {value:.4g}")


def measured(base: Path, folder: Path, args: argparse.Namespace) -> dict[str, float]:
    corpus = load_corpus(TextSource(python_topics=True), Path())
    text = corpus["text"]
    searched, held_out = text[: len(text) // 2], text[len(text) // 2 :]
    manifest: Start = {"status": "ok", "sha256": sha256_of(base), "lineage": ["F16"]}
    lattice = lattice_kl_min(base, folder, searched, args.threads)
    print(f"lattice_kl_min: {lattice:.4g}", flush=True)
    if lattice < LEAST_LATTICE_KL:
        raise SystemExit("the reference lies on the lattice of a type: there is no result")
    matrix = folder / "imatrix.gguf"
    how: dict[str, Any] = {"chunks": args.chunks, "threads": args.threads}
    about = whole(
        calibrate(base, {"status": "ok", "sha256": manifest["sha256"]}, searched, matrix, **how)
    )
    held: Corpus = {**corpus, "sha256": sha256_of_text(held_out), "text": held_out}
    scored = Scored(base, manifest, held, folder, args)
    found: dict[str, float] = {"lattice_kl_min": lattice}
    for quant in args.quants:
        theirs = whole(
            quantize(base, manifest, folder / "t.gguf", f"{quant}+imatrix", matrix, about)
        )
        of_theirs = scored(folder / "t.gguf", theirs)
        name = mix_of(theirs["bytes"])
        start = time.monotonic()
        mix = whole(
            search(
                base,
                manifest,
                name,
                searched,
                matrix,
                about,
                windows=args.windows,
                types=TENSOR_TYPES,
                partial=folder / "parts",
                threads=args.threads,
            )
        )
        seconds = time.monotonic() - start
        ours = whole(quantize(base, manifest, folder / "o.gguf", name, matrix, about, mix))
        of_ours = scored(folder / "o.gguf", ours)
        ratio = paired(of_ours, of_theirs)
        taken = mix["rounds"][mix["taken_round"]]
        print(
            f"{quant}: {theirs['bytes']} bytes, KLD {of_theirs.mean():.4f}; ours "
            f"{ours['bytes']} bytes, KLD {of_ours.mean():.4f}; ratio {ratio.value:.3f} "
            f"({ratio.low:.3f} to {ratio.high:.3f}); searched in {seconds:.0f} s, "
            f"{mix['probes']} probes",
            flush=True,
        )
        assert ours["bytes"] <= theirs["bytes"]
        found |= {
            f"kl_ratio_{quant}": ratio.value,
            f"predicted_{quant}": taken["predicted_nats"],
            f"measured_{quant}": taken["kld_nats"],
            f"rounding_{quant}": mix["rounding_nats"],
            f"search_s_{quant}": seconds,
        }
        if quant == "IQ4_NL":
            found["kl_ratio_fallback"] = ratio.value
    return found


def mix_of(file_bytes: int) -> str:
    """The mix of so many bytes, to the KiB below."""
    return f"MIX-{file_bytes // 1024 / 1024:.10f}".rstrip("0").rstrip(".") + "M+imatrix"


class Scored:
    """The divergence of files from `base`, of each window of a text."""

    def __init__(
        self, base: Path, manifest: Start, corpus: Corpus, folder: Path, args: argparse.Namespace
    ) -> None:
        self._rows, self._partial, self._threads = folder / "held", folder / "done", args.threads
        self._told = whole(
            reference(
                base,
                manifest,
                corpus,
                {"window_tokens": 512, "chunks": args.scored_chunks, "max_bytes": 1 << 40},
                out=self._rows,
                partial=self._partial,
                threads=self._threads,
            )
        )

    def __call__(self, gguf: Path, made: Gguf) -> np.ndarray:
        how: dict[str, Any] = {"partial": self._partial, "threads": self._threads}
        found = whole(divergence(gguf, made, self._rows, self._told, **how))
        return np.array(found["positions"]["kld"]).mean(axis=1)


def lattice_kl_min(base: Path, folder: Path, text: str, threads: int) -> float:
    """The least divergence of a type under 8 bits that suits all matrices."""
    shapes = {n: one.shape for n, one in stored(base).items() if len(one.shape) > 1}
    groups = grouped(shapes, TENSOR_TYPES, weighted=[])
    types: Sequence[TensorType] = [
        kind
        for kind in TENSOR_TYPES
        if all(kind in group.bytes for group in groups)
        and 8 * kinds()[kind].block_bytes < 8 * kinds()[kind].block
    ]
    with Probes(base, folder / "lattice", text, 2, groups, {}, threads) as probes:
        return min(
            float(probes.divergences({group.name: kind for group in groups}).mean())
            for kind in types
        )


def paired(ours: np.ndarray, theirs: np.ndarray) -> Ratio:
    """Of the means over the same windows."""
    draws = np.random.default_rng(0).integers(len(ours), size=(RESAMPLES, len(ours)))
    ratios = ours[draws].mean(axis=1) / theirs[draws].mean(axis=1)
    return Ratio(ours.mean() / theirs.mean(), *np.quantile(ratios, (0.025, 0.975)))


if __name__ == "__main__":
    main()
