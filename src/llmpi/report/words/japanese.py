"""What is said of facts, in Japanese; `english` has the same functions."""

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
from llmpi.quality.records import Obstacle, Reason
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
from llmpi.report.words.texts import Texts
from llmpi.summary.records import (
    DifferenceKey,
    Differs,
    ParityMiss,
    PredictedCell,
    Unlike,
    Unscored,
)
from llmpi.tune.records import Refusal, Stopped

label = Texts("ja").label

OBJECTIVES: Mapping[Aim, str] = {
    "quality": "品質",
    "speed": "速度",
    "energy": "エネルギー",
    "memory": "メモリ",
}
SUPERLATIVES: Mapping[Aim, str] = {
    "quality": "品質が最も高い",
    "speed": "最も速い",
    "energy": "トークンあたりのエネルギーが最も少ない",
    "memory": "メモリが最も少ない",
}
LIMITS: Mapping[Limit, str] = {
    "tps_at_least": "生成速度",
    "ttft_at_most": "最初のトークンまでの時間",
    "itl_p95_at_most": "トークン間隔（95パーセンタイル）",
    "answer_s_at_most": "回答の半数が終わるまでの時間",
    "answer_s_p95_at_most": "回答の95 %が終わるまでの時間",
    "f1_drop_at_most": "F1の低下",
    "memory_at_most": "メモリ",
    "power_at_most": "生成中の電力",
    "j_per_token_at_most": "トークンあたりのエネルギー",
    "j_per_right_answer_at_most": "正答あたりのエネルギー",
    "battery_hours_at_least": "電池での持続時間",
}
Known = Mapping[str, str]
"""Candidates' names by id."""


def decision(made: Decision, choice: Choice) -> list[str]:
    """What to take, why, and what would change it; what the pick is not even good for, first."""
    overall = made["where"] == "overall"
    names = _names_by_id(choice["candidates"], overall=overall)
    known = {candidate["id"]: candidate for candidate in choice["candidates"]}
    where = "" if overall else f"{made['where']}では、"
    if made["pick"] is None:
        by_count = sorted(made["killed"].items(), key=lambda item: item[1], reverse=True)
        reasons = "、".join(f"{ruled_out_by(name)} {count:,}件" for name, count in by_count)
        return [
            f"{where}推奨できるものがありません。候補{made['candidates']:,}件のうち、"
            "すべてを満たすものはありません。",
            _way_back(made, known, names),
            f"除外の内訳：{reasons}。",
        ]
    pick = known[made["pick"]]
    doubtful = unshown(pick)
    asked_for = choice["constraints"].items()
    limits = [limit(name, value) for name, value in asked_for if name not in doubtful]
    keeps = f"{'、'.join(limits)}を満たします。" if limits else ""
    take = "を暫定的に推奨します" if made["standing"] == "provisional" else "を推奨します"
    if is_untested(choice):
        take = "が、測定した中での首位です"
    return [
        *alarms(pick),
        f"{where}{names[pick['id']]}{take}（{_numbers(pick)}）。{keeps}",
        *_provisional(made, choice, names),
        *_why(made, choice, names),
        _risk(made, pick, names, choice),
        *_confidence(choice),
    ]


def alarms(pick: Candidate) -> list[str]:
    """What is said of a pick before anything else."""
    return [
        *(f"注意：{_first(found)}。" for found in said_first(pick)),
        *(f"注意：{_unshown(name, check)}。" for name, check in unshown(pick).items()),
    ]


def _first(found: AnyCaution) -> str:
    """What of it a reader must know at once."""
    but = "。推奨できるものはありません" if found["kind"] == "quality not asked for" else ""
    return f"{caution(found)}{but}"


def _unshown(name: Limit, check: Check) -> str:
    """A limit that its numbers keep to on the whole, and single ones may not."""
    assert check["value"] is not None
    worst = check["worst"]
    at_worst = ""
    if worst is not None:
        at_worst = f"（悪い場合は{size(worst) if check['unit'] == 'bytes' else digits(worst)}）"
    got = _amount(check["value"], check["unit"])
    return f"{got}{at_worst}であり、{limit(name, check['limit'])}を満たすとは言い切れません"


def limit(name: Limit, value: float) -> str:
    """What a constraint asks for."""
    side = "以上" if CHECKS[name].at_least else "以下"
    return f"{LIMITS[name]}{_amount(value, CHECKS[name].unit)}{side}"


def asked(choice: Choice) -> str:
    """What the decision had to keep to, and what decides then."""
    limits = [limit(name, value) for name, value in choice["constraints"].items()]
    first = f"指定された制約：{'、'.join(limits)}。" if limits else "制約は指定されていません。"
    if is_untested(choice):
        kept = "制約を満たす" if limits else "測定した"
    else:
        kept = "制約と品質を満たす" if limits else "品質の条件を満たす"
    return f"{first}{kept}もののうち、{SUPERLATIVES[choice['prefer']]}ものを選びます。"


