"""The 27 points of the LLMPi paper beside the study's own, where the two correspond.

Ardakani, Malekar, Zand, *LLMPi: Optimizing LLMs for High-Throughput on Raspberry Pi*,
arXiv 2504.02118 (2025). `paper.csv` holds the labels of its charts; of the columns,
`total_power_w` and `gold_in_answer_pct` (answers that hold the right words) were derived from the
authors' published data, and `nubia` was read off a chart (within 0.002; Q2_K by eye).

A cell corresponds to a point if all three are the same: the model, which is told by the name of its
source (`MODELS`); the type, in which the paper's 2, 4, 6 and 8 bits are Q2_K, Q4_0, Q6_K and Q8_0,
as they are and neither with an importance matrix nor trained (`TYPES`); and the board, a Raspberry
Pi 5 by what its own firmware says.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from llmpi.records import Record
from llmpi.study.models import HubSource, Model, PathSource, PypiSource
from llmpi.study.study import Study
from llmpi.study.tasks.squad import SquadTask
from llmpi.summary.paper_method import differences

Row = dict[str, Any]

MODELS = {
    "llama-3.2-1b-instruct": "Llama-3.2-1B",
    "gemma-2-2b-it": "Gemma-2-2B",
    "llama-3.2-3b-instruct": "Llama-3.2-3B",
    "phi-3-mini-4k-instruct": "Phi-3-3.8B",
    "llama-3.1-8b-instruct": "Llama-8B",
    "meta-llama-3.1-8b-instruct": "Llama-8B",
    "llama3-8b-1.58-100b-tokens": "BitNet-Llama3-8B",
    "bitnet_b1_58-large": "BitNet-0.7B",
}
"""Name of a repository, file or folder, in lower case -> the paper's name."""

ENDING = r"([-._](gguf|b?f16|fp16|f32|i?q\d\w*|tq\d_\d))+$"
"""What a file's or a repository's name may have behind the model's."""

TYPES = {
    "FP16": ("F16",),
    "Q8_0": ("Q8_0",),
    "Q6_K": ("Q6_K",),
    "Q4_0": ("Q4_0",),
    "Q2_K": ("Q2_K",),
    "TERNARY": ("TQ2_0", "TQ1_0"),
}
"""The paper's type -> llama.cpp's. Both ternary ones hold its ternary weights without loss."""

BOARD = "Raspberry Pi 5"
BATTERY_WH, TOKENS_PER_WORD = 5.0, 1.5
OVERFLOWING = {("Phi-3-3.8B", "FP16"), ("Llama-8B", "FP16"), ("Llama-8B", "Q8_0")}
"""What 8 GB do not hold: size times speed is under 1 GB/s there, and 8 to 10 elsewhere."""
BROKEN_PCT = 2.0
"""Its Q2_K files: at most so many of their answers hold the right words."""


def points() -> list[Record]:
    """The paper's points.

    Returns:
        `model` and `quant` as the paper names them, `tg_tps`, `tpj_above_idle` (tokens/J above
        3.31 W), `words_per_battery` (5 Wh, 1.5 tokens per word, the whole board's power),
        `power_w`, `nubia` (0 to 1), `gold_in_answer_pct`; `overflow` and `broken`, see
        `OVERFLOWING` and `BROKEN_PCT`.
    """
    with files("llmpi.summary").joinpath("paper.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            "model": row["model"],
            "quant": row["quant"],
            "tg_tps": float(row["tps"]),
            "tpj_above_idle": float(row["tpj_idle_subtracted"]),
            "words_per_battery": float(row["words_per_battery"]),
            "power_w": float(row["total_power_w"]),
            "nubia": float(row["nubia"]),
            "gold_in_answer_pct": float(row["gold_in_answer_pct"]),
            "overflow": (row["model"], row["quant"]) in OVERFLOWING,
            "broken": float(row["gold_in_answer_pct"]) <= BROKEN_PCT,
        }
        for row in rows
    ]


