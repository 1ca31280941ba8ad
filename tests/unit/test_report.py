"""Summary and page from hand-made records: every number known, every failure shown."""

from pathlib import Path

import made_records as made
import pytest
import small_results as small
from made_records import write
from shown_page import page
from small_results import CELL, EVIL

from llmpi import layout
from llmpi.report.page.write import write_page


@pytest.mark.usefixtures("results")
def test_energy_of_a_metered_cell(tmp_path: Path) -> None:
    metered = {**small.chat(), "energy": made.metered(8.0, 0.8, idle_power_w=3.0)}
    write(layout.BENCH, small.bench({**metered, "marks": ["throttled"]}), **CELL)
    shown = page(tmp_path)
    assert {"energy", "words"} <= shown.figures()
    cell = shown.cells()[0]
    assert (cell["tg_low_j_per_token"], cell["marks"]) == (pytest.approx(0.8 - 0.0196), "throttled")
    assert {"tg_power_w", "words_per_battery", "energy_tier"} <= shown.columns()


@pytest.mark.usefixtures("results")
def test_page_stands_alone_and_trusts_nothing(tmp_path: Path) -> None:
    shown = page(tmp_path, languages=["en", "ja"])
    mine = "the data, Vega, the page's own and their licences; nothing injected"
    assert shown.tags.count("script") == 4, mine
    assert "link" not in shown.tags
    beside = {"memo.en.pdf", "memo.ja.pdf", "summary.csv", "summary.parquet"}
    assert {address for address in shown.addresses if not address.startswith("#")} == beside
    policy = shown.html.partition("<style>")[0]
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe-eval" not in policy
    assert "<script>alert" not in shown.html
    assert EVIL in shown.text, "escaped, it reads as it was written"
    assert shown.cells()[1]["reason"] == EVIL


@pytest.mark.usefixtures("results")
def test_a_model_that_came_quantized_is_called_as_its_file_and_its_tensors(tmp_path: Path) -> None:
    for quant in small.study().quants:
        came = made.gguf(quant, lineage=("Q4_K_M (Q8_0+Q5_0)", "F16"))
        write(layout.GGUF_MANIFEST, came, model="m", quant=quant)
    text = page(tmp_path).text
    assert "m came as Q4_K_M (Q8_0+Q5_0): its F16 is a dequantized Q4_K_M, not the" in text


@pytest.mark.usefixtures("results")
def test_page_says_what_to_know_first(tmp_path: Path) -> None:
    text = page(tmp_path).text
    assert "m came as Q4_1: its F16 is a dequantized Q4_1, not the original weights." in text
    assert "m Q4_0: 1 of 5 tensors could not take the type meant for them" in text
    assert "Q4_K > Q5_0: 1" in text
    assert "3 cells, 2 failed or not run" in text
    assert page(tmp_path).cells()[1]["gates_failed"] == "qa f1: 30.0 % < 40 %"
    assert "9 questions (3 unanswerable) on 3 paragraphs" in text
    assert page(tmp_path).data["tasks"] == [
        {"task": "qa", "abstaining_pct": pytest.approx(100 / 3)}
    ]


@pytest.mark.usefixtures("results")
def test_page_begins_with_the_decision(tmp_path: Path) -> None:
    shown = page(tmp_path)
    decision = shown.text.partition("The decision")[2].partition("Before you read")[0]
    assert "Nothing can be recommended" in decision
    assert "qa rests on 3 passages; below 10 nothing can be said of any variant" in decision
    assert "Why not the others: 3 of 3 cells are ruled out" in decision
    assert EVIL in decision, "why Q4_0 died"
    write_page(small.summary()[0], None, tmp_path / "partial.html")
    assert "The decision" not in (tmp_path / "partial.html").read_text()


@pytest.mark.usefixtures("results")
def test_runtimes_are_told_apart_where_there_are_several(tmp_path: Path) -> None:
    runtimes = {"default": {}, "spinning": {"omp_wait_policy": "active"}}
    names = {cell["name"]: cell["status"] for cell in page(tmp_path, runtimes=runtimes).cells()}
    assert (names["m F16 default"], names["m F16 spinning"]) == ("ok", "not run")
    assert page(tmp_path).cells()[0]["name"] == "m F16"


@pytest.mark.usefixtures("results")
def test_conversations_side_by_side_stand_beside_the_single_one(tmp_path: Path) -> None:
    done = {
        "system_s": 0.0,
        "start_s": 100.0,
        "pp_s": 1.0,
        "ttft_each_s": [0.5, 1.0],
        "ttft_s": 1.0,
        "itl_s": [0.1] * 4,
    }
    side_by_side = made.concurrent_cell(made.side_by_side((2, 8)), {2: done}, EVIL)
    write(layout.BENCH, made.session({"chat": small.chat(), "users": side_by_side}), **CELL)
    users = {"kind": "concurrent", "conversations": [2, 8], "prompt_tokens": 10, "output_tokens": 4}
    chat_too = small.study().workloads["chat"]
    text = page(
        tmp_path, workloads={"chat": chat_too, "users": {**users, "per_user_tps_at_least": 9}}
    ).text
    assert "Conversations side by side pi: users, m F16 default" in text
    assert "Up to 2 at once, each conversation gets at least 9.0 tokens/s." in text
    assert "Alone (chat) it generates 10.0 tokens/s." in text
    assert "2 20.0 20.0–20.0 10.0 20.0 750 / 1,000 1.0 5.0" in text
    assert f"8 failed: {EVIL}" in text
    assert f"pi m F16 users: 8 conversations {EVIL}" in text


