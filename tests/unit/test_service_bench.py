"""What a service carries: its clients, what is made of their times, what the page says of it."""

import argparse
import itertools
import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import made_records as made
import pytest
import small_results as small
from made_service import answered, bench, carried, failed, refused, settings
from shown_page import Page

from llmpi import cli, layout
from llmpi.decide.choice import recommend
from llmpi.device.machine import alone
from llmpi.device.machine.energy import Samples
from llmpi.device.measure.http_answer import EndpointError
from llmpi.device.measure.http_stream import Answer, BusyError
from llmpi.device.service.bench import NO_METER, STOPPED, energy_of, run
from llmpi.device.service.load import arrivals, closed_loop, open_loop
from llmpi.device.service.records import Bench, BenchRequest, ServiceBench
from llmpi.errors import LlmpiError
from llmpi.operate.bench import kept, loads_of, prompts_for, record_of, seen, table
from llmpi.records import RecordError, read, write_json
from llmpi.report.page.write import write_page
from llmpi.study import inputs
from llmpi.study.decision import Constraints
from llmpi.study.study import Study
from llmpi.summary.service_loads import (
    carried_load,
    most_without_refusal,
    quantiles,
    read_benches,
)

SERVED: Any = {"prompt_tokens": 3, "output_tokens": 2}


def answer() -> Answer:
    start_ns = time.monotonic_ns()
    pieces = [(time.monotonic_ns(), "a")]
    return Answer(start_ns, pieces, None, "a", stopped=True, served=SERVED, server=None)


# --- clients --------------------------------------------------------------------------------------


def test_a_closed_loop_has_so_many_clients_and_asks_each_request_once() -> None:
    inside, most, asked, together = set[int](), 0, list[int](), threading.Barrier(3)

    def ask(number: int) -> Answer:
        nonlocal most
        inside.add(number)
        asked.append(number)
        together.wait(60)
        most = max(most, len(inside))
        together.wait(60)
        inside.discard(number)
        return answer()

    found = closed_loop(ask, 3, requests=12)
    assert sorted(asked) == list(range(12))
    assert most == 3
    assert [one["outcome"] for one in found] == ["answered"] * 12


def test_arrivals_are_a_poisson_process_the_same_for_a_seed() -> None:
    due_s = arrivals(5.0, 7, requests=10_000, seconds=float("inf"))
    assert due_s == arrivals(5.0, 7, requests=10_000, seconds=float("inf"))
    assert due_s != arrivals(5.0, 8, requests=10_000, seconds=float("inf"))
    gaps = [b - a for a, b in itertools.pairwise([0.0, *due_s])]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.2, rel=0.05)
    longer = sum(gap > mean for gap in gaps) / len(gaps)
    assert longer == pytest.approx(0.368, abs=0.02), "exponential: 1/e are longer than the mean"
    assert all(at <= 3 for at in arrivals(5.0, 7, requests=10_000, seconds=3))


def test_an_open_loop_waits_for_nobody_and_counts_from_when_a_request_was_due() -> None:
    all_there = threading.Barrier(4)

    def ask(_: int) -> Answer:
        all_there.wait(60)  # who asked one after the other would never come here
        return answer()

    due_s = [0.0, 0.01, 0.02, 0.03]
    found = sorted(open_loop(ask, due_s), key=lambda one: one["start_s"])
    starts = [one["start_s"] - found[0]["start_s"] for one in found]
    assert starts == pytest.approx(due_s)
    assert all((one["ttft_s"] or 0) >= 0.03 - due for one, due in zip(found, due_s, strict=True))


@pytest.mark.parametrize("status", [429, 503, 504])
def test_who_is_told_to_come_back_is_refused_and_not_failed(status: int) -> None:
    def ask(_: int) -> Answer:
        error = BusyError("busy", again_s=0)
        error.status = status
        raise error

    [one] = closed_loop(ask, 1, requests=1)
    assert (one["outcome"], one["status"], one["reason"]) == ("refused", status, "busy")