def place(device: str, machine: Machine | None) -> str:
    """Which board the numbers are of."""
    if machine is None:
        return f"測定したボード：{device}。"
    told = [machine["board"] or machine["cpu"] or machine["arch"]]
    if machine["memory_bytes"]:
        told.append(f"メモリ {size(machine['memory_bytes'])}")
    stranger = (
        ""
        if is_pi(machine)
        else "Raspberry Piではないため、この速度はRaspberry Piの目安になりません。"
    )
    return f"測定したボード：{device}（{'、'.join(told)}）。{stranger}"


def price(found: DeviceMoney, currency: str) -> str:
    """What a million tokens cost, and what is cheapest."""
    first = f"100万トークンあたり{found['per_million_tokens']:,.2f} {currency}です。"
    name = found["cheapest"]
    if name == THIS_DEVICE:
        return f"{first}比較した中でこれより安いものはありません。"
    other = found["alternatives"][name]["per_million_tokens"]
    return f"{first}最も安いのは{name}の{other:,.2f}です。"


def _provisional(made: Decision, choice: Choice, names: Known) -> list[str]:
    """Why it is not the last word, what caution costs, and what would tell."""
    if made["standing"] != "provisional" or made["pick"] is None:
        return []
    known = {candidate["id"]: candidate for candidate in choice["candidates"]}
    pick = known[made["pick"]]
    disturbed = (
        [
            "これは暫定の結論です。どの候補も、測定中に他のプログラムがプロセッサを使いすぎていました。"
            "ほかに何も動いていないときに測り直してください。"
        ]
        if "disturbed" in made["provisional_by"]
        else []
    )
    if "quality" not in made["provisional_by"]:
        return disturbed
    why = (
        "これは暫定の結論です。品質の低下が許容幅に収まると示せれば、"
        "これに代わって選ばれる候補がほかにあります。"
        if pick["standing"] and pick["standing"]["verdict"] == "holds"
        else "これは暫定の結論です。ほかの条件を満たす候補のうち、品質の低下が許容幅に収まると"
        "示せたものがまだないため、ビット数が最大の形式を選んでいます。"
    )
    smaller = made["smaller"]
    if smaller is None:
        return [*disturbed, why, *_itself(pick, choice)]
    odds = smaller["probability"]
    chance = "す" if odds is None else f"、実際にも収まる確率は単独で見て{_odds(odds)}です"
    other = known[smaller["id"]]
    return [
        *disturbed,
        why,
        f"判定できていない候補のうち、推定値がすべて許容幅に収まる最小のものは{names[other['id']]}で"
        f"{chance}。安全側に選ぶことの代償：{_instead(pick, other)}。",
        f"{more(smaller['more'], choice['supply'])}。",
    ]


def _itself(pick: Candidate, choice: Choice) -> list[str]:
    """How sure a pick is that is undecided itself."""
    standing = pick["standing"]
    if standing is None or standing["verdict"] != "undecided":
        return ["ただし、推定値がすべて許容幅に収まる候補はありません。"]
    odds = standing["probability"]
    chance = "" if odds is None else f"この候補が許容幅に収まる確率は単独で見て{_odds(odds)}です。"
    return [f"{chance}{more(standing['more'], choice['supply'])}。"]


def _odds(probability: float) -> str:
    if probability > 0.99:
        return "99 %超"
    return "1 %未満" if probability < 0.01 else f"{100 * probability:.0f} %"


def _instead(pick: Candidate, other: Candidate) -> str:
    """The pick's numbers, and beside them what another would give."""
    units = {"speed": "トークン/秒", "energy": "J/トークン", "memory": "MB"}
    found = [
        f"{OBJECTIVES[name]}は{digits(its)}に対して{digits(own)} {units[name]}"
        for name, (own, its) in side_by_side(pick, other).items()
    ]
    return "、".join(found) or "数値を比べられません"


def more(found: Sequence[MoreItems], supply: Mapping[str, Supply]) -> str:
    """What it would take to tell, and which line of the config asks for it."""
    if not found:
        return "現実的な問題数では判定できません"
    told = []
    for one in found:
        source = supply[one["task"]]
        items = f"{one['task']}の{ITEMS[source['item']]}をあと約{upwards(one['items']):,}件"
        told.append(f"{items}（{_asked_by(one, source)}）")
    return f"{'、'.join(told)}増やせば、5回に4回は判定できます"


ITEMS: Mapping[str, str] = {
    "question": "質問",
    "prompt": "プロンプト",
    "item": "設問",
    "window": "窓",
}


def _asked_by(one: MoreItems, source: Supply) -> str:
    if source["key"] is None:
        return f"今ある{source['asked']:,}件はすべて使ったため、追加が必要です"
    return f"{source['key']}: {enough(one, source)}"