@pytest.mark.usefixtures("results")
def test_conversations_of_several_turns_stand_on_the_page(tmp_path: Path) -> None:
    asked = made.conversation(("kept", "restored", "computed"))
    done = {
        "kept": [made.talk([4.0, 1.0])],
        "restored": [made.talk([4.0, 2.0], state_bytes=3 * 10**6)],
    }
    talk = made.conversation_cell(asked, done, EVIL)
    talk["can_cut_back"] = False
    write(layout.BENCH, made.session({"chat": small.chat(), "talk": talk}), **CELL)
    kept = {"kind": "conversation", "turns": 2, "prompt_tokens": 10, "output_tokens": 4}
    text = page(tmp_path, workloads={"chat": small.study().workloads["chat"], "talk": kept}).text
    assert "Conversations What was said before" in text
    assert "pi: talk, m F16 default" in text
    assert "kept 4.00 1.00 1.00 4.40 1.40" in text
    assert "restored 4.00 2.00 2.00 4.40 2.40 1.000 0.250 3.0" in text
    assert f"computed failed: {EVIL}" in text
    assert f"pi m F16 talk: prefix computed {EVIL}" in text
    assert "memory cannot forget its end alone" in text


@pytest.mark.usefixtures("results")
def test_answers_on_the_clock_stand_beside_computed_ones(tmp_path: Path) -> None:
    timed = made.answers_cell([made.answered_question(i, 20.0 + i / 10) for i in range(3)])
    timed["late"] = 2
    write(layout.BENCH, made.session({"chat": small.chat(), "real": timed}), **CELL)
    workloads = {
        "chat": small.study().workloads["chat"],
        "real": {"kind": "answers", "task": "qa"},
    }
    text = page(tmp_path, workloads=workloads).text
    assert "Answers on the clock What an answer takes" in text
    assert "pi: real, m F16 default 3 answers to questions of qa, which asks 9." in text
    assert "There was no time for 2 more." in text
    assert "prediction and clock part" in text
    write(layout.BENCH, made.session({"chat": small.chat()}), **CELL)
    text = page(tmp_path, workloads=workloads).text
    assert "pi m F16 real workloads.real: its session has no such cell" in text
    assert "Answers on the clock" not in page(tmp_path).text


@pytest.mark.usefixtures("results")
def test_drafted_tokens_stand_beside_greedy_decoding(tmp_path: Path) -> None:
    counts = {"steps": 2, "drafted": 3, "accepted": 1}
    chat = small.chat()
    quick = [{**repetition, **counts} for repetition in chat["repetitions"]]
    for runtime, done, output in (
        ("default", chat["repetitions"], [1, 2, 3, 4]),
        ("quick", quick, [1, 2, 3, 5]),
    ):
        cell = {**chat, "repetitions": done, "output": output}
        write(layout.BENCH, small.bench(cell), **{**CELL, "runtime": runtime})
    lean = {"kv_cache": "q8_0"}
    text = page(tmp_path, runtimes={"default": lean, "quick": {**lean, "prompt_lookup": {}}}).text
    assert "pi m F16 quick chat prompt lookup random 1.10 1.10 10.0 10.0 1.00 33.3 1.50" in text
    assert "5.0 5.0 another from token 4 of 4" in text
    assert "Drafted tokens" not in page(tmp_path).text


def test_page_of_a_study_that_has_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "3 cells, 3 failed or not run" in page(tmp_path).text


@pytest.mark.usefixtures("results")
def test_page_without_quality(tmp_path: Path) -> None:
    shown = page(tmp_path, quality={}, gates=[])
    assert "qa" not in shown.text.partition("The config of this study")[0]
    assert shown.figures() == {"tg", "pp", "load", "sustained-speed"}, (
        "one candidate makes no chart, and a board that does not tell its temperature none of that"
    )


BEHIND_SSH = {"pi": {"transport": "ssh", "host": "pi.local"}}


def check_parity(reason: str | None) -> None:
    write(layout.PARITY, made.parity(reason), **CELL)


@pytest.mark.usefixtures("results")
def test_quality_is_transferred_to_a_device_that_agrees(tmp_path: Path) -> None:
    check_parity(None)
    shown = page(tmp_path, devices=BEHIND_SSH)
    assert {"parity", "tradeoff-qa"} <= shown.figures()
    assert {"parity_top1_pct", "parity_kl_nats"} <= shown.columns()
    assert shown.cells()[0]["agreement"] == "agrees"


@pytest.mark.usefixtures("results")
def test_quality_is_not_transferred_to_a_device_that_computes_another_model(
    tmp_path: Path,
) -> None:
    check_parity(f"another model {EVIL}")
    drawn = page(tmp_path, devices=BEHIND_SSH)
    shown = drawn.text
    assert f"is not transferred to pi: another model {EVIL}." in shown
    assert "tradeoff-qa" not in drawn.figures(), "it was the only measured cell"
    assert (
        f"pi m F16 parity another model {EVIL}" in shown.partition("Failed, skipped or not run")[2]
    )
