"""A redacted study's file says nothing of whose machines they were, and is still sound."""

import json
import unicodedata
import zipfile
from contextlib import chdir
from pathlib import Path
from typing import Any
from urllib.parse import quote

import made_records as made
import pytest
import small_results
from hypothesis import given
from hypothesis import strategies as st
from made_crate import exported, finish, write_config
from made_crate import given as config_of
from made_records import write
from pydantic import BaseModel
from support import ROOT

from llmpi import cli, layout, plain_yaml
from llmpi.crate.contents import records_of
from llmpi.crate.redact import PRIVATE, Redaction, redacted
from llmpi.crate.verify import verify
from llmpi.engine.records import Failed
from llmpi.study import devices, inputs, meters, models, service
from llmpi.study.fields import RESULTS, KeyPath, LocalPath
from llmpi.study.study import Study
from llmpi.study.tasks import ab, divergence, lm_eval, squad

HOST, USER, PLUG = "kitchen.lab.example", "jane", "plugboss"
PLANTED = (
    *(HOST, "kitchen", "cellar", USER, PLUG, "secretlab", "janes disk"),
    *("192.168.7.20", "10.11.12.13"),
    *("rivendell", "b8:27:eb:12:34:56", "DC-A6-32-AB-CD-EF", "b827eb123456"),
    *("10000000deadbeef", "S4EWNX0R123456", "1a2b3c4d-1111-2222-3333-444455556666"),
    *(
        "fe80::ba27:ebff:fe12",
        "/home/jane",
        "/root/work",
        "nas.local",
        "someone@else.example",
        "C:\\Users\\jane",
    ),
    *("6vSXqk3lmz8h0Jm2WcTaaaaaaaaaaaaaaaaaaaaaaaa", "notes for client"),
)
LOG = f"""\
Traceback: File "/home/jane/.llmpi/venv/lib/python3.11/x.py", line 3; -I/home/jane/include
ssh: {USER}@{HOST} port 22: Permission denied; Kitchen says no; {HOST.upper()}:22
eth0: b8:27:eb:12:34:56 DC-A6-32-AB-CD-EF b827eb123456 inet 10.11.12.13 inet6 fe80::ba27:ebff:fe12
Serial\t\t: 10000000deadbeef; serial number: S4EWNX0R123456
boot 1a2b3c4d-1111-2222-3333-444455556666; mounted '/mnt/janes disk/llmpi/notes for client.txt'
http://{PLUG}:pw@192.168.7.20/cm?user={PLUG} smb://nas.local/share someone@else.example
GET /a?path=%2Fjane%2Fx b'no\\njane\\tkitchen' \x1b[31mjane\x1b[0m
C:\\Users\\jane\\llmpi /root/work/x.gguf; SHA256:6vSXqk3lmz8h0Jm2WcTaaaaaaaaaaaaaaaaaaaaaaaa
"""
SOUND = (
    "no memory: 4.2 tokens/s of 12 at 12:30:45 on https://huggingface.co/meta-llama/Llama-3.2-1B"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study that says much of its owner, and its file without that, r.zip."""
    folder = tmp_path_factory.mktemp("study") / "rivendell"
    folder.mkdir()
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr("platform.node", lambda: "rivendell")
        group = {
            "transport": "ssh-group",
            "boards": {"kitchen": HOST, "cellar": "cellar.lab.example"},
            "user": USER,
            "store": "/mnt/janes disk/llmpi",
            "identity_file": "/home/jane/.ssh/id",
            "known_hosts": "/home/jane/.ssh/known",
            "meter": {
                "kind": "shelly",
                "url": "http://192.168.7.20",
                "user": PLUG,
                "password_file": "/home/jane/.pw",
            },
        }
        source = {"source": {"path": str(folder / "models/m.gguf")}}
        config = config_of(devices={"rack": group}, models={"m": source})
        write_config(config)
        study = Study.model_validate(config)
        small_results.write_results()
        died = {**made.failed(f"{SOUND}\n{LOG}"), "log_tail": LOG}
        for device in study.devices:
            cell = {"study": "s", "device": device, "model": "m", "runtime": "default"}
            write(layout.BENCH, small_results.bench(), **cell, quant="F16")
            write(layout.BENCH, died, **cell, quant="Q4_0")
            ready = made.provisioned(device, {**made.machine(), "os": "Debian (secretlab image)"})
            folders = {"store": "/mnt/janes disk/llmpi", "interpreter": "/home/secretlab/bin/py"}
            write(layout.PROVISIONED, {**ready, **folders}, device=device)
        for path in inputs.parity(study):
            write(path, made.parity(f"differs on {HOST}"))
        write(layout.MODEL_MANIFEST, made.model(str(folder / "models/m.gguf")), model="m")
        finish(study)
        exported("r.zip", redact=True)
        exported("r2.zip", redact=True)
    return folder


def test_nothing_of_it_is_in_the_file(folder: Path) -> None:
    """In no name and no text, however it is written there."""
    with zipfile.ZipFile(folder / "r.zip") as archive:
        for name in archive.namelist():
            content = archive.read(name).decode()
            texts = [name, content]
            if name.endswith(".json"):
                texts.append("\n".join(strings(json.loads(content))))
            for planted in (*PLANTED, str(folder), str(Path.home())):
                for text in texts:
                    assert planted.lower() not in text.lower(), (name, planted)


def strings(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [*part, *(text for inner in part.values() for text in strings(inner))]
    if isinstance(part, list):
        return [text for inner in part for text in strings(inner)]
    return [part] if isinstance(part, str) else []


def test_what_says_nothing_of_anybody_stays(folder: Path) -> None:
    with zipfile.ZipFile(folder / "r.zip") as archive:
        name = next(n for n in archive.namelist() if "bench" in n and "Q4_0" in n)
        assert json.loads(archive.read(name))["reason"].startswith(SOUND)


def test_equal_boards_are_as_many_and_one_still_speaks_for_them(folder: Path) -> None:
    """Which one it is hangs on their names."""
    with zipfile.ZipFile(folder / "r.zip") as archive:
        names = archive.namelist()
    assert {n.split("/")[3] for n in names if "/bench/" in n} == {"rack.host-1", "rack.host-2"}
    assert sum("/parity/" in name for name in names) == 2


def test_it_is_still_sound_and_the_same_each_time(folder: Path) -> None:
    assert verify(folder / "r.zip")["redacted"]
    assert (folder / "r.zip").read_bytes() == (folder / "r2.zip").read_bytes()


def test_it_is_compared_as_any_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chdir(folder):
        assert cli.main(["compare", "r.zip", "r2.zip", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {cell["device"] for cell in found["cells"]} == {"rack.host-1", "rack.host-2"}


def test_a_word_that_means_something_to_a_program_stays() -> None:
    """A user may be called as a status is."""
    redaction = Redaction({"user": "failed"}, [], [])
    record: Failed = made.failed("the user failed here")
    found = redacted(Failed, json.dumps(record).encode(), redaction)
    assert found == {**record, "reason": "the user user-1 here"}


def test_a_board_is_called_as_what_it_is() -> None:
    """A first part of a host that many have says nothing of anybody; the host does."""
    redaction = Redaction({"host": "pi5.local"}, [], [])
    assert redaction.text("pi5 is pi5.local") == "pi5 is host-1"


@pytest.mark.parametrize("plug", ["shelly.lan", "shelly", "Ollama.local"])
def test_a_plug_that_is_called_as_its_kind(plug: str) -> None:
    """Or a server as its API: the config's own words stay, or it would be none."""
    config = {"meter": {"kind": "shelly", "url": f"http://{plug}"}, "api": "ollama"}
    redaction = Redaction(config, [], [])
    found = redaction.config(config)
    assert found == {"meter": {"kind": "shelly", "url": "http://host-1/"}, "api": "ollama"}
    assert "." not in plug or plug not in redaction.text(f"ask http://{plug}/rpc")


ADDRESSED = [
    ("http://[fd00::5]:8080/v1", ["fd00", "::5"]),
    ("http://192.168.7.20:8080/v1", ["192.168.7", "7.20"]),
    ("http://Nas.lab.example:80/x", ["nas", "lab.example"]),
]


@pytest.mark.parametrize(("url", "never"), ADDRESSED)
def test_where_an_endpoint_is_reached_is_nobodys_business(url: str, never: list[str]) -> None:
    host = url.split("/")[2]
    texts = [url, f"no route to {host}", f"kept in {host.rpartition(':')[0].strip('[]')}.log"]
    config = {"endpoint": {"url": url}}
    redaction = Redaction(config, [], [])
    for text in [*map(redaction.text, texts), json.dumps(redaction.config(config))]:
        assert not any(part in text.lower() for part in never), text


@pytest.mark.parametrize("of", ["{}", "{}:8080", "[{}]:8080", "from {}.", "{}%eth0"])
def test_an_address_of_ip4_within_one_of_ip6(of: str) -> None:
    text = Redaction({}, [], []).text(of.format("::ffff:192.168.7.20"))
    assert "168.7" not in text and "7.20" not in text, text


@pytest.mark.parametrize(
    "written",
    [
        "jürgen",
        "JÜRGEN",
        "JÜrgen",
        unicodedata.normalize("NFD", "Jürgen"),
        "j%C3%BCrgen",
        "j%c3%bcrgen",
        json.dumps("jürgen"),
        repr("jürgen".encode()),
        "see '\\nJürgen",
    ],
)
def test_a_name_beyond_ascii_is_one_in_any_writing(written: str) -> None:
    text = Redaction({"user": "Jürgen"}, [], []).text(f"by {written}, and others")
    assert "user-1" in text and "rgen" not in text.lower()


@pytest.mark.parametrize(
    "written",
    [
        "/mnt/my データ/llmpi/x.gguf",
        "cannot open:/mnt/my データ/llmpi/x.gguf",
        "/mnt/my\\ データ/llmpi/x.gguf",
        "'/mnt/my データ/llmpi/x.gguf'",
        f"file://{quote('/mnt/my データ/llmpi/x.gguf')}",
        f"at={quote('/mnt/my データ/llmpi', safe='')}",
        json.dumps({"store": "/mnt/my データ/llmpi"}),
        repr("/mnt/my データ/llmpi".encode()),
    ],
)
def test_a_path_is_one_in_any_writing(written: str) -> None:
    text = Redaction({"store": "/mnt/my データ/llmpi"}, [], []).text(written)
    for part in ("mnt", "my", "データ", quote("データ"), json.dumps("データ")[1:-1], "llmpi"):
        assert part not in text, text


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("PATH=/usr/bin:/work/jane/bin", "jane"),
        ("cannot open:/work/jane/x.gguf", "jane"),
        ("cc -I/work/jane/include -L/work/jane", "jane"),
        ("GET /?of=%2fhome%2fjane%2fx", "jane"),
        ("mailto:jane%40example.org", "jane"),
        ("eth0 is b8%3A27%3Aeb%3A12%3A34%3A56", "12%3A34"),
        ("route fd00:1234::/64", "1234"),
        ("via fd00:1234::", "1234"),
        ('{"serial_number": "ABC123XY", "Serial": "DEF456"}', "ABC123XY"),
        ('{"serial_number": "ABC123XY", "Serial": "DEF456"}', "DEF456"),
        ("ID_SERIAL_SHORT=ABC123XY", "ABC123XY"),
        ("bcm2711_serial=0x1234abcd", "1234abcd"),
    ],
)
def test_what_looks_private_is_found_in_any_writing(text: str, private: str) -> None:
    redaction = Redaction({}, [], [])
    assert private not in redaction.text(text)
    assert redaction.text(redaction.text(text)) == redaction.text(text)


