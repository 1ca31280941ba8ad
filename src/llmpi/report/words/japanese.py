"""The decision and the money in Japanese, from the same records as the English sentences."""

from collections.abc import Mapping, Sequence

from llmpi.records import Record
from llmpi.report.words.numbers import variant_of
from llmpi.report.words.texts import Texts

OBJECTIVES = {"quality": "品質", "speed": "速度", "energy": "エネルギー", "memory": "メモリ"}
SUPERLATIVES = {
    "quality": "F1が最も高い",
    "speed": "最も速い",
    "energy": "トークンあたりのエネルギーが最も少ない",
    "memory": "メモリが最も少ない",
}
UNITS = {"tokens/s": "トークン/秒", "points": "ポイント", "s": "秒", "h": "時間"}
GIB = 1024**3

Candidates = Mapping[str, Record]


def decision(made: Record, recommendation: Record, t: Texts) -> list[str]:
    """Three sentences or so: what to take, why, and what would change it.

    Args:
        made: one of the recommendation's decisions, see `llmpi.decide.choice.decide`.
    """
    overall = made["where"] == "overall"
    known = named(recommendation["candidates"], overall=overall)
    where = "" if overall else f"{made['where']}では、"
    if made["pick"] is None:
        return _nothing(made, known, where, t)
    pick = known[made["pick"]]
    limits = len(recommendation["constraints"])
    keeps = f"指定された制約{limits}件をすべて満たします。" if limits else ""
    return [
        f"{where}{pick['name']}を推奨します（{_numbers(pick, t)}）。{keeps}",
        _why(made, known, t),
        _risk(made, pick, known, t),
    ]


def named(candidates: Sequence[Record], *, overall: bool) -> dict[str, Record]:
    """Candidates by id, with Japanese names; the device is told where it is not plain."""
    several = overall and len({candidate["device"] for candidate in candidates}) > 1
    found = {}
    for candidate in candidates:
        variant = variant_of(candidate)
        name = f"{candidate['device']}の{variant}" if several else variant
        found[candidate["id"]] = {**candidate, "name": name}
    return found


def _nothing(made: Record, known: Candidates, where: str, t: Texts) -> list[str]:
    here = [c for c in known.values() if made["where"] in ("overall", c["device"])]
    reasons = "、".join(f"{name} {count}件" for name, count in made["killed"].items())
    if made["would_change"]:
        options = "、または".join(_said(change, known, t) for change in made["would_change"])
        back = f"次のいずれか一つを変えれば推奨できます：{options}。"
    elif made["nearest"]:
        nearest = known[made["nearest"]]
        whys = "、".join(t.said(kill["why"]) for kill in nearest["killed_by"])
        back = f"一つの変更では足りません。最も近いのは{nearest['name']}ですが、{whys}。"
    else:
        back = "動いたものがありません。理由は各セルに示します。"
    return [
        f"{where}推奨できるものがありません。候補{len(here)}件のうち、すべてを満たすものはありません。",
        back,
        f"除外の内訳：{reasons}。",
    ]


def _numbers(candidate: Record, t: Texts) -> str:
    units = {"speed": "トークン/秒", "quality": "% F1", "energy": "J/トークン"}
    found = [_spread(candidate[name], unit, t) for name, unit in units.items() if candidate[name]]
    if memory := candidate["memory"]:
        found.append(f"メモリ {memory['value'] / GIB:.3g} GiB")
    return "、".join(found)


def _spread(estimate: Record, unit: str, t: Texts) -> str:
    known = []
    if estimate["low"] is not None:
        known.append(f"{estimate['low']:.3g}〜{estimate['high']:.3g}")
    if estimate["kind"]:
        known.append(t.said(estimate["kind"]))
    return f"{estimate['value']:.3g} {unit}" + (f"［{'、'.join(known)}］" if known else "")


def _why(made: Record, known: Candidates, t: Texts) -> str:
    if made["runner_up"] is None:
        return "ほかに条件を満たすものがないため、次点はありません。"
    second = known[made["runner_up"]]
    after = f"次点は{second['name']}です（{_numbers(second, t)}）。"
    if not made["steps"]:
        return f"測定したどの項目でも、ほかの候補に劣りません。{after}"
    compared = [step for step in made["steps"] if step["left"]]
    said = [_alike(made["pick"], step, known) for step in compared if len(step["left"]) > 1]
    if compared and len(compared[-1]["left"]) == 1:
        end = f"{SUPERLATIVES[compared[-1]['objective']]}ことが決め手です。"
    else:
        end = "ファイルが最も小さいことが決め手です。"
    return f"{''.join(said)}{end}{after}"


def _alike(pick: str, step: Record, known: Candidates) -> str:
    """Who the data cannot tell from the pick."""
    rest = [known[i]["name"] for i in step["left"] if i != pick]
    return f"{OBJECTIVES[step['objective']]}では{_names(rest)}と区別できません。"


