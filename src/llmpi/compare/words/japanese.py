"""What is said of a comparison, in Japanese; `english` has the same functions."""

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
    UnpairedState,
    Verdict,
    When,
    WhyNotJudged,
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
from llmpi.report.words.texts import Texts
from llmpi.summary.records import CellKey

label = Texts("ja").label

TO = "〜"
QUANTITIES: Mapping[Quantity, tuple[str, str]] = {
    "tg_tps": ("tg", "トークン/秒"),
    "pp_tps": ("pp", "トークン/秒"),
    "tg_j_per_token": ("エネルギー", "J/トークン"),
}
CELLS: tuple[str, ...] = ("測定", "項目", "前", "後", "単位", "変化（95 %）", "判定")
SCORES: tuple[str, ...] = ("得点", "形式", "前", "後", "低下、ポイント（95 %）", "判定")
VERDICTS: Mapping[Verdict, str] = {
    "worse": "悪化",
    "better": "改善",
    "the same": "許容幅内",
    "undecided": "判定できない",
    "not judged": "判定せず",
}
WHEN: Mapping[When, str] = {"before": "前", "after": "後"}
WHY: Mapping[WhyNotJudged, str] = {"marked": "印付き", "one repetition": "反復が1回"}
STATES: Mapping[UnpairedState, str] = {
    "fails now": "後では失敗",
    "worked only now": "後でのみ成功",
    "failed in both": "前も後も失敗",
    "only before": "前のみ",
    "only now": "後のみ",
    "another workload": "ワークロードが別",
    "over HTTP in one only": "一方だけがHTTP経由の測定",
}
CIRCUMSTANCES: Mapping[str, str] = {
    "engine": "エンジン",
    "build": "ビルド",
    "processor features in use": "使用中のプロセッサ機能",
    "board": "ボード",
    "processor": "プロセッサ",
    "kernel": "カーネル",
    "system": "OS",
    "governor": "ガバナー",
    "threads": "スレッド数",
    "kv_cache": "KVキャッシュ",
}
"""Of the circumstances, those that have a word; a setting is told by its key."""


def title(found: Comparison) -> str:
    return f"{found['before']['study']}と{found['after']['study']}の比較"


def sections() -> tuple[str, str, str]:
    """Of the cells, of the scores, of what else there is to know."""
    return "測定（悪化の大きい順）", "得点（同じ問題）", "条件"


def reach(pct: float) -> str:
    """The head of the column that draws the intervals."""
    return f"{-pct:+.0f}〜{pct:+.0f} %"


def explained(found: Comparison) -> str:
    """How the intervals and the verdicts are meant."""
    return (
        "区間には、前後それぞれの反復のばらつきと、同じ測定をやり直したときの差が含まれます。"
        f"「悪化」と「改善」は、{found['at_most_pct']:g} %を超える変化が、すべての項目を合わせて"
        "（Holm、5 %）確かなときです。各数値の意味はdocs/methodology.mdにあります。"
    )


def headline(found: Comparison) -> str:
    return (
        f"{side(found['before'])}と{side(found['after'])}の比較："
        f"両方にある測定{len(found['cells']):,}件"
    )


def side(of: Side) -> str:
    day = f"、{of['started'][:10]}" if of["started"] else ""
    where = "" if of["folder"] == "." else f"（{of['folder']}）"
    return f"{of['study']}{where}（セッション{of['sessions']:,}件{day}）"


def verdicts(found: Comparison) -> Iterator[str]:
    """What is worse, and what fails now; or that nothing is, or could be judged."""
    for one in found["unpaired"]:
        if one["state"] == "fails now":
            yield unpaired_line(one)
    for cell in found["cells"]:
        for figure in cell["figures"]:
            if figure["verdict"] == "worse":
                yield f"{part_name(cell)}：{sentence(figure)}"
    for score in found["quality"]:
        if score["verdict"] == "worse":
            yield f"{variant_name(score)}：{score_name(score)}が{lost(score, TO)}ポイント低下"
    if not found["regressions"] and not found["judged"]:
        yield "判定できたものはありません。互いに比べられる測定値も得点もありません。"
    elif not found["regressions"]:
        yield f"{found['at_most_pct']:g} %を超えて確かに悪化したものはありません。"


def sentence(figure: Figure) -> str:
    name, unit = QUANTITIES[figure["quantity"]]
    was, is_now = number(figure["before"]), number(figure["after"])
    return f"{name} {was} → {is_now} {unit}、{change(figure, TO)}"


def part_name(part: CellPart) -> str:
    many = f"、会話{part['conversations']}件" if part["conversations"] else ""
    many += f"、接頭部（{label(part['prefix'])}）" if part["prefix"] else ""
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
    if figure["why"] is None:
        return VERDICTS[figure["verdict"]]
    told = (f"{WHEN[when]}：{label(mark)}" for when, mark in marks_of(cell))
    why = "、".join(told) if figure["why"] == "marked" else WHY[figure["why"]]
    return f"{VERDICTS['not judged']}（{why}）"


def score_row(score: QualityChange) -> tuple[str, ...]:
    found = "" if score["verdict"] == "not judged" else VERDICTS[score["verdict"]]
    margin = score["margin_points"]
    return (
        score_name(score),
        variant_name(score),
        f"{score['before_pct']:.1f} %",
        f"{score['after_pct']:.1f} %",
        lost(score, TO),
        found if margin is None else f"{found}（許容幅{margin:g}）",
    )


def conditions(found: Comparison) -> Iterator[str]:
    """The devices as a whole, what differs there, and what the intervals rest on."""
    for one in found["overall"]:
        yield overall(one)
    for difference in found["differences"]:
        what = CIRCUMSTANCES.get(difference["what"], difference["what"])
        yield f"{difference['device']}：{what} {difference['before']} → {difference['after']}"
    remade = [cell for cell in found["cells"] if not cell["same_file"]]
    if remade:
        yield f"別のGGUFファイルでの測定：{'、'.join(map(cell_name, remade))}"
    other = [cell for cell in found["cells"] if cell["says_the_same"] is False]
    if other:
        yield f"生成したトークンが異なる測定：{'、'.join(map(cell_name, other))}"
    elif any(cell["says_the_same"] for cell in found["cells"]):
        yield "トークンを記録したすべての測定で、生成したトークンは同じです。"
    spreads = found["between_sessions_pct"]
    if spreads:
        told = "、".join(f"{QUANTITIES[q][0]} {pct:.1f} %" for q, pct in spreads.items())
        yield f"同じ測定をやり直したときの差（標準偏差）の見積もり：{told}"


def overall(one: Overall) -> str:
    return (
        f"{one['device']}のセッション{one['sessions']}件全体：{QUANTITIES[one['quantity']][0]} "
        f"{one['change_pct']:+.1f} %{span(one['low_pct'], one['high_pct'], TO)}"
    )


def unpaired_line(one: Unpaired) -> str:
    reason = f"：{label(one['reason'])}" if one["reason"] else ""
    return f"{part_name(one)}：{STATES[one['state']]}{reason}"
