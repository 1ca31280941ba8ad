"""Two studies against each other: what is worse is found, what is noise is not."""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import made_records as made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_http import cell_over_http, served, session_over_http
from made_records import write
from typing_extensions import get_type_hints

from llmpi import cli, layout
from llmpi.compare.change import between_sessions, changed, of_repetitions
from llmpi.compare.compare import compare
from llmpi.compare.measured import Measured, measured
from llmpi.compare.records import Comparison
from llmpi.compare.text import as_json, as_text
from llmpi.compare.words import japanese
from llmpi.compare.words.english import part_name
from llmpi.engine.records import SessionRecord, Settings, SingleCell
from llmpi.errors import LlmpiError
from llmpi.quality.evidence import Evidence, Requirement, Requirements
from llmpi.records import check
from llmpi.study.computation import DEFAULT
from llmpi.study.runs import Session

QUANTS = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q4_0", "Q2_K")
EVIL = "<script>alert('reason')</script>"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cell(tg_tps: Sequence[float], *, pp_tps: float = 100.0) -> SingleCell:
    return made.cell([made.repetition(100 / pp_tps, [1 / tps] * 4) for tps in tg_tps])


def noisy(draw: random.Random, tps: float, *, between: float = 0.0, n: int = 5) -> list[float]:
    """A session's repetitions, which differ by 1 %, and from another session by `between`."""
    here = tps * math.exp(draw.gauss(0, between))
    return [here * math.exp(draw.gauss(0, 0.01)) for _ in range(n)]


def study(cells: Mapping[str, SingleCell]) -> Measured:
    """A session for each quantization."""
    sessions = {
        Session("pi", "m", q, "default"): made.session({"chat": c}) for q, c in cells.items()
    }
    return Measured("s", Path(), sessions, [])


def drawn(
    seed: int, *, slower: Mapping[str, float] | None = None, between: float = 0.0
) -> Measured:
    """A study of six cells; `slower` cells have that part of their speed."""
    draw = random.Random(seed)
    speeds = {q: 10.0 * (1 + at) * (slower or {}).get(q, 1.0) for at, q in enumerate(QUANTS)}
    return study({q: cell(noisy(draw, tps, between=between)) for q, tps in speeds.items()})


def of(found: Comparison, quantity: str = "tg_tps") -> dict[str, str]:
    """Quantization -> verdict."""
    return {
        one["quant"]: figure["verdict"]
        for one in found["cells"]
        for figure in one["figures"]
        if figure["quantity"] == quantity
    }


# --- what is said ---------------------------------------------------------------------------------


def test_two_runs_of_the_same_are_the_same() -> None:
    found = compare(drawn(1), drawn(2))
    assert found["regressions"] == 0
    assert set(of(found).values()) == {"the same"}


def test_a_cell_that_is_slower_is_found_and_comes_first() -> None:
    found = compare(drawn(1), drawn(2, slower={"Q4_0": 0.8}))
    assert found["cells"][0]["quant"] == "Q4_0"
    first = found["cells"][0]["figures"][0]
    assert (first["quantity"], first["verdict"]) == ("tg_tps", "worse")
    assert first["low_pct"] < -20 < first["high_pct"] < -5  # type: ignore[operator]
    assert [q for q, verdict in of(found).items() if verdict == "worse"] == ["Q4_0"]
    assert found["regressions"] == 1


def test_all_that_became_slower_alike_is_found() -> None:
    """An update that takes 15 % of everything: that all go together is no spread between them."""
    found = compare(drawn(1), drawn(2, slower=dict.fromkeys(QUANTS, 0.85)))
    assert set(of(found).values()) == {"worse"}
    [tg] = [one for one in found["overall"] if one["quantity"] == "tg_tps"]
    assert tg["sessions"] == 6
    assert tg["low_pct"] < -15 < tg["high_pct"] < -10


