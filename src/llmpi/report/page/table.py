"""The columns of the page's table of cells."""

from collections.abc import Iterator, Sequence
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from llmpi.quality.kind import Score, Shown
from llmpi.report.page.content import Content
from llmpi.report.page.datasets import Cells
from llmpi.report.words.texts import Texts
from llmpi.summary.columns import kinds_of


class ShownColumn(TypedDict):
    """A column as it is shown."""

    key: str
    """Of the row."""
    title: str
    kind: Literal["text", "number"]
    digits: NotRequired[int]
    scale: NotRequired[float]
    """Of a number, as `digits`."""
    low: NotRequired[str]
    high: NotRequired[str]
    """Keys of its spread."""
    note: NotRequired[str]
    """Key of what is shown below it."""
    more: NotRequired[bool]
    """Whether it stands there only when all columns are asked for: it decides nothing."""


DECIDING = {"name", "device", "workload", "status", "tg_tps", "tg_j_per_token", "memory_bytes"}
"""Beside the score of each task, and what rules a cell out."""
ALWAYS = {"name", "device", "status", "tg_tps"}


def columns(t: Texts, content: Content, cells: Cells) -> list[ShownColumn]:
    """What the table shows, in order: the columns that have something to show."""
    found = [
        _text("name", t("model, quantization"), note="marks"),
        _text("device", t("device")),
        _text("workload", t("workload")),
        _text("status", t("state")),
        _number("file_bytes", t("file\nMB"), 1, scale=1e-6),
        _number("bits_per_weight", t("bits per\nweight"), 2),
        _number("fallback_tensors", t("fallback\ntensors"), 0),
        _number("pp_tps", t("pp\ntokens/s"), 1, "pp_min_tps", "pp_max_tps"),
        _number("tg_tps", t("tg\ntokens/s"), 1, "tg_min_tps", "tg_max_tps"),
        _number("ttft_s", t("TTFT\nms"), 0, scale=1e3),
        _number("itl_p50_s", t("inter-token\np50, ms"), 1, scale=1e3),
        _number("itl_p95_s", t("inter-token\np95, ms"), 1, scale=1e3),
        _number("tg_memory_share", t("share of memory\nbandwidth, %"), 0, scale=100),
    ]
    for task, kind in kinds_of(content.study).items():
        found += [_of_task(t, task, shown) for shown in kind.shown]
        if task in content.study.answering:
            found += _answers(t, task)
    found += [
        _number("cold_load_s", t("cold load\ns"), 2),
        _number("warm_load_s", t("warm load\ns"), 2),
        _number("memory_bytes", t("memory\nMB"), 1, scale=1e-6),
        _number("tg_power_w", t("tg\nW"), 2),
        _number(
            "tg_j_per_token", t("tg, J\nper token"), 3, "tg_low_j_per_token", "tg_high_j_per_token"
        ),
        _text("energy_tier", t("tier")),
        _number("words_per_battery", t("words per\nbattery"), 0),
        _number("tpj_board", t("tokens/J,\nwhole board"), 2),
        _number("tpj_above_idle", t("tokens/J,\nabove idle"), 2),
        _number("parity_top1_pct", t("parity, same\ntop-1, %"), 1),
        _number("parity_kl_nats", t("parity, KL\nnats"), 4),
        _text("gates_failed", t("gates\nfailed")),
    ]
    by_key = dict(zip(cells["columns"], zip(*cells["rows"], strict=True), strict=True))
    told = [c for c in found if c["key"] in ALWAYS or _tells(c["key"], by_key[c["key"]])]
    deciding = DECIDING | {
        f"{task}_{key}"
        for task, score in content.scores.items()
        for key in (*keys_of(score), "answer_p50_s")
    }
    return [c if c["key"] in deciding else {**c, "more": True} for c in told]


def keys_of(score: Score) -> set[str]:
    """What is told of a score at first sight: itself, and what says where it is from."""
    return {score.value["key"], *(shown["key"] for shown in score.beside)}


def _tells(key: str, values: Sequence[object]) -> bool:
    """Whether any cell has something to show there; one workload for all need not be told."""
    different = {*values} - {None, "", 0}
    return len(different) > (1 if key == "workload" else 0)


def _text(key: str, title: str, note: str | None = None) -> ShownColumn:
    column: ShownColumn = {"key": key, "title": title, "kind": "text"}
    return {**column, "note": note} if note else column


def _number(
    key: str,
    title: str,
    digits: int,
    low: str | None = None,
    high: str | None = None,
    scale: float = 1.0,
) -> ShownColumn:
    column: ShownColumn = {
        "key": key,
        "title": title,
        "kind": "number",
        "digits": digits,
        "scale": scale,
    }
    return {**column, "low": low, "high": high} if low and high else column


def _answers(t: Texts, task: str) -> Iterator[ShownColumn]:
    """What an answer takes."""
    for key, title, unit in (
        ("answer_p50", t("answer\np50, s"), "_s"),
        ("answer_p95", t("answer\np95, s"), "_s"),
        ("s_per_right_answer", t("right answer\ns"), ""),
        ("j_per_right_answer", t("right answer\nJ"), ""),
    ):
        low, high = f"{task}_{key}_low{unit}", f"{task}_{key}_high{unit}"
        yield _number(f"{task}_{key}{unit}", f"{task}, {title}", 2, low, high)


def _of_task(t: Texts, task: str, shown: Shown) -> ShownColumn:
    key, title = f"{task}_{shown['key']}", f"{task}\n{t.title(shown['title'])}"
    if shown["digits"] is None:
        return _text(key, title)
    if "low" in shown and "high" in shown:
        ends = f"{task}_{shown['low']}", f"{task}_{shown['high']}"
        return _number(key, title, shown["digits"], *ends)
    return _number(key, title, shown["digits"])
