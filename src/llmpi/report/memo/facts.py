"""What a memo has to say, in no language yet: taken from the summary and the recommendation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from llmpi import layout
from llmpi.decide.candidates import blamed
from llmpi.decide.records import (
    Aim,
    AlternativeCost,
    Candidate,
    CostPart,
    CostUnit,
    Decision,
    DeviceMoney,
    Interval,
    Limit,
    Moved,
    MovedLimit,
    ProvisionalBy,
    Recommendation,
    Standing,
)
from llmpi.decide.scores import number
from llmpi.decide.values import CHECKS
from llmpi.errors import CellError
from llmpi.gguf import trainable
from llmpi.plan.presets import Range
from llmpi.plan.usual import BY_BLOCK, USUAL, of_training
from llmpi.quant_types import FLOATS, is_published, is_trained
from llmpi.report.public import without_places
from llmpi.report.words.emphasis import eased, largest_part, upwards
from llmpi.study.runs import width
from llmpi.study.study import Study
from llmpi.study.training import Training
from llmpi.summary.groups import by_class
from llmpi.summary.records import AnswerCost, ClassRow, GateAsked, Summary

ROWS = 8
"""Variants in the memo's table at most: it is one sheet."""
ALTERNATIVES = 3
TRAINED_ON_CORES = 8
"""Of an office's computer: what the memo says of a training is of no machine in particular."""
QUALITY = ("broken", "loses", "undecided", "f1_drop_at_most")
"""What rules a variant out for its quality."""
WHOLE = {*FLOATS, "F64", "TERNARY", "scratch"}
"""What a model comes as, or begins from, that nobody quantized."""
UNKNOWN = ("too few", "no quality", "unscored", "computation")
"""What rules it out because its quality is not known."""

Stage = Literal["measure", "ask", "train", "relax", "better", "trial"]
"""Where the study stands on the way from the bench to operation, and so what comes next.

`measure`: nothing was measured yet; `ask`: nothing can be recommended, because too little was asked
to know its quality; `train`: quality is what stands in the way; `relax`: nothing can be recommended
for another reason; `better`: the pick is not shown to beat a program that never answers; `trial`:
it may be tried in the field, which no study says was done.
"""


class Questions(TypedDict):
    asked: int
    unanswerable: int


class MemoDevice(TypedDict):
    """A device, or a group of equal boards as one; None what is not known."""

    id: str
    boards: int
    board: str | None
    processors: int | None
    memory_bytes: int | None
    is_pi: bool | None


class MemoVariant(TypedDict):
    """A candidate with what the memo shows of it."""

    id: str
    device: str
    model: str
    quant: str
    runtime_shown: str | None
    """None where there is one runtime."""
    quality: Interval | None
    speed: Interval | None
    energy: Interval | None
    memory: Interval | None
    against: list[str]
    """What rules it out: a constraint's key, or another word of `reasons` in the templates."""
    file_bytes: int | None
    bits_per_weight: float | None
    lineage: list[str]
    is_published: bool
    """It is the file as it came, which the others are held against, however few its bits."""
    reason: str | None
    """Why it failed."""
    standing: Standing | None
    answered_pct: float | None
    """F1 on the questions that have an answer."""
    answer: AnswerCost | None
    """What an answer takes on its board."""


class Baseline(TypedDict):
    """What a program that never answers would score over all questions, and the pick beside it."""

    abstaining_pct: float
    f1: Interval
    shown: bool
    """Whether the pick is shown to score more."""


class NotKept(TypedDict):
    """A limit that the pick's own spread reaches beyond."""

    constraint: Limit
    limit: float
    value: float
    worst: float


class Smaller(TypedDict):
    """What might be taken in place of a provisional pick."""

    variant: MemoVariant
    probability_pct: float | None
    """That it is good enough."""
    more: int | None
    """So many more items would tell, four times in five; None where no reasonable number would."""
    prices: tuple[str, float, float] | None
    """Currency, and what a million tokens cost with the pick and with it."""


class TableRow(MemoVariant):
    mark: Literal["pick", "runner-up"] | None


class MemoLimit(TypedDict):
    """A limit that, moved, leads to another choice; see `llmpi.decide.records.MovedLimit`."""

    change: Literal["relax", "tighten"]
    constraint: Limit
    limit: float
    to: float
    variant: MemoVariant


class MemoFault(TypedDict):
    """A fault without which there would be another choice."""

    change: Literal["without"]
    against: str
    """As `MemoVariant.against`."""
    variant: MemoVariant


