"""Groups of equal boards: in the config, in the runs, in the summary, on the page."""

from pathlib import Path
from typing import Any

import made_records as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import write
from small_results import bench, manifest

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.engine.records import Tier
from llmpi.quality.evidence import Requirements
from llmpi.report.page.write import write_page
from llmpi.study.decision import Constraints
from llmpi.study.devices import SshDevice
from llmpi.study.runs import Variant, sessions, stands_for, variants
from llmpi.study.study import Study
from llmpi.summary.groups import by_class, spreads, unlike
from llmpi.summary.read import read_records
from llmpi.summary.records import Row, Summary
from llmpi.summary.study import summarize

BOARDS = ("shelf.a", "shelf.b", "shelf.c")
QUANTS = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q3_K_M", "Q2_K"]


def study(**more: Any) -> Study:
    shelf = {
        "transport": "ssh-group",
        "user": "pi",
        "idle_s": 5,
        "boards": {"a": "pi-a.local", "b": {"host": "pi-b.local", "port": 2222}, "c": "10.0.0.3"},
    }
    given: dict[str, Any] = {
        "study": "s",
        "models": {"m": {"source": {"path": "m.gguf"}}},
        "quants": ["F16"],
        "devices": {"here": {"transport": "local"}, "shelf": shelf},
        "workloads": {"chat": {"prompt_tokens": 100, "output_tokens": 4, "repetitions": 3}},
    }
    return Study.model_validate({**given, **more})


def test_a_group_is_its_boards() -> None:
    found = study()
    assert list(found.devices) == ["here", *BOARDS]
    board = found.devices["shelf.b"]
    assert isinstance(board, SshDevice)
    assert (board.host, board.port, board.user, board.idle_s) == ("pi-b.local", 2222, "pi", 5)
    assert board.group == "shelf"
    assert found.classes == {"here": ["here"], "shelf": list(BOARDS)}


def test_what_a_study_dumps_is_the_study() -> None:
    found = study()
    assert Study.model_validate(found.model_dump(mode="json")) == found


def test_devices_can_name_their_group_themselves() -> None:
    single = {"transport": "ssh", "group": "pair"}
    devices = {"x": {**single, "host": "x.local"}, "y": {**single, "host": "y.local"}}
    assert study(devices=devices).classes == {"pair": ["x", "y"]}


def test_every_board_is_measured_and_a_group_is_excluded_as_a_whole() -> None:
    assert {session.device for session in sessions(study())} == {"here", *BOARDS}
    without = study(quants=["F16", "Q4_0"], exclude=[{"device": "shelf", "quant": "Q4_0"}])
    assert {(s.device, s.quant) for s in sessions(without)} == {
        *((device, "F16") for device in ("here", *BOARDS)),
        ("here", "Q4_0"),
    }


def test_one_board_of_a_group_stands_for_it_and_the_work_is_spread() -> None:
    found = study(quants=QUANTS)
    chosen = {}
    for variant in variants(found):
        [chosen[variant]] = {stands_for(found, board, variant) for board in BOARDS}
        assert stands_for(found, "here", variant) == "here"
    assert set(chosen.values()) == set(BOARDS)


@given(st.sets(st.sampled_from("bcdefgh"), min_size=1), st.sampled_from(QUANTS))
def test_another_board_takes_work_over_but_moves_none_of_the_others(boards, quant: str) -> None:
    def choice(ids: set[str]) -> str:
        group = {"transport": "ssh-group", "boards": {i: f"pi-{i}" for i in sorted(ids)}}
        found = study(quants=QUANTS, devices={"shelf": group})
        return stands_for(found, f"shelf.{min(ids)}", Variant("m", quant))

    assert choice({*boards, "a"}) in ("shelf.a", choice(boards))


def test_a_board_that_does_not_run_a_variant_does_not_stand_for_it() -> None:
    found = study(exclude=[{"device": board} for board in BOARDS[:2]])
    assert stands_for(found, "shelf.c", Variant("m", "F16")) == "shelf.c"


GROUPS = {"here": ["here"], "shelf": list(BOARDS)}


