"""What is not the same in the paper's method and in the one of a cell that corresponds to it.

Facts only; what is known of the paper is from arXiv 2504.02118 and from the data that its authors
published.
"""

from llmpi.engine.records import Failed
from llmpi.remote.records import Provisioned
from llmpi.results import NotRun
from llmpi.study.study import Study
from llmpi.summary.records import Differs, EnergyDiffers, PaperPoint, Row

BOARD_BYTES = range(7_500_000_000, 9_000_000_000)
"""MemTotal of its 8 GB board."""
IDLE_POWER_W = 3.31
"""What it subtracts from the power; fits all 27 points."""


def differences(
    study: Study, point: PaperPoint, row: Row, machine: Provisioned | Failed | NotRun
) -> list[Differs]:
    """What to know before the numbers of a point and of a cell are compared."""
    workload = study.singles[row["workload"]]
    known = machine if machine["status"] == "ok" else None
    found: list[Differs] = [
        {
            "key": "engine",
            "paper": "bitnet.cpp" if point["quant"] == "TERNARY" else "llama.cpp",
            "commit": known and known["engine"]["llama_cpp_commit"],
            "threads": row["threads"],
            "repacked": study.runtimes[row["runtime"]].repack,
        },
        {
            "key": "protocol",
            "repetitions": row["repetitions"] or workload.repetitions,
            "prompt_tokens": workload.prompt_tokens,
            "output_tokens": workload.output_tokens,
            "context_tokens": row["context_tokens"],
        },
        {"key": "sampling", "sampling": workload.sampling},
        _energy(row),
        {"key": "quality", "questions": _questions(row)},
    ]
    memory = known and known["machine"]["memory_bytes"]
    if memory and memory not in BOARD_BYTES:
        found.append({"key": "memory", "memory_bytes": memory})
    if point["overflow"]:
        measured = row["tg_tps"] is not None
        found.append({"key": "overflow", "measured": measured, "marks": row["marks"]})
    if point["broken"]:
        found.append({"key": "broken", "gold_in_answer_pct": point["gold_in_answer_pct"]})
    if row["lineage"] and not row["lineage"][0].startswith(("F16", "BF16", "F32", "TERNARY")):
        found.append({"key": "source", "lineage": row["lineage"]})
    if row["parity_reason"]:
        misses = row["parity_misses"]
        found.append({"key": "parity", "reason": row["parity_reason"], "misses": misses})
    return found


def _energy(row: Row) -> EnergyDiffers:
    measured = row["tg_power_w"] is not None
    return {
        "key": "energy",
        "paper_idle_power_w": IDLE_POWER_W,
        "tier": row["energy_tier"] if measured else None,
        "idle_power_w": row["idle_power_w"],
        "reason": row["energy_reason"],
    }


def _questions(row: Row) -> list[int]:
    """Of each task whose score can stand beside the paper's."""
    comparable = [scored for scored in row["quality"].values() if "has_ans_f1_pct" in scored]
    return [items for one in comparable if isinstance(items := one["items"], int) and items]