class NoMemoMoney(TypedDict):
    """Why nothing can be said: nothing is picked, its device has no hardware stated, its power, or
    its power at rest, is not known."""

    reason: Literal["no pick", "no hardware", "power", "idle"]


class MemoAlternative(AlternativeCost):
    id: str


class MemoMoney(TypedDict):
    """The money of the pick's device; see `llmpi.decide.records.Costs`."""

    reason: None
    currency: str
    boards: float
    lifespan_years: float
    duty_pct: float
    tokens_per_day: float
    total: float
    per_million_tokens: float
    cheapest: str
    largest: CostPart
    """Of the total, and its share."""
    largest_pct: float
    alternatives: list[MemoAlternative]
    """At most three, the cheapest first."""
    most: Moved | None
    """The figure that moves the result most, and its unit."""
    most_unit: CostUnit | None


class MemoRange(TypedDict):
    low: float
    likely: float
    high: float


class MemoTraining(TypedDict):
    """What training the pick's model for few bits would take and bring: least, likely, most."""

    cores: int
    """Of the machine."""
    hours: MemoRange
    kwh: MemoRange
    wins_back_pct: MemoRange
    """Of what rounding loses."""
    price: float | None
    """Of that energy, most likely; None where no price of electricity is stated."""
    currency: str | None


class Memo(TypedDict):
    """The memo's content."""

    study: str
    date: str
    """ISO."""
    version: str
    tokens_per_word: float
    questions: Questions | None
    """None where quality was not scored."""
    devices: list[MemoDevice]
    tried: int
    """Variants on devices."""
    over_http: int
    """Variants of endpoints, which are not among them."""
    able: int
    """Of them, those that keep to everything."""
    constraints: dict[Limit, float]
    """That are asked for."""
    prefer: Aim
    gates: list[GateAsked]
    """Of the same task."""
    minimum_set: bool
    """Whether a score to reach is asked for."""
    confidence_pct: float
    """Of all that is said of quality."""
    within_points: float | None
    """The loss of quality that is put up with; None where it is not the same of everything."""
    several_models: bool
    several_devices: bool
    pick: MemoVariant | None
    provisional_by: list[ProvisionalBy]
    unscored: bool
    """Whether nothing at all is known of the pick's quality."""
    baseline: Baseline | None
    """None where there are no such scores."""
    not_kept: list[NotKept]
    """By the pick, for all that is shown."""
    trained: bool
    """Whether a variant that was trained for its bits was measured, and whether one was that is
    only rounded; whether the pick is trained."""
    rounded_too: bool
    trained_pick: bool
    smaller: Smaller | None
    """Beside a provisional pick: another, or the pick itself where it is what is undecided."""
    runner_up: MemoVariant | None
    widest: MemoVariant | None
    """The widest quantization of the pick's model, which its quality is held against."""
    tied: list[MemoVariant]
    """Who is shown to be within the margin of the best quality as the pick is."""
    decided_by: Aim | Literal["size", "everything"]
    broken: list[MemoVariant]
    """One of each form."""
    failed_count: int
    """Variants that could not be measured, and why."""
    failed: list[str]
    change: MemoLimit | MemoFault | None
    """The single change that would lead to another choice."""
    nearest: MemoVariant | None
    """Where nothing can be recommended."""
    table: list[TableRow]
    """At most `ROWS`, and how many more there are."""
    omitted: int
    per_device: list[MemoVariant]
    """The picks on the other devices."""
    money: MemoMoney | NoMemoMoney | None
    """None where the study states no prices."""
    training: MemoTraining | None
    """None where nothing is picked that training could win something back of, or its model cannot
    be trained."""
    stage: Stage
    dequantized: str | None
    """The type in which the pick's model came, where its weights were quantized."""