def _confidence(choice: Choice) -> list[str]:
    confidence = choice["confidence_pct"]
    if confidence == 95:
        return []
    return [f"品質の判定は、通常の95 %ではなく、指定された{confidence:g} %の信頼水準によります。"]


def contenders(made: Decision, choice: Choice) -> str | None:
    """Who is near the best in quality, and who may be it; None where there is nobody to compare."""
    able, near, may = (variants_of(made[key], choice) for key in ABLE)
    if len(able) < 2 or not near:
        return None
    best = (
        f"最良は{may[0]}です" if len(may) == 1 else f"最良の可能性があるのは{_listed(may, 6)}です"
    )
    return (
        f"すべての条件を満たす候補のうち、品質が最良から許容幅以内にあると示せたのは"
        f"{_listed(near, 6)}で、{best}。"
    )


METRICS: Mapping[str, str] = {
    "f1": "F1",
    "exact": "完全一致",
    "has_ans_f1": "答えのある質問のF1",
    "has_ans_exact": "答えのある質問の完全一致",
    "no_ans": "答えのない質問で回答を控えた割合",
    "no_ans_f1": "答えのない質問で回答を控えた割合",
    "passed": "合格したプロンプト",
    "perplexity": "パープレキシティ",
}


def metric(found: Named) -> str:
    """What is asked of a variant, by name."""
    if found["metric"].startswith("passed "):
        return f"{METRICS['passed']}（{found['metric'].removeprefix('passed ')}）"
    return METRICS.get(found["metric"], found["metric"])


def requirement(found: RequirementVerdict) -> tuple[str, str]:
    """Task and metric, and what is put up with."""
    name = f"{found['task']}：{metric(found)}"
    if found["kind"] == "gate":
        return name, f"{-found['margin']:g} %以上"
    if found["metric"] == "perplexity":
        return name, f"上昇は{found['margin']:g} %まで"
    return name, f"低下は{found['margin']:g}ポイントまで"


REASONS: Mapping[str, str] = {
    "failed": "実行できず",
    "throttled": "速度制限",
    "overflow": "メモリに収まらない",
    "disturbed": "他のプログラムの影響あり",
    "over HTTP": "HTTP経由の測定",
    "parity": "計算結果の不一致",
    "unscored": "採点なし",
    "computation": "この設定では採点なし",
    "no quality": "品質が未測定",
    "too few": "文章が少なすぎる",
    "broken": "使用不可（回答が崩れている）",
    "loses": "品質の低下が大きい",
    "undecided": "品質を保つと示せていない",
    "estimated": "エネルギーが推定のみ",
    "unmeasured": "エネルギーが未測定",
}


def ruled_out_by(name: str) -> str:
    """What rules candidates out, as it is counted."""
    return REASONS.get(name) or {str(key): text for key, text in LIMITS.items()}.get(name, name)


def kill(found: Kill) -> str:
    """Why a candidate is out."""
    match found["kind"]:
        case "failed":
            return f"{label(found['status'])}：{label(found['reason'])}"
        case "marked":
            return {
                "throttled": "測定中に速度が制限されました",
                "memory-bound: overflow": "メモリに収まりません",
                "disturbed": "測定中に他のプログラムがプロセッサを使いすぎました",
                "over HTTP": "HTTP経由の測定のため、プロセス内の測定とは順位を付けません",
            }[found["mark"]]
        case "parity":
            return f"計算結果の不一致：{parity(found['reason'], found['misses'])}"
        case "loses":
            return f"品質の低下が許容幅を超えると示されました（{_losses(found['requirements'])}）"
        case "undecided":
            return f"品質の低下が許容幅に収まると示せていません（{_losses(found['requirements'])}）"
        case "too few":
            clusters, needed = found["clusters"], found["needed"]
            return (
                f"{found['task']}の文章が{clusters}件しかありません（{needed}件未満では、"
                "どの候補についても何も言えません）"
            )
        case "no quality":
            return "品質優先ですが、品質を測定していません（squad、ab、lm_evalで測定できます）"
        case "unscored":
            return f"{found['task']}を採点していません：{unscored(found['reason'])}"
        case "computation":
            why = NOT_COMPUTED[found["unscored"]]
            if found["unscored"] == "over HTTP":
                return f"採点していません：{why}"
            return f"このキャッシュ（{found['computation']}）では採点していません：{why}"
        case "babbling":
            ratio = f"{found['perplexity_ratio']:.3g}"
            task = found["task"]
            return f"使用不可（回答が崩れている）：{task}のパープレキシティがF16の{ratio}倍です"
        case "mute":
            f1 = f"{found['answered_pct']:.1f}"
            return f"使用不可（回答が崩れている）：答えのある質問のF1が{f1} %しかありません"
        case "blurting":
            abstained = f"{found['abstained_pct']:.1f}"
            return (
                "使用不可（回答が崩れている）：答えのない質問のうち「答えなし」としたのは"
                f"{abstained} %だけです"
            )
        case "limit":
            got = _amount(found["value"], found["unit"])
            return f"{limit(found['constraint'], found['limit'])}という制約に対し{got}"
        case "none right":
            return f"{LIMITS[found['constraint']]}に制約がありますが、正しい回答が一つもありません"
        case "unmeasured":
            if found["constraint"] is None:
                return "エネルギー優先ですが、測定していません"
            return f"{LIMITS[found['constraint']]}：測定していません"
        case "estimated":
            if found["constraint"] is None:
                return "エネルギー優先ですが、実測ではなく推定です"
            value = _amount(found["value"], found["unit"])
            return f"{LIMITS[found['constraint']]}：{value}は実測ではなく推定です"


