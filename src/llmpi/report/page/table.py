"""The columns of the page's table of cells."""

from typing import Any

from llmpi.records import Record, is_ok
from llmpi.report.words.texts import Texts


def columns(t: Texts, summary: Record) -> list[Record]:
    """What the table shows, in order.

    Returns:
        For each: `key` of the row; `title`; `kind`, `text` or `number`; `digits` and `scale` of a
        number; `low` and `high`, keys of its spread; `note`, a key shown below it.
    """
    rows = summary["rows"]
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
        _number("tg_memory_share", t("of memory\nroofline, %"), 0, scale=100),
        _number("cold_load_s", t("cold load\ns"), 2),
        _number("warm_load_s", t("warm load\ns"), 2),
        _number("peak_rss_bytes", t("peak RSS\nMB"), 1, scale=1e-6),
        _number("tg_power_w", t("tg\nW"), 2),
        _number(
            "tg_j_per_token", t("tg, J\nper token"), 3, "tg_low_j_per_token", "tg_high_j_per_token"
        ),
        _text("energy_tier", t("tier")),
        _number("words_per_battery", t("words per\nbattery"), 0),
        _number("tpj_board", t("tokens/J,\nwhole board"), 2),
        _number("tpj_above_idle", t("tokens/J,\nabove idle"), 2),
    ]
    for task, asked in summary["questions"].items():
        if is_ok(asked):
            found += [
                _score(task, "em", f"{task}\nEM %"),
                _score(task, "f1", f"{task}\nF1 %"),
                _score(task, "has_ans_f1", f"{task}\nHasAns F1 %"),
                _score(task, "no_ans_f1", f"{task}\nNoAns F1 %"),
            ]
    found += [
        _number("parity_top1_pct", t("parity, same\ntop-1, %"), 1),
        _number("parity_kl_nats", t("parity, KL\nnats"), 4),
    ]
    found.append(_text("gates_failed", t("gates\nfailed")))
    always = {"name", "device", "status", "tg_tps"}
    return [column for column in found if column["key"] in always or _there(rows, column["key"])]


def _there(rows: list[Record], key: str) -> bool:
    """Whether any cell has something to show there; one workload for all need not be told."""
    values = {row.get(key) for row in rows} - {None, "", 0}
    return len(values) > (1 if key == "workload" else 0)


def _text(key: str, title: str, **more: Any) -> Record:
    return {"key": key, "title": title, "kind": "text", **more}


def _number(
    key: str,
    title: str,
    digits: int,
    low: str | None = None,
    high: str | None = None,
    scale: float = 1.0,
) -> Record:
    column = {"key": key, "title": title, "kind": "number", "digits": digits, "scale": scale}
    return {**column, "low": low, "high": high} if low else column


def _score(task: str, name: str, title: str) -> Record:
    key = f"{task}_{name}"
    return _number(f"{key}_pct", title, 1, f"{key}_low_pct", f"{key}_high_pct")
