"""Parts of the page that need no study: what is private, what columns are called."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT

from llmpi.quality.kinds import task_kinds
from llmpi.report import words
from llmpi.report.page.body import environment
from llmpi.report.public import PATHS, PRIVATE, public, without_places
from llmpi.report.words.texts import Texts
from llmpi.study.reference import parts_of
from llmpi.study.study import Study
from llmpi.summary import columns


def test_how_a_device_is_reached_is_nobody_elses_business() -> None:
    config = {
        "models": {"m": {"source": {"path": "/home/anna/secret/m.gguf"}}},
        "devices": {
            "pi": {
                "transport": "ssh",
                "host": "pi.home.example",
                "user": "anna",
                "port": 2222,
                "identity_file": "/home/anna/.ssh/id",
                "store": "/mnt/anna/llmpi",
                "threads": 4,
                "meter": {"kind": "shelly", "url": "http://plug.home.example", "switch": 0},
            },
            "shelf": {"transport": "ssh-group", "boards": {"a": {"host": "a.home.example"}}},
        },
        "quality": {"qa": {"task": "squad", "squad_file": "/home/anna/questions.json"}},
    }
    shown = public(config)
    text = yaml.safe_dump(shown)
    for private in ("anna", "example", "2222", "home"):
        assert private not in text
    assert shown["models"]["m"]["source"]["path"] == "m.gguf"
    assert shown["devices"]["pi"]["threads"] == 4
    assert shown["quality"]["qa"]["squad_file"] == "questions.json"


def test_no_reason_tells_where_a_meter_or_a_file_is() -> None:
    config = {
        "devices": {
            "pi": {"host": "pi", "meter": {"kind": "shelly", "url": "http://plug.home.example:81"}},
            "other": {
                "host": "pi.home.example",
                "meter": {"kind": "csv", "path": "/home/anna/w.csv"},
            },
        }
    }
    rows = [
        {
            "device": "pi",
            "energy_reason": "the meter failed: http://plug.home.example:81: no answer",
        },
        {"device": "pi", "energy_reason": "ConnectError: plug.home.example has no address"},
        {"device": "other", "energy_reason": "the meter's log /home/anna/w.csv is no file"},
        {"device": "other", "status": "failed", "reason": "pi.home.example: the engine was killed"},
    ]
    money = {"reason": {"kind": "no power", "energy_reason": rows[0]["energy_reason"]}}
    found: dict[str, Any] = {"rows": rows, "money": money, "config": config}
    told = without_places(found, config)
    assert told["config"] == config, "only reasons are told otherwise"
    assert [row.get("energy_reason") or row["reason"] for row in told["rows"]] == [
        "the meter failed: …: no answer",
        "ConnectError: … has no address",
        "the meter's log w.csv is no file",
        "…: the engine was killed",
    ]
    assert told["money"]["reason"]["energy_reason"] == "the meter failed: …: no answer"
    assert [row["device"] for row in told["rows"]] == ["pi", "pi", "other", "other"]


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("host", "192.0.2.7", "…"),
        ("host", "fd00::12", "…"),
        ("url", "http://[fd00::12]:8080/rpc", "…"),
        ("known_hosts", "/home/anna/.ssh/known_hosts", "…"),
        ("python", "/opt/anna/bin/python3", "…"),
        ("python", "python3.11", "python3.11"),
        ("store", "/mnt/nvme", "nvme"),
    ],
)
def test_what_a_reason_tells_of_a_place(key: str, value: str, shown: str) -> None:
    """Of a command's name that it is missing, as its remedy needs it."""
    reason = {"reason": f"{value} does not answer"}
    assert without_places(reason, {"devices": {"pi": {key: value}}}) == {
        "reason": f"{shown} does not answer"
    }


def test_every_path_of_a_config_is_known_to_be_one() -> None:
    """Where a path is on this machine is told of none; one of a key is never written at all."""
    paths = {
        name
        for part in parts_of(Study)
        for name, field in part.model_fields.items()
        if "expanduser" in (told := f"{field.annotation} {field.metadata}")
        and "_hidden" not in told
    }
    assert {"path", "store", "squad_file", "known_hosts"} <= paths
    assert paths <= {*PRIVATE, *PATHS}


def test_every_column_has_a_name_in_each_language() -> None:
    text = (Path(words.__file__).parent / "fields.yaml").read_text(encoding="utf-8")
    names = yaml.safe_load(text)
    parts = [columns.CELL, columns.SPEED, columns.ENERGY, columns.FILE, columns.DEVICE]
    parts += [columns.HTTP, columns.TUNED, columns.ANSWERS]
    for kind in task_kinds().values():
        parts += [kind.columns, kind.compared]
    known = {key for part in parts for key in part}
    assert known <= {*names}
    assert {*names} <= known, "one that is no column"
    assert all({*found} == {"en", "ja"} for found in names.values())


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("{{ _('%(count)s points without a cell', count=2000) }}", "2,000 points without a cell"),
        ("{{ _('%(count)s points without a cell', count='2000') }}", "2000 points without a cell"),
        ("{{ 12345 | grouped }} {{ 999 | grouped }} {{ 1.5 | grouped }}", "12,345 999 1.5"),
    ],
)
def test_thousands_are_told_apart_in_sentences_too(written: str, shown: str) -> None:
    assert environment("en").from_string(written).render() == shown


def test_the_share_of_memory_bandwidth_has_one_name() -> None:
    """In the table, the chart, the details and the definitions; it is an estimate."""
    text = (Path(words.__file__).parent / "fields.yaml").read_text(encoding="utf-8")
    names = yaml.safe_load(text)["tg_memory_share"]
    japanese = Texts("ja")
    for name in ("share of memory\nbandwidth, %", "share of memory bandwidth"):
        assert name.replace("\n", " ").removesuffix(", %") in names["en"]
        assert japanese(name).replace("\n", "").removesuffix("、%") in names["ja"]
    assert "estimate" in names["en"] and "推定" in names["ja"]
    assert "| share of memory bandwidth |" in (ROOT / "docs/methodology.md").read_text("utf-8")