@pytest.mark.parametrize("status", [None, 400, 500])
def test_another_error_is_a_failure_with_its_reason(status: int | None) -> None:
    def ask(_: int) -> Answer:
        error = EndpointError("no answer")
        error.status = status
        raise error

    [one] = closed_loop(ask, 1, requests=1)
    assert (one["outcome"], one["status"], one["reason"]) == ("failed", status, "no answer")


def test_what_was_answered_before_it_was_ended_is_kept() -> None:
    over, held = threading.Event(), threading.Event()

    def ask(number: int) -> Answer:
        if number == 3:
            over.set()
            held.wait(60)
        return answer()

    found = closed_loop(ask, 1, requests=1000, over=over)
    held.set()
    assert len(found) == 3


# --- what is made of the times --------------------------------------------------------------------


def test_a_quantile_needs_so_many_answers_that_one_lies_beyond_it() -> None:
    assert quantiles([]) == (None, None, None)
    assert quantiles([3.0]) == (3.0, None, None)
    assert quantiles(float(i) for i in range(19)) == (9.0, None, None)
    assert quantiles(float(i) for i in range(21)) == (10.0, 19.0, None)
    assert quantiles(float(i) for i in range(101)) == (50.0, 95.0, 99.0)


def test_a_load_in_numbers() -> None:
    found = carried_load(carried())
    assert (found.asked, found.answered, found.refused, found.failed) == (40, 40, {}, 0)
    assert found.whole_s.p50 == 2.0
    assert (found.span_s, found.answered_per_min, found.output_tps) == (40.0, 60.0, 20.0)
    assert (found.j_per_answer, found.tier, found.no_energy) == (5.0, "pmic", None)
    assert found.cached_pct == 0


def test_refusals_are_counted_by_status_and_their_time_is_no_answers() -> None:
    made_of = [answered(0.0), refused(0.5), refused(0.6, 429), refused(0.7), failed(0.8)]
    found = carried_load(carried(made_of))
    assert (found.answered, found.refused, found.failed) == (1, {429: 1, 503: 2}, 1)
    assert found.reasons == ["broke off"]
    assert found.whole_s.p50 == 2.0
    assert found.j_per_answer == 200.0, "whoever is refused has no joules of their own"
    assert found.cached_pct is None


def test_what_came_out_of_the_cache_is_told() -> None:
    assert carried_load(carried(computed_prompt_tokens=1000)).cached_pct == 75
    assert carried_load(carried(computed_prompt_tokens=None)).cached_pct is None
    told = "\n".join(table([carried_load(carried(computed_prompt_tokens=1000))]))
    assert "75 % of the prompts' tokens came out of the cache" in told


def test_the_most_without_a_refusal() -> None:
    slow = carried([answered(0.0, 4.0), answered(4.0, 4.0)])
    too_much = carried([*carried()["requests_made"], refused(1.0)])
    loads = [carried_load(one) for one in (slow, carried(), too_much)]
    best = most_without_refusal(loads)
    assert best is not None
    assert best.answered_per_min == 60
    assert most_without_refusal(loads[2:]) is None


# --- joules ---------------------------------------------------------------------------------------


PMIC: Any = {"kind": "pmic", "accuracy_pct": None, "scale": 1.0, "offset_w": 0.0, "interval_s": 0.1}


def test_joules_are_those_from_the_first_request_to_the_last_end() -> None:
    samples = Samples([0.0, 1.0, 2.0, 3.0, 4.0, 5.0], [5.0] * 6, [])
    found = energy_of([answered(1.0, 1.0), answered(2.5, 1.5)], samples, PMIC)
    assert found["status"] == "ok"
    assert (found["energy_j"], found["tier"], found["by"]) == (15.0, "pmic", "power")


def test_no_meter_no_joules() -> None:
    found = energy_of([answered(1.0)], NO_METER, {"kind": "none"})
    assert found == {"status": "none", "tier": None, "reason": "the device has no meter"}
    found = energy_of([answered(1.0, 9.0)], Samples([0.0, 1.0], [5.0, 5.0], []), PMIC)
    assert found["status"] == "none"
    assert "do not cover" in found["reason"]
    told = "\n".join(table([carried_load(carried(energy=found))]))
    assert "no joules: the meter's samples do not cover" in told


