"""Our perplexity and KL divergence against llama-perplexity's: same files, text, window and chunks.

Each of the demo's files is compared with F16 by both, in turn (A B B A), on the text of
`pydoc_data.topics`. Errors are of ours relative to theirs; times are of whole processes, medians
over the rounds of ours / theirs.
"""

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peer import cache_folder, tool
from benchmarks.speed import demo_files
from benchmarks.whole import whole
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Start
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.quality.divergence.records import CutWithin, Perplexity
from llmpi.quality.records import VariantFile
from llmpi.records import sha256_of
from llmpi.study.fields import TextSource

QUANTS = ("F16", "Q8_0", "Q4_0", "Q2_K")
SMALLEST_KLD = 1e-4
"""F16 differs from itself by rounding only: below this many nats, errors are relative to it."""


class Score(NamedTuple):
    seconds: float
    perplexity: float
    kld: float = 0
    top1_pct: float = 100


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.divergence", description=__doc__)
    parser.add_argument("--window-tokens", type=int, default=512)
    parser.add_argument("--chunks", type=int, default=24, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    peer = tool("llama-perplexity")
    files = quantized()
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        results = compare(Ours(files, Path(folder), args), Theirs(peer, files, Path(folder), args))
    report(results)


Pairs = list[tuple[Score, Score]]


def compare(ours: "Ours", theirs: "Theirs") -> dict[str, Pairs]:
    """(ours, theirs) of each round, for the reference and each file; the reference comes first."""
    steps: dict[str, tuple[Callable[[], Score], Callable[[], Score]]] = {
        "reference": (ours.reference, theirs.reference),
        **{
            quant: (partial(ours.compare, quant), partial(theirs.compare, quant))
            for quant in QUANTS
        },
    }
    print("round  file       PPL ours / theirs       KLD ours / theirs          top-1 %", end="")
    print("        s ours / theirs")
    pairs: dict[str, Pairs] = {name: [] for name in steps}
    for i in range(ours.args.rounds):
        for name, (our, their) in steps.items():
            first, second = (their(), our()) if i % 2 else (our(), their())
            pair = (second, first) if i % 2 else (first, second)
            pairs[name].append(pair)
            a, b = pair
            print(
                f"{i + 1:5d}  {name:9s} {a.perplexity:9.4f} / {b.perplexity:9.4f}"
                f"   {a.kld:11.6f} / {b.kld:9.6f}   {a.top1_pct:7.3f} / {b.top1_pct:7.3f}"
                f"   {a.seconds:6.1f} / {b.seconds:6.1f} = {a.seconds / b.seconds:.3f}",
                flush=True,
            )
    return pairs


def report(results: dict[str, Pairs]) -> None:
    worst = {"ppl_error_pct": 0.0, "kld_error_pct": 0.0, "time_ratio": 0.0}
    for name, pairs in results.items():
        found = {
            "ppl_error_pct": max(100 * abs(a.perplexity / b.perplexity - 1) for a, b in pairs),
            "kld_error_pct": max(
                100 * abs(a.kld - b.kld) / max(abs(b.kld), SMALLEST_KLD) for a, b in pairs
            ),
            "time_ratio": statistics.median(a.seconds / b.seconds for a, b in pairs),
        }
        if name == "reference":
            del found["kld_error_pct"]
        for metric, value in found.items():
            print(f"{metric}_{name.lower()}: {value:.4f}")
            worst[metric] = max(worst[metric], value)
    for metric, value in worst.items():
        print(f"{metric}: {value:.4f}")


class Ours:
    """As the product does it, in its child process."""

    def __init__(self, files: dict[str, Path], folder: Path, args: argparse.Namespace) -> None:
        self.args, self._files, self._folder = args, files, folder
        self._corpus = load_corpus(TextSource(python_topics=True), folder / "lock")
        (folder / "text").write_bytes(self._corpus["text"].encode())
        self._manifests: dict[str, VariantFile] = {
            name: {"status": "ok", "sha256": sha256_of(path)} for name, path in files.items()
        }
        self._reference: Perplexity | None = None

    def reference(self) -> Score:
        settings: CutWithin = {
            "window_tokens": self.args.window_tokens,
            "chunks": self.args.chunks,
            "max_bytes": 1 << 40,
        }
        start = time.monotonic()
        self._reference = whole(
            reference(
                self._files["F16"],
                self._manifests["F16"],
                self._corpus,
                settings,
                out=self._folder / "ours",
                **self._running(),
            )
        )
        seconds = time.monotonic() - start
        return Score(seconds, self._reference["summary"]["perplexity"]["value"])

    def compare(self, quant: str) -> Score:
        assert self._reference, "the reference comes first"
        start = time.monotonic()
        record = whole(
            divergence(
                self._files[quant],
                self._manifests[quant],
                self._folder / "ours",
                self._reference,
                **self._running(),
            )
        )
        seconds = time.monotonic() - start
        found = record["summary"]
        estimates = (found["perplexity"], found["kld_mean_nats"], found["top1_agreement_pct"])
        return Score(seconds, *(estimate["value"] for estimate in estimates))

    def _running(self) -> dict[str, Any]:
        return {"partial": self._folder / "partial", "threads": self.args.threads}


class Theirs:
    """llama-perplexity, on the text that `Ours` has written."""

    def __init__(
        self, binary: Path, files: dict[str, Path], folder: Path, args: argparse.Namespace
    ) -> None:
        self._binary, self._files, self._folder, self._args = binary, files, folder, args

    def reference(self) -> Score:
        text = str(self._folder / "text")
        seconds, said = self._run("F16", ["-f", text, "--chunks", str(self._args.chunks)])
        return Score(seconds, _number(r"Final estimate: PPL = (\S+)", said))

    def compare(self, quant: str) -> Score:
        seconds, said = self._run(quant, ["--kl-divergence"])
        patterns = (r"Mean PPL\(Q\) +: +(\S+)", r"Mean +KLD: +(\S+)", r"Same top p: +(\S+)")
        return Score(seconds, *(_number(pattern, said) for pattern in patterns))

    def _run(self, quant: str, more: list[str]) -> tuple[float, str]:
        command = [str(self._binary), "-m", str(self._files[quant])]
        command += ["-c", str(self._args.window_tokens), "-t", str(self._args.threads)]
        command += ["--kl-divergence-base", str(self._folder / "theirs"), *more]
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - start
        if done.returncode != 0:
            raise SystemExit(f"llama-perplexity failed ({done.returncode}): {done.stderr[-2000:]}")
        return seconds, done.stdout + done.stderr


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if not found:
        raise SystemExit(f"llama-perplexity did not say {pattern}:\n{text[-2000:]}")
    return float(found[1])


def quantized() -> dict[str, Path]:
    """The demo's model at `QUANTS`, kept in the cache."""
    paths = {path.stem: path for path in demo_files()}
    base: Start = {"status": "ok", "sha256": sha256_of(paths["F16"]), "lineage": ["F16"]}
    for quant in QUANTS:
        path = paths.setdefault(quant, paths["F16"].with_name(f"{quant}.gguf"))
        if not (path.is_file() and path.stat().st_size):  # a failed one is an empty file
            whole(quantize(paths["F16"], base, path, quant))
    return {quant: paths[quant] for quant in QUANTS}


if __name__ == "__main__":
    main()