def facts(summary: Summary, recommendation: Recommendation) -> Memo:
    """The memo's content; equal boards are one device."""
    config = summary["provenance"]["config"]
    study = Study.model_validate(config)
    decision, *per_device = recommendation["decisions"]
    task = recommendation["task"]
    rows = by_class(without_places(summary["rows"], config), study.classes)
    rows = [row for row in rows if row["workload"] == recommendation["workload"]]
    cells = {_cell(row): row for row in rows}
    several = len(study.runtimes) > 1
    asked_over_http = {_cell(row) for row in rows if study.runtimes[row["runtime"]].endpoint}
    found = {
        candidate["id"]: variant(candidate, cells[_cell(candidate)], task, several)
        for candidate in recommendation["candidates"]
        if _cell(candidate) not in asked_over_http
    }
    pick = _of(found, decision["pick"])
    widest = _widest(pick, found.values(), study) if pick else None
    asked = summary["questions"].get(task) if task else None
    limits = recommendation["constraints"]
    gates = [gate for gate in summary["gates"] if gate["task"] == task]
    table = _table(found, decision, widest)
    questions: Questions | None = (
        {"asked": asked["questions"], "unanswerable": asked["unanswerable"]}
        if asked and asked["status"] == "ok"
        else None
    )
    measured = [v for v in found.values() if v["speed"]]
    beside = _baseline(decision, recommendation["candidates"], questions)
    return {
        "study": summary["study"],
        "date": summary["provenance"]["summarized"][:10],
        "version": summary["provenance"]["llmpi"],
        "tokens_per_word": study.battery.tokens_per_word,
        "questions": questions,
        "devices": [
            _device(name, boards, summary)
            for name, boards in {row["device"]: row["boards"] for row in rows}.items()
        ],
        "tried": len(found),
        "over_http": len(asked_over_http),
        "able": len(decision["able"]),
        "constraints": limits,
        "prefer": recommendation["prefer"],
        "gates": gates,
        "minimum_set": bool(gates),
        "confidence_pct": recommendation["confidence_pct"],
        "within_points": _within_points(recommendation["candidates"]),
        "several_models": len({v["model"] for v in found.values()}) > 1,
        "several_devices": len({v["device"] for v in found.values()}) > 1,
        "pick": pick,
        "provisional_by": decision["provisional_by"],
        "unscored": pick is not None and _unscored(pick),
        "baseline": beside,
        "not_kept": [*_not_kept(decision, recommendation["candidates"])],
        "trained": any(is_trained(v["quant"]) for v in measured),
        "rounded_too": any(_rounded(v["quant"]) for v in measured),
        "trained_pick": pick is not None and is_trained(pick["quant"]),
        "smaller": smaller(recommendation, pick, found),
        "runner_up": _of(found, decision["runner_up"]),
        "widest": widest,
        "tied": [found[i] for i in _tied(decision)],
        "decided_by": _decided_by(decision),
        "broken": list({_form(v): v for v in found.values() if "broken" in v["against"]}.values()),
        "failed_count": sum("failed" in v["against"] for v in found.values()),
        "failed": list(dict.fromkeys(v["reason"] for v in found.values() if v["reason"])),
        "change": _change(decision, found),
        "nearest": _of(found, decision["nearest"]),
        "table": table,
        "omitted": len(found) - len(table),
        "per_device": [v for d in per_device if (v := _of(found, d["pick"])) and v is not pick],
        "money": money(recommendation, pick),
        "training": training(study, pick) if pick else None,
        "stage": stage(pick, list(found.values()), beside),
        "dequantized": dequantized(pick),
    }


def variant(
    candidate: Candidate, row: ClassRow, task: str | None, several_runtimes: bool
) -> MemoVariant:
    """A candidate with what the memo shows of it, and of its cell in the summary."""
    return {
        "id": candidate["id"],
        "device": candidate["device"],
        "model": candidate["model"],
        "quant": candidate["quant"],
        "runtime_shown": candidate["runtime"] if several_runtimes else None,
        "quality": candidate["quality"],
        "speed": candidate["speed"],
        "energy": candidate["energy"],
        "memory": candidate["memory"],
        "against": list(map(blamed, candidate["killed_by"])),
        "file_bytes": row["file_bytes"],
        "bits_per_weight": row["bits_per_weight"],
        "lineage": row["lineage"],
        "is_published": is_published(candidate["quant"]),
        "reason": row["reason"],
        "standing": candidate["standing"],
        "answered_pct": number(row, task, "has_ans_f1_pct") if task else None,
        "answer": row["answers"].get(task or ""),
    }


def smaller(
    recommendation: Recommendation, pick: MemoVariant | None, found: Mapping[str, MemoVariant]
) -> Smaller | None:
    """What might be taken in place of a provisional pick, and what that would save."""
    decision = recommendation["decisions"][0]
    if pick is None or "quality" not in decision["provisional_by"]:
        return None
    other = found[decision["smaller"]["id"]] if decision["smaller"] else pick
    standing = other["standing"]
    if standing is None or standing["verdict"] != "undecided":
        return None
    odds, more = standing["probability"], standing["more"]
    return {
        "variant": other,
        "probability_pct": None if odds is None else 100 * odds,
        "more": upwards(sum(one["items"] for one in more)) if more else None,
        "prices": _prices(recommendation, pick, other),
    }


