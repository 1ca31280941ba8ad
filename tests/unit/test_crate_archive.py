"""What `llmpi verify` takes in from strangers: words, no traceback, no file elsewhere."""

import io
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llmpi import cli
from llmpi.crate import archive as module
from llmpi.crate.archive import NO_DATE, ORDINARY, UNIX, CrateError, pack, unpack


def info(name: str, **more: object) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, NO_DATE)
    made.create_system, made.external_attr, made.compress_type = UNIX, ORDINARY, 8
    for key, value in more.items():
        setattr(made, key, value)
    return made


def zipped(*members: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as opened:
        for member, content in members:
            opened.writestr(member, content)
    return packed.getvalue()


def refusal(content: bytes, folder: Path) -> str:
    """What is said of it; nothing of it is unpacked outside of the folder."""
    archive, inside = folder / "x.zip", folder / "inside"
    archive.write_bytes(content)
    inside.mkdir(exist_ok=True)
    with pytest.raises(CrateError) as found:
        unpack(archive, inside)
    assert {path.name for path in folder.iterdir()} == {"x.zip", "inside"}
    return str(found.value)


def test_what_is_packed_comes_back(tmp_path: Path) -> None:
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/b.json").write_text("{}")
    (tmp_path / "in/c").write_bytes(bytes(3_000_000))
    pack(tmp_path / "x.zip", tmp_path / "in", ["a/b.json", "c"])
    assert list(unpack(tmp_path / "x.zip", tmp_path / "out")) == ["a/b.json", "c"]
    assert (tmp_path / "out/c").read_bytes() == bytes(3_000_000)


NAMES = (
    *("../x", "a/../../x", "/etc/x", "a//b", "./x", "..", "a/..", ".hidden", "C:/x", "a\\b", "~/x"),
    *("a\nb", "a\0b", "é", "a b", "a/", "-rf", "x" * 300, "\u202egpj", "a/.llmpi"),
)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_lead_elsewhere(name: str, tmp_path: Path) -> None:
    made = info("x")
    made.filename = made.orig_filename = name
    assert refusal(zipped((made, b"1")), tmp_path)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"external_attr": 0o120777 << 16}, "no ordinary file"),  # a link
        ({"external_attr": 0o040755 << 16}, "no ordinary file"),
        ({"external_attr": 0o104755 << 16}, "no ordinary file"),  # set-user-id
        ({"create_system": 0}, "no ordinary file"),
        ({"extra": struct.pack("<HHH", 0x7075, 2, 0)}, "not as `llmpi export` writes it"),
        ({"comment": b"x"}, "not as `llmpi export` writes it"),
        ({"date_time": (2026, 1, 1, 0, 0, 0)}, "not as `llmpi export` writes it"),
        ({"compress_type": zipfile.ZIP_BZIP2}, "packed in another way"),
        ({"compress_type": zipfile.ZIP_STORED}, "packed in another way"),
    ],
)
def test_what_is_no_ordinary_file(more: dict[str, object], said: str, tmp_path: Path) -> None:
    assert said in refusal(zipped((info("x", **more), b"1")), tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a", "a"), "twice, but for capitals"),
        (("a/F16.json", "a/f16.json"), "twice, but for capitals"),
        (("a", "a/b"), "a: it is a file and a folder"),
        (("a/b", "A"), "a: it is a file and a folder"),
    ],
)
def test_names_that_meet(names: tuple[str, str], said: str, tmp_path: Path) -> None:
    assert said in refusal(zipped(*((info(name), b"1") for name in names)), tmp_path)


def test_a_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FILE_BYTES", 1000)
    said = refusal(zipped((info("x"), bytes(1001))), tmp_path)
    assert said == "x: 1,001 bytes are more than the 1,000 of a file"
    monkeypatch.setattr(module, "MOST_BYTES", 1500)
    assert "may hold" in refusal(zipped((info("x"), bytes(900)), (info("y"), bytes(900))), tmp_path)
    monkeypatch.setattr(module, "MOST_FILES", 3)
    many = zipped(*((info(f"x{i}"), b"") for i in range(4)))
    assert refusal(many, tmp_path) == "4 files are more than the 3 it may hold"
    assert not list((tmp_path / "inside").iterdir())


