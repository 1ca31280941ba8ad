"""What is said of facts, in English; `japanese` has the same functions."""

from collections.abc import Mapping, Sequence

from llmpi.decide.cost import MONTHS_PER_YEAR, THIS_DEVICE
from llmpi.decide.records import (
    Aim,
    AlternativeCost,
    AnyCaution,
    Candidate,
    Change,
    Check,
    Choice,
    CostUnit,
    Decision,
    DeviceMoney,
    HatGain,
    Interval,
    Kill,
    Limit,
    MoreItems,
    Named,
    NotCompared,
    RequirementVerdict,
    Source,
    Step,
    Supply,
    Unit,
)
from llmpi.decide.values import CHECKS
from llmpi.engine.records import Machine
from llmpi.quality.kind import Objection
from llmpi.quality.reasons import reason_text
from llmpi.quality.records import Reason
from llmpi.report.words.emphasis import (
    ABLE,
    ends,
    enough,
    foremost,
    is_pi,
    is_untested,
    largest_part,
    one_in_quality,
    said_first,
    scored_kinds,
    side_by_side,
    told_limit,
    turning,
    unshown,
    upwards,
    variants_of,
    whose,
)
from llmpi.report.words.numbers import digits, in_units, number, size
from llmpi.summary.computed import why_not
from llmpi.summary.records import Differs, ParityMiss, PredictedCell, Unlike
from llmpi.tune.records import Refusal, Stopped

Known = Mapping[str, Candidate]
"""Candidates by id."""


def decision(made: Decision, choice: Choice) -> list[str]:
    """What to take, why, and what would change it; what the pick is not even good for, first."""
    known = {candidate["id"]: candidate for candidate in choice["candidates"]}
    where = "Overall," if made["where"] == "overall" else f"On {made['where']},"
    if made["pick"] is None:
        by_count = sorted(made["killed"].items(), key=lambda item: item[1], reverse=True)
        reasons = [f"{ruled_out_by(name)} {count:,}" for name, count in by_count]
        return [
            f"{where} nothing can be recommended: none of "
            f"{_count(made['candidates'], 'candidate')} keeps to everything.",
            _way_back(made, known),
            f"Ruled out: {', '.join(reasons)}.",
        ]
    pick = known[made["pick"]]
    name = _name(pick) if made["where"] == "overall" else pick["variant"]
    now = " for now" if made["standing"] == "provisional" else ""
    untested = is_untested(choice)
    taken = f"{name} comes first of what was measured" if untested else f"take {name}{now}"
    return [
        *alarms(pick),
        f"{where} {taken}: {_numbers(pick)}{_keeps(pick, choice)}.",
        *_provisional(made, pick, choice),
        *_why(made, pick, choice),
        _risk(made, pick, known, choice),
        *_confidence(choice),
    ]


def alarms(pick: Candidate) -> list[str]:
    """What is said of a pick before anything else."""
    return [
        *(f"Caution: {_first(found)}." for found in said_first(pick)),
        *(f"Caution: {_unshown(name, check)}." for name, check in unshown(pick).items()),
    ]


def _first(found: AnyCaution) -> str:
    """What of it a reader must know at once."""
    but = "; nothing can be recommended" if found["kind"] == "quality not asked for" else ""
    return f"{caution(found)}{but}"


def _unshown(name: Limit, check: Check) -> str:
    """A limit that its numbers keep to on the whole, and single ones may not."""
    assert check["value"] is not None
    worst = check["worst"]
    at_worst = ""
    if worst is not None:
        at_worst = f", and {size(worst) if check['unit'] == 'bytes' else digits(worst)} at worst"
    got = _amount(check["value"], check["unit"])
    return f"it is not shown to keep to {limit(name, check['limit'])}: it has {got}{at_worst}"


QUANTITIES: Mapping[Limit, str] = {
    "tps_at_least": "token generation",
    "ttft_at_most": "a time to the first token",
    "itl_p95_at_most": "a time between tokens (95th percentile)",
    "answer_s_at_most": "a time for half of the answers",
    "answer_s_p95_at_most": "a time for 95 % of the answers",
    "f1_drop_at_most": "a loss of F1",
    "memory_at_most": "memory",
    "power_at_most": "power while generating",
    "j_per_token_at_most": "energy per token",
    "j_per_right_answer_at_most": "energy per right answer",
    "battery_hours_at_least": "time on the battery",
}