def _losses(found: Sequence[RequirementVerdict]) -> str:
    return "、".join(map(_loss, found))


def _loss(found: RequirementVerdict) -> str:
    """One requirement: what is lost, between which bounds, and what is put up with."""
    name = f"{found['task']}の{metric(found)}"
    if (known := ends(found)) is None:
        return f"{name}：ビット数が最大の形式と比較できず"
    value, low, high = map(number, known)
    few = _too_few(found)
    if found["kind"] == "gate":
        return f"{name}：{value} %［{low}〜{high}］、下限{-found['margin']:g} %{few}"
    perplexity = found["metric"] == "perplexity"
    change, unit = ("上昇", " %") if perplexity else ("低下", "ポイント")
    return f"{name}：{change}{value}{unit}［{low}〜{high}］、許容幅{found['margin']:g}{unit}{few}"


NOT_COMPUTED: Mapping[Unscored, str] = {
    "default only": "llama.cppの既定だけを採点する設定です（scored_with）",
    "tuned": "探索の結果です。この設定を実行設定として加えれば採点します",
    "prompt lookup": "プロンプト参照なしの同じ実行設定と同じ出力になると示されていません",
    "draft model": "下書きモデルなしの同じ実行設定と同じ出力になると示されていません",
    "over HTTP": "別のエンジンが応答しており、質問は尋ねていません",
}


def _too_few(found: RequirementVerdict) -> str:
    if found["why"] == "too few clusters":
        return f"、{found['clusters']:,}件では不足"
    return f"、{found['clusters']:,}件で降下終了" if found["why"] == "descent ended" else ""


def gate(found: Objection) -> str:
    """How far from a minimum of quality a variant is."""
    name = f"{found['task']} {found['metric']}"
    if found["why"] == "not scored":
        return f"{name}：採点なし"
    got = "質問なし" if found["got_pct"] is None else f"{found['got_pct']:.1f} %"
    return f"{name}: {got} < {found['at_least_pct']:g} %"


def unscored(reason: Reason) -> str:
    """Why there is no score."""
    return label(reason) if isinstance(reason, str) else "、".join(map(_obstacle, reason))


def _obstacle(found: Obstacle) -> str:
    match found["kind"]:
        case "fails":
            return f"{found['variant']}が許容幅{found['margin_pct']:g}ポイントを満たしません"
        case "undecided":
            margin = f"{found['margin_pct']:g}"
            return f"{found['variant']}が許容幅{margin}ポイントを保つと示せませんでした"
        case "wider not scored":
            wider, why = found["variant"], label(found["reason"])
            return f"ビット数が一段多い{wider}を採点していません（{why}）"
        case "widest not scored":
            return f"ビット数が最大の形式を採点していません（{label(found['reason'])}）"


def parity(reason: str, misses: Sequence[ParityMiss]) -> str:
    """Why a device's quality is not what the workstation scored.

    Args:
        reason: what is said where there are no misses.
    """
    if not misses:
        return label(reason)
    said = [
        f"分布のずれ（KL） {miss['value']:.3g} nat > {miss['limit']:g}"
        if miss["quantity"] == "kl_nats"
        else f"最有力の一致 {miss['value']:.1f} % < {miss['limit']:g} %"
        for miss in misses
    ]
    return f"ボードが別のモデルを計算しています（{'、'.join(said)}）"