def _prices(
    recommendation: Recommendation, pick: MemoVariant, other: MemoVariant
) -> tuple[str, float, float] | None:
    money = recommendation["money"]
    known = money["per_million_tokens"] if money else {}
    if money is None or not {pick["id"], other["id"]} <= {*known}:
        return None
    return money["currency"], known[pick["id"]], known[other["id"]]


def money(
    recommendation: Recommendation, pick: MemoVariant | None
) -> MemoMoney | NoMemoMoney | None:
    """The money of the pick's device; None where the study states no prices."""
    found = recommendation["money"]
    if found is None:
        return None
    if pick is None:
        return {"reason": "no pick"}
    of_pick = next((d for d in found["devices"] if d["device"] == pick["device"]), None)
    if of_pick is None:
        return {"reason": "no hardware"}
    if of_pick["status"] != "ok":
        return {"reason": "power" if pick["energy"] is None else "idle"}
    return _costs(of_pick, found["currency"])


def _costs(found: DeviceMoney, currency: str) -> MemoMoney:
    largest, largest_pct = largest_part(found)
    others: list[MemoAlternative] = [
        {"id": name, **other} for name, other in found["alternatives"].items()
    ]
    most = next(iter(found["sensitivity"]), None)
    return {
        "reason": None,
        "currency": currency,
        "boards": found["boards"],
        "lifespan_years": found["lifespan_years"],
        "duty_pct": found["duty_pct"],
        "tokens_per_day": found["tokens_per_day"],
        "total": found["total"],
        "per_million_tokens": found["per_million_tokens"],
        "cheapest": found["cheapest"],
        "largest": largest,
        "largest_pct": largest_pct,
        "alternatives": sorted(others, key=lambda other: other["total"])[:ALTERNATIVES],
        "most": most,
        "most_unit": found["assumptions"][most["assumption"]]["unit"] if most else None,
    }


def stage(pick: MemoVariant | None, found: Sequence[MemoVariant], beside: Baseline | None) -> Stage:
    """Where the study stands; see `Stage`."""
    if pick:
        if _unscored(pick):
            return "ask"
        return "trial" if beside is None or beside["shown"] else "better"
    if all(v["reason"] for v in found):
        return "measure"
    against = [{*v["against"]} for v in found if v["against"]]
    if any(reasons <= {*UNKNOWN} for reasons in against):
        return "ask"
    return "train" if any(reasons <= {*QUALITY} for reasons in against) else "relax"


def training(study: Study, pick: MemoVariant) -> MemoTraining | None:
    """What the plan says of training the pick's model for few bits, block by block; nothing of one
    that is known not to be trainable."""
    size, bits = pick["file_bytes"], pick["bits_per_weight"]
    if not size or not bits or not _rounded(pick["quant"]) or _cannot_learn(pick):
        return None
    parameters = round(8 * size / bits)
    asked = study.models[pick["model"]].training or (study.qat and study.qat.training)
    seconds, energy = of_training(parameters, asked or Training(), TRAINED_ON_CORES)
    return {
        "cores": TRAINED_ON_CORES,
        "hours": _times(seconds, 1 / 3600),
        "kwh": _times(energy, 1),
        "wins_back_pct": _times(USUAL[BY_BLOCK], 100),
        "price": study.cost.price_per_kwh.value * energy.likely if study.cost else None,
        "currency": study.cost.currency if study.cost else None,
    }


def _cannot_learn(pick: MemoVariant) -> bool:
    """By the header of its file, while that lies here."""
    gguf = Path(layout.at(layout.GGUF, model=pick["model"], quant=pick["quant"]))
    if not gguf.is_file():
        return False
    try:
        trainable.check(trainable.header_of(gguf))
    except CellError:
        return True
    return False


def _times(values: Range, factor: float) -> MemoRange:
    low, likely, high = (factor * each for each in values)
    return {"low": low, "likely": likely, "high": high}


def _of(found: Mapping[str, MemoVariant], name: str | None) -> MemoVariant | None:
    return None if name is None else found[name]


def _within_points(candidates: Sequence[Candidate]) -> float | None:
    margins = {
        one["margin"]
        for candidate in candidates
        if candidate["standing"]
        for one in candidate["standing"]["requirements"]
        if one["kind"] == "loss" and one["metric"] != "perplexity"
    }
    return margins.pop() if len(margins) == 1 else None


def _rounded(quant: str) -> bool:
    return not (quant in FLOATS or is_trained(quant) or is_published(quant))


def _unscored(pick: MemoVariant) -> bool:
    return pick["quality"] is None and pick["standing"] is None


