"""What a memo has to say, in no language yet: taken from the summary and the recommendation."""

from collections.abc import Mapping, Sequence
from typing import Any

from llmpi.decide.candidates import CHECKS
from llmpi.decide.choice import eased
from llmpi.quant_types import is_trained, width_order
from llmpi.records import Record, is_ok

Row = dict[str, Any]

ROWS = 8
"""Variants in the memo's table at most: it is one sheet."""
ALTERNATIVES = 3
QUALITY = ("broken", "f1_drop_at_most", "unscored")
"""What rules a variant out for its quality, beside the gates."""


def facts(summary: Record, recommendation: Record) -> Record:
    """The memo's content.

    Args:
        summary: of `llmpi.summary.study.summarize`.
        recommendation: of `llmpi.decide.choice.recommend`, with `money`, over its `classes`.

    Returns:
        `study`, `date` (ISO), `version`; `workload` (`prompt_tokens`, `output_tokens`),
        `tokens_per_word`; `questions` (`asked`, `unanswerable`), None where quality was not scored;
        `devices`, a group of equal boards as one, each `id`, `boards` (how many), `board`,
        `processors`, `memory_bytes`, `is_pi`;
        `tried`, `able`: how many variants on devices were tried, and keep to everything;
        `constraints`, those that are asked for, and `gates` of the same task; `minimum_set`,
        whether one of either is about quality; `several_models`, `several_devices`;
        `pick`, `runner_up`, `widest` (the pick's model's), each None or as `variant` says; `tied`,
        who cannot be told from the pick in quality; `decided_by`, an objective, `size` or
        `everything`;
        `broken`, one of each form (as `variant` says); `out`, how many each other reason rules out;
        `change`, the single change that would lead to another choice, None if there is none;
        `nearest` with its reasons, where nothing can be recommended; `failed`, why cells failed;
        `table`, at most `ROWS` variants, and `omitted`, how many more there are;
        `per_device`, the picks on the other devices; `money`, see `money`; `stage`, see `stage`;
        `dequantized`, the type in which the pick's model came, where its weights were quantized.
    """
    config = summary["provenance"]["config"]
    decision, *per_device = recommendation["decisions"]
    task = recommendation["task"]
    classes = [r for r in summary["classes"] if r["workload"] == recommendation["workload"]]
    rows = {_cell(row): row for row in classes}
    several_runtimes = len(config["runtimes"]) > 1
    found = {
        candidate["id"]: variant(candidate, rows[_cell(candidate)], task, several_runtimes)
        for candidate in recommendation["candidates"]
    }
    pick, runner_up = found.get(decision["pick"]), found.get(decision["runner_up"])
    widest = pick and _widest(pick, found.values())
    asked = summary["questions"].get(task) if task else None
    reasons = [k["constraint"] for v in found.values() for k in v["killed_by"]]
    limits = recommendation["constraints"]
    gates = [gate for gate in summary["gates"] if gate["task"] == task]
    table = _table(found, decision, widest)
    return {
        "study": summary["study"],
        "date": summary["provenance"]["summarized"][:10],
        "version": summary["provenance"]["llmpi"],
        "workload": config["workloads"][recommendation["workload"]],
        "tokens_per_word": config["battery"]["tokens_per_word"],
        "questions": _questions(asked) if asked and is_ok(asked) else None,
        "devices": [
            _device(name, len(boards), summary["machines"][boards[0]])
            for name, boards in {row["device"]: row["boards"] for row in classes}.items()
        ],
        "tried": len(found),
        "able": len(decision["able"]),
        "constraints": limits,
        "gates": gates,
        "minimum_set": "f1_drop_at_most" in limits or bool(gates),
        "several_models": len({v["model"] for v in found.values()}) > 1,
        "several_devices": len({v["device"] for v in found.values()}) > 1,
        "pick": pick,
        "runner_up": runner_up,
        "widest": widest,
        "tied": [found[i] for i in _tied(decision)],
        "decided_by": _decided_by(decision),
        "broken": list({_form(v): v for v in found.values() if _is_broken(v)}.values()),
        "out": {r: reasons.count(r) for r in dict.fromkeys(reasons) if r != "broken"},
        "change": _change(decision, found),
        "nearest": found.get(decision["nearest"]),
        "failed": list(dict.fromkeys(v["reason"] for v in found.values() if v["reason"])),
        "table": table,
        "omitted": len(found) - len(table),
        "per_device": [v for d in per_device if (v := found.get(d["pick"])) and v is not pick],
        "money": money(recommendation, pick),
        "stage": stage(pick, decision, found.values()),
        "dequantized": _dequantized(pick),
    }


def variant(candidate: Record, row: Row, task: str | None, several_runtimes: bool) -> Record:
    """A candidate with what the memo shows of it.

    Args:
        row: its cell in the summary.

    Returns:
        What `recommend` says of it, and: `file_bytes`, `bits_per_weight`, `fallback_tensors`,
        `tensors`, `lineage`; `runtime_shown`, None where there is one runtime; `reason`, why it
        failed; `verdict` and `detectable_points` against the widest; `answered_pct`, F1 on the
        questions that have an answer.
    """
    keys = ("file_bytes", "bits_per_weight", "fallback_tensors", "tensors", "lineage", "reason")
    return {
        **candidate,
        **{key: row[key] for key in keys},
        "runtime_shown": row["runtime"] if several_runtimes else None,
        "verdict": row[f"{task}_f1_verdict"] if task else None,
        "detectable_points": row[f"{task}_f1_minimum_detectable_pct"] if task else None,
        "answered_pct": row[f"{task}_has_ans_f1_pct"] if task else None,
    }