def caution(found: AnyCaution) -> str:
    """What to know of a candidate."""
    match found["kind"]:
        case "wide spread":
            ratio = f"{found['ratio']:.1f}倍"
            return f"最も速い回は最も遅い回の{ratio}で、記録した測定条件では説明できません"
        case "measured short":
            count, tokens = found["repetitions"], found["tokens"]
            return (
                f"非常に遅いため、{tokens:,}トークンを{count:,}回測定する時間しかありませんでした"
            )
        case "measured once":
            return "速度は1回しか測っておらず、ばらつきがわかりません"
        case "energy estimated":
            return "エネルギーは実測ではなく推定です"
        case "energy of the chip":
            return "エネルギーはボード上の電源ICの値で、5 V系統を含みません"
        case "quality not asked for":
            return f"品質は測っていません（{'・'.join(scored_kinds())}のタスクがありません）"
        case "no interval of F1":
            return "F1の区間は、文章が少ないため出せません"
        case "output changed":
            agreed = f"{found['agreement_pct']:.1f}"
            return f"設定によって出力が変わります（採点時の設定とのトークンの一致は{agreed} %）"
        case "below abstaining":
            f1, never = found["f1_pct"], found["abstaining_pct"]
            return f"F1は{f1:.1f}で、まったく答えないプログラムの{never:.1f}を下回ります"
        case "fewer questions":
            asked = found["of_questions"]
            return (
                f"F1は{found['questions']:,}問によるものです（ビット数が最大の形式は{asked:,}問）"
            )
        case "answers cut":
            cut = f"{found['cut_pct']:.1f} %"
            return f"回答の{cut}がmax_new_tokensで打ち切られ、得点はその上限にも左右されています"
        case "thoughts cut":
            cut = f"{found['cut_pct']:.1f} %"
            return f"質問の{cut}で思考が上限（thinking）内に終わらず、回答がありません"
        case "unknown marks":
            marked = f"{found['marked_pct']:.1f} %"
            return (
                f"回答の{marked}に意味の分からない記号（{found['marks']}）があり、"
                "思考が採点された可能性があります"
            )


def money(found: DeviceMoney, currency: str) -> list[str]:
    """What a device's pick costs; against what it pays; what that hangs on."""
    part, share = largest_part(found)
    first = (
        f"{found['device']}の{found['variant']}は、{found['boards']:g}台を"
        f"{found['lifespan_years']:g}年間、稼働率{found['duty_pct']:g} %"
        f"（1日{_many(found['tokens_per_day'])}トークン）で使うと、"
        f"100万トークンあたり{found['per_million_tokens']:,.2f} {currency}です。"
        f"その{share:.0f} %は{label(part)}です。"
    )
    others = [
        _versus(name, other, found["lifespan_years"], currency)
        for name, other in found["alternatives"].items()
    ]
    second = "".join(others) or "比較の相手はありません（costのalternativesに書きます）。"
    return [first, second, _hangs_on(found, currency)]


def no_money(reason: NotCompared) -> str:
    """Why the money of a device cannot be told, or not be compared with."""
    match reason["kind"]:
        case "nothing recommended":
            return "このボードには推奨できるものがありません"
        case "no power":
            return f"電力がわかりません：{label(reason['energy_reason']) or '電力計がありません'}"
        case "no power at rest":
            return "待機時の電力がわかりません。ボードの idle_s を設定してください"
        case "same device":
            return "このボードそのものです"


COST_UNITS: Mapping[CostUnit, str] = {
    "boards": "台",
    "years": "年",
    "days": "日",
    "days/year": "日/年",
    "h/day": "時間/日",
    "% of the time": "%",
    "tokens": "トークン",
    "tokens/s": "トークン/秒",
    "W": "W",
    "money/board": "{currency}/台",
    "money/day": "{currency}/日",
    "money/h": "{currency}/時間",
    "money/kWh": "{currency}/kWh",
    "money/million tokens": "{currency}/100万トークン",
    "g CO2/kWh": "g CO2/kWh",
    "g CO2/million tokens": "g CO2/100万トークン",
}


def cost_unit(unit: CostUnit, currency: str) -> str:
    """The unit of a figure that the money rests on."""
    return COST_UNITS[unit].format(currency=currency)


FIGURES: Mapping[str, str] = {
    "boards": "ボードの台数",
    "lifespan_years": "ボードの使用年数",
    "duty_pct": "稼働率",
    "price_per_kwh": "電気料金の単価",
    "prompt_tokens_per_output_token": "生成1トークン当たりのプロンプト",
    "output_tokens_per_s": "測定した速度",
    "busy_power_w": "生成中の消費電力",
    "idle_power_w": "待機中の消費電力",
    "grid_co2_g_per_kwh": "電力のCO2排出量",
    "hardware.board": "ボードの価格",
    "hardware.m2_hat": "M.2 HATの価格",
    "hardware.ssd": "SSDの価格",
    "hardware.supply": "電源の価格",
    "hardware.case": "ケースの価格",
    "hardware.cooling": "冷却部品の価格",
    "price_per_day": "作業1日当たりの費用",
    "setup_days": "立ち上げの日数",
    "qat_days": "学習の日数",
    "maintenance_days_per_year": "年間の保守日数",
    "price_per_million_input_tokens": "入力トークンの単価",
    "price_per_million_output_tokens": "出力トークンの単価",
    "co2_g_per_million_output_tokens": "CO2排出量",
    "price_per_hour": "1時間当たりの料金",
    "hours_per_day": "1日当たりの利用時間",
    "power_w": "消費電力",
}


def assumption(name: str) -> str:
    """A figure that the money rests on, in words."""
    other, key = whose(name)
    if other is None:
        return FIGURES[key]
    own = "速度" if key == "output_tokens_per_s" else FIGURES[key]
    return f"「{other}」の{own}"