# --- on a device ----------------------------------------------------------------------------------


@pytest.fixture
def request_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchRequest:
    """To a store without a service, on a machine that nobody else measures on."""
    monkeypatch.setattr(alone, "PLACES", (tmp_path,))
    return {
        "load": {"kind": "closed", "clients": 1},
        "prompts": {"kind": "texts", "prompt_tokens": 8},
        "distinct": True,
        "output_tokens": 8,
        "requests": 1,
        "seconds": 1.0,
        "what": "a test",
        "store": str(tmp_path),
        "url": "http://127.0.0.1:1",
        "key_file": None,
        "questions": [],
        "meter": {"kind": "none"},
    }


def test_a_device_without_a_service_says_so(request_there: BenchRequest) -> None:
    said = run(request_there, log=print)
    assert said == {"error": "no service is installed; llmpi service install does it"}


def test_who_is_told_to_stop_while_another_measures_has_measured_nothing(
    request_there: BenchRequest, tmp_path: Path
) -> None:
    (tmp_path / "nothing").touch()
    with alone.machine_alone("other", wait=print), (tmp_path / "nothing").open() as owner:
        assert run(request_there, log=print, owner=owner) == {"error": STOPPED}


# --- what is asked --------------------------------------------------------------------------------

SERVICE: dict[str, Any] = {"variant": {"model": "m", "quant": "F16"}}
RECOMMENDED: dict[str, Any] = {"service": {"variant": "recommended"}, "constraints": {}}
SSH: dict[str, Any] = {"devices": {"pi": {"transport": "ssh", "host": "pi.local"}}}


def study(**more: Any) -> Study:
    return small.study(**{**SSH, "service": SERVICE, **more})


def asked(*arguments: str) -> argparse.Namespace:
    seen: list[argparse.Namespace] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmpi.operate.service_cli.run", seen.append)
        cli.main(["service", "bench", *arguments])
    return seen[0]