def test_what_is_put_up_with_is_not_worse() -> None:
    slower = drawn(2, slower={"Q4_0": 0.8})
    assert compare(drawn(1), slower, at_most_pct=30)["regressions"] == 0


@pytest.mark.parametrize("between", [0.03, 0.07])
def test_sessions_that_differ_by_more_raise_no_alarm(between: float) -> None:
    """The spread between sessions is seen in the cells: in 100 comparisons of the same, at 3 or 7 %
    from session to session, which is more than was assumed, no more than 5 find anything."""
    alarms = [
        compare(drawn(2 * i, between=between), drawn(2 * i + 1, between=between))["regressions"] > 0
        for i in range(100)
    ]
    assert sum(alarms) <= 5


def test_the_interval_holds_the_change_as_often_as_it_says() -> None:
    draw, held = random.Random(7), 0
    for _ in range(400):
        sides = [
            [of_repetitions(noisy(draw, 10, between=0.02 / math.sqrt(2))) for _ in QUANTS]
            for _ in range(2)
        ]
        spread = between_sessions([b.value - a.value for a, b in zip(*sides, strict=True)])
        low, high = changed(sides[0][0], sides[1][0], spread).bounds()
        held += low <= 0 <= high
    assert held >= 0.92 * 400


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.floats(8, 12), min_size=2, max_size=6),
    st.lists(st.floats(8, 12), min_size=2, max_size=6),
)
def test_the_other_way_round_it_is_the_inverse(one: list[float], other: list[float]) -> None:
    there = compare(study({"F16": cell(one)}), study({"F16": cell(other)}))
    back = compare(study({"F16": cell(other)}), study({"F16": cell(one)}))
    forth_f, back_f = (
        next(f for f in found["cells"][0]["figures"] if f["quantity"] == "tg_tps")
        for found in (there, back)
    )
    assert (1 + forth_f["change_pct"] / 100) * (1 + back_f["change_pct"] / 100) == pytest.approx(1)
    assert (1 + forth_f["low_pct"] / 100) * (1 + back_f["high_pct"] / 100) == pytest.approx(1)  # type: ignore[operator]


def test_one_repetition_shows_no_spread() -> None:
    found = compare(study({"F16": cell([10.0])}), study({"F16": cell([5.0])}))
    [tg] = [f for f in found["cells"][0]["figures"] if f["quantity"] == "tg_tps"]
    assert (tg["verdict"], tg["why"], tg["low_pct"]) == ("not judged", "one repetition", None)
    assert found["regressions"] == 0


@pytest.mark.parametrize("mark", ["throttled", "disturbed"])
def test_what_is_not_to_be_compared_is_not_judged(mark: str) -> None:
    hot = cell([5.0, 5.1, 4.9])
    hot["marks"] = [mark]  # type: ignore[list-item]
    found = compare(study({"F16": cell([10, 10.1, 9.9])}), study({"F16": hot}))
    assert found["cells"][0]["marks"] == {"before": [], "after": [mark]}
    assert of(found) == {"F16": "not judged"}


def test_joules_of_the_same_tier() -> None:
    def metered(joules: float, tier: str = "metered") -> Measured:
        energy = made.metered(6.0, joules, tier=tier)  # type: ignore[arg-type]
        energy["tg"]["energy_j"] = [4 * joules * more for more in (0.99, 1.0, 1.01)]
        found = cell([10, 10.1, 9.9])
        found["energy"] = energy
        return study({"F16": found})

    more = compare(metered(0.5), metered(0.75))
    assert of(more, "tg_j_per_token") == {"F16": "worse"}
    assert more["cells"][0]["figures"][0]["after"] == pytest.approx(0.75, rel=0.001)
    assert of(compare(metered(0.75), metered(0.5)), "tg_j_per_token") == {"F16": "better"}
    assert of(compare(metered(0.5), metered(0.75, "estimated")), "tg_j_per_token") == {}