def limit(name: Limit, value: float) -> str:
    """What a constraint asks for."""
    side = "at least" if CHECKS[name].at_least else "at most"
    return f"{QUANTITIES[name]} of {side} {_amount(value, CHECKS[name].unit)}"


def asked(choice: Choice) -> str:
    """What the decision had to keep to, and what decides then."""
    limits = [limit(name, value) for name, value in choice["constraints"].items()]
    first = f"Asked for: {'; '.join(limits)}." if limits else "No limit was asked for."
    decides = SUPERLATIVES[choice["prefer"]]
    if is_untested(choice):
        kept = "keeps to that" if limits else "was measured"
    else:
        kept = "keeps to that and to its quality" if limits else "keeps to its quality"
    return f"{first} Of what {kept}, {decides} decides."


def place(device: str, machine: Machine | None) -> str:
    """Which board the numbers are of."""
    if machine is None:
        return f"Measured on {device}."
    told = [machine["board"] or machine["cpu"] or machine["arch"]]
    if machine["memory_bytes"]:
        told.append(f"{size(machine['memory_bytes'])} of memory")
    stranger = "" if is_pi(machine) else " It is no Raspberry Pi: its speeds say nothing about one."
    return f"Measured on {device}: {', '.join(told)}.{stranger}"


def price(found: DeviceMoney, currency: str) -> str:
    """What a million tokens cost, and what is cheapest."""
    own = found["per_million_tokens"]
    first = f"A million tokens cost {own:,.2f} {currency}"
    name = found["cheapest"]
    if name == THIS_DEVICE:
        return f"{first}: nothing it was compared with is cheaper."
    other = found["alternatives"][name]["per_million_tokens"]
    return f"{first}; the cheapest is {name} with {other:,.2f}."


def _provisional(made: Decision, pick: Candidate, choice: Choice) -> list[str]:
    """Why it is not the last word, what caution costs, and what would tell."""
    if made["standing"] != "provisional":
        return []
    disturbed = (
        [
            "This is provisional: other programs took too much of the processors while each of "
            "these was measured. Measure again while nothing else runs."
        ]
        if "disturbed" in made["provisional_by"]
        else []
    )
    if "quality" not in made["provisional_by"]:
        return disturbed
    held = pick["standing"] is not None and pick["standing"]["verdict"] == "holds"
    why = (
        "This is provisional: others would be taken in its place if they were shown to keep their "
        "quality within the margins."
        if held
        else "This is provisional: nothing that keeps to the other limits is shown to keep its "
        "quality within the margins, so the widest of these is taken."
    )
    smaller = made["smaller"]
    if smaller is None:
        return [*disturbed, why, *_itself(pick, choice)]
    other = next(c for c in choice["candidates"] if c["id"] == smaller["id"])
    odds = smaller["probability"]
    chance = "" if odds is None else f"; that it holds has, by itself, a probability {_odds(odds)}"
    name = _name(other) if other["device"] != pick["device"] else other["variant"]
    return [
        *disturbed,
        why,
        f"Of the undecided, the smallest that has all its estimates within the margins is "
        f"{name}{chance}. The price of caution: {_instead(pick, other)}.",
        f"{_capital(more(smaller['more'], choice['supply']))}.",
    ]


def _itself(pick: Candidate, choice: Choice) -> list[str]:
    """How sure a pick is that is undecided itself."""
    standing = pick["standing"]
    if standing is None or standing["verdict"] != "undecided":
        return ["None of them has all its estimates within the margins."]
    odds = standing["probability"]
    chance = "" if odds is None else f"That it holds has, by itself, a probability {_odds(odds)}; "
    return [f"{_capital(chance + more(standing['more'], choice['supply']))}."]


def _odds(probability: float) -> str:
    if probability > 0.99:
        return "of more than 99 %"
    return "of less than 1 %" if probability < 0.01 else f"of {100 * probability:.0f} %"


def _instead(pick: Candidate, other: Candidate) -> str:
    """The pick's numbers, and beside them what another would give."""
    units = {"speed": "tokens/s", "energy": "J per token", "memory": "MB of memory"}
    found = [
        f"{digits(own)} {units[name]} where it has {digits(its)}"
        for name, (own, its) in side_by_side(pick, other).items()
    ]
    return _and(found) or "its numbers cannot be compared"