def test_loads_by_clients_or_by_rate() -> None:
    closed = [{"kind": "closed", "clients": n} for n in (1, 2, 4)]
    assert loads_of(asked()) == closed
    assert loads_of(asked("--clients", "2")) == closed[1:2]
    by_rate = [{"kind": "open", "per_s": r, "seed": 7} for r in (0.1, 2.5)]
    assert loads_of(asked("--rate", "0.1,2.5", "--seed", "7")) == by_rate


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--clients", "0"), "0 is not above 0"),
        (("--clients", "two"), "--clients: invalid"),
        (("--rate", "nan"), "nan is not above 0"),
        (("--clients", "1", "--rate", "1"), "not allowed with"),
        (("--requests", "0"), "0 is not above 0"),
    ],
)
def test_what_is_no_load_is_refused(
    arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        asked(*arguments)
    assert said in capsys.readouterr().err


def test_without_questions_texts_of_the_first_workloads_length_are_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert prompts_for(study(), None, None) == ({"kind": "texts", "prompt_tokens": 100}, [], 4)
    assert prompts_for(study(), 50, 9) == ({"kind": "texts", "prompt_tokens": 50}, [], 9)
    with pytest.raises(LlmpiError, match="no room in the service's context_tokens, 2048"):
        prompts_for(study(), 2048, None)


def test_the_studys_questions_are_asked_passage_by_passage(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    passages = [
        {
            "context": f"passage {p}",
            "qas": [
                {"id": f"{p}{q}", "question": f"{p}-{q}?", "is_impossible": True, "answers": []}
                for q in range(2)
            ],
        }
        for p in range(3)
    ]
    drawn: Any = made.questions()
    drawn["squad"] = {"version": "v2.0", "data": [{"title": "", "paragraphs": passages}]}
    made.write(layout.QUESTIONS, drawn, study="s", task="qa")
    found = prompts_for(study(), None, None)
    assert found.asked == {"kind": "questions", "task": "qa", "questions": 6}
    assert found.output_tokens == 32
    last = [chat[-1]["content"] for chat in found.questions]
    assert [re.findall(r"\d-\d\?", one) for one in last] == [
        [f"{p}-{q}?"] for q in range(2) for p in range(3)
    ]
    assert prompts_for(study(), 64, None).asked == {"kind": "texts", "prompt_tokens": 64}


# --- the record -----------------------------------------------------------------------------------


def told_by_device(release: str, **more: Any) -> Bench:
    found: Any = {key: value for key, value in bench().items() if key in Bench.__annotations__}
    return {
        **found,
        "release": release,
        "carried": carried(**more),
        "monotonic_s": 1.0,
        "wall_s": 2.0,
    }


def test_of_each_kind_the_last_load_is_kept_and_of_one_release_alone() -> None:
    first = kept(None, told_by_device("a"), "s", "pi")
    other: Any = {"kind": "open", "per_s": 1.0, "seed": 0}
    second = kept(first, told_by_device("a", load=other), "s", "pi")
    again = kept(second, told_by_device("a", requests=7), "s", "pi")
    assert [one["requests"] for one in again["loads"]] == [40, 7]
    assert [one["load"]["kind"] for one in again["loads"]] == ["open", "closed"]
    stopped = kept(again, told_by_device("a", stopped=True), "s", "pi")
    assert stopped["loads"] == again["loads"], "what was stopped replaces nothing that was not"
    assert len(kept(again, told_by_device("b"), "s", "pi")["loads"]) == 1
    assert read_back(again) == again


def read_back(record: ServiceBench) -> ServiceBench:
    path = Path(layout.at(layout.SERVICE, study="s", device="pi"))
    write_json(path, record)
    return read(path, ServiceBench)


@pytest.fixture(autouse=True)
def _beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_is_served_now_is_noted_and_nothing_is_written_where_it_is_the_same() -> None:
    seen("s", "pi", "b")
    path = record_of("s", "pi")
    assert not path.exists(), "nothing was measured"
    write_json(path, bench(release="a", seen={"release": "a", "at": "then"}))
    was = path.read_bytes()
    seen("s", "pi", "a")
    assert path.read_bytes() == was
    seen("s", "pi", None)
    assert read(path, ServiceBench)["seen"]["release"] is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda record: record.pop("release"), "release: Field required"),
        (lambda record: record["loads"][0]["requests_made"][0].pop("whole_s"), "whole_s"),
        (lambda record: record["loads"][0].update(stopped="no"), "stopped"),
        (lambda record: record.update(more=1), "more: Extra inputs"),
    ],
)
def test_a_damaged_record_is_told_by_file_and_field(spoil: Any, said: str) -> None:
    record: Any = json.loads(json.dumps(bench()))
    spoil(record)
    path = record_of("s", "pi")
    write_json(path, record)
    with pytest.raises(RecordError, match=said):
        read(path, ServiceBench)
    found = read_benches([path])["pi"]
    assert found["status"] == "failed"
    assert str(path) in found["reason"]
    assert said in found["reason"]
    seen("s", "pi", "b")
    assert json.loads(path.read_text()) == record, "who measures again is told"


# --- the page -------------------------------------------------------------------------------------


def shown(found: dict[str, Any], *, language: str = "en", **more: Any) -> Page:
    """The page of the small study, whose records are not there, and which serves."""
    given = {**SSH, "service": SERVICE, "languages": [language], **more}
    summary, requirements = small.summary(**given)
    chosen = {**recommend(summary, requirements, Constraints()), "money": None}
    write_page(summary, chosen, Path("index.html"), found)
    return Page(Path("index.html").read_text(encoding="utf-8"))


def of_section(page: Page, title: str = "What the shelf carries") -> str:
    return page.text.split(title)[-1]


def test_a_page_without_such_records_is_unchanged() -> None:
    for found in ({}, {"pi": bench([])}, {"elsewhere": bench()}):
        page = shown(found)
        assert 'id="service"' not in page.html
        assert "What the shelf carries" not in page.text


