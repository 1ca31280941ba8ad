"""Every column of the summary: its type, its unit, its meaning.

`python -m llmpi.summary.columns` (or `make docs`) writes `docs/summary.md` from it; tests hold that
file, and the rows of a summary, against this table.
"""

import sys
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from llmpi.columns import Column, count, number, text
from llmpi.quality.kinds import task_kinds
from llmpi.records import whole_file

CELL = {
    "study": text("Id of the study"),
    "device": text("Id of the device"),
    "model": text("Id of the model"),
    "quant": text("Quantization, as llama.cpp spells it, and how it was made"),
    "runtime": text("Id of the engine's settings"),
    "workload": text("Id of the workload"),
    "group": text("Group of equal boards that the device is one of"),
    "status": text("`ok`, `failed`, `skipped` or `not run`, of the measurement"),
    "stage": text("Stage at which it failed"),
    "reason": text("Why it failed or was not run"),
}
SPEED = {
    "pp_tps": number("tokens/s", "Prompt processing: median over the repetitions"),
    "pp_min_tps": number("tokens/s", "The least of them"),
    "pp_max_tps": number("tokens/s", "The greatest of them"),
    "tg_tps": number("tokens/s", "Token generation behind the prompt: median"),
    "tg_min_tps": number("tokens/s", "The least"),
    "tg_max_tps": number("tokens/s", "The greatest"),
    "repetitions": count("Repetitions counted, without the warm-up"),
    "ttft_s": number("s", "Time to first token, loading not in it: median"),
    "itl_p50_s": number("s", "Inter-token latency: median over all tokens of all repetitions"),
    "itl_p95_s": number("s", "Its 95th percentile"),
    "itl_max_s": number("s", "The longest"),
    "cold_load_s": number("s", "Loading the file from storage, and one token"),
    "warm_load_s": number("s", "The same at once again, from the page cache"),
    "peak_rss_bytes": count("Peak resident memory of the measuring process", "bytes"),
    "major_faults": count("Page faults that went to storage, after loading"),
    "threads": count("Threads of the engine"),
    "context_tokens": count("Context that the engine reserved", "tokens"),
    "tg_at_depths_tps": text(
        "Token generation behind longer contexts, `TOKENS: TOKENS/S` joined by `; `"
    ),
    "sustained_first_last_tps": text(
        "Token generation, tokens/s, of the first and the last stretch of the sustained phase"
    ),
    "hottest_c": number("°C", "Highest temperature seen during the session"),
    "marks": text(
        "`throttled`, `memory-bound: overflow`, joined by `; `: not to be compared with others"
    ),
    "memory_read_bytes_per_s": number("bytes/s", "Memory bandwidth, plain reads by all threads"),
    "storage_read_bytes_per_s": number("bytes/s", "Sequential reads of the model's file"),
    "tg_memory_share": number(
        "1", "Weights read per token times tg, as a share of the memory bandwidth"
    ),
}
ENERGY = {
    "energy_tier": text("How the energy was obtained: `metered`, `pmic` or `estimated`"),
    "energy_reason": text("Why there is none"),
    "idle_power_w": number("W", "Mean power at rest before the session"),
    "pp_power_w": number("W", "Mean power during prompt processing"),
    "tg_power_w": number("W", "Mean power during token generation"),
    "pp_j_per_token": number("J", "Energy of a prompt token: mean over the repetitions"),
    "tg_j_per_token": number("J", "Energy of a generated token: mean over the repetitions"),
    "tg_uncertainty_j_per_token": number("J", "Its uncertainty, one standard deviation"),
    "tpj_board": number("tokens/J", "tg / power of the whole board"),
    "tpj_above_idle": number("tokens/J", "tg / (power - idle power), the LLMPi paper's"),
    "words_per_battery": number("words", "Words that a full battery generates"),
}
FILE = {
    "file_bytes": count("Size of the GGUF file", "bytes"),
    "parameters": count("Weights of all tensors"),
    "bits_per_weight": number("bits", "8 x bytes of all tensors / their weights"),
    "tensors": count("Tensors of the file"),
    "fallback_tensors": count("Tensors that got another type than they were meant for"),
    "lineage": text("What the file was made from, types joined by ` > `"),
}
DEVICE = {
    "parity_top1_pct": number("%", "Positions where device and workstation predict the same token"),
    "parity_kl_nats": number("nats", "KL divergence of the device from the workstation, mean"),
    "parity_reason": text("Why the workstation's scores are not transferred to the device"),
    "gates_failed": text("Gates that the variant fails, joined by `; `"),
}
TUNED = {
    "output_agreement_pct": number(
        "%", "Tokens of a fixed text that settings found by tuning predict as before, else empty"
    ),
}


