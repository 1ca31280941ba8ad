"""A comparison for people: the regressions, then all of it, worst first."""

import json
from collections.abc import Iterator, Mapping

from llmpi.aligned import aligned
from llmpi.compare.records import (
    Comparison,
    Figure,
    Overall,
    PairedCell,
    QualityChange,
    Quantity,
    Side,
    Unpaired,
)
from llmpi.engine.records import Prefix
from llmpi.study.computation import DEFAULT
from llmpi.summary.records import CellKey

QUANTITIES: Mapping[Quantity, tuple[str, str]] = {
    "tg_tps": ("tg", "tokens/s"),
    "pp_tps": ("pp", "tokens/s"),
    "tg_j_per_token": ("energy", "J/token"),
}
"""What it is called, and its unit."""
HEAD = ("cell", "", "before", "after", "", "change (95 %)", "")
SCORES = ("score", "variant", "before", "after", "lost points (95 %)", "")


def as_json(found: Comparison) -> str:
    return json.dumps(found, indent=1, ensure_ascii=False)


def as_text(found: Comparison) -> str:
    """The comparison for a terminal."""
    rows = [(cell, figure) for cell in found["cells"] for figure in cell["figures"]]
    blocks: list[list[str]] = [
        [headline(found), *verdicts(found)],
        aligned([HEAD, *(figure_row(*row) for row in rows)], texts=(0, 1, 4, 6)) if rows else [],
        aligned([SCORES, *map(score_row, found["quality"])], texts=(0, 1, 5))
        if found["quality"]
        else [],
        [*conditions(found)],
        [unpaired_line(one) for one in found["unpaired"] if one["state"] != "fails now"],
    ]
    return "\n\n".join("\n".join(lines) for lines in blocks if lines)


def headline(found: Comparison) -> str:
    cells = len(found["cells"])
    return (
        f"{side(found['before'])} against {side(found['after'])}: "
        f"{cells} cell{'' if cells == 1 else 's'} in both"
    )


def side(of: Side) -> str:
    day = f", {of['started'][:10]}" if of["started"] else ""
    where = "" if of["folder"] == "." else f" in {of['folder']}"
    sessions = f"{of['sessions']} session{'' if of['sessions'] == 1 else 's'}"
    return f"{of['study']}{where} ({sessions}{day})"


def verdicts(found: Comparison) -> Iterator[str]:
    """What is worse, and what fails now; or that nothing is."""
    for one in found["unpaired"]:
        if one["state"] == "fails now":
            yield f"! {unpaired_line(one)}"
    for cell in found["cells"]:
        for figure in cell["figures"]:
            if figure["verdict"] == "worse":
                yield f"! {cell_name(cell)}: {sentence(figure)}"
    for score in found["quality"]:
        if score["verdict"] == "worse":
            yield f"! {variant_name(score)}: {score_name(score)} lost {lost(score)} points"
    if not found["regressions"]:
        yield f"Nothing is worse by more than {found['at_most_pct']:g} % beyond doubt."


def sentence(figure: Figure) -> str:
    name, unit = QUANTITIES[figure["quantity"]]
    return (
        f"{name} {number(figure['before'])} -> {number(figure['after'])} {unit}, {change(figure)}"
    )


def cell_name(cell: CellKey, conversations: int | None = None, prefix: Prefix | None = None) -> str:
    many = f" x {conversations}" if conversations else ""
    many += f", prefix {prefix}" if prefix else ""
    runtime = "" if cell["runtime"] == "default" else f" ({cell['runtime']})"
    return f"{cell['device']} {cell['model']} {cell['quant']}{runtime} {cell['workload']}{many}"


def figure_row(cell: PairedCell, figure: Figure) -> tuple[str, ...]:
    name, unit = QUANTITIES[figure["quantity"]]
    return (
        cell_name(cell, cell["conversations"], cell["prefix"]),
        name,
        number(figure["before"]),
        number(figure["after"]),
        unit,
        change(figure),
        verdict(cell, figure),
    )


def verdict(cell: PairedCell, figure: Figure) -> str:
    if figure["why"] == "marked":
        return f"not judged, {'; '.join(cell['marks'])}"
    return f"not judged, {figure['why']}" if figure["why"] else figure["verdict"]


def change(figure: Figure) -> str:
    low, high = figure["low_pct"], figure["high_pct"]
    span = "" if low is None or high is None else f" ({low:+.1f} to {high:+.1f})"
    return f"{figure['change_pct']:+.1f} %{span}"


def score_row(score: QualityChange) -> tuple[str, ...]:
    verdict = "" if score["verdict"] == "not judged" else score["verdict"]
    margin = score["margin_points"]
    return (
        score_name(score),
        variant_name(score),
        f"{score['before_pct']:.1f} %",
        f"{score['after_pct']:.1f} %",
        lost(score),
        verdict if margin is None else f"{verdict}, {margin:g} are put up with",
    )


def score_name(score: QualityChange) -> str:
    return f"{score['task']} {score['metric']}"


def variant_name(score: QualityChange) -> str:
    how = "" if score["computation"] == DEFAULT else f" ({score['computation']})"
    return f"{score['model']} {score['quant']}{how}"


def lost(score: QualityChange) -> str:
    low, high = score["low_points"], score["high_points"]
    return f"{score['loss_points']:+.1f} ({low:+.1f} to {high:+.1f})"


def conditions(found: Comparison) -> Iterator[str]:
    """The devices as a whole, what differs there, and what the intervals rest on."""
    for one in found["overall"]:
        yield overall(one)
    for difference in found["differences"]:
        told = f"{difference['before']} -> {difference['after']}"
        yield f"{difference['device']}: {difference['what']} {told}"
    remade = [cell for cell in found["cells"] if not cell["same_file"]]
    if remade:
        yield f"Another GGUF file was measured in: {', '.join(map(cell_name, remade))}"
    other = [cell for cell in found["cells"] if cell["says_the_same"] is False]
    if other:
        yield f"Other tokens are generated in: {', '.join(map(cell_name, other))}"
    elif any(cell["says_the_same"] for cell in found["cells"]):
        yield "Wherever the tokens were kept, the same are generated."
    spreads = found["between_sessions_pct"]
    if spreads:
        told = ", ".join(f"{QUANTITIES[q][0]} {pct:.1f} %" for q, pct in spreads.items())
        yield f"Two sessions of a cell are taken to differ by (one standard deviation): {told}"


def overall(one: Overall) -> str:
    return (
        f"{one['device']}, {one['sessions']} sessions together: {QUANTITIES[one['quantity']][0]} "
        f"{one['change_pct']:+.1f} % ({one['low_pct']:+.1f} to {one['high_pct']:+.1f})"
    )


def unpaired_line(one: Unpaired) -> str:
    reason = f": {one['reason']}" if one["reason"] else ""
    return f"{cell_name(one)}: {one['state']}{reason}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