def more(found: Sequence[MoreItems], supply: Mapping[str, Supply]) -> str:
    """What it would take to tell, and which line of the config asks for it."""
    if not found:
        return "no reasonable number of questions would tell"
    told = []
    for one in found:
        source = supply[one["task"]]
        items = f"{upwards(one['items']):,} more {source['item']}s of {one['task']}"
        told.append(f"{items} ({_asked_by(one, source)})")
    return f"about {_and(told)} would tell, four times in five"


def _asked_by(one: MoreItems, source: Supply) -> str:
    if source["key"] is None:
        return f"all {source['asked']:,} there are were asked, so they have to be added"
    return f"{source['key']}: {enough(one, source)}"


def _confidence(choice: Choice) -> list[str]:
    confidence = choice["confidence_pct"]
    if confidence == 95:
        return []
    return [f"What is said to hold or to fail is said with {confidence:g} % confidence, not 95 %."]


def contenders(made: Decision, choice: Choice) -> str | None:
    """Who is near the best in quality, and who may be it; None where there is nobody to compare."""
    able, near, may = (variants_of(made[key], choice) for key in ABLE)
    if len(able) < 2 or not near:
        return None
    best = f"the best is {may[0]}" if len(may) == 1 else f"the best may be any of {_few(may, 6)}"
    are = "is" if len(near) == 1 else "are"
    return (
        f"Of what keeps to everything, {_few(near, 6)} {are} shown to be within the margin of the "
        f"best quality; {best}."
    )


METRICS: Mapping[str, str] = {
    "f1": "F1",
    "exact": "exact matches",
    "has_ans_f1": "F1 where there is an answer",
    "has_ans_exact": "exact matches where there is an answer",
    "no_ans": "abstentions where there is no answer",
    "no_ans_f1": "abstentions where there is no answer",
    "passed": "prompts passed",
}


def metric(found: Named) -> str:
    """What is asked of a variant, by name."""
    if found["metric"].startswith("passed "):
        return f"{METRICS['passed']}, {found['metric'].removeprefix('passed ')}"
    return METRICS.get(found["metric"], found["metric"])


def requirement(found: RequirementVerdict) -> tuple[str, str]:
    """Task and metric, and what is put up with."""
    name = f"{found['task']}: {metric(found)}"
    if found["kind"] == "gate":
        return name, f"at least {-found['margin']:g} %"
    if found["metric"] == "perplexity":
        return name, f"a rise of at most {found['margin']:g} %"
    return name, f"a loss of at most {found['margin']:g} points"


REASONS: Mapping[str, str] = {
    "failed": "did not run",
    "throttled": "throttled",
    "overflow": "does not fit in the memory",
    "disturbed": "disturbed by other programs",
    "over HTTP": "measured over HTTP",
    "parity": "computes something else",
    "unscored": "not scored",
    "computation": "not scored with these settings",
    "no quality": "quality not measured",
    "too few": "too few passages",
    "broken": "broken",
    "loses": "loses too much quality",
    "undecided": "not shown to hold",
    "estimated": "energy only estimated",
    "unmeasured": "energy not measured",
}


def ruled_out_by(name: str) -> str:
    """What rules candidates out, as it is counted."""
    return REASONS.get(name) or {str(key): text for key, text in QUANTITIES.items()}.get(name, name)


