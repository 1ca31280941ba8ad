"""Parts of the page that need no study: what is private, what columns are called."""

from pathlib import Path

import yaml

from llmpi.quality.kinds import task_kinds
from llmpi.report import words
from llmpi.report.page.body import PATHS, PRIVATE, public
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
