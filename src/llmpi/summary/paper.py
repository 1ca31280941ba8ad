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

from llmpi.engine.records import Failed
from llmpi.remote.records import Provisioned
from llmpi.results import NotRun
from llmpi.study.models import HubSource, Model, PathSource, PypiSource
from llmpi.study.study import Study
from llmpi.summary.paper_method import differences
from llmpi.summary.records import PaperPair, PaperPoint, PaperScores, Row

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


def points() -> list[PaperPoint]:
    """The paper's points."""
    with files("llmpi.summary").joinpath("paper.csv").open(encoding="utf-8") as file:
        return [_point(row) for row in csv.DictReader(file)]


def _point(row: Mapping[str, str]) -> PaperPoint:
    gold_pct = float(row["gold_in_answer_pct"])
    return {
        "model": row["model"],
        "quant": row["quant"],
        "tg_tps": float(row["tps"]),
        "tpj_above_idle": float(row["tpj_idle_subtracted"]),
        "words_per_battery": float(row["words_per_battery"]),
        "power_w": float(row["total_power_w"]),
        "nubia": float(row["nubia"]),
        "gold_in_answer_pct": gold_pct,
        "overflow": (row["model"], row["quant"]) in OVERFLOWING,
        "broken": gold_pct <= BROKEN_PCT,
    }


def beside_the_paper(
    study: Study, rows: Sequence[Row], machines: Mapping[str, Provisioned | Failed | NotRun]
) -> list[PaperPair]:
    """Every point of the paper with each cell that corresponds to it, in the paper's order.

    Args:
        machines: what is known of each device, by its id.
    """
    named = {model: papers_model(asked) for model, asked in study.models.items()}
    cells: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        name = named[row["model"]]
        for kind, ours in TYPES.items():
            if name and row["quant"] in ours and _is_pi5(machines[row["device"]]):
                cells.setdefault((name, kind), []).append(row)
    why = _why_nothing(study, machines)
    papers = points()
    widest = {point["model"]: point for point in papers if point["quant"] == "FP16"}
    own_widest = {row["model"]: row for row in reversed(rows) if row["quant"] == "F16"}
    found: list[PaperPair] = []
    for point in papers:
        model, quant = point["model"], point["quant"]
        here = cells.get((model, quant), [])
        for row in here:
            f16s = (widest.get(model), own_widest.get(row["model"]))
            found.append(_beside(study, point, row, f16s, machines[row["device"]]))
        if not here:
            found.append(
                {
                    "model": model,
                    "quant": quant,
                    "paper": point,
                    "device": None,
                    "ours": None,
                    "reason": why.get(model, why[None]),
                    "ratios": None,
                    "kept": None,
                    "differs": [],
                }
            )
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


def _is_pi5(machine: Provisioned | Failed | NotRun) -> bool:
    return machine["status"] == "ok" and BOARD in (machine["machine"]["board"] or "")


def _why_nothing(
    study: Study, machines: Mapping[str, Provisioned | Failed | NotRun]
) -> dict[str | None, str]:
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
    point: PaperPoint,
    row: Row,
    f16s: tuple[PaperPoint | None, Row | None],
    machine: Provisioned | Failed | NotRun,
) -> PaperPair:
    """
    Args:
        f16s: of the same model, the paper's and our own.
    """
    widest, own_widest = f16s
    battery = (study.battery.wh, study.battery.tokens_per_word)
    words = row["words_per_battery"] if battery == (BATTERY_WH, TOKENS_PER_WORD) else None
    scores = {task: _scores(row, task) for task in _scored(row)}
    return {
        "model": point["model"],
        "quant": point["quant"],
        "paper": point,
        "device": row["device"],
        "ours": {
            "model": row["model"],
            "quant": row["quant"],
            "runtime": row["runtime"],
            "workload": row["workload"],
            "tg_tps": row["tg_tps"],
            "tpj_above_idle": row["tpj_above_idle"],
            "words_per_battery": row["words_per_battery"],
            "energy_tier": row["energy_tier"],
            "power_w": row["tg_power_w"],
            "marks": row["marks"],
            "scores": scores,
        },
        "reason": row["reason"],
        "ratios": {
            "tg_tps": _ratio(row["tg_tps"], point["tg_tps"]),
            "tpj_above_idle": _ratio(row["tpj_above_idle"], point["tpj_above_idle"]),
            "words_per_battery": _ratio(words, point["words_per_battery"]),
            "power_w": _ratio(row["tg_power_w"], point["power_w"]),
        },
        "kept": {
            "paper": {
                "nubia": _ratio(point["nubia"], widest and widest["nubia"]),
                "gold_in_answer_pct": _ratio(
                    point["gold_in_answer_pct"], widest and widest["gold_in_answer_pct"]
                ),
            },
            "ours": {
                task: _kept(own, own_widest and _scores(own_widest, task))
                for task, own in scores.items()
            },
        },
        "differs": differences(study, point, row, machine),
    }


def _scored(row: Row) -> list[str]:
    """The tasks whose score can stand beside the paper's."""
    return [task for task, scored in row["quality"].items() if "has_ans_f1_pct" in scored]


def _scores(row: Row, task: str) -> PaperScores:
    scored = row["quality"][task]
    return {
        "f1_pct": _number(scored["f1_pct"]),
        "has_ans_f1_pct": _number(scored["has_ans_f1_pct"]),
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _kept(own: PaperScores, widest: PaperScores | None) -> PaperScores:
    return {
        "f1_pct": _ratio(own["f1_pct"], widest and widest["f1_pct"]),
        "has_ans_f1_pct": _ratio(own["has_ans_f1_pct"], widest and widest["has_ans_f1_pct"]),
    }


def _ratio(a: float | None, b: float | None) -> float | None:
    return a / b if a is not None and b else None
