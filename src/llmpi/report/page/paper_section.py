"""Prediction and paper, for the page: counted, and put together where many cells say the same."""

from collections import Counter
from collections.abc import Sequence
from statistics import median

from llmpi.records import Record


def predicted(found: Sequence[Record]) -> Record:
    """What became of the predictions.

    Args:
        found: of `llmpi.summary.predictions.predictions`.

    Returns:
        `predicted`, how often each verdict was passed, empty where nothing was predicted;
        `median_error`, of tg without its sign, per cent, or None; `unpredicted`, how many cells
        were not predicted for each reason.
    """
    errors = [abs(e) for one in found if (e := one["error_pct"]["tg_tps"]) is not None]
    verdicts = Counter(one["verdict"] for one in found)
    return {
        "predicted": dict(verdicts.most_common()) if any(one["predicted"] for one in found) else {},
        "median_error": median(errors) if errors else None,
        "unpredicted": dict(Counter(one["reason"] for one in found if one["reason"])),
    }


def nearest_workload(summary: Record) -> str:
    """The workload of the cells that is nearest to the paper's, whose prompt is short."""
    workloads = summary["provenance"]["config"]["workloads"]
    measured = dict.fromkeys(row["workload"] for row in summary["rows"])
    return str(min(measured, key=lambda name: workloads[name]["prompt_tokens"]))


def against_the_paper(summary: Record) -> Record:
    """The paper's points beside cells.

    Args:
        summary: of `llmpi.summary.study.summarize`.

    Returns:
        `workload`, the one that is compared; `corresponding`, the pairs with a cell of it;
        `without`, the points without one; `differences`, each once with `key`, `paper`, `ours` and
        `where`, the points that it holds for (empty: all), or how many of how many.
    """
    pairs, workload = summary["paper"], nearest_workload(summary)
    with_cell = [pair for pair in pairs if pair["ours"] and pair["ours"]["workload"] == workload]
    holds: dict[tuple[str, str, str], dict[str, None]] = {}
    for pair in with_cell:
        for one in pair["differs"]:
            key = (one["key"], one["paper"], one["ours"])
            holds.setdefault(key, {})[f"{pair['model']} {pair['quant']}, {pair['device']}"] = None
    everywhere = len({f"{p['model']} {p['quant']}, {p['device']}" for p in with_cell})
    return {
        "workload": workload,
        "corresponding": with_cell,
        "without": [pair for pair in pairs if not pair["ours"]],
        "differences": [
            {"key": key, "paper": paper, "ours": ours} | {"where": _where(list(where), everywhere)}
            for (key, paper, ours), where in sorted(holds.items())
        ],
    }


MOST_NAMED = 4


def _where(names: Sequence[str], everywhere: int) -> str:
    if len(names) == everywhere:
        return ""
    return "; ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} / {everywhere}"