def three() -> list[Row]:
    return [made.row("here", tg_tps=50), *(made.row(b, tg_tps=t) for b, t in SPEEDS.items())]


SPEEDS = dict(zip(BOARDS, (10.0, 12.0, 8.0), strict=True))


def test_a_class_has_the_median_board_and_the_range_of_all() -> None:
    rows = three()
    for row, peak in zip(rows, (1, 2, 3, 4), strict=True):
        row["peak_rss_bytes"] = peak
    here, shelf = by_class(rows, GROUPS)
    assert here == {**rows[0], "boards": ["here"]}
    assert (shelf["device"], shelf["boards"]) == ("shelf", list(BOARDS))
    assert (shelf["tg_tps"], shelf["tg_min_tps"], shelf["tg_max_tps"]) == (10, 0.9 * 8, 1.2 * 12)
    assert (shelf["pp_tps"], shelf["peak_rss_bytes"]) == (90, 4)


def test_the_spread_between_boards_stands_beside_the_one_within() -> None:
    [cell] = spreads(three(), GROUPS)
    assert (cell["group"], cell["median"], cell["missing"]) == ("shelf", 10, [])
    assert cell["between_pct"] == pytest.approx(40)
    assert cell["within_pct"] == pytest.approx(30)
    assert [board["device"] for board in cell["boards"]] == list(BOARDS)


def failed(device: str, reason: str) -> Row:
    return {**made.row(device), "status": "failed", "reason": reason}


def test_a_cell_that_fails_on_one_board_fails_for_the_group_and_says_which() -> None:
    rows = [made.row("shelf.a"), failed("shelf.b", "no memory")]
    [shelf] = by_class(rows, GROUPS)
    assert (shelf["status"], shelf["reason"]) == ("failed", "shelf.b: no memory")
    [cell] = spreads(rows, GROUPS)
    assert (cell["median"], cell["missing"]) == (10, ["shelf.b"])
    assert spreads([failed(board, "x") for board in BOARDS], GROUPS)[0]["median"] is None


def test_one_throttled_or_disagreeing_board_marks_the_group() -> None:
    rows = [made.row(board) for board in BOARDS]
    rows[1]["marks"] = ["throttled"]
    rows[2]["parity_reason"] = "KL"
    [shelf] = by_class(rows, GROUPS)
    assert (shelf["marks"], shelf["parity_reason"]) == (["throttled"], "KL")


def metered(device: str, joules: float, tier: Tier = "metered") -> Row:
    energy = {"tg_j_per_token": joules, "tg_uncertainty_j_per_token": 3.0, "energy_tier": tier}
    return {**made.row(device), **energy}


def test_energy_is_of_the_boards_that_have_a_meter() -> None:
    rows = [made.row("shelf.a"), metered("shelf.b", 1), metered("shelf.c", 9)]
    [shelf] = by_class(rows, GROUPS)
    assert (shelf["energy_tier"], shelf["energy_reason"]) == ("metered", "of 2 of 3 boards")
    assert shelf["tg_j_per_token"] == 5
    # Of one board 3, between the two 4.
    assert shelf["tg_uncertainty_j_per_token"] == pytest.approx(5)


def test_energy_of_different_tiers_is_not_put_together() -> None:
    [shelf] = by_class([metered("shelf.a", 1), metered("shelf.b", 9, "pmic")], GROUPS)
    assert (shelf["energy_tier"], shelf["tg_j_per_token"]) == (None, None)
    assert "metered, pmic" in (shelf["energy_reason"] or "")


def test_boards_that_are_not_equal_are_told() -> None:
    machines = {board: made.provisioned(board) for board in BOARDS[:2]}
    machines |= {
        "shelf.c": made.failed("gone"),
        "here": made.provisioned("here", made.machine("x")),
    }
    assert unlike(machines, GROUPS) == []
    machines["shelf.b"] = made.provisioned("shelf.b", made.machine("Raspberry Pi 4"))
    assert unlike(machines, GROUPS) == [
        {
            "group": "shelf",
            "key": "board",
            "values": {"shelf.a": made.PI5, "shelf.b": "Raspberry Pi 4"},
        }
    ]