def kill(found: Kill) -> str:
    """Why a candidate is out."""
    match found["kind"]:
        case "failed":
            return f"{found['status']}: {found['reason']}"
        case "marked":
            return {
                "throttled": "the board was throttled while it was measured",
                "memory-bound: overflow": "it does not fit in the memory",
                "disturbed": "other programs took too much of the processors while it was measured",
                "over HTTP": "it was measured over HTTP and is not ranked with what is in process",
            }[found["mark"]]
        case "parity":
            return f"parity: {parity(found['reason'], found['misses'])}"
        case "loses":
            return f"shown to lose too much quality: {_losses(found['requirements'])}"
        case "undecided":
            return f"not shown to lose little enough: {_losses(found['requirements'])}"
        case "too few":
            return (
                f"{found['task']} rests on {_count(found['clusters'], 'passage')}; below "
                f"{found['needed']} nothing can be said of any variant"
            )
        case "no quality":
            return "prefer quality: its quality was not measured, which squad, ab or lm_eval would"
        case "unscored":
            return f"{found['task']} was not scored: {unscored(found['reason'])}"
        case "computation":
            return why_not(found["computation"], found["unscored"])
        case "babbling":
            ratio = f"{found['perplexity_ratio']:.3g}"
            return f"broken: its perplexity on {found['task']} is {ratio} times the F16's"
        case "mute":
            f1 = f"{found['answered_pct']:.1f} %"
            return f"broken: F1 on the questions that have an answer is {f1}"
        case "blurting":
            abstained = f"{found['abstained_pct']:.1f} %"
            return f"broken: it abstains on {abstained} of the questions that have no answer"
        case "limit":
            got = _amount(found["value"], found["unit"])
            return f"{limit(found['constraint'], found['limit'])} is asked for, it has {got}"
        case "none right":
            return f"{QUANTITIES[found['constraint']]} is limited, and no answer is right"
        case "unmeasured":
            if found["constraint"] is None:
                return "prefer energy: its energy was not measured"
            return f"{QUANTITIES[found['constraint']]} was not measured"
        case "estimated":
            if found["constraint"] is None:
                return "prefer energy: its energy is estimated, not measured"
            value = _amount(found["value"], found["unit"])
            return f"{QUANTITIES[found['constraint']]}: {value} is estimated, not measured"


def _losses(found: Sequence[RequirementVerdict]) -> str:
    return "; ".join(map(_loss, found))


def _loss(found: RequirementVerdict) -> str:
    """One requirement: what is lost, between which bounds, and what is put up with."""
    name = f"{found['task']}, {metric(found)}"
    if (known := ends(found)) is None:
        return f"{name}: not compared with the widest"
    value, low, high = map(number, known)
    few = _too_few(found)
    if found["kind"] == "gate":
        return f"{name}: {value} % ({low} to {high}) where {-found['margin']:g} are asked for{few}"
    unit = "%" if found["metric"] == "perplexity" else "points"
    change = "a rise" if found["metric"] == "perplexity" else "a loss"
    return (
        f"{name}: {change} of {value} {unit} ({low} to {high}) where {found['margin']:g} are put "
        f"up with{few}"
    )


def _too_few(found: RequirementVerdict) -> str:
    asked = _count(found["clusters"], found["cluster"])
    if found["why"] == "too few clusters":
        return f"; {asked} are too few"
    return f"; the descent ended after {asked}" if found["why"] == "descent ended" else ""


def gate(found: Objection) -> str:
    """How far from a minimum of quality a variant is."""
    name = f"{found['task']} {found['metric']}"
    if found["why"] == "not scored":
        return f"{name}: not scored"
    got = "no items" if found["got_pct"] is None else f"{found['got_pct']:.1f} %"
    return f"{name}: {got} < {found['at_least_pct']:g} %"


def unscored(reason: Reason) -> str:
    """Why there is no score."""
    return reason_text(reason)


def parity(reason: str, misses: Sequence[ParityMiss]) -> str:
    """Why a device's quality is not what the workstation scored.

    Args:
        reason: what is said where there are no misses.
    """
    if not misses:
        return reason
    said = [
        f"KL divergence {miss['value']:.3g} nats > {miss['limit']:g}"
        if miss["quantity"] == "kl_nats"
        else f"top-1 agreement {miss['value']:.1f} % < {miss['limit']:g} %"
        for miss in misses
    ]
    return f"the device computes another model: {', '.join(said)}"


