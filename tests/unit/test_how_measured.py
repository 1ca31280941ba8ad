"""The details of a cell: the conditions it was measured in, and each repetition."""

import pytest
import small_results as small
from made_http import cell_over_http, served, session_over_http
from made_records import write
from small_results import CELL

from llmpi import layout
from llmpi.device.machine.environment import THROTTLED
from llmpi.report.page.content import Content
from llmpi.report.page.how_measured import how_measured, measured_texts
from llmpi.report.words.texts import Texts
from llmpi.study.runs import Run
from llmpi.summary.conditions import how_measured as of_cell
from llmpi.summary.measured import Single

RUN = Run("pi", "m", "F16", "default", "chat")
pytestmark = pytest.mark.usefixtures("results")


def test_each_repetition_is_told_and_the_machine_before_and_after() -> None:
    session = small.bench()
    felt = session["environment"]
    session["environment"] = {
        **felt,
        "before": {
            **felt["before"],
            "at": "2026-11-24T09:00:00+00:00",
            "governor": "performance",
            "frequency_hz": [1_500_000_000, 2_400_000_000],
            "throttled": {"now": [], "since_boot": ["throttled"]},
        },
        "after": {
            **felt["after"],
            "throttled": {"now": ["under-voltage", "throttled"], "since_boot": []},
        },
    }
    write(layout.BENCH, session, **CELL)
    found = how_measured(Content(small.summary()[0], None))
    [[board, before, after, pp, tg, ttft, others]], *rest = found["cells"]
    assert board == "pi"
    assert isinstance(before, int) and isinstance(after, int)
    assert found["moments"][before][:3] == ["2026-11-24 09:00:00 UTC", "performance", 2.4e9]
    assert found["moments"][before][4] == "not throttled"
    assert found["moments"][after][4] == "under-voltage; throttled"
    assert (pp, tg, ttft) == ([100, 50, 200], [10, 20, 5], [1.1, 2.1, 0.6])
    assert others == []
    assert rest == [[], []], "cells that failed or were not run"


def test_an_endpoint_in_the_network_says_nothing_of_the_machine() -> None:
    cell = cell_over_http(served())
    session = session_over_http(cell)
    on_device = of_cell(RUN, Single(cell, session))
    assert on_device["before"] == session["environment"]["before"]
    session["endpoint"]["on_device"] = False
    elsewhere = of_cell(RUN, Single(cell, session))
    assert (elsewhere["before"], elsewhere["after"]) == (None, None)
    assert elsewhere["repetitions"] == on_device["repetitions"]


def test_every_language_has_words_for_all_of_it() -> None:
    english, japanese = (measured_texts(Texts(language)) for language in ("en", "ja"))
    for part in ("conditions", "repetitions"):
        told = english[part], japanese[part]  # type: ignore[literal-required]
        assert [f["key"] for f in told[0]] == [f["key"] for f in told[1]]
    assert english["throttled"].keys() >= {*THROTTLED}
    assert not {*english["throttled"].values()} & {*japanese["throttled"].values()}