@pytest.mark.parametrize(
    ("memory_bytes", "differing"),
    [(8_449_983_616, []), (4_225_000_000, ["memory_bytes"]), (None, ["memory_bytes"])],
)
def test_memory_is_the_same_but_for_what_the_kernel_counts(
    memory_bytes, differing: list[str]
) -> None:
    """Seen on one board: 16 KB more or less from boot to boot."""
    machines = {
        "shelf.a": made.provisioned("shelf.a"),
        "shelf.b": made.provisioned("shelf.b", made.machine(memory_bytes=memory_bytes)),
        "shelf.c": made.failed("gone"),
        "here": made.failed("gone"),
    }
    assert [found["key"] for found in unlike(machines, GROUPS)] == differing


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Summary:
    """The summary of a study on the group, measured on two of three boards."""
    monkeypatch.chdir(tmp_path)
    write(layout.GGUF_MANIFEST, manifest("F16"), model="m", quant="F16")
    for board, record in zip(BOARDS, (bench(), bench(), made.failed("gone")), strict=True):
        cell = {"study": "s", "device": board, "model": "m", "quant": "F16"}
        write(layout.BENCH, record, **cell, runtime="default")
    shelf = {"transport": "ssh-group", "boards": {i: f"pi-{i}" for i in "abc"}}
    return summarized(study(devices={"shelf": shelf}))


def summarized(asked: Study) -> Summary:
    return summarize(asked, read_records(asked))[0]


def test_the_summary_has_every_board_and_the_class(measured) -> None:
    assert [(r["device"], r["group"]) for r in measured["rows"]] == [(b, "shelf") for b in BOARDS]
    classes = by_class(measured["rows"], {"shelf": list(BOARDS)})
    assert [(r["device"], r["status"]) for r in classes] == [("shelf", "failed")]
    assert measured["groups"][0]["missing"] == ["shelf.c"]


@pytest.mark.usefixtures("measured")
def test_a_board_with_another_engine_is_not_spoken_for() -> None:
    quality = {"qa": {"task": "squad", "squad_file": "qa.json"}}
    shelf = {"transport": "ssh-group", "boards": {i: f"pi-{i}" for i in "ab"}}
    asked = study(devices={"shelf": shelf}, quality=quality)
    checked = stands_for(asked, "shelf.a", Variant("m", "F16"))
    [other] = {"shelf.a", "shelf.b"} - {checked}
    write(layout.PARITY, made.parity(None), study="s", device=checked, model="m", quant="F16")

    def reasons(*features: str) -> dict[str, str | None]:
        for board in (checked, other):
            has = ["NEON", *(features if board == other else ())]
            engine = {**made.engine(), "features": has, "library_sha256": board}
            write(layout.PROVISIONED, {**made.provisioned(board), "engine": engine}, device=board)
        return reasons_of(asked)

    assert reasons() == {checked: None, other: None}, "another build of the same"
    assert reasons("DOTPROD") == {
        checked: None,
        other: f"{other} has another engine than {checked}, which was checked",
    }
    damaged = Path(layout.at(layout.PROVISIONED, device=other))
    damaged.write_text("{}")
    unknown = reasons_of(asked)[other]
    assert unknown and unknown.startswith(f"the engine of {other} is not known: {damaged}: ")


def reasons_of(asked: Study) -> dict[str, str | None]:
    return {row["device"]: row["parity_reason"] for row in summarized(asked)["rows"]}


def test_the_page_shows_the_boards(measured, tmp_path: Path) -> None:
    write_page(measured, None, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Between boards" in page
    assert "shelf.a 10.0, shelf.b 10.0" in page
    assert "without shelf.c" in page


def test_a_group_is_one_choice(measured) -> None:
    nothing_asked: Requirements = {"study": "s", "requirements": []}
    chosen = recommend(measured, nothing_asked, Constraints(prefer="speed"))
    assert [decision["where"] for decision in chosen["decisions"]] == ["overall", "shelf"]
    assert chosen["decisions"][0]["killed"] == {"failed": 1}