def _names(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return "、".join(names[:most]) + (f"ほか{more}件" if more > 0 else "")


def _risk(made: Record, pick: Record, known: Candidates, t: Texts) -> str:
    changes = made["would_change"]
    foremost = [c for c in changes if c["change"] == "without"]
    for kind in ("relax", "tighten"):
        foremost += [c for c in changes if c["change"] == kind][:1]
    said = [_said(change, known, t) for change in foremost]
    unsure = [name for name, check in pick["checks"].items() if check["shown"] is False]
    if unsure:
        said.append(f"ばらつきまで含めると{'、'.join(unsure)}を満たすとは言い切れません")
    said += [t.said(caution) for caution in pick["cautions"]]
    if not said:
        return "条件を一つ変えるだけでは、結論は変わりません。"
    return f"注意点：{'。'.join(said)}。"


def _said(change: Record, known: Candidates, t: Texts) -> str:
    other = f"{known[change['pick']]['name']}になります" if change["pick"] else "該当なしになります"
    name = t.said(change["constraint"])
    if change["change"] == "without":
        better = known[change["pick"]]["name"]
        return f"{better}のほうが上位でしたが、除外しました（{t.said(change['why'])}）"
    to, was = (_amount(change[key], change["unit"]) for key in ("to", "from"))
    if change["change"] == "relax":
        return f"{name}を{was}から{to}に緩めると{other}"
    side = "上" if change["constraint"].endswith("at_least") else "下"
    return f"{name}を{to}より{side}にすると{other}"


def _amount(value: float, unit: str) -> str:
    if unit == "bytes":
        value, unit = value / GIB, "GiB"
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {UNITS.get(unit, unit)}"


PARTS = {
    "hardware": "機器",
    "engineering": "開発作業",
    "maintenance": "保守",
    "electricity": "電力",
}
MONTHS_PER_YEAR = 12


def money(found: Record, recommendation: Record) -> list[str]:
    """What it costs; against what it pays; what that hangs on.

    Args:
        found: a device's money, see `llmpi.decide.cost.device_cost`.
    """
    currency = recommendation["money"]["currency"]
    largest, value = max(found["parts"].items(), key=lambda item: item[1])
    share = 100 * value / found["total"] if found["total"] else 0.0
    first = (
        f"{found['device']}の{found['variant']}は、{found['boards']:g}台を"
        f"{found['lifespan_years']:g}年間、1日{found['tokens_per_day']:,.0f}トークンで使うと、"
        f"100万トークンあたり{found['per_million_tokens']:,.2f} {currency}です。"
        f"その{share:.0f} %は{PARTS[largest]}です。"
    )
    others = [
        _versus(name, other, found["lifespan_years"], currency)
        for name, other in found["alternatives"].items()
    ]
    second = "".join(others) or "比較の相手はありません（costのalternativesに書きます）。"
    return [first, second, _hangs_on(found, currency)]


def _versus(name: str, other: Record, years: float, currency: str) -> str:
    start = f"{name}（{other['per_million_tokens']:,.2f} {currency}）に対しては、"
    line, cheaper = other["break_even_tokens_per_day"], other["cheaper"]
    if cheaper in ("always", "never"):
        how = "常に安く済みます" if cheaper == "always" else "安くなることはありません"
        beyond = "" if line is None else f"（分岐点の1日{line:,.0f}トークンには届きません）"
        return f"{start}{how}{beyond}。"
    months = other["break_even_months"]
    when = "この稼働率では回収できません" if months is None else f"回収は{months:,.1f}か月後です"
    if months is not None and months > years * MONTHS_PER_YEAR:
        when += "（寿命より先です）"
    side = "以上" if cheaper == "above" else "以下"
    return f"{start}1日{line:,.0f}トークン{side}で安くなり、{when}。"


def _hangs_on(found: Record, currency: str) -> str:
    moved = found["sensitivity"]
    if not moved:
        return "結果を動かす前提はありません。"
    first = moved[0]
    cheapest = found["cheapest"]
    flips = [
        m["assumption"]
        for m in moved
        if {m["cheapest_at_low"], m["cheapest_at_high"]} != {cheapest}
    ]
    named = "この機器" if cheapest == "this device" else cheapest
    flip = (
        f"これは{'、'.join(flips)}によって変わります"
        if flips
        else "どの前提を動かしても変わりません"
    )
    return (
        f"最も効く前提は{first['assumption']}で、{first['low']:.4g}なら{first['at_low']:,.2f}、"
        f"{first['high']:.4g}なら{first['at_high']:,.2f} {currency}になります。"
        f"最も安いのは{named}で、{flip}。"
    )


def hat(found: Record, currency: str) -> str:
    """What the M.2 HAT buys, see `llmpi.decide.hat.hat_gain`."""
    if not found["rows"]:
        return f"{found['with_hat']}と{found['without_hat']}に共通の型がありません。"
    extra = found["extra_hardware"]
    price = "" if extra is None else f"{extra:,.0f} {currency}の追加で、"
    alone = found["only_with"]
    gained = f"それなしでは動かない{alone}件が動きます" if alone else "新たに動く型はありません"
    speed, load = found["median_tg_ratio"], found["median_cold_load_ratio"]
    if speed is None:
        return f"{price}M.2 HATにより、{gained}。"
    return (
        f"{price}M.2 HATにより、{gained}。どちらでも動く型では、トークン生成速度は{speed:.2f}倍、"
        f"読み込み時間は{load:.2f}倍です（中央値）。"
    )