def test_conversations_side_by_side_are_held_level_by_level() -> None:
    asked = made.side_by_side()

    def several(speed: float) -> Measured:
        done = made.concurrent_cell(asked, {})
        for count in (1, 2):
            one = made.concurrent_cell(
                asked,
                {
                    count: {
                        "system_s": 0.0,
                        "start_s": 1.0,
                        "pp_s": 1.0,
                        "ttft_each_s": [1.1] * count,
                        "ttft_s": 1.1,
                        "itl_s": [1 / speed] * 4,
                    }
                },
            )
            done["levels"] = [x for x in done["levels"] if x["conversations"] != count]
            done["levels"].append(one["levels"][0])
        sessions = {Session("pi", "m", "F16", "default"): made.session({"users": done})}
        return Measured("s", Path(), sessions, [])

    found = compare(several(10), several(5))
    assert {one["conversations"] for one in found["cells"]} == {1, 2}
    [tg] = [
        f
        for one in found["cells"]
        if one["conversations"] == 2
        for f in one["figures"]
        if f["quantity"] == "tg_tps"
    ]
    assert (tg["before"], tg["after"]) == (pytest.approx(20), pytest.approx(10))


def test_conversations_are_held_by_what_is_done_with_their_prefix() -> None:
    asked = made.conversation(("kept", "restored"), turns=3)

    def talking(restored_s: float) -> Measured:
        done = {
            "kept": [made.talk([4.0, 1.0 + 0.01 * i, 1.0], start_s=100 * i) for i in range(4)],
            "restored": [
                made.talk([4.0, restored_s, restored_s + 0.01 * i], 100 * i, 9) for i in range(4)
            ],
        }
        cell = made.conversation_cell(asked, done)  # type: ignore[arg-type]
        sessions = {Session("pi", "m", "F16", "default"): made.session({"talk": cell})}
        return Measured("s", Path(), sessions, [])

    found = compare(talking(2.0), talking(6.0))
    verdicts = {
        (one["prefix"], f["quantity"]): f["verdict"]
        for one in found["cells"]
        for f in one["figures"]
    }
    assert verdicts["restored", "pp_tps"] == "worse"
    assert {v for name, v in verdicts.items() if name != ("restored", "pp_tps")} <= {
        "the same",
        "undecided",
    }
    assert part_name(found["cells"][0]).endswith(", prefix restored")
    assert ", prefix restored: pp " in as_text(found).partition("\n\n")[0]

    now = talking(2.0)
    [session] = now.sessions.values()
    cell = session["workloads"]["talk"]  # type: ignore[typeddict-item]
    lost = {"prefix": "restored", "status": "failed", "reason": "a full disk"}
    cell["prefixes"] = [cell["prefixes"][0], lost]  # type: ignore[typeddict-item,typeddict-unknown-key]
    failing = compare(talking(2.0), now)
    assert [(one["state"], one["prefix"]) for one in failing["unpaired"]] == [
        ("fails now", "restored")
    ]
    assert failing["regressions"] == 1
    cell["workload"] = {**asked, "turns": 8}
    [other] = compare(talking(2.0), now)["unpaired"]
    assert other["state"] == "another workload"


def test_cells_that_cannot_be_paired_are_named() -> None:
    longer = cell([10, 11])
    longer["workload"] = made.workload(prompt_tokens=200)
    speeds = [10.0, 11.0]
    before = study({q: cell(speeds) for q in ("F16", "Q8_0", "Q4_0", "Q2_K")})
    after = study({"F16": longer, "Q8_0": cell(speeds), "Q6_K": cell(speeds)})
    died: SessionRecord = made.failed(EVIL)  # type: ignore[assignment]
    sessions = {**after.sessions, Session("pi", "m", "Q4_0", "default"): died}
    found = compare(before, Measured("s", Path(), sessions, []))
    assert [(one["quant"], one["state"]) for one in found["unpaired"]] == [
        ("Q4_0", "fails now"),
        ("F16", "another workload"),
        ("Q2_K", "only before"),
        ("Q6_K", "only now"),
    ]
    assert found["unpaired"][0]["reason"] == EVIL
    assert found["regressions"] == 1
    assert list(of(found)) == ["Q8_0"]


