"""What is said of a comparison, in English; `japanese` has the same functions."""

from collections.abc import Iterator, Mapping

from llmpi.compare.records import (
    CellPart,
    Comparison,
    Figure,
    Overall,
    PairedCell,
    QualityChange,
    Quantity,
    Side,
    Unpaired,
)
from llmpi.compare.words.numbers import (
    change,
    lost,
    marks_of,
    number,
    score_name,
    span,
    variant_name,
)
from llmpi.summary.records import CellKey

TO = " to "
QUANTITIES: Mapping[Quantity, tuple[str, str]] = {
    "tg_tps": ("tg", "tokens/s"),
    "pp_tps": ("pp", "tokens/s"),
    "tg_j_per_token": ("energy", "J/token"),
}
"""What it is called, and its unit."""
CELLS: tuple[str, ...] = ("cell", "figure", "before", "after", "unit", "change (95 %)", "verdict")
SCORES: tuple[str, ...] = ("score", "variant", "before", "after", "lost points (95 %)", "verdict")
"""The heads of the tables."""


def title(found: Comparison) -> str:
    return f"{found['before']['study']} against {found['after']['study']}"


def sections() -> tuple[str, str, str]:
    """Of the cells, of the scores, of what else there is to know."""
    return "Cells, the worst first", "Scores, on the same items", "Conditions"


def reach(pct: float) -> str:
    """The head of the column that draws the intervals."""
    return f"from {-pct:+.0f} to {pct:+.0f} %"


def explained(found: Comparison) -> str:
    """How the intervals and the verdicts are meant."""
    return (
        "An interval has the spread of the repetitions on both sides, and that between two "
        f"sessions of one cell. “worse” and “better”: by more than {found['at_most_pct']:g} %, "
        "beyond doubt, all figures taken together (Holm, 5 %). What each number means: "
        "docs/methodology.md."
    )


def headline(found: Comparison) -> str:
    cells = len(found["cells"])
    return (
        f"{side(found['before'])} against {side(found['after'])}: "
        f"{cells:,} cell{'' if cells == 1 else 's'} in both"
    )


def side(of: Side) -> str:
    day = f", {of['started'][:10]}" if of["started"] else ""
    where = "" if of["folder"] == "." else f" in {of['folder']}"
    sessions = f"{of['sessions']:,} session{'' if of['sessions'] == 1 else 's'}"
    return f"{of['study']}{where} ({sessions}{day})"


def verdicts(found: Comparison) -> Iterator[str]:
    """What is worse, and what fails now; or that nothing is, or could be judged."""
    for one in found["unpaired"]:
        if one["state"] == "fails now":
            yield unpaired_line(one)
    for cell in found["cells"]:
        for figure in cell["figures"]:
            if figure["verdict"] == "worse":
                yield f"{part_name(cell)}: {sentence(figure)}"
    for score in found["quality"]:
        if score["verdict"] == "worse":
            yield f"{variant_name(score)}: {score_name(score)} lost {lost(score, TO)} points"
    if not found["regressions"] and not found["judged"]:
        yield "Nothing could be judged: no figure and no score can be held against the other's."
    elif not found["regressions"]:
        yield f"Nothing is worse by more than {found['at_most_pct']:g} % beyond doubt."


def sentence(figure: Figure) -> str:
    name, unit = QUANTITIES[figure["quantity"]]
    was, is_now = number(figure["before"]), number(figure["after"])
    return f"{name} {was} -> {is_now} {unit}, {change(figure, TO)}"


def part_name(part: CellPart) -> str:
    many = f" x {part['conversations']}" if part["conversations"] else ""
    many += f", prefix {part['prefix']}" if part["prefix"] else ""
    return f"{cell_name(part)}{many}"


def cell_name(cell: CellKey) -> str:
    runtime = "" if cell["runtime"] == "default" else f" ({cell['runtime']})"
    return f"{cell['device']} {cell['model']} {cell['quant']}{runtime} {cell['workload']}"


def figure_row(cell: PairedCell, figure: Figure) -> tuple[str, ...]:
    name, unit = QUANTITIES[figure["quantity"]]
    return (
        part_name(cell),
        name,
        number(figure["before"]),
        number(figure["after"]),
        unit,
        change(figure, TO),
        verdict(cell, figure),
    )


def verdict(cell: PairedCell, figure: Figure) -> str:
    if figure["why"] == "marked":
        marks = (f"{when}: {mark}" for when, mark in marks_of(cell))
        return f"not judged, {'; '.join(marks)}"
    return f"not judged, {figure['why']}" if figure["why"] else figure["verdict"]


def score_row(score: QualityChange) -> tuple[str, ...]:
    verdict = "" if score["verdict"] == "not judged" else score["verdict"]
    margin = score["margin_points"]
    return (
        score_name(score),
        variant_name(score),
        f"{score['before_pct']:.1f} %",
        f"{score['after_pct']:.1f} %",
        lost(score, TO),
        verdict if margin is None else f"{verdict}, {margin:g} are put up with",
    )


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
        f"{one['change_pct']:+.1f} %{span(one['low_pct'], one['high_pct'], TO)}"
    )


def unpaired_line(one: Unpaired) -> str:
    reason = f": {one['reason']}" if one["reason"] else ""
    return f"{part_name(one)}: {one['state']}{reason}"
