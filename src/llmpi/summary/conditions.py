"""How a cell was measured: the machine before and after, and each repetition."""

from llmpi.engine.records import Repetition
from llmpi.study.runs import Run
from llmpi.summary.measured import Single
from llmpi.summary.records import HowMeasured, OneRepetition
from llmpi.summary.row import place


def how_measured(run: Run, measured: Single) -> HowMeasured:
    how = measured.how
    elsewhere = "endpoint" in how and not how["endpoint"]["on_device"]
    felt = None if elsewhere else how["environment"]
    prompt_tokens = measured.cell["workload"]["prompt_tokens"]
    return {
        **place(run),
        "before": felt and felt["before"],
        "after": felt and felt["after"],
        "repetitions": [_one(r, prompt_tokens) for r in measured.cell["repetitions"]],
    }


def _one(found: Repetition, prompt_tokens: int) -> OneRepetition:
    return {
        "pp_tps": prompt_tokens / found["pp_s"],
        "tg_tps": len(found["itl_s"]) / sum(found["itl_s"]),
        "ttft_s": found["ttft_s"],
        "others_pct": found["contention"]["others_pct"] if "contention" in found else None,
    }