def source(found: Source) -> str:
    """Where a figure is from that the money rests on."""
    match found["kind"]:
        case "stated":
            return found["source"]
        case "measured":
            return label(found["tier"]) if found["tier"] else "実測"
        case "your figure":
            return "利用者の値"
        case "not counted":
            return "数えていません"
        case "rented all day":
            return "終日借りる"
        case "one board":
            return "1台"
        case "the workload":
            return "ワークロードの設定"


def hat(found: HatGain, currency: str) -> str:
    """What the M.2 HAT buys."""
    if not found["rows"]:
        return f"{found['with_hat']}と{found['without_hat']}に共通の形式がありません。"
    extra, alone = found["extra_hardware"], found["only_with"]
    price = "" if extra is None else f"{extra:,.0f} {currency}の追加で、"
    gained = f"それなしでは動かない{alone:,}件が動きます" if alone else "新たに動く形式はありません"
    if not found["compared"]:
        return f"{price}M.2 HATにより、{gained}。"
    return (
        f"{price}M.2 HATにより、{gained}。どちらでも動く形式では、トークン生成速度は"
        f"{found['median_tg_ratio']:.2f}倍、"
        f"読み込み時間は{found['median_cold_load_ratio']:.2f}倍です（中央値）。"
    )


def unlike(found: Unlike) -> str:
    """What differs between boards that should be equal."""
    key, values = found["key"], found["values"]
    told = ", ".join(f"{board} {in_units(value, key)}" for board, value in values.items())
    return f"グループ{found['group']}のボードは同じではありません（{found['key']}）：{told}。"


def unpredicted(found: PredictedCell) -> str:
    """Why nothing was predicted of a cell."""
    profile = f"ボード{found['device']}には既定値の指定も実測プロファイルもありません"
    return found["reason"] or profile


METHOD: Mapping[DifferenceKey, str] = {
    "engine": "エンジン",
    "protocol": "手順",
    "sampling": "サンプリング",
    "energy": "エネルギー",
    "quality": "品質",
    "memory": "メモリ",
    "overflow": "メモリ不足",
    "broken": "使用不可のファイル",
    "source": "元の重み",
    "parity": "計算結果の一致",
}


def difference(found: Differs) -> tuple[str, str, str]:
    """What is not the same in the method, how it is in the paper, and how here."""
    return METHOD[found["key"]], _in_the_paper(found), _here(found)


def stopped(found: Stopped) -> str:
    """Why a search for settings ended."""
    match found["kind"]:
        case "all tried":
            return "すべての組み合わせを試しました"
        case "nothing to gain":
            return "測定のばらつきを超える改善が見込める設定は残っていません"
        case "minutes":
            return f"制限時間の{found['budget']:g}分に達しました"
        case "trials":
            return f"設定を{found['budget']:g}件試しました"


def refused(found: Refusal) -> str:
    """Why a setting may not win."""
    match found["kind"]:
        case "died":
            return label(found["reason"])
        case "output":
            agreed, least = f"{found['top1_pct']:.1f}", f"{found['at_least_pct']:g}"
            return f"出力が変わります：トークンの一致は{agreed} %で、{least} %未満です"
        case "memory":
            peak, most = (found[key] / 1e6 for key in ("peak_rss_bytes", "at_most_bytes"))
            return f"メモリを{peak:.1f} MB使い、上限の{most:.1f} MBを超えます"


# --- the decision ---------------------------------------------------------------------------------


def _names_by_id(candidates: Sequence[Candidate], *, overall: bool) -> Known:
    """The device is told where it is not plain."""
    several = overall and len({candidate["device"] for candidate in candidates}) > 1
    return {
        c["id"]: f"{c['device']}の{c['variant']}" if several else c["variant"] for c in candidates
    }


def _numbers(candidate: Candidate) -> str:
    """Speed, quality, energy and memory with their intervals."""
    found = [
        _spread(number, unit, name)
        for number, unit, name in (
            (candidate["speed"], "トークン/秒", ""),
            (candidate["quality"], "%", "品質 "),
            (candidate["energy"], "J/トークン", ""),
        )
        if number
    ]
    if memory := candidate["memory"]:
        found.append(f"メモリ {size(memory['value'])}")
    return "、".join(found)


def _spread(number: Interval, unit: str, name: str) -> str:
    known = []
    if number["low"] is not None and number["high"] is not None:
        known.append(f"{number['low']:.3g}〜{number['high']:.3g}")
    if number["kind"]:
        known.append(label(number["kind"]))
    return f"{name}{number['value']:.3g} {unit}" + (f"［{'、'.join(known)}］" if known else "")