def beside_the_paper(
    study: Study, rows: Sequence[Row], machines: Mapping[str, Record]
) -> list[Record]:
    """Every point of the paper with each cell that corresponds to it.

    Args:
        rows: of `llmpi.summary.study.summarize`.
        machines: what is known of each device, by its id.

    Returns:
        A record for each pair, and one for each point without a cell, in the paper's order:
        `model`, `quant`, the paper's names; `paper`, see `points`; `device`; `ours`, None or the
        cell's `model`, `quant`, `runtime`, `workload`, `tg_tps`, `tpj_above_idle`,
        `words_per_battery`, `power_w`, `energy_tier`, `marks` and `scores` (by squad task `f1_pct`,
        `has_ans_f1_pct`); `reason`, why there is no cell or it has no numbers, else None;
        `ratios`, ours / the paper's: `tg_tps`, `tpj_above_idle`, `words_per_battery`, `power_w`,
        None where one is missing; `kept`, what is left of the own F16's score, since the scores
        themselves are of different kinds: `paper` (`nubia`, `gold_in_answer_pct`) and `ours` (by
        task); `differs`, what is not the same in the method, each `key`, `paper`, `ours`.
    """
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        name = papers_model(study.models[row["model"]])
        for kind, ours in TYPES.items():
            if name and row["quant"] in ours and _is_pi5(machines[row["device"]]):
                cells.setdefault((name, kind), []).append(row)
    why = _why_nothing(study, machines)
    papers = points()
    found = []
    widest = {p["model"]: p for p in papers if p["quant"] == "FP16"}
    own_widest = {row["model"]: row for row in reversed(rows) if row["quant"] == "F16"}
    for point in papers:
        key = (point["model"], point["quant"])
        empty = {"model": key[0], "quant": key[1], "paper": point, "reason": None}
        for row in cells.get(key, []):
            pair = (widest.get(key[0]), row, own_widest.get(row["model"]))
            found.append(empty | _beside(study, point, *pair, machines[row["device"]]))
        if key not in cells:
            nothing = {"device": None, "ours": None, "reason": why.get(key[0], why[None])}
            found.append(empty | nothing | {"ratios": {}, "kept": {}, "differs": []})
    return found


def papers_model(model: Model) -> str | None:
    """The paper's name of a model, by the name of its source; None if it is none of the paper's."""
    source = model.source
    match source:
        case HubSource():
            name = source.hub.rpartition("/")[2]
        case PathSource():
            name = PurePath(source.path).name
        case PypiSource():
            name = PurePath(source.file).name
        case _:
            return None
    return MODELS.get(re.sub(ENDING, "", name.lower()))


def _is_pi5(machine: Record) -> bool:
    return BOARD in (machine.get("machine", {}).get("board") or "")


def _why_nothing(study: Study, machines: Mapping[str, Record]) -> dict[str | None, str]:
    """Why a point has no cell: by the paper's model, and for models that the study has not."""
    why: dict[str | None, str] = {None: "the study does not have this model"}
    pi5 = any(map(_is_pi5, machines.values()))
    for model in study.models.values():
        if name := papers_model(model):
            why[name] = (
                "the study does not have this type" if pi5 else f"no device is known as a {BOARD}"
            )
    return why


def _beside(
    study: Study,
    point: Record,
    widest: Record | None,
    row: Row,
    own_widest: Row | None,
    machine: Record,
) -> Record:
    tasks = [name for name, asked in study.quality.items() if isinstance(asked, SquadTask)]
    ours = {
        **{key: row[key] for key in ("model", "quant", "runtime", "workload", "tg_tps")},
        **{key: row[key] for key in ("tpj_above_idle", "words_per_battery", "energy_tier")},
        "power_w": row["tg_power_w"],
        "marks": row["marks"],
        "scores": {task: _scores(row, task) for task in tasks},
    }
    ratios = {
        name: _ratio(ours[name], point[name])
        for name in ("tg_tps", "tpj_above_idle", "words_per_battery", "power_w")
    }
    if (study.battery.wh, study.battery.tokens_per_word) != (BATTERY_WH, TOKENS_PER_WORD):
        ratios["words_per_battery"] = None
    return {
        "device": row["device"],
        "ours": ours,
        "reason": row["reason"],
        "ratios": ratios,
        "kept": {
            "paper": {
                name: _ratio(point[name], widest[name] if widest else None)
                for name in ("nubia", "gold_in_answer_pct")
            },
            "ours": {
                task: {
                    name: _ratio(score, _scores(own_widest, task)[name] if own_widest else None)
                    for name, score in scores.items()
                }
                for task, scores in ours["scores"].items()
            },
        },
        "differs": differences(study, point, row, machine),
    }


def _scores(row: Row, task: str) -> Record:
    return {f"{name}_pct": row[f"{task}_{name}_pct"] for name in ("f1", "has_ans_f1")}


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
