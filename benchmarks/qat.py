"""What quantization-aware training wins back, on text that it never saw, and what a step costs.

The demo's model is trained for Q4_0 on the first part of `pydoc_data.topics`; the perplexities of
its F16, of its plain Q4_0 and of the trained Q4_0 are llama.cpp's, on the exported files and the
rest of the text. Beside it stand learned roundings, of Q2_0, too, on the same texts. A step is
timed against the same step without fake quantization, in turns. With `--small`, a ternary model is
trained from scratch, and compared with its F16 in the same way.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.peer import cache_folder
from benchmarks.small_models import small_models
from benchmarks.speed import demo_files
from benchmarks.whole import whole
from llmpi.engine import info as engine_info
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Start
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import perplexity
from llmpi.quality.divergence.records import Corpus
from llmpi.records import sha256_of, sha256_of_text
from llmpi.study.fields import TextSource
from llmpi.study.training import Rounding, Training
from llmpi.train.child import ENVIRONMENT
from llmpi.train.qat import train_qat
from llmpi.train.rounding.make import learn_rounding
from llmpi.train.small import Small
from llmpi.train.text import split

QUANT = "Q4_0"
ROUNDED = ("Q4_0", "Q2_0")
UNSEEN_SHARE = 0.2
SMALL = Training(
    steps=400,
    sequences=16,
    sequence_tokens=256,
    learning_rate=2e-3,
    weight_decay=0.1,
    held_out_sequences=64,
    evaluate_every=25,
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.qat", description=__doc__)
    parser.add_argument("--small", action="store_true", help="the ternary model, too")
    parser.add_argument("--rounding", action="store_true", help="learned rounding alone")
    parser.add_argument(
        "--rounds", type=int, default=4, help="pairs of steps; default: %(default)s"
    )
    parser.add_argument("--steps", type=int, help="of the training; default: that of llmpi")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    os.environ.update(ENVIRONMENT)  # before torch is there, as in the process that trains
    engine_info.log_to(lambda _: None)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    corpus = load_corpus(TextSource(python_topics=True), Path())
    seen, unseen = (_corpus_of(corpus, text) for text in split(corpus["text"], UNSEEN_SHARE))
    base, plain = ({path.stem: path for path in demo_files()}[name] for name in ("F16", QUANT))
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        folder = Path(name)
        results: dict[str, float] = {}
        if args.small:
            results |= small(seen, unseen, folder, args.threads)
        if not args.rounding:
            results |= recovered(base, plain, seen, unseen, folder, args)
        results |= rounded(base, seen, unseen, folder, args.threads)
    if not args.rounding:
        results["step_ratio"] = step_ratio(base, plain, seen, args.rounds)
    for name, value in results.items():
        print(f"{name}: {value:.4f}")


def recovered(
    base: Path, plain: Path, seen: Corpus, unseen: Corpus, folder: Path, args: argparse.Namespace
) -> dict[str, float]:
    """Perplexities on the unseen text, and the share that training wins back."""
    trained = folder / f"{QUANT}.gguf"
    manifest: Start = {"status": "ok", "sha256": sha256_of(base), "lineage": ["Q4_1", "F16"]}
    start = time.monotonic()
    made = whole(
        train_qat(
            base,
            manifest,
            trained,
            quant=QUANT,
            settings=Training(steps=args.steps) if args.steps else Training(),
            corpus=seen,
            checkpoints=folder / "checkpoints",
        )
    )
    seconds, training = time.monotonic() - start, made["training"]
    assert training
    f16, ptq, qat = (measured(p, unseen, folder, args.threads) for p in (base, plain, trained))
    return {
        "perplexity_f16": f16,
        "perplexity_ptq": ptq,
        "perplexity_qat": qat,
        "steps": training["steps"],
        "verified_tensors": training["verified"],
        "qat_seconds": seconds,
        "recovered_share": (ptq - qat) / (ptq - f16),
    }


def rounded(
    base: Path, seen: Corpus, unseen: Corpus, folder: Path, threads: int
) -> dict[str, float]:
    """The same of learned roundings."""
    manifest: Start = {"status": "ok", "sha256": sha256_of(base), "lineage": ["Q4_1", "F16"]}
    f16 = measured(base, unseen, folder, threads)
    found = {"perplexity_f16": f16}
    for kind in ROUNDED:
        plain, learned = (folder / f"{kind}{end}.gguf" for end in (".plain", "+round"))
        whole(quantize(base, manifest, plain, kind))
        start = time.monotonic()
        made = whole(
            learn_rounding(
                base,
                manifest,
                learned,
                quant=f"{kind}+round",
                settings=Rounding(),
                corpus=seen,
                checkpoints=folder / f"{kind}.checkpoints",
            )
        )
        seconds, blocks = time.monotonic() - start, made["rounding"]
        assert blocks
        ptq, ours = (measured(path, unseen, folder, threads) for path in (plain, learned))
        name = kind.lower()
        found |= {
            f"perplexity_{name}_plain": ptq,
            f"perplexity_{name}_round": ours,
            f"round_recovered_share_{name}": (ptq - ours) / (ptq - f16),
            f"round_seconds_{name}": seconds,
            f"round_verified_matrices_{name}": blocks["verified"],
            **{
                f"block_error_{name}_{which}": statistics.mean(
                    one[which] for one in blocks["blocks"]
                )
                for which in ("plain", "searched", "learned")
            },
        }
    return found


def small(seen: Corpus, unseen: Corpus, folder: Path, threads: int) -> dict[str, float]:
    """Perplexities of the small model, and how far quantization takes it from its F16."""
    start = time.monotonic()
    made = small_models(
        demo_files()[1], folder / "small", size=Small(), settings=SMALL, corpus=seen
    )
    seconds = time.monotonic() - start
    found = {
        name: measured(folder / "small" / f"{name}.gguf", unseen, folder, threads)
        for name, record in made.items()
        if whole(record)
    }
    return {
        **{f"small_perplexity_{name.lower()}": value for name, value in found.items()},
        "small_ptq_ratio": found["PTQ"] / found["F16"],
        "small_qat_ratio": found["QAT"] / found["F16"],
        "small_seconds": seconds,
    }


def measured(gguf: Path, corpus: Corpus, folder: Path, threads: int) -> float:
    record = whole(
        perplexity(
            gguf,
            {"status": "ok", "sha256": sha256_of(gguf)},
            corpus,
            {"window_tokens": 512, "chunks": None},
            partial=folder / "partial",
            threads=threads,
        )
    )
    return record["summary"]["perplexity"]["value"]


def step_ratio(base: Path, plain: Path, corpus: Corpus, rounds: int) -> float:
    """Seconds of a step, over those of the same step with weights that nothing is done to."""
    from llmpi.gguf import contents
    from llmpi.train.llama import shape_of
    from llmpi.train.student import Student, weights_of
    from llmpi.train.text import windows
    from llmpi.train.trainer import Trainer, make_deterministic

    make_deterministic()
    settings = Training()
    with contents.header(base) as handle:
        shape = shape_of(contents.fields(handle), contents.stored(base))
    text = windows(
        base,
        corpus["text"],
        tokens=settings.sequence_tokens,
        held_out_share=settings.held_out_share,
        held_out_windows=1,
    )
    teacher = weights_of(base)
    kinds = {name: tensor.kind for name, tensor in contents.stored(plain).items()}
    trainers: list[Any] = [
        Trainer(
            Student(weights_of(base), chosen),
            teacher,
            shape,
            text,
            settings,
            folder=Path(),
            identity={},
        )
        for chosen in (kinds, dict.fromkeys(kinds, "F32"))
    ]
    ratios = []
    for step in range(rounds + 1):  # the first is a warm-up
        seconds = [0.0, 0.0]
        for which in (0, 1) if step % 2 else (1, 0):
            start = time.perf_counter()
            trainers[which].step(step)
            seconds[which] = time.perf_counter() - start
        print(f"step {step}: {seconds[0]:.2f} / {seconds[1]:.2f} s", flush=True)
        ratios.append(seconds[0] / seconds[1])
    return statistics.median(ratios[1:])


def _corpus_of(corpus: Corpus, text: str) -> Corpus:
    return {**corpus, "text": text, "sha256": sha256_of_text(text), "characters": len(text)}


if __name__ == "__main__":
    main()