def money(recommendation: Record, pick: Record | None) -> Record | None:
    """The money of the pick's device.

    Returns:
        None where the study states no prices. Else `reason`: nothing is picked (`no pick`), its
        device has `no hardware` stated, its `power`, or its power at rest (`idle`), is not known;
        or None, and then what `llmpi.decide.cost.device_cost` says, `currency`, the `largest` part
        of the total and its `largest_pct`, at most three `alternatives` as a list with their ids,
        the cheapest first, and the figure that moves the result `most`.
    """
    found = recommendation["money"]
    if found is None:
        return None
    devices = {device["device"]: device for device in found["devices"]}
    if pick is None or pick["device"] not in devices:
        return {"reason": "no pick" if pick is None else "no hardware"}
    cost = devices[pick["device"]]
    if cost["reason"]:
        return {"reason": "power" if pick["energy"] is None else "idle"}
    largest = max(cost["parts"], key=lambda part: cost["parts"][part])
    others = [{"id": name, **other} for name, other in cost["alternatives"].items()]
    return {
        **cost,
        "currency": found["currency"],
        "largest": largest,
        "largest_pct": 100 * cost["parts"][largest] / cost["total"] if cost["total"] else 0.0,
        "alternatives": sorted(others, key=lambda other: other["total"])[:ALTERNATIVES],
        "most": next(iter(cost["sensitivity"]), None),
    }


def stage(pick: Record | None, decision: Record, found: Any) -> str:
    """Where the study stands on the way from a trial to operation, and so what comes next.

    Returns:
        `measure`: nothing was measured yet; `train`: nothing can be recommended and quality is
        what stands in the way; `relax`: nothing can be recommended for another reason; `operate`:
        the pick is trained for its bits; `trial`: it is not, and may be tried in the field.
    """
    if pick:
        return "operate" if is_trained(pick["quant"]) else "trial"
    if all(v["reason"] for v in found):
        return "measure"
    blamed = {k["constraint"] for v in found for k in v["killed_by"]}
    changes = {change["constraint"] for change in decision["would_change"]}
    quality = {c for c in blamed if c in QUALITY or c.startswith("gate ")}
    return "train" if quality and (quality & changes or blamed <= quality) else "relax"


def _widest(pick: Record, found: Any) -> Record | None:
    """The widest quantization of the pick's model, which its quality is held against; where it ran
    on several devices, on the pick's."""
    same = [v for v in found if v["model"] == pick["model"]]
    return min(same, key=lambda v: (width_order(v["quant"]), v["device"] != pick["device"]))


def _questions(asked: Record) -> Record:
    return {"asked": asked["questions"], "unanswerable": asked["unanswerable"]}


def _device(name: str, boards: int, record: Record) -> Record:
    machine = record["machine"] if is_ok(record) else {}
    board = machine.get("board")
    return {
        "id": name,
        "boards": boards,
        "board": board or machine.get("cpu"),
        "processors": machine.get("processors"),
        "memory_bytes": machine.get("memory_bytes"),
        "is_pi": None if not machine else "Raspberry Pi" in (board or ""),
    }


def _cell(row: Row) -> tuple[str, ...]:
    return row["device"], row["model"], row["quant"], row["runtime"]


def _form(found: Record) -> tuple[str, ...]:
    return found["model"], found["quant"]


def _is_broken(found: Record) -> bool:
    return any(kill["constraint"] == "broken" for kill in found["killed_by"])


def _tied(decision: Record) -> list[str]:
    steps = [step["left"] for step in decision["steps"] if step["objective"] == "quality"]
    return [name for left in steps for name in left if name != decision["pick"]]


def _decided_by(decision: Record) -> str:
    compared = [step for step in decision["steps"] if step["left"]]
    if not compared:
        return "everything"
    return compared[-1]["objective"] if len(compared[-1]["left"]) == 1 else "size"


def _change(decision: Record, found: Mapping[str, Record]) -> Record | None:
    """The first change that leads to another variant, relaxed ones before faults."""
    leading = [change for change in decision["would_change"] if change["pick"]]
    order = ("relax", "without", "tighten")
    first = min(leading, key=lambda change: order.index(change["change"]), default=None)
    if first is None:
        return None
    if first["change"] == "relax":
        to = eased(first["to"], CHECKS[first["constraint"]].at_least)
        first = {**first, "to": to}
    return {**first, "variant": found[first["pick"]]}


def _table(
    found: Mapping[str, Record], decision: Record, widest: Record | None
) -> Sequence[Record]:
    """The widest, the pick and the runner-up, and so many others that the sheet has room for."""
    first = {decision["pick"], decision["runner_up"], widest and widest["id"]}
    shown = [name for name in found if name in first]
    shown += [name for name in found if name not in first][: ROWS - len(shown)]
    marks = {decision["runner_up"]: "runner-up", decision["pick"]: "pick"}
    return [{**v, "mark": marks.get(name)} for name, v in found.items() if name in shown]


def _dequantized(pick: Record | None) -> str | None:
    came = pick["lineage"].split(" > ")[0] if pick and pick["lineage"] else None
    return None if came in (None, "F16", "BF16", "F32", "F64", "TERNARY", "scratch") else came
