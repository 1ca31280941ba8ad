"""What quantization-aware training wins back, on text that it never saw, and what a step costs.

The demo's model is trained for Q4_0 on the first part of `pydoc_data.topics`; the perplexities of
its F16, of its plain Q4_0 and of the trained Q4_0 are llama.cpp's, on the exported files and the
rest of the text. It is trained block by block, too, with the peaks of both's memory, and beside
them stand learned roundings on the same texts: of Q2_0, too, and of K-quants of the same model in
widths that those take (see `benchmarks.widened`). Figures are printed as soon as they are known. A
step is timed against the same step without fake quantization, in turns. With `--small`, a ternary
model is trained from scratch, and compared with its F16 in the same way. With `--block-1b`, one
block of a 1B's shape is trained alone.
"""

import argparse
import logging
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peer import cache_folder
from benchmarks.small_models import small_models
from benchmarks.speed import demo_files
from benchmarks.whole import whole
from benchmarks.widened import widen
from llmpi import needs
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
from llmpi.train.small import Small, write_start
from llmpi.train.text import split

QUANT = "Q4_0"
ROUNDED = {"Q4_0": None, "Q2_0": 12}
"""Chunks of the unseen text that each is scored on, or all: Q2_0 has no fast kernel for prompts on
x86, and took a quarter of a minute for one."""
ROUNDED_WIDE = {"Q4_K_S": None, "Q2_K": None}
DEMO: Start = {"status": "ok", "sha256": "", "lineage": ["Q4_1", "F16"]}
BLOCK_OF_1B = Small(
    layers=1, width=2048, heads=32, kv_heads=8, ffn_width=8192, merges=10**6, context_tokens=2048
)
LAYERS_OF_1B, PARAMETERS_OF_1B = 16, 1_235_814_400
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
    parser.add_argument("--block-1b", action="store_true", help="a block of a 1B's shape alone")
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
        if args.block_1b:
            block_1b(base, seen, folder)
            return
        if args.small:
            told(small(seen, unseen, folder, args.threads))
        f16 = measured(base, unseen, folder, args.threads)
        told({"perplexity_f16": f16})
        if not args.rounding:
            ptq = measured(plain, unseen, folder, args.threads)
            told({"perplexity_ptq": ptq})
            # The peak of all children so far is known: those that take less come first.
            peaks = [
                trained(base, seen, unseen, folder, args, (f16, ptq), by_block=by_block)
                for by_block in (True, False)
            ]
            told({"block_memory_ratio": peaks[0] / peaks[1]})
        rounded(base, f16, ROUNDED, seen, unseen, folder, args.threads)
        wide = folder / "wide.gguf"
        widen(base, wide)
        f16 = measured(wide, unseen, folder, args.threads)
        rounded(wide, f16, ROUNDED_WIDE, seen, unseen, folder, args.threads)
    if not args.rounding:
        told({"step_ratio": step_ratio(base, plain, seen, args.rounds)})


def told(figures: Mapping[str, float]) -> None:
    """Print figures as soon as they are known."""
    for name, value in figures.items():
        print(f"{name}: {value:.4f}", flush=True)


def trained(
    base: Path,
    seen: Corpus,
    unseen: Corpus,
    folder: Path,
    args: argparse.Namespace,
    untrained: tuple[float, float],
    *,
    by_block: bool,
) -> float:
    """Print what a training wins back, and return the peak of its memory in MB."""
    (f16, ptq), out = untrained, folder / f"{QUANT}{by_block}.gguf"
    steps = {"steps": args.steps} if args.steps else {}
    start = time.monotonic()
    made = whole(
        train_qat(
            base,
            DEMO | {"sha256": sha256_of(base)},
            out,
            quant=QUANT,
            settings=Training(by_block=by_block, **steps),
            corpus=seen,
            checkpoints=folder / "checkpoints",
        )
    )
    seconds, training = time.monotonic() - start, made["training"]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    assert training and training["by_block"] == by_block
    before = "block_" if by_block else ""
    if blocks := training["blocks"]:
        told(
            {
                f"block_error_{which}": statistics.mean(one[which] for one in blocks)
                for which in ("plain", "learned")
            }
        )
        after_blocks = training["history"][1]
        told({"block_held_out_loss_of_blocks": after_blocks["loss"]})
    told(
        {
            f"{before}held_out_loss_before": training["before"]["loss"],
            f"{before}held_out_loss_after": training["after"]["loss"],
            f"{before}steps": training["steps"],
            f"{before}verified_tensors": training["verified"],
            f"{before}qat_seconds": seconds,
            f"{before}peak_mb": peak,
        }
    )
    qat = measured(out, unseen, folder, args.threads)
    told(
        {
            f"{before}perplexity_qat": qat,
            f"{before}recovered_share": (ptq - qat) / (ptq - f16),
        }
    )
    return peak