@pytest.mark.parametrize(
    "text", ["model-i/weights", "https://huggingface.co/some-l/m", "tokens/s", "serial work: 10 s"]
)
def test_what_only_resembles_it_stays(text: str) -> None:
    assert Redaction({}, [], []).text(text) == text


def test_a_stand_in_is_no_name_that_is_there() -> None:
    config = {"devices": {"host-1": {"host": "cellar"}}}
    assert Redaction(config, [], []).text("cellar") == "host-2"


@given(st.text("abc/~'\" .:@0123-", max_size=60))
def test_what_was_taken_out_is_taken_out(text: str) -> None:
    redaction = Redaction({"host": "cab.abc", "user": "bbb", "path": "/a b/c"}, [], [])
    once = redaction.text(text)
    assert "cab.abc" not in once and "/a b/c" not in once
    assert redaction.text(text) == once


CONFIGS = sorted([*ROOT.glob("config/*.yaml"), *ROOT.glob("tests/configs/*.yaml")])


@pytest.mark.parametrize("path", [p for p in CONFIGS if "lock" not in p.name], ids=lambda p: p.name)
def test_a_config_without_what_is_private_is_one(path: Path) -> None:
    """Of the same records."""
    study = Study.model_validate(plain_yaml.load(path.read_text("utf-8")))
    config = study.model_dump(mode="json", context=RESULTS)
    redaction = Redaction(config, [], [])
    found = redaction.config(config)
    other = Study.model_validate(found)
    assert [Path(name).parts[1] for name in records_of(other)] == [
        Path(name).parts[1] for name in records_of(study)
    ]
    assert other.model_dump(mode="json", context=RESULTS) == found


@pytest.mark.parametrize("piece", ["a-", "a.", "ab", "a:", "/a", "'/", "a@", "1.", "serial ", "0"])
def test_no_text_takes_for_ever(piece: str) -> None:
    Redaction({"host": "cab.abc"}, [], []).text(piece * 100_000)


def test_every_path_of_a_config_is_known_as_one() -> None:
    rooms = (devices, meters, models, service, ab, divergence, lm_eval, squad)
    parts = [c for room in rooms for c in vars(room).values() if isinstance(c, type)]
    found = {
        name
        for part in parts
        if issubclass(part, BaseModel)
        for name, hint in part.__annotations__.items()
        if any(str(kind) in str(hint) for kind in (LocalPath, KeyPath))
    }
    assert {"path", "squad_file", "identity_file", "include_path"} <= found
    assert found <= PRIVATE