def test_over_http_and_in_process_are_never_one_cell() -> None:
    """Though their runtime has one name."""
    before = study({"F16": cell([10, 11]), "Q4_0": cell([10, 11])})
    there = {**session_over_http(cell_over_http(served())), "gguf_sha256": "0" * 64}
    sessions: dict[Session, SessionRecord] = {**before.sessions}
    sessions[Session("pi", "m", "Q4_0", "default")] = there  # type: ignore[assignment]
    found = compare(before, Measured("s", Path(), sessions, []))
    assert list(of(found)) == ["F16"]
    [other] = found["unpaired"]
    assert other["state"] == "over HTTP in one only"
    assert found["regressions"] == 0


def test_other_tokens_and_another_engine_are_told() -> None:
    other = cell([10, 11])
    other["output"] = [1, 2, 3, 5]
    after = study({"F16": other})
    for session in after.sessions.values():
        session["environment"]["engine"] = {**made.engine(), "version": "0.3.37"}
        session["gguf_sha256"] = "ff" * 32
    found = compare(study({"F16": cell([10, 11])}), after)
    assert found["cells"][0]["says_the_same"] is False
    assert found["cells"][0]["same_file"] is False
    assert "Another GGUF file was measured in: pi m F16 chat\n" in as_text(found)
    assert found["differences"] == [
        {"device": "pi", "what": "engine", "before": "0.3.36", "after": "0.3.37"}
    ]


@pytest.mark.parametrize("setting", list(get_type_hints(Settings)))
def test_every_setting_that_is_another_is_told(setting: str) -> None:
    """Those that a later engine has, too: they are the record's own."""
    after = study({"F16": cell([10, 11])})
    for session in after.sessions.values():
        session["settings"] = {**session["settings"], setting: "another"}
    [told] = compare(study({"F16": cell([10, 11])}), after)["differences"]
    assert (told["what"], told["after"]) == (setting, "another")


@pytest.mark.parametrize("pp_s", [5e-324, 1e308])
def test_times_that_no_machine_has_are_no_figures(pp_s: float) -> None:
    odd = made.cell([made.repetition(pp_s, [0.1] * 4) for _ in range(2)])
    found = compare(study({"F16": odd, "Q8_0": cell([10, 11])}), study({"F16": odd}))
    assert "nan" not in as_json(found).lower()
    assert "infinity" not in as_json(found).lower()


def test_a_meter_too_coarse_for_one_repetition_is_no_figure() -> None:
    energy = made.metered(6.0, 0.5)
    energy["tg"]["energy_j"] = [0.0, 2.0, 2.0]
    coarse = cell([10, 10.1, 9.9])
    coarse["energy"] = energy
    found = compare(study({"F16": coarse}), study({"F16": coarse}))
    assert of(found, "tg_j_per_token") == {}
    assert of(found) == {"F16": "the same"}


# --- scores ---------------------------------------------------------------------------------------


def asked(right: Sequence[float], *, clusters: int = 40, margin: float = 5.0) -> Requirement:
    """A task with five items a passage, of which so many are right."""
    evidence: Evidence = {
        "model": "m",
        "quant": "Q4_0",
        "computation": DEFAULT,
        "score": {"items": [5] * clusters, "score": {"sums": [*right], "squares": sum(right)}},
        "loss": None,
        "reference": True,
    }
    return {
        "task": "field",
        "metric": "has_ans_f1",
        "tag": None,
        "margin": margin,
        "kind": "loss",
        "cluster": "passage",
        "clusters": [f"p{at}" for at in range(clusters)],
        "asked": 5 * clusters,
        "variants": [evidence],
    }


def scored(before: Sequence[float], after: Sequence[float]) -> Comparison:
    sides = (Measured("s", Path(), {}, [asked(right)]) for right in (before, after))
    return compare(*sides)


