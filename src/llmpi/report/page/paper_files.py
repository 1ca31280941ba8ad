"""The paper's table with this study's own numbers, for other papers: as CSV and as LaTeX."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from llmpi.report.page.content import Content
from llmpi.report.page.paper_section import Correspondence
from llmpi.summary.flat import FlatRow
from llmpi.summary.records import Row

SPECIAL = {
    **{c: rf"\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def as_csv(content: Content, pairs: Sequence[Correspondence]) -> str:
    """A line for every point of the paper and the cell beside it, all digits kept.

    Columns as in summary.csv; the paper's begin with `paper_`, ours over the paper's with `ratio_`.
    """
    rows = [_fields(pair, row) for pair, row in _with_rows(content, pairs)]
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _with_rows(
    content: Content, pairs: Sequence[Correspondence]
) -> Iterator[tuple[Correspondence, Row]]:
    rows = {_key(row): row for row in content.summary["rows"]}
    for pair in pairs:
        yield pair, rows[_key(pair.cell)]


def _key(cell: Mapping[str, object]) -> tuple[object, ...]:  # a row, or what names one
    return tuple(cell[key] for key in ("device", "model", "quant", "runtime", "workload"))


def _fields(pair: Correspondence, row: Row) -> FlatRow:
    own = ("device", "model", "quant", "runtime", "workload", "repetitions")
    speed = ("tg_tps", "tg_sd_tps", "tg_min_tps", "tg_max_tps", "shortened_to_tokens")
    energy = ("tg_power_w", "tg_j_per_token", "tg_uncertainty_j_per_token", "energy_tier")
    tokens = ("tpj_above_idle", "words_per_battery")
    found: FlatRow = {"paper_model": pair.model}
    found |= {f"paper_{k}": v for k, v in pair.paper.items() if k != "model"}
    found |= {key: row[key] for key in (*own, *speed, *energy, *tokens)}  # type: ignore[literal-required]
    found["marks"] = "; ".join(row["marks"])
    for task in pair.ours["scores"]:
        for score in ("f1", "has_ans_f1"):
            for end in ("", "_low", "_high"):
                found[f"{task}_{score}{end}_pct"] = row["quality"][task].get(f"{score}{end}_pct")
    return found | {f"ratio_{key}": value for key, value in pair.ratios.items()}


def as_latex(content: Content, pairs: Sequence[Correspondence]) -> str:
    """A table for `booktabs`: medians of n repetitions with their standard deviation, joules of a
    token with theirs, F1 with its 95 % interval."""
    tasks = list(dict.fromkeys(task for pair in pairs for task in pair.ours["scores"]))
    devices = {pair.device for pair in pairs}
    heads = ["device"] if len(devices) > 1 else []
    heads += ["model", "type"]
    numbers = ["$n$", "paper, tok/s", "tok/s", "ratio", "J/token"]
    numbers += [f"{_escaped(task)} F1, \\%" for task in tasks]
    lines = [
        f"% {content.summary['study']}, beside LLMPi (arXiv 2504.02118): medians, "
        "plus or minus a standard deviation; 95 % intervals",
        r"\begin{tabular}{" + "l" * len(heads) + "r" * len(numbers) + "}",
        r"\toprule",
        " & ".join(heads + numbers) + r" \\",
        r"\midrule",
        *(_line(pair, row, tasks, len(devices) > 1) for pair, row in _with_rows(content, pairs)),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(pair: Correspondence, row: Row, tasks: Sequence[str], several: bool) -> str:
    boxes = [_escaped(pair.device)] if several else []
    boxes += [_escaped(pair.ours["model"]), _escaped(pair.ours["quant"])]
    boxes += [str(row["repetitions"] or "--"), f"{pair.paper['tg_tps']:.2f}"]
    boxes += [_plus_minus(row["tg_tps"], row["tg_sd_tps"], 2)]
    boxes += ["--" if pair.ratios["tg_tps"] is None else f"{pair.ratios['tg_tps']:.2f}"]
    boxes += [_plus_minus(row["tg_j_per_token"], row["tg_uncertainty_j_per_token"], 3)]
    for task in tasks:
        scored = row["quality"].get(task, {})
        value, *ends = (scored.get(f"f1{end}_pct") for end in ("", "_low", "_high"))
        between = "" if None in ends else f" [{ends[0]:.1f}, {ends[1]:.1f}]"
        boxes.append("--" if value is None else f"{value:.1f}{between}")
    return " & ".join(boxes) + r" \\"


def _plus_minus(value: float | None, spread: float | None, digits: int) -> str:
    if value is None:
        return "--"
    also = "" if spread is None else rf" \pm {spread:.{digits}f}"
    return f"${value:.{digits}f}{also}$"


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)
