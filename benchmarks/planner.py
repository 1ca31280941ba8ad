"""The planner against the 27 points of the LLMPi paper (arXiv 2504.02118), measured on a Pi 5.

The constants are the preset `pi5-8gb`'s, each from the source printed below; none was computed from
this table. It was known, though, when the model's form and the width of its ranges were chosen, so
that `in_range_pct` is no test. What overflows hangs on the memory that is free, which is an
estimate: with 7.5 GB in place of 7.3 the worst of the three rows is 40 % off, with 7.1 GB 10 %.

The paper's engine, of early 2025, is told apart by `repack: false`: its weights stayed in
the mapped file. Its two BitNet rows ran on another engine (bitnet.cpp) with two threads, and are
not compared.
"""

import argparse
import csv
from pathlib import Path
from statistics import median

from llmpi.plan.config_json import of_config
from llmpi.plan.known import CONFIGS
from llmpi.plan.model import Model, ask_all
from llmpi.plan.predict import context, predict
from llmpi.plan.presets import PRESETS
from llmpi.study.measuring import Runtime

PAPER = Path(__file__).parents[1] / "src/llmpi/summary/paper.csv"
MODELS = {
    "Llama-3.2-1B": "meta-llama/Llama-3.2-1B-Instruct",
    "Gemma-2-2B": "google/gemma-2-2b-it",
    "Llama-3.2-3B": "meta-llama/Llama-3.2-3B-Instruct",
    "Phi-3-3.8B": "microsoft/Phi-3-mini-4k-instruct",
    "Llama-8B": "meta-llama/Llama-3.1-8B-Instruct",
}
# The paper's protocol: a short prompt, 50 new tokens, context 4096.
CONTEXT_TOKENS, PROMPT_TOKENS = 4096, 32
RUNTIME = Runtime(repack=False)


def models() -> dict[str, Model]:
    """Those of the paper, by its names."""
    found = {name: of_config(CONFIGS[repo], repo) for name, repo in MODELS.items()}
    asked = context(RUNTIME, CONTEXT_TOKENS, PROMPT_TOKENS)
    quants = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0", "Q2_K")
    ask_all((model, quants, (asked,)) for model in found.values())
    return found


def main() -> None:
    argparse.ArgumentParser(prog="python -m benchmarks.planner", description=__doc__).parse_args()
    board, known = PRESETS["pi5-8gb"], models()
    for field, source in board.sources.items():
        value = getattr(board, field)
        shown = "by type" if isinstance(value, dict) else value
        print(f"{field} = {shown}\n    {source}")
    errors: dict[bool, list[float]] = {False: [], True: []}
    inside = 0
    print(f"\n{'model':14}{'quant':7}{'fit':9} measured  predicted (range)      error")
    with PAPER.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] in MODELS]
    for row in rows:
        found = predict(
            known[row["model"]],
            row["quant"].replace("FP16", "F16"),
            board,
            RUNTIME,
            context_tokens=CONTEXT_TOKENS,
            prompt_tokens=PROMPT_TOKENS,
        )
        measured, (low, likely, high) = float(row["tps"]), found.tg_tps
        error = 100 * (likely / measured - 1)
        errors[found.fit == "overflow"].append(abs(error))
        inside += low <= measured <= high
        print(
            f"{row['model']:14}{row['quant']:7}{found.fit:9}{measured:9.2f}{likely:11.3f} "
            f"({low:.3f}-{high:.3f}) {error:+7.1f} %"
        )
    print(f"\nrows: {len(rows)}")
    print(f"overflow_rows: {len(errors[True])}")
    print(f"in_range_pct: {100 * inside / len(rows):.0f}")
    print(f"median_error: {median(errors[False]):.1f}")
    print(f"max_error: {max(errors[False]):.1f}")
    print(f"max_overflow_error: {max(errors[True]):.1f}")


if __name__ == "__main__":
    main()