def caution(found: AnyCaution) -> str:
    """What to know of a candidate."""
    match found["kind"]:
        case "wide spread":
            return (
                f"its fastest repetition is {found['ratio']:.1f} times as fast as its slowest, and "
                "nothing that was watched explains it"
            )
        case "measured short":
            counted = _count(found["repetitions"], "repetition")
            return f"it is so slow that there was time for {counted} of {found['tokens']:,} tokens"
        case "measured once":
            return "its speed was measured once, which shows no spread"
        case "energy estimated":
            return "its energy is estimated, not measured"
        case "energy of the chip":
            return "its energy is the board's own chip's, which does not see the 5 V rail"
        case "quality not asked for":
            kinds = " or ".join(scored_kinds())
            return f"its quality was not measured: the study has no {kinds} task"
        case "no interval of F1":
            return "its F1 has no interval: too few passages"
        case "output changed":
            agreed = f"{found['agreement_pct']:.1f} % of the tokens agree"
            return (
                f"its settings change the output: {agreed} with those of the settings that were "
                "scored"
            )
        case "below abstaining":
            return (
                f"a program that never answers would have an F1 of {found['abstaining_pct']:.1f}, "
                f"more than its {found['f1_pct']:.1f}"
            )
        case "fewer questions":
            asked = found["of_questions"]
            return f"its F1 is of {found['questions']:,} questions, the widest's of {asked:,}"
        case "answers cut":
            cut = f"{found['cut_pct']:.1f} % of its answers"
            return f"{cut} were cut at max_new_tokens: their scores are the bound's, too"
        case "thoughts cut":
            return (
                f"it did not end its thought on {found['cut_pct']:.1f} % of the questions, and has "
                "no answer to them: its bound is the model's `thinking`"
            )
        case "unknown marks":
            return (
                f"{found['marked_pct']:.1f} % of its answers hold marks of which nothing is known "
                f"({found['marks']}): what was scored may be its thought"
            )


def money(found: DeviceMoney, currency: str) -> list[str]:
    """What a device's pick costs; against what it pays; what that hangs on."""
    boards = "one board" if found["boards"] == 1 else f"{found['boards']:g} boards"
    part, share = largest_part(found)
    first = (
        f"On {found['device']} a million tokens of {found['variant']} cost "
        f"{found['per_million_tokens']:,.2f} {currency} with {boards} over "
        f"{found['lifespan_years']:g} years at a duty of {found['duty_pct']:g} % "
        f"({_many(found['tokens_per_day'])} tokens a day); {share:.0f} % of it is {part}."
    )
    others = [
        _versus(name, other, found["lifespan_years"], currency)
        for name, other in found["alternatives"].items()
    ]
    second = (
        f"{_capital('; '.join(others))}."
        if others
        else "It is compared with nothing: name 'alternatives' under 'cost'."
    )
    return [first, second, _hangs_on(found, currency)]


def no_money(reason: NotCompared) -> str:
    """Why the money of a device cannot be told, or not be compared with."""
    match reason["kind"]:
        case "nothing recommended":
            return "nothing is recommended on it"
        case "no power":
            why = reason["energy_reason"] or "the device has no meter"
            return f"its power is not known: {why}"
        case "no power at rest":
            return "its power at rest is not known: set the device's 'idle_s'"
        case "same device":
            return "it is this device"


def cost_unit(unit: CostUnit, currency: str) -> str:
    """The unit of a figure that the money rests on."""
    return unit.replace("money", currency)


FIGURES: Mapping[str, str] = {
    "boards": "how many boards",
    "lifespan_years": "how long the boards last",
    "duty_pct": "how much of the time they are used",
    "price_per_kwh": "the price of electricity",
    "prompt_tokens_per_output_token": "the prompt for each token that is written",
    "output_tokens_per_s": "the measured speed",
    "busy_power_w": "the power while it writes",
    "idle_power_w": "the power at rest",
    "grid_co2_g_per_kwh": "the CO2 of the electricity",
    "hardware.board": "the price of the board",
    "hardware.m2_hat": "the price of the M.2 HAT",
    "hardware.ssd": "the price of the SSD",
    "hardware.supply": "the price of the power supply",
    "hardware.case": "the price of the case",
    "hardware.cooling": "the price of the cooler",
    "price_per_day": "the price of a day's work",
    "setup_days": "the days it takes to set up",
    "qat_days": "the days of training",
    "maintenance_days_per_year": "the days of maintenance a year",
    "price_per_million_input_tokens": "the price of a million tokens read",
    "price_per_million_output_tokens": "the price of a million tokens written",
    "co2_g_per_million_output_tokens": "the CO2 of a million tokens",
    "price_per_hour": "the price of an hour",
    "hours_per_day": "the hours a day",
    "power_w": "the power it draws",
}


def assumption(name: str) -> str:
    """A figure that the money rests on, in words."""
    other, key = whose(name)
    if other is None:
        return FIGURES[key]
    own = "the speed" if key == "output_tokens_per_s" else FIGURES[key]
    return f"{own}, of {other}"


def source(found: Source) -> str:
    """Where a figure is from that the money rests on."""
    match found["kind"]:
        case "stated":
            return found["source"]
        case "measured":
            estimated = found["tier"] == "estimated"
            known = "estimated" if estimated else f"measured ({found['tier']})"
            return known if found["tier"] else "measured"
        case kind:
            return kind


