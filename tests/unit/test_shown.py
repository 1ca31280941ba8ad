"""What others say is shown, not obeyed: in logs, on the terminal, in tables, on the page."""

import csv
import json
import logging
import re
from pathlib import Path
from typing import Any

import made_study
import pytest
from good_config import GOOD
from hypothesis import example, given
from hypothesis import strategies as st
from made_judgements import KEY, saved

from llmpi import cli
from llmpi.engine.shown import UNSEEN, ShownStream, shown, visible, without_logins
from llmpi.quality.ab.blind_sheet import read_judgements
from llmpi.quality.ab.kind import _judged, _unread
from llmpi.quality.ab.pairs import compare_pair
from llmpi.records import visible_json, write_json
from llmpi.report.memo.text import _escaped
from llmpi.report.page.write import write_page
from llmpi.report.words.texts import Texts
from llmpi.script import job
from llmpi.study.file import ConfigError, load_study
from llmpi.study.service import Service
from llmpi.summary.flat import flat_rows, write_csv

TITLE = "\x1b]0;owned\x07"
TURNED = "safe\u202egpj.exe"


@given(st.text())
def test_nothing_is_obeyed_and_nothing_else_is_changed(text: str) -> None:
    seen = visible(text)
    assert not UNSEEN.search(seen)
    assert UNSEEN.sub("", text) == re.sub(r"\\u[0-9a-f]{4}", "", seen) or "\\u" in text
    assert visible(seen) == seen


@given(st.recursive(st.text() | st.integers(), st.lists, max_leaves=5))
def test_in_json_an_escape_is_the_same(content: object) -> None:
    assert json.loads(visible(json.dumps(content, ensure_ascii=False))) == content


@given(st.one_of(st.text(), st.text(st.characters(codec="ascii"))))
@example("".join(map(chr, range(128))))
def test_a_text_of_json_is_shown_alike_whether_or_not_it_is_looked_through(text: str) -> None:
    for indent in (None, 1):
        written = json.dumps([text, {text: 1.5}], indent=indent, ensure_ascii=False)
        assert visible_json(written) == visible(written)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("GET https://me:secret@hub.example.org/x failed", "GET https://hub.example.org/x failed"),
        ("http://token@10.0.0.2:80", "http://10.0.0.2:80"),
        ("rsync pi@raspberrypi.local:/x", "rsync pi@raspberrypi.local:/x"),
        ("https://hub.example.org/@scope/x", "https://hub.example.org/@scope/x"),
    ],
)
def test_logins_in_addresses(text: str, left: str) -> None:
    assert without_logins(text) == left
    assert shown(text) == left


def test_a_log_and_the_terminal_of_a_job(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with job(str(tmp_path / "log")):
        logging.getLogger("a.library").warning("%s http://me:secret@hub/x", TITLE)
        try:
            raise ValueError(TITLE)
        except ValueError:
            logging.getLogger("llmpi").exception("it broke")
    for text in (capsys.readouterr().err, (tmp_path / "log").read_text()):
        assert "\\u001b]0;owned\\u0007 http://hub/x" in text
        assert "\x1b" not in text
        assert "secret" not in text


def test_the_terminal_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD + '"\\e]0;owned\\ax": 5\n')
    assert cli.main(["check", "--configfile", str(path)]) == 1
    said = capsys.readouterr().err
    assert "\\u001b]0;owned\\u0007x: unknown key" in said
    assert "\x1b" not in said