def test_a_score_that_lost_more_than_the_margin_is_worse() -> None:
    found = scored([4.0] * 40, [2.0] * 20 + [3.0] * 20)
    [score] = found["quality"]
    assert score["loss_points"] == pytest.approx(30)
    assert score["low_points"] > 5
    assert (score["verdict"], found["regressions"]) == ("worse", 1)
    assert "\n! m Q4_0: field has_ans_f1 lost +30.0 (" in as_text(found)


def test_the_same_answers_lost_nothing_and_their_interval_has_a_width() -> None:
    [score] = scored([3.0] * 40, [3.0] * 40)["quality"]
    assert score["loss_points"] == 0
    assert score["low_points"] < 0 < score["high_points"]
    assert score["verdict"] == "the same"


def test_other_items_are_not_compared() -> None:
    other = Measured("s", Path(), {}, [asked([3.0] * 30, clusters=30)])
    assert compare(Measured("s", Path(), {}, [asked([3.0] * 40)]), other)["quality"] == []


def test_where_nothing_can_be_judged_no_check_has_passed(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    """Devices were renamed, or all was throttled: nothing is worse, and nobody looked."""
    left("before", drawn(1))
    for session, record in drawn(2).sessions.items():
        write(layout.BENCH, record, study="renamed", **{**session._asdict(), "device": "pi-2"})
    hot = drawn(2)
    for record in hot.sessions.values():
        assert record["status"] == "ok"
        for one in record["workloads"].values():
            one["marks"] = ["throttled"]  # type: ignore[typeddict-unknown-key]
    left("hot", hot)
    for after in ("renamed", "hot"):
        assert cli.main(["compare", "before", after, "--page", "out.html"]) == 1
        assert "\n! Nothing could be judged: " in capsys.readouterr().out
        assert '<li class="bad">Nothing could be judged: ' in (folder / "out.html").read_text()
        found = compare(measured("before"), measured(after))
        assert (found["regressions"], found["judged"]) == (0, 0)
        assert all("判定できたものはありません" in one for one in japanese.verdicts(found))


@pytest.mark.parametrize(
    ("then", "now", "compared"),
    [
        ({"questions_sha256": "a"}, {"questions_sha256": "a"}, True),
        ({"questions_sha256": "a"}, {"questions_sha256": "b"}, False),
        ({"prompts_sha256": "a"}, {"prompts_sha256": "b"}, False),
        ({"tasks": {"t": {"items_sha256": "a"}}}, {"tasks": {"t": {"items_sha256": "b"}}}, False),
        ({"tasks": {"t": {"items_sha256": "a"}}}, {"tasks": {"t": {"items_sha256": "a"}}}, True),
        ({"questions_sha256": "a"}, {"status": "failed"}, True),
    ],
)
def test_other_questions_of_the_same_names_are_not_compared(
    then: dict[str, object], now: dict[str, object], compared: bool
) -> None:
    """A question that was put right lost nobody a point."""
    for name, record in (("then", then), ("now", now)):
        found: Requirements = {"study": name, "requirements": [asked([3.0] * 40)]}
        write(layout.REQUIREMENTS, found, study=name)
        cell = {"study": name, "model": "m", "quant": "Q4_0", "computation": DEFAULT}
        write(layout.QUALITY, record, **cell, task="field")
    assert bool(compare(measured("then"), measured("now"))["quality"]) is compared


# --- from files -----------------------------------------------------------------------------------


def left(name: str, found: Measured) -> None:
    for session, record in found.sessions.items():
        write(layout.BENCH, record, study=name, **session._asdict())


def test_the_command(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    left("before", drawn(1))
    left("same", drawn(2))
    left("slower", drawn(3, slower={"Q4_0": 0.8}))
    assert cli.main(["compare", "before", "same"]) == 0
    assert "Nothing is worse by more than 5 % beyond doubt." in capsys.readouterr().out
    elsewhere = str(folder / "results/bench/before")
    assert cli.main(["compare", elsewhere, "slower", "--json", "--page", "out.html"]) == 1
    found = check(capsys.readouterr().out, Comparison, "stdout")
    assert found["before"]["folder"] == str(folder)
    assert found["cells"][0]["quant"] == "Q4_0"
    assert "pi m Q4_0 chat" in (folder / "out.html").read_text()
    assert cli.main(["compare", "before", "slower", "--at-most-pct", "40"]) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[0] == (
        "before (6 sessions, 2026-11-24) against slower (6 sessions, 2026-11-24): 6 cells in both"
    )


def test_a_damaged_record_fails_alone(capsys: pytest.CaptureFixture[str]) -> None:
    left("before", drawn(1))
    left("after", drawn(2))
    broken = Path(layout.at(layout.BENCH, study="after", device="pi", model="m", quant="F16",
                            runtime="default"))  # fmt: skip
    broken.write_text(broken.read_text()[:200])
    assert cli.main(["compare", "before", "after"]) == 1
    out = capsys.readouterr().out
    assert f"! pi m F16 chat: fails now: {broken}: " in out
    assert "pi m Q8_0 chat" in out


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("nothing", "nothing was measured in results/bench/nothing. There are: before"),
        ("somewhere/else", "should be the name of a study, or a folder .../results/bench/STUDY"),
    ],
)
def test_what_is_not_there_is_named(named: str, said: str) -> None:
    left("before", drawn(1))
    with pytest.raises(LlmpiError, match=f"{named}: {said}"):
        measured(named)