def test_a_bomb_that_says_it_is_small_is_cut_where_it_says(tmp_path: Path) -> None:
    content = bytearray(zipped((info("x"), bytes(50_000_000))))
    at = content.rindex(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<L", 10)
    assert "damaged" in refusal(bytes(content), tmp_path)
    assert sum(path.stat().st_size for path in (tmp_path / "inside").iterdir()) <= 10


def with_end(content: bytes, **more: int) -> bytes:
    names = ("signature", "disk", "first", "here", "entries", "length", "at", "comment")
    end = dict(zip(names, module.END.unpack(content[-module.END.size :]), strict=True))
    return content[: -module.END.size] + module.END.pack(*{**end, **more}.values())


def with_more(content: bytes, at: int) -> bytes:
    """Bytes put in before the directory, whose places say what they should."""
    names = ("signature", "disk", "first", "here", "entries", "length", "at", "comment")
    end = dict(zip(names, module.END.unpack(content[-module.END.size :]), strict=True))
    more = b"PK\5\6 what nobody sees"
    moved = bytearray(content[:at] + more + content[at:])
    entry = end["at"] + len(more)
    while moved[entry : entry + 4] == b"PK\1\2":
        [place] = struct.unpack_from("<L", moved, entry + 42)
        struct.pack_into("<L", moved, entry + 42, place + len(more) * (place >= at))
        entry += 46 + struct.unpack_from("<H", moved, entry + 28)[0]
    return with_end(bytes(moved), at=end["at"] + len(more))


@pytest.mark.parametrize("at", ["before", "between", "behind"])
def test_what_lies_beside_the_files_is_refused(at: str, tmp_path: Path) -> None:
    two = zipped((info("x"), b"1" * 100), (info("y"), b"2"))
    where = {"before": 0, "between": two.rindex(b"PK\3\4"), "behind": two.index(b"PK\1\2")}
    assert refusal(with_more(two, where[at]), tmp_path) == "there is more in it than its files"


SOUND = zipped((info("x"), b"1" * 100))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK",
        b"no archive at all" * 100,
        SOUND[:-1],
        SOUND[:-22],
        SOUND + b"behind",
        b"before" + SOUND,
        with_end(SOUND, disk=1),
        with_end(SOUND, entries=65535, here=65535),
        with_end(SOUND, entries=0, here=0),
        with_end(SOUND, at=0),
        with_end(SOUND, length=2**32 - 1),
        with_end(SOUND, comment=7),
        SOUND[:-22] + module.LOCATOR + bytes(16) + SOUND[-22:],
        SOUND.replace(b"PK\1\2", b"PK\1\3"),
        SOUND.replace(b"PK\3\4", b"PK\3\5"),
    ],
)
def test_no_archive_as_it_is_written_here(content: bytes, tmp_path: Path) -> None:
    assert refusal(content, tmp_path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b"{",
        b"\xff\xfe",
        b"null",
        b'{"format": ' + b"9" * 10_000 + b"}",
        b'{"format": 1, "format": 1}',
        b"{}",
    ],
)
def test_a_manifest_that_is_none(
    manifest: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = (info("manifest.json"), manifest), (info("ro-crate-metadata.json"), b"{}")
    (tmp_path / "x.zip").write_bytes(zipped(*members))
    assert cli.main(["verify", str(tmp_path / "x.zip")]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"llmpi: {tmp_path}/x.zip: manifest.json: ")
    assert "Traceback" not in err


@pytest.mark.parametrize("of", [Path("/dev/null"), Path("/"), Path("/proc/self/mem")])
def test_what_is_no_file(of: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(of)]) == 1
    assert capsys.readouterr().err.startswith("llmpi: ")


def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert cli.main(["verify", str(tmp_path / "pipe")]) == 1
    assert capsys.readouterr().err == f"llmpi: {tmp_path}/pipe: it is no file\n"


def test_a_file_of_more_values_than_memory_holds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_VALUES", 100)
    assert "more than the 100 values" in refusal(zipped((info("x.json"), b"[0,0" * 60)), tmp_path)


SPOILED: tuple[Callable[[random.Random, bytearray], None], ...] = (
    lambda draw, content: content.__setitem__(draw.randrange(len(content)), draw.randrange(256)),
    lambda draw, content: content.__delitem__(slice(draw.randrange(len(content)), None)),
    lambda draw, content: content.insert(draw.randrange(len(content)), draw.randrange(256)),
)


def test_one_spoiled_by_chance_is_words_or_the_same(tmp_path: Path) -> None:
    """A byte changed, put in, or all behind one cut: 2,000 times, always the same ones."""
    sound = zipped((info("a/b.json"), b'{"a": 1.5}' * 20), (info("c"), b"23" * 100))
    draw, archive = random.Random(25), tmp_path / "x.zip"
    archive.write_bytes(sound)
    hashes = unpack(archive, tmp_path / "sound")
    for number in range(2000):
        content, folder = bytearray(sound), tmp_path / "in" / str(number)
        draw.choice(SPOILED)(draw, content)
        archive.write_bytes(content)
        try:
            assert unpack(archive, folder) == hashes
        except CrateError as error:
            assert str(error)
    assert {path.name for path in tmp_path.iterdir()} == {"x.zip", "sound", "in"}