def _why(made: Decision, choice: Choice, names: Known) -> list[str]:
    """How the pick came about, and who comes next; nothing where it does not hold itself."""
    if made["pick"] not in made["able"]:
        return []
    if made["runner_up"] is None:
        return ["ほかに条件を満たすものがないため、次点はありません。"]
    known = {candidate["id"]: candidate for candidate in choice["candidates"]}
    after = f"次点は{names[made['runner_up']]}です（{_numbers(known[made['runner_up']])}）。"
    if not made["steps"]:
        return [f"条件を満たすほかの候補に、測定したどの項目でも劣りません。{after}"]
    compared = [step for step in made["steps"] if step["left"]]
    said = [
        _near(step, choice) if step["objective"] == "quality" else _alike(made["pick"], step, names)
        for step in compared
        if len(step["left"]) > 1 and not one_in_quality(step, choice)
    ]
    if compared and len(compared[-1]["left"]) == 1:
        end = f"{SUPERLATIVES[compared[-1]['objective']]}ことが決め手です。"
    else:
        end = "ファイルが最も小さいことが決め手です。"
    skipped = [step["objective"] for step in made["steps"] if not step["left"]]
    if any(known[i][objective] for objective in skipped for i in made["front"]):
        names_of = "・".join(OBJECTIVES[objective] for objective in skipped)
        after += f"{names_of}は、全候補の間では比較できません。"
    return [f"{''.join(said)}{end}{after}"]


def _near(step: Step, choice: Choice) -> str:
    """Who is shown to be near the best in quality."""
    best, *others = variants_of(step["left"], choice)
    return f"{best}と{_listed(others)}の間で、品質の差は許容幅以内と示せています。"


def _alike(pick: str | None, step: Step, names: Known) -> str:
    """Who the data cannot tell from the pick."""
    rest = _listed([names[i] for i in step["left"] if i != pick])
    mine = names[pick] if pick else ""
    return f"{mine}と{rest}の間に、{OBJECTIVES[step['objective']]}の有意差は認められませんでした。"


def _risk(made: Decision, pick: Candidate, names: Known, choice: Choice) -> str:
    """What would change it, what to know of the pick."""
    said = [_said(change, names) for change in foremost(made)]
    said += [caution(one) for one in pick["cautions"] if one not in said_first(pick)]
    if not said:
        if not choice["constraints"]:
            return "結論を変えうるものは、ほかに知られていません。"
        return "制約を一つ変えるだけでは、結論は変わりません。"
    return f"注意点：{'。'.join(said)}。"


NOTHING_LEFT = "推奨できるものがなくなります"


def _said(change: Change, names: Known) -> str:
    """A single change, and who would be picked then."""
    if change["change"] == "without":
        better = names[change["pick"]]
        if change["fault"]["kind"] == "undecided":
            return f"{better}は、品質を保つと示せれば選ばれます（{kill(change['fault'])}）"
        return f"{better}のほうが上位でしたが、除外しました（{kill(change['fault'])}）"
    other = f"推奨は{names[change['pick']]}に変わります" if change["pick"] else NOTHING_LEFT
    name, unit = LIMITS[change["constraint"]], change["unit"]
    if change["change"] == "relax":
        to, was = _amount(told_limit(change), unit), _amount(change["limit"], unit)
        return f"{name}の条件を{was}から{to}に緩めると{other}"
    side = "上" if CHECKS[change["constraint"]].at_least else "下"
    return f"{name}の条件を{_amount(change['to'], unit)}より{side}にすると{other}"


def _way_back(made: Decision, known: Mapping[str, Candidate], names: Known) -> str:
    """What it would take, where nothing can be recommended."""
    if made["would_change"]:
        options = "、または".join(_said(change, names) for change in made["would_change"])
        return f"次のいずれか一つを変えれば推奨できます：{options}。"
    if made["nearest"] is None:
        return "動いたものがありません。理由は各測定に示します。"
    whys = "、".join(map(kill, known[made["nearest"]]["killed_by"]))
    return f"一つの変更では足りません。最も近いのは{names[made['nearest']]}ですが、{whys}。"


# --- the money ------------------------------------------------------------------------------------


def _many(tokens: float | None) -> str:
    """Tokens in three digits."""
    assert tokens is not None
    tokens = float(f"{tokens:.3g}")
    return f"{digits(tokens / 1e4)}万" if tokens >= 1e4 else digits(tokens)


def _versus(name: str, other: AlternativeCost, years: float, currency: str) -> str:
    start = f"{name}（{other['per_million_tokens']:,.2f} {currency}）に対しては、"
    line, cheaper = other["break_even_tokens_per_day"], other["cheaper"]
    if cheaper in ("always", "never"):
        how = "常に安く済みます" if cheaper == "always" else "安くなることはありません"
        beyond = "" if line is None else f"（分岐点の1日{_many(line)}トークンには届きません）"
        return f"{start}{how}{beyond}。"
    months = other["break_even_months"]
    when = "この稼働率では回収できません" if months is None else f"回収は{months:,.1f}か月後です"
    if months is not None and months > years * MONTHS_PER_YEAR:
        when += "（寿命より先です）"
    side = "以上" if cheaper == "above" else "以下"
    return f"{start}1日{_many(line)}トークン{side}で安くなり、{when}。"


