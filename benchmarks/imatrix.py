"""Our importance matrix against that of llama-imatrix, on the same text; and what it is good for.

`imatrix_error_pct` is of the second moments of each weight of the demo's F16, the sum over columns
of |ours - theirs| over the sum of theirs: the worst weight. `imatrix_column_error_pct` is the worst
single column of all. Beside them, `time_ratio`: whole processes, ours / theirs.

`kld_ratio` is the KL divergence from F16 with the matrix over that without, on the demo's model
widened to multiples of 256 (see `benchmarks.widened`): the worst of the types. The first half of
the text calibrates, the second is measured on.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.peer import cache_folder, tool
from benchmarks.speed import demo_files
from benchmarks.whole import whole
from benchmarks.widened import widen
from llmpi.gguf import imatrix
from llmpi.gguf.calibrate import calibrate
from llmpi.gguf.imatrix import Moments
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Imatrix, Start
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.quality.divergence.records import Corpus
from llmpi.quality.records import VariantFile
from llmpi.records import sha256_of, sha256_of_text
from llmpi.study.fields import TextSource

QUANTS = ("Q2_K", "Q3_K_S", "Q4_K_S", "Q4_0", "IQ4_NL")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imatrix", description=__doc__)
    parser.add_argument("--chunks", type=int, default=32, help="to calibrate (default: 32)")
    parser.add_argument("--scored-chunks", type=int, default=8, help="default: %(default)s")
    parser.add_argument("--quants", nargs="+", default=QUANTS, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    peer = tool("llama-imatrix")
    [f16] = (path for path in demo_files() if path.stem == "F16")
    corpus = load_corpus(TextSource(python_topics=True), Path())
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        errors = against_peer(peer, f16, corpus["text"], Path(name), args)
        ratios = with_and_without(f16, corpus, Path(name), args)
    for metric, value in errors.items():
        print(f"{metric}: {value:.4f}")
    for quant, ratio in ratios.items():
        print(f"kld_ratio_{quant.lower()}: {ratio:.3f}")
    print(f"kld_ratio: {max(ratios.values()):.3f}")


# --- the matrix -----------------------------------------------------------------------------------


def against_peer(
    peer: Path, f16: Path, text: str, folder: Path, args: argparse.Namespace
) -> dict[str, float]:
    start = time.monotonic()
    _calibrated(f16, text, folder / "ours.gguf", args)
    ours = time.monotonic() - start
    (folder / "text").write_bytes(text.encode())
    command = [str(peer), "-m", str(f16), "-f", str(folder / "text"), "-t", str(args.threads)]
    command += ["--chunks", str(args.chunks), "--no-ppl", "-o", str(folder / "theirs.gguf")]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    theirs = time.monotonic() - start
    if done.returncode != 0:
        raise SystemExit(f"llama-imatrix failed ({done.returncode}): {done.stderr[-2000:]}")
    found = compare(imatrix.read(folder / "ours.gguf"), imatrix.read(folder / "theirs.gguf"))
    return {**found, "time_ratio": ours / theirs}


def compare(ours: dict[str, Moments], theirs: dict[str, Moments]) -> dict[str, float]:
    if set(ours) != set(theirs):
        raise SystemExit(f"not the same weights: {sorted(set(ours) ^ set(theirs))}")
    worst: dict[str, float] = {}
    column = 0.0
    for name, found in theirs.items():
        if ours[name].counts.tolist() != found.counts.tolist():
            raise SystemExit(f"{name}: {ours[name].counts} rows, not {found.counts}")
        off = np.abs(ours[name].means - found.means)
        worst[name] = 100 * off.sum() / found.means.sum()
        column = max(column, 100 * (off / np.maximum(found.means, np.finfo(np.float32).tiny)).max())
    name = max(worst, key=lambda name: worst[name])
    print(f"{len(worst)} weights, {found.counts[0]} rows each; furthest apart: {name}", flush=True)
    return {"imatrix_error_pct": worst[name], "imatrix_column_error_pct": column}


# --- its use --------------------------------------------------------------------------------------


def with_and_without(
    f16: Path, corpus: Corpus, folder: Path, args: argparse.Namespace
) -> dict[str, float]:
    wide, rows = folder / "F16.gguf", folder / "rows"
    widen(f16, wide)
    manifest: Start = {"status": "ok", "sha256": sha256_of(wide), "lineage": ["F16"]}
    text = corpus["text"]
    half = len(text) // 2
    matrix = _calibrated(wide, text[:half], folder / "imatrix.gguf", args)
    scored = text[half:]
    partial = folder / "partial"
    base = whole(
        reference(
            wide,
            manifest,
            {**corpus, "sha256": sha256_of_text(scored), "text": scored},
            {"window_tokens": 512, "chunks": args.scored_chunks, "max_bytes": 1 << 40},
            out=rows,
            partial=partial,
            threads=args.threads,
        )
    )

    def kld(quant: str, path: Path | None = None, of_path: Imatrix | None = None) -> float:
        gguf = folder / "variant.gguf"
        made = whole(quantize(wide, manifest, gguf, quant, path, of_path))
        found = whole(divergence(gguf, made, rows, base, partial=partial, threads=args.threads))
        summary = found["summary"]
        print(
            f"{quant:16s} {made['bits_per_weight']:.2f} bits, {len(made['fallbacks'])} fallbacks, "
            f"perplexity {summary['perplexity']['value']:8.3f}, "
            f"KLD {summary['kld_mean_nats']['value']:.4f}",
            flush=True,
        )
        return summary["kld_mean_nats"]["value"]

    print(f"F16              perplexity {base['summary']['perplexity']['value']:8.3f}", flush=True)
    return {
        quant: kld(f"{quant}+imatrix", folder / "imatrix.gguf", matrix) / kld(quant)
        for quant in args.quants
    }


def _calibrated(gguf: Path, text: str, out: Path, args: argparse.Namespace) -> Imatrix:
    manifest: VariantFile = {"status": "ok", "sha256": sha256_of(gguf)}
    return whole(calibrate(gguf, manifest, text, out, chunks=args.chunks, threads=args.threads))


if __name__ == "__main__":
    main()