def rounded(
    base: Path,
    f16: float,
    quants: Mapping[str, int | None],
    seen: Corpus,
    unseen: Corpus,
    folder: Path,
    threads: int,
) -> None:
    """The same of learned roundings."""
    for kind, chunks in quants.items():
        plain, learned = (folder / f"{kind}{end}.gguf" for end in (".plain", "+round"))
        manifest: Start = DEMO | {"sha256": sha256_of(base)}
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
        seconds, blocks, name = time.monotonic() - start, made["rounding"], kind.lower()
        assert blocks
        told(
            {
                f"round_seconds_{name}": seconds,
                f"round_verified_matrices_{name}": blocks["verified"],
                **{
                    f"block_error_{name}_{which}": statistics.mean(
                        one[which] for one in blocks["blocks"]
                    )
                    for which in ("plain", "searched", "learned")
                },
            }
        )
        wide = f16 if chunks is None else measured(base, unseen, folder, threads, chunks)
        ptq, ours = (measured(path, unseen, folder, threads, chunks) for path in (plain, learned))
        told(
            {
                f"perplexity_{name}_plain": ptq,
                f"perplexity_{name}_round": ours,
                f"round_recovered_share_{name}": (ptq - ours) / (ptq - wide),
            }
        )


def block_1b(vocabulary: Path, seen: Corpus, folder: Path) -> None:
    """Train a model of one block of Llama-3.2-1B's shape, of random weights, on as many tokens as
    by default; and say what that makes of the whole."""
    base = folder / "1b.gguf"
    write_start(vocabulary, base, BLOCK_OF_1B, seed=1)
    usual = Training()
    # As many tokens in fewer updates.
    settings = usual.model_copy(
        update={
            "steps": usual.steps // 9,
            "sequences": 9 * usual.sequences,
            "accumulation": 9,
            "by_block": True,
        }
    )
    start = time.monotonic()
    made = whole(
        train_qat(
            base,
            {"status": "ok", "sha256": sha256_of(base), "lineage": ["scratch"]},
            folder / "trained.gguf",
            quant=QUANT,
            settings=settings,
            corpus=seen,
            checkpoints=folder / "checkpoints",
        )
    )
    training, seconds = made["training"], time.monotonic() - start
    assert training
    of_block = training["history"][1]["seconds"]
    f16_bytes = 2 * PARAMETERS_OF_1B
    tokens = usual.steps * usual.sequences * usual.sequence_tokens
    told(
        {
            "block_1b_seconds": of_block,
            "block_1b_all_seconds": seconds,
            "block_1b_peak_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
            "block_1b_blocks_hours": LAYERS_OF_1B * of_block / 3600,
            "plan_1b_mb": needs.block_training_mb(f16_bytes, tokens),
            "plan_1b_at_most_hours": needs.block_training_minutes(PARAMETERS_OF_1B, tokens) / 60,
        }
    )


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


def measured(
    gguf: Path, corpus: Corpus, folder: Path, threads: int, chunks: int | None = None
) -> float:
    record = whole(
        perplexity(
            gguf,
            {"status": "ok", "sha256": sha256_of(gguf)},
            corpus,
            {"window_tokens": 512, "chunks": chunks},
            partial=folder / "partial",
            threads=threads,
        )
    )
    return record["summary"]["perplexity"]["value"]


def step_ratio(base: Path, plain: Path, corpus: Corpus, rounds: int) -> float:
    """Seconds of a step, over those of the same step with weights that nothing is done to."""
    from llmpi.gguf import contents
    from llmpi.train.network import network_of
    from llmpi.train.student import Student, weights_of
    from llmpi.train.text import windows
    from llmpi.train.trainer import Trainer, make_deterministic

    make_deterministic()
    settings = Training()
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
            network_of(base),
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