def columns(quality: Mapping[str, Mapping[str, Any]]) -> dict[str, Column]:
    """The columns of a study's summary, in their order.

    Args:
        quality: the study's quality tasks as its config has them, by id.
    """
    kinds = task_kinds()
    scored, compared = (
        {
            f"{task}_{name}": column
            for task, asked in quality.items()
            for name, column in chosen(kinds[asked["task"]]).items()
        }
        for chosen in (attrgetter("columns"), attrgetter("compared"))
    )
    return {**CELL, **SPEED, **ENERGY, **FILE, **scored, **DEVICE, **compared, **TUNED}


INTRODUCTION = """\
<!-- Written by `make docs` from src/llmpi/summary/columns.py; edit that. -->

# The files of a report

`results/report/STUDY/` holds the same numbers in several forms:

| file | for |
| --- | --- |
| `index.html` | reading: the page |
| `memo.LANGUAGE.md`, `memo.LANGUAGE.pdf` | a meeting: one sheet, in each of the `languages` |
| `summary.csv` | spreadsheets: a row for each cell, the columns below |
| `summary.parquet` | programs: the same rows, typed, with units |
| `speed.jsonl` | tools that read llama-bench: the speeds as `llama-bench -o jsonl` writes them |
| `summary.json` | all of it: rows, comparisons, predictions, the paper's points, provenance |
| `recommendation.json` | the decision and the money |

In the Parquet file each column's metadata has its `unit` and `description`; the file's own has the
study, its config, llmpi's version and the time under `llmpi`, as JSON.

    import pyarrow.parquet as pq
    table = pq.read_table("results/report/demo/summary.parquet")
    table.schema.field("tg_tps").metadata[b"unit"]           # b'tokens/s'
    table.to_pandas()                                        # with pandas

    # of llama.cpp; its name for a build is the engine's commit
    python scripts/compare-llama-bench.py --tool llama-bench -i speed.jsonl -b COMMIT -c COMMIT

## speed.jsonl

A line is a test: the prompt (`n_prompt`), the generation behind it (`n_gen`, at an `n_depth` of the
prompt's tokens), and the generation at each of the workload's `depths`. Fields, order and units are
those of llama-bench at the engine's commit. What llmpi does not set is as llama.cpp has it;
`build_number` is 0, as the engine does not tell it; `model_filename` is the path below the study's
folder. One key is added at the end, `llmpi`, with the ids of study, device, model, quantization,
runtime and workload; readers of llama-bench pass over it. Cells without speeds have no line. Two
things differ from llama-bench: each generated token is the most likely one behind the last (unless
the workload says `sampling: none`), and the warm-up goes on until it is steady.

## Columns

A row is a cell: a workload of a variant with a runtime on a device. A field is empty (null) where
there is no such value, and then a `reason` says why. `TASK` stands for the id of a quality task.
docs/methodology.md says how each number is obtained.
"""

SECTIONS = (
    ("The cell", CELL),
    ("Speed and memory", SPEED),
    ("Energy", ENERGY),
    ("The file", FILE),
    *(
        (f"Each `{name}` task", {f"TASK_{key}": c for key, c in kind.columns.items()})
        for name, kind in task_kinds().items()
    ),
    ("Parity and gates", DEVICE),
    *(
        (
            f"Each `{name}` task, against the model's widest quantization",
            {f"TASK_{key}": c for key, c in kind.compared.items()},
        )
        for name, kind in task_kinds().items()
        if kind.compared
    ),
    ("Tuned settings", TUNED),
)


def reference() -> str:
    """The text of `docs/summary.md`."""
    parts = [INTRODUCTION]
    for title, found in SECTIONS:
        rows = [
            f"| `{name}` | {kind} | {unit} | {meaning} |"
            for name, (kind, unit, meaning) in found.items()
        ]
        parts.append("\n".join([f"### {title}\n", HEAD, *rows, ""]))
    return "\n".join(parts)


HEAD = "| column | type | unit | |\n| --- | --- | --- | --- |"


def main() -> None:
    path = Path("docs/summary.md")
    with whole_file(path) as partial:
        partial.write_text(reference(), encoding="utf-8")
    print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