def hat(found: HatGain, currency: str) -> str:
    """What the M.2 HAT buys."""
    if not found["rows"]:
        return f"{found['with_hat']} and {found['without_hat']} have no variant in common."
    extra, alone = found["extra_hardware"], found["only_with"]
    price = "The" if extra is None else f"For {extra:,.0f} {currency} more the"
    gained = _count(alone, "variant") if alone else "no variant"
    text = f"{price} M.2 HAT makes {gained} work that would not without it"
    if found["compared"]:
        text += (
            f"; where both work, token generation is {found['median_tg_ratio']:.2f} and loading "
            f"{found['median_cold_load_ratio']:.2f} times what it is without "
            f"(median of {found['compared']})"
        )
    return f"{text}."


def unlike(found: Unlike) -> str:
    """What differs between boards that should be equal."""
    key, values = found["key"], found["values"]
    told = ", ".join(f"{board} {in_units(value, key)}" for board, value in values.items())
    return f"The boards of {found['group']} are not equal, {found['key']}: {told}."


def unpredicted(found: PredictedCell) -> str:
    """Why nothing was predicted of a cell."""
    profile = f"the device {found['device']} names no preset and has no profile yet"
    return found["reason"] or profile


def difference(found: Differs) -> tuple[str, str, str]:
    """What is not the same in the method, how it is in the paper, and how here."""
    return found["key"], _in_the_paper(found), _here(found)


def stopped(found: Stopped) -> str:
    """Why a search for settings ended."""
    match found["kind"]:
        case "all tried":
            return "every combination was tried"
        case "nothing to gain":
            return "no setting is likely to gain more than the noise"
        case "minutes":
            return f"{found['budget']:g} minutes are over"
        case "trials":
            return f"{found['budget']:g} settings were tried"


def refused(found: Refusal) -> str:
    """Why a setting may not win."""
    match found["kind"]:
        case "died":
            return found["reason"]
        case "output":
            agreed, least = f"{found['top1_pct']:.1f}", f"{found['at_least_pct']:g}"
            return f"changes the output: {agreed} % of the tokens agree, < {least} %"
        case "memory":
            peak, most = (found[key] / 1e6 for key in ("peak_rss_bytes", "at_most_bytes"))
            return f"takes {peak:.1f} MB of memory, > {most:.1f} MB"


# --- the decision ---------------------------------------------------------------------------------


def _name(candidate: Candidate) -> str:
    return f"{candidate['variant']} on {candidate['device']}"


def _keeps(pick: Candidate, choice: Choice) -> str:
    """The limits that it is shown to keep to; of the others an alarm tells."""
    doubtful = unshown(pick)
    asked_for = choice["constraints"].items()
    limits = [limit(name, value) for name, value in asked_for if name not in doubtful]
    return f"; it keeps to {_and(limits)}" if limits else ""


def _numbers(candidate: Candidate) -> str:
    """Speed, quality, energy and memory with their intervals."""
    found = [
        _spread(number, unit)
        for number, unit in (
            (candidate["speed"], "tokens/s"),
            (candidate["quality"], "% quality"),
            (candidate["energy"], "J per token"),
        )
        if number
    ]
    if memory := candidate["memory"]:
        found.append(f"{_amount(memory['value'], 'bytes')} of memory")
    return ", ".join(found)


def _spread(number: Interval, unit: str) -> str:
    known = []
    if number["low"] is not None and number["high"] is not None:
        known.append(f"{number['low']:.3g} to {number['high']:.3g}")
    if number["kind"]:
        known.append(number["kind"])
    return f"{number['value']:.3g} {unit}" + (f" ({', '.join(known)})" if known else "")


SUPERLATIVES: Mapping[Aim, str] = {
    "quality": "the best quality",
    "speed": "the highest speed",
    "energy": "the least energy per token",
    "memory": "the least memory",
}