def _hangs_on(found: DeviceMoney, currency: str) -> str:
    if not found["sensitivity"]:
        return "結果を動かす前提はありません。"
    first = found["sensitivity"][0]
    cheapest = "このボード" if found["cheapest"] == THIS_DEVICE else found["cheapest"]
    flips = turning(found)
    flip = (
        f"これは{'、'.join(map(assumption, flips))}によって変わります"
        if flips
        else "どの前提を動かしても変わりません"
    )
    return (
        f"影響が最も大きい前提は{assumption(first['assumption'])}で、{digits(first['low'])}なら{first['at_low']:,.2f}、"
        f"{digits(first['high'])}なら{first['at_high']:,.2f} {currency}になります。"
        f"最も安いのは{cheapest}で、{flip}。"
    )


# --- the paper's method ---------------------------------------------------------------------------


def _in_the_paper(found: Differs) -> str:
    match found["key"]:
        case "engine":
            if found["paper"] == "bitnet.cpp":
                return "bitnet.cpp、2スレッド"
            return "2025年初めのllama.cpp、4スレッド、重みはファイルの並びのまま"
        case "protocol":
            return (
                "5秒おきの10回の平均。ウォームアップもばらつきの記載もなし。"
                "長さ不明の短いプロンプト1つ、生成50トークン、コンテキスト4096"
            )
        case "sampling":
            return "llama.cppの既定（無作為抽出）"
        case "energy":
            return (
                f"トークン/Jは固定の待機電力{found['paper_idle_power_w']} Wを引いた値、"
                "電池1回分の語数はボード全体の電力による値"
            )
        case "quality":
            return (
                "すべて答えのあるSQuAD v2の100問でのNUBIA。チャットテンプレートなし、"
                "回答の1行目のみ、空の回答は除外。Pi上では採点していない"
            )
        case "memory":
            return "8 GBのボード"
        case "overflow":
            return "8 GBに収まらず、トークンごとに重みをNVMeから読み直す"
        case "broken":
            pct = f"{found['gold_in_answer_pct']:g}"
            return f"ファイルが使用不可だった（正しい語を含む回答は{pct} %）"
        case "source":
            return "公開された重みから量子化"
        case "parity":
            return "確認なし"


def _here(found: Differs) -> str:
    match found["key"]:
        case "engine":
            commit = found["commit"] or "（コミット不明）"
            threads = f"、{found['threads']}スレッド" if found["threads"] else ""
            kept = "できるだけ並べ替え" if found["repacked"] else "ファイルの並びのまま"
            return f"llama.cpp {commit}{threads}、重みは{kept}"
        case "protocol":
            return (
                f"ウォームアップ後の{found['repetitions']}回の中央値と最小・最大。"
                f"プロンプト{found['prompt_tokens']:,}トークン、"
                f"生成{found['output_tokens']:,}トークン、"
                f"コンテキスト{found['context_tokens'] or '不明'}"
            )
        case "sampling":
            return {"greedy": "貪欲（常に最有力のトークン）", "none": "なし"}[found["sampling"]]
        case "energy":
            if found["tier"] is None:
                return label(found["reason"] or "not measured")
            if found["idle_power_w"] is None:
                return f"{label(found['tier'])}、待機電力は未測定"
            idle_w = f"{found['idle_power_w']:.2f}"
            return f"{label(found['tier'])}、実測の待機電力{idle_w} Wを引いた値"
        case "quality":
            scored = "、".join(f"{count:,}問" for count in found["questions"])
            if not scored:
                return "採点なし"
            return (
                f"SQuAD v2のF1（{scored}、答えのない質問を含む）。"
                "モデルのチャットテンプレートを使い、回答全体をワークステーションで採点"
            )
        case "memory":
            return f"{found['memory_bytes'] / 1e9:.1f} GB"
        case "overflow":
            fits = "収まる" if found["measured"] else label("not measured")
            return "、".join(map(label, found["marks"])) or fits
        case "broken":
            return "得点を参照"
        case "source":
            return f"{' > '.join(found['lineage'])}として作成"
        case "parity":
            return parity(found["reason"], found["misses"])


# --- parts of sentences ---------------------------------------------------------------------------

UNITS: Mapping[Unit, str] = {
    "tokens/s": "トークン/秒",
    "points": "ポイント",
    "s": "秒",
    "h": "時間",
    "W": "W",
    "J": "J",
}


def _amount(value: float, unit: Unit) -> str:
    return size(value) if unit == "bytes" else f"{digits(value)} {UNITS[unit]}"


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = len(names) - most
    return "、".join(names[:most]) + (f"ほか{more:,}件" if more > 0 else "")