def test_the_page_says_what_the_shelf_carries() -> None:
    rate = {"kind": "open", "per_s": 0.5, "seed": 0}
    made_of = [answered(float(i)) for i in range(30)]
    loads = [
        carried([*made_of, refused(1.0), refused(2.0), failed(3.0)], load=rate, distinct=False),
        carried(),
    ]
    text = of_section(shown({"pi": bench(loads)}))
    assert "Up to 60.0 answers a minute without a refusal (2 clients)" in text
    assert "2 clients 100 tokens of text, answers of up to 20 40 40 0 0 0.50 0.50" in text
    assert "2.00 2.00 60.0 20.0 5.0 pmic" in text
    assert "0.5 requests/s, by chance" in text
    assert "they begin alike" in text
    assert "33 30 2 (503) 1 " in text
    assert text.index("2 clients 100") < text.index("0.5 requests/s")
    assert "broke off" in text
    assert "Not what it carries now" not in text


def test_without_a_meter_there_are_no_joules_and_the_page_says_why() -> None:
    none: Any = {"status": "none", "tier": None, "reason": NO_METER}
    text = of_section(shown({"pi": bench([carried(energy=none)])}))
    assert "No joules: the device has no meter." in text
    assert "60.0 20.0 " in text


@pytest.mark.parametrize(
    ("more", "service", "said"),
    [
        ({"seen": {"release": "b", "at": "noon"}}, {}, "another release is served there, b, as of"),
        ({"seen": {"release": None, "at": "noon"}}, {}, "nothing is served there any more"),
        ({"settings": settings(quant="Q4_0")}, {}, "is another variant now: m F16 default"),
        ({"runtime": "slim"}, {}, "is another variant now: m F16 default"),
        ({"settings": settings(slots=4)}, {}, "asks for other settings now: slots"),
        ({}, {"waiting": 3}, "asks for other settings now: waiting"),
    ],
)
def test_what_is_not_served_now_is_never_shown_as_current(
    more: dict[str, Any], service: dict[str, Any], said: str
) -> None:
    text = of_section(shown({"pi": bench(**more)}, service={**SERVICE, **service}))
    assert "Not what it carries now:" in text
    assert said in text
    assert "What was measured then" in text
    assert "Up to 60.0" not in text


def test_a_device_for_which_nothing_is_recommended_any_more_is_marked() -> None:
    text = of_section(shown({"pi": bench()}, **RECOMMENDED))
    assert "is another variant now: none" in text


def test_several_devices_are_added_up_but_for_what_is_not_current() -> None:
    three = dict.fromkeys(("pi", "two", "old"), SSH["devices"]["pi"])
    found = {
        "pi": bench(),
        "two": bench(device="two"),
        "old": bench(device="old", seen={"release": "b", "at": "noon"}),
    }
    text = of_section(shown(found, devices=three))
    assert "Together these 2 devices give up to 120.0 answers a minute" in text


def test_a_damaged_record_leaves_the_page_whole() -> None:
    path = record_of("s", "pi")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    page = shown(read_benches([path]))
    assert f"{path}: status: Field required" in of_section(page)
    assert "All cells" in page.text


def test_the_page_says_so_in_japanese() -> None:
    loads = [
        carried([answered(float(i)) for i in range(30)] + [refused(1.0)], stopped=True, others=2),
        carried(load={"kind": "open", "per_s": 0.5, "seed": 0}, distinct=False),
        carried(load={"kind": "closed", "clients": 1}, computed_prompt_tokens=1000),
        carried(prompts={"kind": "questions", "task": "qa", "questions": 6}),
    ]
    found = {"pi": bench(loads, seen={"release": "b", "at": "noon"})}
    text = of_section(shown(found, language="ja"), "ボード群が応じられる負荷")
    for said in (
        "クライアント数2",
        "毎秒0.5件、ランダム",
        "途中で中止",
        "別のリリースbを提供",
        "電源ICの値",
    ):
        assert said in text
    for more in ({"service": {"waiting": 3, **SERVICE}}, RECOMMENDED):
        assert "設定" in of_section(shown(found, language="ja", **more), "現在の値ではありません")
    shown({"pi": bench(seen={"release": None, "at": "noon"})}, language="ja")


def test_records_are_an_input_of_the_page_where_they_are_there() -> None:
    assert inputs.service(study()) == []
    path = record_of("s", "pi")
    write_json(path, bench())
    assert inputs.service(study()) == [str(path)]
    assert inputs.service(small.study()) == [], "a study that serves nothing"