def _why(made: Decision, pick: Candidate, choice: Choice) -> list[str]:
    """How the pick came about, and who comes next; nothing where it does not hold itself."""
    if pick["id"] not in made["able"]:
        return []
    if made["runner_up"] is None:
        return ["There is no runner-up: nothing else keeps to everything."]
    known = {candidate["id"]: candidate for candidate in choice["candidates"]}
    second = known[made["runner_up"]]
    after = f"the runner-up is {_name(second)}: {_numbers(second)}."
    if not made["steps"]:
        return [f"No other that keeps to everything is better in anything measured; {after}"]
    compared = [step for step in made["steps"] if step["left"]]
    said = [
        _near(step, choice) if step["objective"] == "quality" else _alike(pick, step, known)
        for step in compared
        if len(step["left"]) > 1 and not one_in_quality(step, choice)
    ]
    if compared and len(compared[-1]["left"]) == 1:
        last = SUPERLATIVES[compared[-1]["objective"]]
        said.append(f"so {last} decides" if said else f"it is picked for {last}")
    else:
        said.append("so the smallest file decides")
    skipped = [step["objective"] for step in made["steps"] if not step["left"]]
    if any(known[i][objective] for objective in skipped for i in made["front"]):
        said.append(f"{_and(skipped)} cannot be compared between all of them")
    return [_capital("; ".join([", ".join(said), after]))]


def _near(step: Step, choice: Choice) -> str:
    """Who is shown to be near the best in quality."""
    best, *others = variants_of(step["left"], choice)
    are = "is" if len(others) == 1 else "are"
    return f"in quality {_few(others)} {are} shown to be within the margin of the best, {best}"


def _alike(pick: Candidate, step: Step, known: Known) -> str:
    """Who the data cannot tell from the best of a step."""
    best, *others = (known[i] for i in step["left"])
    rest = _names([candidate for candidate in others if candidate is not pick])
    if best is pick:
        return f"in {step['objective']} {rest} cannot be told apart from it"
    nor = f", nor can {rest}" if rest else ""
    return f"in {step['objective']} it cannot be told apart from the best, {_name(best)}{nor}"


def _risk(made: Decision, pick: Candidate, known: Known, choice: Choice) -> str:
    """What would change it, what to know of the pick."""
    said = [_said(change, known) for change in foremost(made)]
    said += [caution(one) for one in pick["cautions"] if one not in said_first(pick)]
    if not said:
        if not choice["constraints"]:
            return "Nothing else is known that would change it."
        return "No single change of what was asked for leads to another choice."
    return f"To know: {'; '.join(said)}."


def _said(change: Change, known: Known) -> str:
    """A single change, and who would be picked then."""
    if change["change"] == "without":
        name = _name(known[change["pick"]])
        if change["fault"]["kind"] == "undecided":
            return f"{name} would be picked if it held ({kill(change['fault'])})"
        return f"{name} would be picked but was set aside ({kill(change['fault'])})"
    other = f"it is {_name(known[change['pick']])}" if change["pick"] else "nothing is left"
    name, unit = change["constraint"], change["unit"]
    if change["change"] == "relax":
        return (
            f"with {limit(name, told_limit(change))}, not {_amount(change['limit'], unit)}, {other}"
        )
    beyond = "above" if CHECKS[name].at_least else "below"
    return f"with {QUANTITIES[name]} to be {beyond} {_amount(change['to'], unit)} {other}"


def _way_back(made: Decision, known: Known) -> str:
    """What it would take, where nothing can be recommended."""
    if made["would_change"]:
        options = "; or ".join(_said(change, known) for change in made["would_change"])
        return f"One change is enough: {options}."
    if made["nearest"] is None:
        return "Nothing ran: the reasons stand with the cells."
    nearest = known[made["nearest"]]
    reasons = "; ".join(map(kill, nearest["killed_by"]))
    return f"No single change is enough; the nearest is {_name(nearest)}, but {reasons}."


# --- the money ------------------------------------------------------------------------------------


def _many(tokens: float | None) -> str:
    """Tokens in three digits."""
    assert tokens is not None
    tokens = float(f"{tokens:.3g}")
    return f"{digits(tokens / 1e6)} million" if tokens >= 1e6 else digits(tokens)


def _versus(name: str, other: AlternativeCost, years: float, currency: str) -> str:
    text = f"against {name} ({other['per_million_tokens']:,.2f} {currency})"
    at, cheaper = other["break_even_tokens_per_day"], other["cheaper"]
    if cheaper in ("always", "never"):
        more = "" if at is None else f" (the line is at {_many(at)} tokens a day, beyond its reach)"
        return f"{text} it is {cheaper} cheaper{more}"
    months = other["break_even_months"]
    when = "never" if months is None else f"after {months:,.1f} months"
    if months is not None and months > years * MONTHS_PER_YEAR:
        when += ", which is longer than it lasts"
    return f"{text} it is cheaper {cheaper} {_many(at)} tokens a day, at this duty {when}"