def _baseline(
    decision: Decision, candidates: Sequence[Candidate], questions: Questions | None
) -> Baseline | None:
    pick = next((c for c in candidates if c["id"] == decision["pick"]), None)
    if pick is None or pick["f1"] is None or not questions:
        return None
    abstaining_pct = 100 * questions["unanswerable"] / questions["asked"]
    low = pick["f1"]["low"]
    return {
        "abstaining_pct": abstaining_pct,
        "f1": pick["f1"],
        "shown": low is not None and low > abstaining_pct,
    }


def _not_kept(decision: Decision, candidates: Sequence[Candidate]) -> Iterator[NotKept]:
    """What is asked for and only the middle of the pick's numbers keeps to."""
    checks = next((c["checks"] for c in candidates if c["id"] == decision["pick"]), {})
    for name, check in checks.items():
        if check["shown"] is False and check["value"] is not None and check["worst"] is not None:
            yield {
                "constraint": name,
                "limit": check["limit"],
                "value": check["value"],
                "worst": check["worst"],
            }


def _widest(pick: MemoVariant, found: Iterable[MemoVariant], study: Study) -> MemoVariant:
    """Where it ran on several devices, on the pick's."""
    same = [v for v in found if v["model"] == pick["model"]]
    return min(
        same,
        key=lambda v: (width(study, v["model"], v["quant"]), v["device"] != pick["device"]),
    )


def _device(name: str, boards: Sequence[str], summary: Summary) -> MemoDevice:
    found = summary["machines"][boards[0]]
    machine = found["machine"] if found["status"] == "ok" else None
    return {
        "id": name,
        "boards": len(boards),
        "board": machine and (machine["board"] or machine["cpu"]),
        "processors": machine and machine["processors"],
        "memory_bytes": machine and machine["memory_bytes"],
        "is_pi": "Raspberry Pi" in (machine["board"] or "") if machine else None,
    }


def _cell(of: ClassRow | Candidate) -> tuple[str, str, str, str]:
    return of["device"], of["model"], of["quant"], of["runtime"]


def _form(found: MemoVariant) -> tuple[str, str]:
    return found["model"], found["quant"]


def _tied(decision: Decision) -> list[str]:
    steps = [step["left"] for step in decision["steps"] if step["objective"] == "quality"]
    return [name for left in steps for name in left if name != decision["pick"]]


def _decided_by(decision: Decision) -> Aim | Literal["size", "everything"]:
    compared = [step for step in decision["steps"] if step["left"]]
    if not compared:
        return "everything"
    return compared[-1]["objective"] if len(compared[-1]["left"]) == 1 else "size"


def _change(decision: Decision, found: Mapping[str, MemoVariant]) -> MemoLimit | MemoFault | None:
    """The first change that leads to another variant, relaxed ones before faults."""
    order = ("relax", "without", "tighten")
    for change in sorted(decision["would_change"], key=lambda c: order.index(c["change"])):
        if change["change"] == "without":
            against, variant = blamed(change["fault"]), found[change["pick"]]
            return {"change": "without", "against": against, "variant": variant}
        if change["pick"]:
            return {
                "change": change["change"],
                "constraint": change["constraint"],
                "limit": change["limit"],
                "to": _told(change),
                "variant": found[change["pick"]],
            }
    return None


def _told(change: MovedLimit) -> float:
    """The limit in the three digits in which it is told; what is relaxed lets in what it should."""
    at_least = CHECKS[change["constraint"]].at_least
    return eased(change["to"], at_least) if change["change"] == "relax" else change["to"]


def _table(
    found: Mapping[str, MemoVariant], decision: Decision, widest: MemoVariant | None
) -> list[TableRow]:
    """The widest, the pick and the runner-up, and so many others that the sheet has room for."""
    first = {decision["pick"], decision["runner_up"], widest and widest["id"]}
    shown = [name for name in found if name in first]
    shown += [name for name in found if name not in first][: ROWS - len(shown)]
    return [{**v, "mark": _mark(name, decision)} for name, v in found.items() if name in shown]


def _mark(name: str, decision: Decision) -> Literal["pick", "runner-up"] | None:
    if name == decision["pick"]:
        return "pick"
    return "runner-up" if name == decision["runner_up"] else None


def dequantized(pick: MemoVariant | None) -> str | None:
    """As which its model came to us, if that was quantized already."""
    if pick is None or not pick["lineage"]:
        return None
    came, is_source = pick["lineage"][0], len(pick["lineage"]) == 1
    if came in WHOLE or (is_source and not pick["is_published"]):
        return None
    return came.partition(" ")[0]