def test_a_terminal_that_has_ascii_only(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as file:
        ShownStream(file).write("3 µs\n")
    assert path.read_text() == "3 \\xb5s\n"


def test_records_are_safe_to_look_at(tmp_path: Path) -> None:
    record = {"reason": f"{TITLE}\x9b31m{TURNED}"}
    write_json(tmp_path / "x.json", record)
    text = (tmp_path / "x.json").read_text()
    assert not UNSEEN.search(text)
    assert json.loads(text) == record


def test_a_memo() -> None:
    assert _escaped({"a": [f"{TITLE}*"]}) == {"a": [r"\\u001b\]0;owned\\u0007\*"]}


def test_no_cell_is_a_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers stay numbers."""
    study = made_study.study()
    [row, *_] = made_study.summarized(study)[0]["rows"]
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", "a=1", f"{TITLE}", "-3.2"]
    rows: list[Any] = [{**row, "device": text, "tg_tps": -3.2} for text in texts]
    write_csv(tmp_path / "x.csv", flat_rows(study, rows))
    with (tmp_path / "x.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [line["tg_tps"] for line in read] == ["-3.2"] * len(texts)
    assert [line["device"] for line in read] == [
        *("'=1+1", "'+1", "'-1", "'@x", "'\t=1", "a=1", "\\u001b]0;owned\\u0007", "'-3.2"),
    ]


# --- a judge --------------------------------------------------------------------------------------

NAMES = {
    "Ada": "Ada",
    "": None,
    " \n ": None,
    "A\nda  Lovelace": "A da Lovelace",
    "x" * 10_000: "x" * 100,
    TURNED: "safe\\u202egpj.exe",
    TITLE: "\\u001b]0;owned\\u0007",
}


@pytest.mark.parametrize(("said", "kept"), NAMES.items(), ids=range(len(NAMES)))
def test_the_name_of_a_judge(said: str, kept: str | None, tmp_path: Path) -> None:
    assert read_judgements(saved(tmp_path, {}, judge=said), KEY)["judge"] == kept


def test_what_is_no_judgement_loses_nobody_elses(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "a", "prompt": "?"}')
    answered: Any = {
        "status": "ok",
        "answers": [{"text": "x", "error": None, "stopped": True, "new_tokens": 1}],
    }
    other = {**answered, "answers": [{**answered["answers"][0], "text": "y"}]}
    pair, both = ("m F16", "m Q4_0"), (answered, other)
    made = {"seed": 0, "sheet": tmp_path / "sheet.html"}
    _, key = compare_pair(pair, both, prompts, judgements=[], **made)
    assert key
    good, broken, wrong = (tmp_path / name for name in ("good.json", "broken.json", "wrong.json"))
    sheet = {"sheet": key["sheet"], "judge": "<b>Ada</b>"}
    good.write_text(json.dumps({**sheet, "judgements": [{"id": "a", "verdict": "left"}]}))
    wrong.write_text(json.dumps({**sheet, "judgements": [{"id": "b", "verdict": "left"}]}))
    broken.write_text("[" * 100_000)
    files = [broken, wrong, good, tmp_path]
    record, _ = compare_pair(pair, both, prompts, judgements=files, **made)
    assert record["status"] == "ok"
    assert [judged["judge"] for judged in record["judged"]] == ["<b>Ada</b>"]
    assert record["unread"] == ["broken.json", "wrong.json", tmp_path.name]
    for language in ("en", "ja"):
        texts = Texts(language)
        remarks = [texts.fact(_judged(record["judged"][0])), texts.fact(_unread("<b>\x1b.json"))]
        assert "&lt;b&gt;Ada&lt;/b&gt;" in remarks[0]
        assert "&lt;b&gt;\\u001b.json" in remarks[1]


# --- keys and passwords ---------------------------------------------------------------------------


def test_where_a_key_lies_is_told_in_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    board = {
        "transport": "ssh",
        "host": "pi.local",
        "preset": "pi5-8gb",
        "identity_file": "/home/ada/.ssh/id_secret",
        "meter": {"kind": "shelly", "url": "http://plug", "password_file": "/home/ada/secret"},
    }
    service = {"devices": ["nvme"], "host": "0.0.0.0", "key_file": "/home/ada/api_secret"}
    study = made_study.study(
        devices={"nvme": board, "sd": board}, service=service, constraints={"tps_at_least": 1}
    )
    made_study.write_records(study)
    summary, _ = made_study.summarized(study)
    assert "secret" not in json.dumps(summary)
    write_page(summary, None, tmp_path / "page.html")
    assert "secret" not in (tmp_path / "page.html").read_text()
    assert Service.model_validate(service).key_file == "/home/ada/api_secret"


@pytest.mark.parametrize("url", ["http://me:secret@10.0.0.2", "https://secret@plug.local/x"])
def test_a_password_in_the_address_of_a_meter(url: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    meter = f"{{transport: local, meter: {{kind: shelly, url: '{url}'}}}}"
    path.write_text(GOOD.replace("{transport: local}", meter))
    with pytest.raises(ConfigError) as caught:
        load_study(path)
    assert str(caught.value) == (
        f"{path}:7: devices.here.meter.url: an address holds no user and no password: a config "
        "is shown to others; name a 'user' and a 'password_file'"
    )