def _hangs_on(found: DeviceMoney, currency: str) -> str:
    if not found["sensitivity"]:
        return "No figure moves the result."
    first = found["sensitivity"][0]
    flips = turning(found)
    flip = (
        f"that changes with {', '.join(map(assumption, flips))}"
        if flips
        else "no figure changes that"
    )
    return (
        f"The figure that moves it most is {assumption(first['assumption'])}: "
        f"{digits(first['low'])} gives {first['at_low']:,.2f}, {digits(first['high'])} gives "
        f"{first['at_high']:,.2f} {currency}; the cheapest is {found['cheapest']}, and {flip}."
    )


# --- the paper's method ---------------------------------------------------------------------------


def _in_the_paper(found: Differs) -> str:
    match found["key"]:
        case "engine":
            if found["paper"] == "bitnet.cpp":
                return "bitnet.cpp on 2 threads"
            return "llama.cpp of early 2025 on 4 threads, weights left in the mapped file"
        case "protocol":
            return (
                "mean of 10 runs, 5 s apart, without warm-up or spread; one short prompt whose "
                "length is not told, 50 new tokens, context 4096"
            )
        case "sampling":
            return "llama.cpp's default, which draws at random"
        case "energy":
            return (
                f"tokens per joule above a fixed idle power of {found['paper_idle_power_w']} W, "
                "words per battery of the whole board's power"
            )
        case "quality":
            return (
                "NUBIA on 100 SQuAD v2 questions that all have an answer; no chat template, first "
                "line of the answer, empty answers left out; not scored on the Pi"
            )
        case "memory":
            return "the 8 GB board"
        case "overflow":
            return "does not fit in 8 GB: each token reads weights from the NVMe again"
        case "broken":
            pct = f"{found['gold_in_answer_pct']:g}"
            return f"the file was broken: {pct} % of its answers hold the right words"
        case "source":
            return "quantized from the released weights"
        case "parity":
            return "not checked"


def _here(found: Differs) -> str:
    match found["key"]:
        case "engine":
            commit = found["commit"] or "of an unknown commit"
            threads = f" on {found['threads']} threads" if found["threads"] else ""
            kept = "repacked where it can" if found["repacked"] else "left in the mapped file"
            return f"llama.cpp {commit}{threads}, weights {kept}"
        case "protocol":
            return (
                f"median of {found['repetitions']} after a warm-up, with least and greatest; "
                f"{found['prompt_tokens']} prompt tokens, {found['output_tokens']} new tokens, "
                f"context {found['context_tokens'] or 'not known'}"
            )
        case "sampling":
            return found["sampling"]
        case "energy":
            if found["tier"] is None:
                return found["reason"] or "not measured"
            if found["idle_power_w"] is None:
                return f"{found['tier']}; the power at rest was not measured"
            return f"{found['tier']}, above {found['idle_power_w']:.2f} W measured at rest"
        case "quality":
            scored = ", ".join(f"{count:,} questions" for count in found["questions"])
            if not scored:
                return "not scored"
            return (
                f"F1 of SQuAD v2 ({scored}, with and without an answer); the model's chat "
                "template, the whole answer, on the workstation"
            )
        case "memory":
            return f"{found['memory_bytes'] / 1e9:.1f} GB"
        case "overflow":
            fits = "fits" if found["measured"] else "not measured"
            return "; ".join(found["marks"]) or fits
        case "broken":
            return "see its scores"
        case "source":
            return f"made as {' > '.join(found['lineage'])}"
        case "parity":
            return parity(found["reason"], found["misses"])


# --- parts of sentences ---------------------------------------------------------------------------


def _amount(value: float, unit: Unit) -> str:
    return size(value) if unit == "bytes" else f"{digits(value)} {unit}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _names(found: Sequence[Candidate]) -> str:
    return _few([*map(_name, found)])


def _few(names: Sequence[str], most: int = 3) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - most
    return _and([*names[:most], f"{more} more"] if more > 0 else names)


def _and(words: Sequence[str]) -> str:
    *front, last = words or [""]
    return f"{', '.join(front)} and {last}" if front else last


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