def test_scores_without_any_speed_are_compared() -> None:
    for name, right in (("before", 4.0), ("after", 2.0)):
        found: Requirements = {"study": name, "requirements": [asked([right] * 40)]}
        write(layout.REQUIREMENTS, found, study=name)
    found = compare(measured("before"), measured("after"))
    assert [one["verdict"] for one in found["quality"]] == ["worse"]
    assert (found["regressions"], found["judged"]) == (1, 1)


def test_what_comes_from_outside_is_text_on_the_page(folder: Path) -> None:
    left("before", drawn(1))
    left("after", drawn(2))
    died = made.failed(EVIL)
    write(layout.BENCH, died, study="after", device="pi", model="m", quant="F16", runtime="default")
    assert cli.main(["compare", "before", "after", "--page", "out.html"]) == 1
    page = (folder / "out.html").read_text()
    assert "&lt;script&gt;" in page
    assert page.count("<script") == 1, "its own"


def test_the_page_tells_others_no_host_user_or_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who compares at a terminal reads what was said; who gets the page does not."""
    monkeypatch.setattr("platform.node", lambda: "rivendell")
    left("before", drawn(1))
    left("after", drawn(2))
    private = (
        "jane@plug.example",
        "192.168.7.20",
        "/home/jane/models",
        "nas.local",
        "rivendell",
    )
    died = made.failed(f"died: {'; '.join(private)}, status 9")
    write(layout.BENCH, died, study="after", device="pi", model="m", quant="F16", runtime="default")
    elsewhere = str(folder / "results/bench/before")
    assert cli.main(["compare", elsewhere, "after", "--page", "out.html"]) == 1
    said, page = capsys.readouterr().out, (folder / "out.html").read_text()
    for one in (*private, str(folder)):
        assert one in said and one not in page
    assert "died: " in page and ", status 9" in page
    assert "pi m Q8_0 chat" in page


def test_a_reader_who_goes_away_costs_no_page(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`llmpi compare ... --page FILE | head`."""

    def gone(*_: str, **elsewhere: object) -> None:
        if not elsewhere:
            raise BrokenPipeError

    left("before", drawn(1))
    left("after", drawn(2))
    monkeypatch.setattr("builtins.print", gone)
    cli.main(["compare", "before", "after", "--page", "out.html"])
    assert (folder / "out.html").is_file()
