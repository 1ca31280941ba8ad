"""The memo: every outcome reads as whole sentences, in each language, on one page."""

import re
from collections.abc import Callable
from pathlib import Path

import made_records as made
import made_study
import pytest
from gguf_edit import edited
from made_costs import COST, PI
from tiny_llama import tiny_llama

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.decide.values import CHECKS
from llmpi.engine.records import SessionRecord
from llmpi.gguf.records import Gguf
from llmpi.quality.squad.records import SquadScored
from llmpi.records import read, write_json
from llmpi.report.memo.facts import Memo, TableRow, dequantized, facts
from llmpi.report.memo.pdf import write_pdf
from llmpi.report.memo.text import HERE, figure, money, odds, render, size
from llmpi.report.words.english import REASONS
from llmpi.study.decision import Constraints
from llmpi.study.study import Language

EVIL = "**bold** <b>html</b> [link](http://x) `code` #let x = 1 | cell"
NO_QUALITY: dict[str, object] = {"quality": {}}
SSH = {"transport": "ssh", "host": "pi.local"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for results, and no way to the hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def everything() -> Memo:
    """A pick with its energy and its money."""
    return told({"cost": COST, "constraints": {"tps_at_least": 5, "memory_at_most": "4G"}})


def no_prices() -> Memo:
    return told({})


def no_meter() -> Memo:
    """Prices, but no power."""
    return told({"cost": COST}, metered=False)


def no_power_at_rest() -> Memo:
    return told({"cost": COST}, before=lambda: each_bench(without_idle))


def other_hardware() -> Memo:
    """Prices of a board that is not the pick's."""
    return told({"cost": {**COST, "hardware": {"sd": PI}}})


def not_scored() -> Memo:
    return told(NO_QUALITY)


def not_scored_but_fast() -> Memo:
    return told({**NO_QUALITY, "constraints": {"prefer": "speed"}})


def few_questions() -> Memo:
    """Enough for Q6_K, which loses next to nothing; not for Q4_0."""
    return told({"cost": COST}, questions=400)


def few_questions_and_no_room() -> Memo:
    """Nothing that fits is shown to be good enough, and it is what is smallest."""
    quants = ["F16", "Q4_0"]
    return told({"quants": quants, "constraints": {"tps_at_least": 8}}, questions=400)


def few_passages() -> Memo:
    return told({}, questions=30)


def less_sure() -> Memo:
    return told({"constraints": {"confidence_pct": 80}})


def abstaining_would_do_better() -> Memo:
    return told({}, before=lambda: each_f1(41.0))


def not_shown_to_beat_abstaining() -> Memo:
    """Which scores 50."""
    return told({}, before=lambda: each_f1(51.0))


def came_quantized() -> Memo:
    """And is taken in the form with the most bits."""
    return told({"quants": ["F16"]}, before=lambda: each_manifest(["Q4_K_M", "F16"]))


def keeps_to_a_limit_in_the_middle_only() -> Memo:
    return told({"constraints": {"tps_at_least": 12, "j_per_token_at_most": 0.53}})


def one_limit_too_far() -> Memo:
    return told({"constraints": {"tps_at_least": 20}})


def two_limits_too_far() -> Memo:
    return told({"constraints": {"tps_at_least": 20, "power_at_most": 5}})


def without_a_meter_where_one_is_needed() -> Memo:
    return told({"constraints": {"battery_hours_at_least": 2}}, metered=False)


def quality_is_missing() -> Memo:
    """Only the broken one is fast enough."""
    return told({"quants": ["F16", "Q2_K"], "constraints": {"tps_at_least": 8}})


def below_a_gate() -> Memo:
    return told({"gates": [{"task": "qa", "metric": "f1", "at_least_pct": 99}]})


def nothing_ran() -> Memo:
    return told({}, write=False)


def all_died() -> Memo:
    return told({}, before=lambda: each_bench(lambda _: made.failed(EVIL)))


def trained() -> Memo:
    text = {"text": {"python_topics": True}}
    quants = ["F16", "Q4_0-qat"]
    return told({"quants": quants, "qat": text, "constraints": {"tps_at_least": 8}})


def several_runtimes_and_models() -> Memo:
    source = {"hub": "meta-llama/Llama-3.2-3B-Instruct"}
    models = {"llama-1b": {"source": {"hub": made_study.LLAMA}}, "llama-3b": {"source": source}}
    return told({"models": models, "runtimes": {"default": {}, "lean": {"kv_cache": "q8_0"}}})


def measured_once() -> Memo:
    once = {"prompt_tokens": 32, "output_tokens": 50, "repetitions": 1}
    return told({"workloads": {"chat": once}})


def hot() -> Memo:
    """Throttled, so that the fast ones are set aside."""
    return told({}, before=lambda: each_bench(throttled))


def a_shelf() -> Memo:
    """Two equal boards as one device."""
    shelf = {"transport": "ssh-group", "boards": {"a": "a.local", "b": "b.local"}}
    return told({"devices": {"shelf": {**shelf, "meter": {"kind": "pmic"}, "idle_s": 15}}})


def no_pi() -> Memo:
    def elsewhere() -> None:
        for device in ("nvme", "sd"):
            found = made.provisioned(device, made.machine(board=None))
            made.write(layout.PROVISIONED, found, device=device)

    return told({}, before=elsewhere)


def all_disturbed() -> Memo:
    return told({}, before=lambda: each_bench(disturbed))


def disturbed(bench: SessionRecord) -> SessionRecord:
    for cell in bench.get("workloads", {}).values():
        if cell["status"] == "ok" and cell["kind"] == "single":
            cell["marks"] = ["disturbed"]
    return bench


def throttled(bench: SessionRecord) -> SessionRecord:
    if bench["status"] == "ok":
        for cell in bench["workloads"].values():
            cell["marks"] = ["throttled"] if cell["repetitions"][0]["pp_s"] < 0.7 else []
    return bench


def without_idle(bench: SessionRecord) -> SessionRecord:
    """Its power at rest was not measured."""
    if bench["status"] == "ok":
        for cell in bench["workloads"].values():
            cell["energy"] |= {"idle_power_w": None}
    return bench


def each_f1(pct: float) -> None:
    for path in Path("results/quality").rglob("*.json"):
        found = read(path, SquadScored)
        found["summary"]["metrics"]["f1"] = {
            "pct": pct, "low_pct": pct - 2, "high_pct": pct + 2, "items": 1500,
        }  # fmt: skip
        write_json(path, found)


def each_manifest(lineage: list[str]) -> None:
    for path in Path("results/gguf").rglob("*.json"):
        write_json(path, {**read(path, Gguf), "lineage": lineage})


def each_bench(change: Callable[[SessionRecord], SessionRecord]) -> None:
    for path in Path("results/bench").rglob("*.json"):
        write_json(path, change(read(path, SessionRecord)))


def told(
    more: dict[str, object],
    *,
    metered: bool = True,
    questions: int = made_study.QUESTIONS,
    write: bool = True,
    before: Callable[[], None] = lambda: None,
) -> Memo:
    """The facts of a study, all of it by the real code."""
    study = made_study.study(**more)
    if write:
        made_study.write_records(study, metered=metered, questions=questions)
        before()
    summary, requirements = made_study.summarized(study)
    choice = recommend(summary, requirements, study.constraints or Constraints())
    money = costs(summary, study.cost, choice) if study.cost else None
    return facts(summary, {**choice, "money": money})


STORIES = [
    everything,
    no_prices,
    no_meter,
    no_power_at_rest,
    other_hardware,
    not_scored,
    not_scored_but_fast,
    few_questions,
    few_questions_and_no_room,
    few_passages,
    less_sure,
    abstaining_would_do_better,
    not_shown_to_beat_abstaining,
    came_quantized,
    keeps_to_a_limit_in_the_middle_only,
    one_limit_too_far,
    two_limits_too_far,
    without_a_meter_where_one_is_needed,
    quality_is_missing,
    below_a_gate,
    nothing_ran,
    all_died,
    trained,
    several_runtimes_and_models,
    measured_once,
    hot,
    a_shelf,
    no_pi,
]
SECTIONS = {
    "en": ["Three points", "The figures behind them", "Risks", "Next step"],
    "ja": ["三つの要点", "根拠となる数値", "リスク", "次のステップ"],
}
# A value that is missing, a key of the config, a gap or a stop too many.
SLIPS = re.compile(r"\bNone\b(?! of)|[{}]|_at_|  |\.\.|。。|、。| [.,;]|\( |\. [a-z]|[ぁ-ん][,.]")
ENDS = {"en": (".", ".**", "),"), "ja": ("。", "。**")}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_every_outcome_reads_well(story: Callable[[], Memo]) -> None:
    """Whole sentences, three points, no word of the program's own, one page; in both languages."""
    content = story()
    for language in ("en", "ja"):
        text = render(content, language)
        title, *blocks = text.strip().split("\n\n")
        assert title.startswith("# ")
        headings = [block.removeprefix("## ") for block in blocks if block.startswith("## ")]
        wanted = SECTIONS[language]
        assert headings == (wanted if content["stage"] != "measure" else [wanted[0], wanted[3]])
        lists = [block for block in blocks if block.startswith("1. ")]
        assert [block.count("\n") + 1 for block in lists] == [3, 3], "three points, three stages"
        said = [line for b in blocks for line in b.split("\n") if line and line[0] not in "#|"]
        for line in said:
            assert line.endswith(ENDS[language]), line
            assert not SLIPS.search(line), line
            assert line.count("**") % 2 == 0 and line.count("(") == line.count(")"), line
            assert line.count("（") == line.count("）") and line.count("「") == line.count("」")
        rows = [line for line in text.split("\n") if line.startswith("|")]
        assert len({row.replace("\\|", "").count("|") for row in rows}) <= 1
        assert write_pdf(Path("memo.pdf"), text, language) == 1
        assert Path("memo.pdf").read_bytes().startswith(b"%PDF")


def test_the_pick_with_all_its_figures() -> None:
    text = render(everything(), "en")
    assert "Q4_0 keeps" in text and "“nvme”" in text
    assert "scores 6" in text or "scores 7" in text
    assert "A million tokens cost" in text and "10 boards cost" in text
    assert "Against “api” (0.4" in text
    assert "at least 5 tokens a second" in text and "memory of at most 4.29 GB" in text
    assert "Q2_K" in text and "left out as broken" in text
    assert "power chip" in text, "how the energy was read"


def test_the_third_point_counts_what_training_would_take_and_bring() -> None:
    content = everything()
    assert content["pick"]["quant"] == "Q4_0" and content["training"]
    english, japanese = (render(content, language) for language in ("en", "ja"))
    third = english.partition("\n3. ")[2].partition("\n## ")[0]
    assert re.search(r"once about \S+ hours \(\S+ to \S+\) and \S+ kWh \(\S+ EUR\)", third)
    assert "wins back about 75 % of what rounding loses (40 to 90 %)" in third
    assert "通常は約75 %（40〜90 %）を取り戻します" in japanese
    assert trained()["training"] is None, "it is in the costs"
    assert came_quantized()["training"] is None, "nothing was rounded"


@pytest.mark.parametrize(
    ("said", "counted"), [({"llama.final_logit_softcapping": 30}, False), ({}, True)]
)
def test_training_is_counted_of_no_model_that_cannot_be_trained(
    said: dict[str, int], counted: bool, tmp_path: Path
) -> None:
    def lies_here() -> None:
        gguf = Path(layout.at(layout.GGUF, model="llama-1b", quant="Q4_0"))
        edited(tiny_llama(tmp_path), gguf, said)

    content = told({"cost": COST}, before=lies_here)
    assert content["pick"]["quant"] == "Q4_0"
    assert (content["training"] is not None) == counted
    for language, words in (("en", "is not in it: once about"), ("ja", "QAT）は含まれていません")):
        assert (words in render(content, language)) == counted


def test_who_is_near_the_best_is_named() -> None:
    content = no_prices()
    assert content["tied"] and not content["provisional_by"]
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert "shown to come within the margin of the best" in english
    assert "shown to lose no more than 5 points against it" in english
    assert "品質が最良のものの許容幅に収まると示せたもの" in japanese


def test_a_provisional_pick_says_so_and_what_caution_costs() -> None:
    content = few_questions()
    assert content["provisional_by"] and content["pick"]["quant"] == "Q6_K"
    assert content["smaller"]["variant"]["quant"] == "Q4_0"
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert "**In short: for now run llama-1b in the form Q6_K" in english
    assert "Q6_K is what can be defended today" in english
    assert "Q4_0 would write 12.2 tokens a second in place of 8.73" in english
    assert "EUR a million tokens in place of" in english
    assert (
        "is not shown (by itself it has a probability of" in english
        and "more questions would most likely tell" in english
    )
    assert "| **for now** |" in english and "recommended" not in english
    assert "best" not in english
    assert "**結論（暫定）：当面は、" in japanese and "| **暫定** |" in japanese
    assert "最良" not in japanese


def test_a_pick_that_was_disturbed_says_so() -> None:
    content = all_disturbed()
    assert "disturbed" in content["provisional_by"] and content["pick"]
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert "**In short: for now run" in english
    assert "Other programs ran while the speeds were measured. Measure again" in english
    assert "他のプログラムが動いていました" in japanese


def test_a_pick_that_is_undecided_itself() -> None:
    content = few_questions_and_no_room()
    assert content["provisional_by"] and content["smaller"]["variant"] is content["pick"]
    english = render(content, "en")
    assert "none keeps to all that was asked and is shown to be good enough" in english
    assert "That it is good enough is not shown (by itself" in english
    assert "that Q4_0 loses no more than 5 points against it is not shown" in english
    assert "best" not in english and "最良" not in render(content, "ja")


def test_without_scores_nothing_is_recommended_for_its_quality() -> None:
    content = not_scored()
    assert content["pick"] is None
    assert "nothing can be recommended yet, because too little is known" in render(content, "en")
    fast = not_scored_but_fast()
    assert fast["pick"]["quant"] == "Q2_K"
    english, japanese = (render(fast, language) for language in ("en", "ja"))
    assert "nothing can be recommended, because how well they answer was not tested" in english
    assert "Q2_K is the fastest of what was measured; whether it answers is not known" in english
    assert "回答の品質を評価していないため、お勧めできるものはありません" in japanese
    for word in ("recommended**", "best", "work as they should", "trial of Q2_K"):
        assert word not in english


def test_too_few_passages() -> None:
    content = few_passages()
    assert content["pick"] is None and "too few" in content["table"][1]["against"]
    assert "tested on too few passages" in render(content, "en")
    assert "評価した文章が少なすぎる" in render(content, "ja")


def test_another_confidence_is_said() -> None:
    assert "shown with 80 % certainty" in render(less_sure(), "en")
    assert "指定された80 %です" in render(less_sure(), "ja")
    assert "certainty, as this study asks" not in render(no_prices(), "en")


def test_what_abstaining_would_score_is_said_first() -> None:
    content = abstaining_would_do_better()
    english, japanese = (render(content, language) for language in ("en", "ja"))
    caution = "**Caution: a program that always says “no answer” would score 50 of 100"
    assert 0 < english.index(caution) < english.index("**In short")
    assert 0 < japanese.index("**注意：") < japanese.index("**結論")


@pytest.mark.parametrize("story", [abstaining_would_do_better, not_shown_to_beat_abstaining])
def test_no_trial_of_what_is_not_shown_to_beat_abstaining(story: Callable[[], Memo]) -> None:
    content = story()
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert "a trial in the field is not recommended" in english
    assert "現場での試行はお勧めしません" in japanese
    assert "**recommended**" not in english and "Put Q4_0 on a few boards" not in english
    assert "**推奨**" not in japanese


def test_the_baseline_stands_beside_the_score() -> None:
    english, japanese = (render(no_prices(), language) for language in ("en", "ja"))
    assert "over those that have an answer 7" in english
    assert "a program that always says “no answer” gets 50 and 0." in english
    assert "それぞれ50点と0点です" in japanese


def test_of_a_model_that_came_quantized_nothing_is_said_to_be_whole() -> None:
    content = came_quantized()
    assert content["pick"]["quant"] == content["widest"]["quant"] == "F16"
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert "loses nothing" not in english and "nothing was lost" not in english
    assert "損失はありません" not in japanese and "損失がありません" not in japanese
    assert "already shrunk (as Q4_K_M)" in english and "すでにQ4_K_Mに量子化" in japanese


def test_a_published_file_is_not_said_to_have_the_most_bits() -> None:
    content = came_quantized()
    for one in (content["pick"], content["widest"]):
        one |= {"quant": "as-published", "is_published": True, "lineage": ["Q4_1+Q8_0"]}
    content["dequantized"] = dequantized(content["pick"])
    english, japanese = (render(content, language) for language in ("en", "ja"))
    for wrong in ("most bits", "loses nothing", "nothing was lost", "no other form has more"):
        assert wrong not in english, wrong
    assert "It is the file as it came, which has fewer bits than its model" in english
    assert "already shrunk (as Q4_1+Q8_0)" in english
    assert "ビット数が最大" not in japanese and "損失" not in japanese.replace("品質の損失", "")
    assert "配布されたままのファイル" in japanese


def test_a_limit_that_is_not_shown_to_be_kept_is_a_risk() -> None:
    content = keeps_to_a_limit_in_the_middle_only()
    assert [one["constraint"] for one in content["not_kept"]] == [
        "tps_at_least",
        "j_per_token_at_most",
    ]
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert (
        "Not shown to be kept: at least 12 tokens a second. Its middle run writes 12.2, but single "
        "runs are as low as 11.9." in english
    )
    assert "「生成速度が毎秒12トークン以上」を満たすとは示せていません" in japanese
    assert "最も遅い回は11.9でした" in japanese


@pytest.mark.parametrize("story", [no_prices, trained, quality_is_missing, no_pi])
def test_no_trial_is_reported_that_nobody_held(story: Callable[[], Memo]) -> None:
    content = story()
    assert not re.search(r"Done[^.]*trial", render(content, "en"))
    assert not re.search(r"完了[^。]*試行", render(content, "ja"))


def test_what_counts_where_nothing_was_asked_for_is_said() -> None:
    english, japanese = (render(no_prices(), language) for language in ("en", "ja"))
    assert "Nothing was asked for: without limits quality counts first, then speed." in english
    assert "条件は指定されていません" in japanese


def test_the_single_change_is_told() -> None:
    content = one_limit_too_far()
    assert content["pick"] is None and content["change"]["change"] == "relax"
    english, japanese = (render(content, language) for language in ("en", "ja"))
    assert (
        "One change is enough" in english and "in place of at least 20 tokens a second" in english
    )
    assert (
        "条件を一つ変えれば足ります" in japanese
        and "「生成速度が毎秒20トークン以上」を" in japanese
    )


@pytest.mark.parametrize(
    ("story", "stage"),
    [
        (no_prices, "trial"),
        (few_questions, "trial"),
        (few_passages, "ask"),
        (not_scored, "ask"),
        (trained, "trial"),
        (not_scored_but_fast, "ask"),
        (abstaining_would_do_better, "better"),
        (not_shown_to_beat_abstaining, "better"),
        (quality_is_missing, "train"),
        (below_a_gate, "train"),
        (one_limit_too_far, "relax"),
        (nothing_ran, "measure"),
    ],
)
def test_the_next_step(story: Callable[[], Memo], stage: str) -> None:
    assert story()["stage"] == stage


@pytest.mark.parametrize("story", [no_prices, trained, few_passages, quality_is_missing])
def test_what_is_watched_are_answers_that_fail_not_wrong_ones(story: Callable[[], Memo]) -> None:
    content = story()
    english, japanese = (render(content, language) for language in ("en", "ja"))
    watched = [line for line in english.splitlines() if "monitoring" in line]
    assert "failed answers" in str(watched) and "wrong" not in str(watched)
    watched = [line for line in japanese.splitlines() if "監視" in line]
    assert "応答の失敗" in str(watched) and "誤った" not in str(watched)
    assert "見守" not in japanese


def test_what_comes_from_outside_is_no_markup() -> None:
    text = render(all_died(), "en")
    assert r"\*\*bold\*\* \<b\>html\</b\> \[link\](http://x) \`code\` \#let x = 1 \| cell" in text
    assert write_pdf(Path("memo.pdf"), text, "en") == 1


def test_a_text_too_long_for_a_page_has_two(caplog: pytest.LogCaptureFixture) -> None:
    text = render(no_prices(), "en") + "\n" + "More and more is said. " * 600
    assert write_pdf(Path("memo.pdf"), text, "en") == 2
    assert "takes 2 pages" in caplog.text


def test_the_table_is_short_and_holds_who_matters() -> None:
    content = several_runtimes_and_models()
    assert (len(content["table"]), content["omitted"]) == (8, 2 * 2 * 2 * 5 - 8)
    shown = [v["id"] for v in content["table"]]
    assert {content["pick"]["id"], content["runner_up"]["id"], content["widest"]["id"]} <= {*shown}


def test_a_group_of_boards_is_one_device() -> None:
    content = a_shelf()
    assert [(d["id"], d["boards"]) for d in content["devices"]] == [("shelf", 2)]
    assert "“shelf” (2 × Raspberry Pi 5" in render(content, "en")


def test_the_font_has_every_character_of_the_templates() -> None:
    """It is a subset: Latin, and of JIS X 0208 all but the kanji of the second level."""

    def shipped(character: str) -> bool:
        if ord(character) < 0x180 or character in "–“”":
            return True
        return character.encode("euc_jp")[0] - 0xA0 < 48

    for template in HERE.glob("*.jinja"):
        assert [c for c in template.read_text(encoding="utf-8") if not shipped(c)] == []


def test_quality_is_held_against_the_models_widest_wherever_it_ran() -> None:
    """F16 is left out on the pick's device; the comparison was with it all the same."""
    content = told({"exclude": [{"quant": "F16", "device": "nvme"}]})
    assert (content["pick"]["device"], content["widest"]["quant"]) == ("nvme", "F16")
    assert "Q4_0 is shown to lose no more than 5 points against it" in render(content, "en")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_every_reason_has_its_word(language: Language) -> None:
    """In the table, and where nothing can be recommended; a template knows no other key."""
    content = two_limits_too_far()
    [row, *_] = content["table"]
    for reason in (*CHECKS, *FAULTS):
        blamed_row: TableRow = {**row, "against": [reason], "mark": None}
        changed: Memo = {**content, "table": [blamed_row], "nearest": blamed_row}
        text = render(changed, language)
        assert not SLIPS.search(text.partition("|")[0]), reason
        assert f"| {reason} |" not in text or reason in ("broken", "failed")


FAULTS = tuple(REASONS)
"""The words of `llmpi.decide.candidates.blamed` that are no constraint."""


def test_figures() -> None:
    numbers = (0.03123, 9.87, 12.34, 123.4, 12345)
    assert [figure(x) for x in numbers] == ["0.0312", "9.87", "12.3", "123", "12,300"]
    assert [size(x) for x in (105_454_144, 4 * 1024**3)] == ["105 MB", "4.29 GB"]
    assert [odds(x) for x in (0.1, 65.85, 99.9)] == ["1 %", "66 %", "99 %"]
    assert [money(x) for x in (0.4321, 1234.5)] == ["0.43", "1,234"]
