"""Mixes against llama.cpp's own: divergence from the F16 at the same bytes, on held-out text.

Three models, none of which lies on the lattice of a type that may be chosen (`lattice_kl_min` is
the least divergence of such a type under 8 bits in all tensors; below 0.001 there is no result):

- `smeared`: the demo's (see `benchmarks.smeared`), 576 wide, so that most types of llama.cpp's
  mixes fall back; at the bytes of IQ4_NL, without an importance matrix and with one.
- `widened`: the demo's, filled up to multiples of 256 (see `benchmarks.widened`), without the types
  that it came in; at the bytes of five of llama.cpp's mixes.
- `scratch`: trained from scratch on the first half of the text, of the same widths; likewise.

What has a matrix has the same on both sides, made on the first half of the text, on which mixes are
searched as well; the second half is measured on, window by window. `kl_ratio_MODEL_TYPE` is ours
over theirs with a 95 % interval over windows (paired bootstrap), `bytes_ratio_MODEL_TYPE` what ours
would take of their bytes at their divergence, by what ours have at the two sizes around it (its
logarithm over bytes). `predicted_` is what the search expected of the mix, `measured_` what it
found with the weights that the mix keeps, nats; `rounding_` what the kernels of quantized types add
to that. `kl_ratio_fallback` is the one of `smeared` without a matrix; `kl_ratio_mean` and
`kl_ratio_max` are of the points of the other two.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.peer import cache_folder
from benchmarks.smeared import smeared_demo
from benchmarks.speed import demo_files
from benchmarks.whole import whole
from benchmarks.widened import widen
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
from llmpi.quant_types import IMATRIX, TENSOR_TYPES, TensorType, wants_imatrix
from llmpi.records import sha256_of, sha256_of_text
from llmpi.study.fields import TextSource
from llmpi.study.training import Training
from llmpi.train.qat import train_qat
from llmpi.train.small import Small, write_start

LEAST_LATTICE_KL = 0.001
RESAMPLES = 2000
LADDER = ("Q2_K", "Q3_K_M", "IQ4_XS", "Q4_K_M", "Q5_K_M")
OF_THE_DEMO: tuple[TensorType, ...] = ("Q4_1", "Q8_0")
"""Types that it came in."""
SCRATCH = Small(layers=16)
STEPS = Training(
    steps=1600, sequences=4, sequence_tokens=256, learning_rate=6e-3, distill=False, bf16=False
)


class Case(NamedTuple):
    """A model, and what mixes of it are held against."""

    name: str
    quants: Sequence[str]
    types: Sequence[TensorType] = TENSOR_TYPES


CASES = (
    Case("smeared", ["IQ4_NL", "IQ4_NL+imatrix"]),
    Case(
        "widened",
        [f"{quant}+imatrix" for quant in LADDER],
        [kind for kind in TENSOR_TYPES if kind not in OF_THE_DEMO],
    ),
    Case("scratch", [f"{quant}+imatrix" for quant in LADDER]),
)


class Ratio(NamedTuple):
    """Ours over theirs, and its 95 % interval."""

    value: float
    low: float
    high: float


class Point(NamedTuple):
    """A mix beside llama.cpp's own."""

    quant: str
    ratio: Ratio
    bytes: int
    theirs: float
    """Mean divergence."""
    ours: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mix", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--quants", nargs="+", choices=["IQ4_NL", *LADDER], help="some of llama.cpp's; default: all"
    )
    parser.add_argument("--windows", type=int, default=8, help="of a probe (default: %(default)s)")
    parser.add_argument("--chunks", type=int, default=32, help="of the matrix")
    parser.add_argument("--scored-chunks", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    info.log_to(lambda _: None)
    corpus = load_corpus(TextSource(python_topics=True), Path())
    ratios: list[float] = []
    for case in CASES:
        if case.name in args.models and (case := asked_of(case, args)).quants:
            with model_of(case.name, corpus) as base:
                points = [*measured(case, base, corpus, args)]
            if case.name == "smeared":
                say("kl_ratio_fallback", points[0].ratio.value)
                continue
            ratios += [point.ratio.value for point in points]
            for quant, ratio in bytes_ratios(points).items():
                say(f"bytes_ratio_{case.name}_{quant}", ratio)
    if ratios:
        say("kl_ratio_mean", float(np.mean(ratios)))
        say("kl_ratio_max", max(ratios))


def asked_of(case: Case, args: argparse.Namespace) -> Case:
    """The case with those of its quants that are asked for."""
    quants = [q for q in case.quants if not args.quants or q.removesuffix(IMATRIX) in args.quants]
    return case._replace(quants=quants)


def say(metric: str, value: float) -> None:
    print(f"{metric}: {value:.4g}", flush=True)


@contextmanager
def model_of(name: str, corpus: Corpus) -> Iterator[Path]:
    """Its F16, in a folder for the block."""
    if name == "smeared":
        with smeared_demo() as base:
            yield base
        return
    [demo] = (path for path in demo_files() if path.stem == "F16")
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        base = Path(folder) / "F16.gguf"
        if name == "widened":
            widen(demo, base)
        else:
            train_small(demo, base, corpus)
        yield base


def train_small(vocabulary: Path, out: Path, corpus: Corpus) -> None:
    """From scratch, on the first half of the text."""
    start = out.with_name("start.gguf")
    write_start(vocabulary, start, SCRATCH, STEPS.seed)
    manifest: Start = {"status": "ok", "sha256": sha256_of(start), "lineage": ["scratch"]}
    seen = halves(corpus)[0]
    whole(
        train_qat(
            start,
            manifest,
            out,
            quant="F16",
            settings=STEPS,
            corpus={**corpus, "text": seen, "sha256": sha256_of_text(seen)},
            checkpoints=out.with_name("checkpoints"),
        )
    )


def halves(corpus: Corpus) -> tuple[str, str]:
    text = corpus["text"]
    return text[: len(text) // 2], text[len(text) // 2 :]


def measured(case: Case, base: Path, corpus: Corpus, args: argparse.Namespace) -> Iterator[Point]:
    folder, (searched, held_out) = base.parent, halves(corpus)
    manifest: Start = {"status": "ok", "sha256": sha256_of(base), "lineage": ["F16"]}
    lattice = lattice_kl_min(base, folder, searched, case.types, args.threads)
    say(f"lattice_kl_min_{case.name}", lattice)
    if lattice < LEAST_LATTICE_KL:
        raise SystemExit("the reference lies on the lattice of a type: there is no result")
    matrix = folder / "imatrix.gguf"
    how: dict[str, Any] = {"chunks": args.chunks, "threads": args.threads}
    about = whole(
        calibrate(base, {"status": "ok", "sha256": manifest["sha256"]}, searched, matrix, **how)
    )
    held: Corpus = {**corpus, "sha256": sha256_of_text(held_out), "text": held_out}
    scored = Scored(base, manifest, held, folder, args)
    for quant in case.quants:
        used, its = (matrix, about) if wants_imatrix(quant) else (None, None)
        theirs = whole(quantize(base, manifest, folder / "t.gguf", quant, used, its))
        of_theirs = scored(folder / "t.gguf", theirs)
        name = mix_of(theirs["bytes"]) + IMATRIX * wants_imatrix(quant)
        start = time.monotonic()
        mix = whole(
            search(
                base,
                manifest,
                name,
                searched,
                used,
                its,
                windows=args.windows,
                types=case.types,
                partial=folder / "parts",
                threads=args.threads,
            )
        )
        seconds = time.monotonic() - start
        ours = whole(quantize(base, manifest, folder / "o.gguf", name, used, its, mix))
        of_ours = scored(folder / "o.gguf", ours)
        assert ours["bytes"] <= theirs["bytes"]
        ratio = paired(of_ours, of_theirs)
        taken = mix["rounds"][mix["taken_round"]]
        print(
            f"{case.name} {quant}: {theirs['bytes']} bytes, KLD {of_theirs.mean():.4f}; ours "
            f"{ours['bytes']} bytes, KLD {of_ours.mean():.4f}; ratio {ratio.value:.3f} "
            f"({ratio.low:.3f} to {ratio.high:.3f}); searched in {seconds:.0f} s, "
            f"{mix['probes']} probes",
            flush=True,
        )
        label = f"{case.name}_{quant}"
        say(f"kl_ratio_{label}", ratio.value)
        say(f"predicted_{label}", taken["predicted_nats"])
        say(f"measured_{label}", taken["kld_nats"])
        say(f"rounding_{label}", mix["rounding_nats"])
        say(f"search_s_{label}", seconds)
        yield Point(quant, ratio, ours["bytes"], float(of_theirs.mean()), float(of_ours.mean()))


def bytes_ratios(points: Sequence[Point]) -> dict[str, float]:
    """Of those whose divergence lies between two of ours."""
    by_loss = sorted(points, key=lambda point: point.ours)
    losses, sizes = [math.log(p.ours) for p in by_loss], [p.bytes for p in by_loss]
    return {
        point.quant: float(np.interp(math.log(point.theirs), losses, sizes)) / point.bytes
        for point in points
        if losses[0] <= math.log(point.theirs) <= losses[-1]
    }


def mix_of(file_bytes: int) -> str:
    """The mix of so many bytes, to the KiB below."""
    return f"MIX-{file_bytes // 1024 / 1024:.10f}".rstrip("0").rstrip(".") + "M"


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


def lattice_kl_min(
    base: Path, folder: Path, text: str, asked: Sequence[TensorType], threads: int
) -> float:
    """The least divergence of a type under 8 bits that suits all matrices."""
    shapes = {n: one.shape for n, one in stored(base).items() if len(one.shape) > 1}
    groups = grouped(shapes, asked, weighted=[])
    types = [
        kind
        for kind in asked
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
