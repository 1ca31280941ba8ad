"""One file of files: a ZIP, the same bytes for the same files, and read with suspicion.

A file from elsewhere may be anything. It is read only if it is as it is written here: ordinary
files under plain names, of bounded number and size, nothing before, between or behind. Whatever
else a ZIP may be (links, encryption, comments, ZIP64, parts on other disks) is refused before a
byte is unpacked.
"""

import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from llmpi.engine.progress import Bytes
from llmpi.errors import LlmpiError
from llmpi.records import whole_file

MOST_FILES = 50_000
MOST_FILE_BYTES = 128 << 20
MOST_BYTES = 3 << 30
MOST_VALUES = 5_000_000
"""Of JSON, YAML or a table: what they take in memory hangs on that."""
BETWEEN = (b",", b"[", b"{")
"""One of these stands before every value but a few."""
MOST_NAME = 240
PIECE = 1 << 20

ORDINARY = 0o100644 << 16
"""An ordinary file with everybody's right to read, as a ZIP's external attributes say it."""
NO_DATE = (1980, 1, 1, 0, 0, 0)
UNIX = 3
PART = r"[A-Za-z0-9][A-Za-z0-9._+,=-]*"
NAME = re.compile(rf"{PART}(/{PART})*")

END = struct.Struct("<4s4H2LH")
"""End of the central directory: signature, disks, entries, size, place, length of the comment."""
ENTRY_BYTES, HEAD_BYTES = 46, 30
"""Of the central directory, and before each file's bytes; beside the name."""
LOCATOR = b"PK\6\7"
"""Of ZIP64."""
BROKEN = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError),
    *(NotImplementedError, OverflowError),
)


class CrateError(LlmpiError):
    """A study's file is not what it should be; the message names the file in it and the field."""


def pack(out: Path, folder: Path, names: Sequence[str]) -> None:
    """Write the files of `folder` into one, in this order.

    Raises:
        CrateError: they are more than such a file may hold.
    """
    sizes = [(folder / name).stat().st_size for name in names]
    for name, size in zip(names, sizes, strict=True):
        _check_name(name)
        _check_size(name, size)
    _check_extent(len(names), sum(sizes))
    progress, done = Bytes(sum(sizes), f"into {out.name}"), 0
    with whole_file(out) as partial, zipfile.ZipFile(partial, "w", allowZip64=False) as archive:
        for name, size in zip(names, sizes, strict=True):
            info = zipfile.ZipInfo(name, NO_DATE)
            info.create_system, info.external_attr = UNIX, ORDINARY
            info.compress_type = zipfile.ZIP_DEFLATED
            values = 0
            with (folder / name).open("rb") as source, archive.open(info, "w") as target:
                for piece in _pieces(source):
                    values = _checked_values(name, values, piece)
                    target.write(piece)
            done += size
            progress.at(done)


def unpack(archive: Path, folder: Path) -> dict[str, str]:
    """Unpack into a folder that is empty: path of each file -> its SHA-256.

    Raises:
        CrateError: it is no file as `pack` writes it.
        OSError: it cannot be read, or the folder not be written.
    """
    if archive.exists() and not archive.is_file():  # a pipe would be waited for
        raise CrateError("it is no file")
    with archive.open("rb") as file:
        _check_end(file)
        try:
            with zipfile.ZipFile(file) as opened:
                infos = opened.infolist()
                _check(infos)
                _check_places(infos, opened.start_dir)
                return dict(_unpacked(opened, infos, folder))
        except BROKEN as error:
            raise CrateError(f"it is damaged: {error}") from None


def _unpacked(
    opened: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo], folder: Path
) -> Iterator[tuple[str, str]]:
    progress, done = Bytes(sum(info.file_size for info in infos), "unpacked"), 0
    for info in infos:
        target = folder / info.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, size, values = hashlib.sha256(), 0, 0
        with opened.open(info) as source, target.open("xb") as written:
            for piece in _pieces(source):  # never more than the size that was checked
                values = _checked_values(info.filename, values, piece)
                digest.update(piece)
                written.write(piece)
                size += len(piece)
        if size != info.file_size:
            raise CrateError(f"{info.filename}: it is cut short")
        done += size
        progress.at(done)
        yield info.filename, digest.hexdigest()


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    while piece := source.read(PIECE):
        yield piece


# --- what is refused ------------------------------------------------------------------------------


def _check_end(file: IO[bytes]) -> None:
    """The end says how many files there are: before a reader makes an object of each."""
    size = file.seek(0, 2)
    if size < END.size:
        raise CrateError("it is no file of `llmpi export`")
    file.seek(max(0, size - END.size - 20))
    tail = file.read()
    signature, disk, first, here, entries, length, at, comment = END.unpack(tail[-END.size :])
    if signature != b"PK\5\6":
        raise CrateError("it is no file of `llmpi export`, or cut short")
    if (disk, first, comment) != (0, 0, 0) or here != entries or tail.startswith(LOCATOR):
        raise CrateError("it is no ZIP as `llmpi export` writes it")
    if at + length != size - END.size or length > entries * (ENTRY_BYTES + MOST_NAME):
        raise CrateError("there is more in it than its files")
    _check_extent(entries, 0)


def _check(infos: Sequence[zipfile.ZipInfo]) -> None:
    names: set[str] = set()
    for info in infos:
        name = info.orig_filename
        _check_name(name)
        if name.casefold() in names:
            raise CrateError(f"{name}: it is in it twice, but for capitals")
        names.add(name.casefold())
        if info.is_dir() or info.create_system != UNIX or info.external_attr != ORDINARY:
            raise CrateError(f"{name}: it is no ordinary file")
        if info.flag_bits or info.extra or info.comment or info.date_time != NO_DATE:
            raise CrateError(f"{name}: it is not as `llmpi export` writes it")
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise CrateError(f"{name}: it is packed in another way than `llmpi export` does")
        _check_size(name, info.file_size)
    for name in names:
        if above := names.intersection(map(str, PurePosixPath(name).parents)):
            raise CrateError(f"{above.pop()}: it is a file and a folder")
    _check_extent(len(infos), sum(info.file_size for info in infos))


def _check_places(infos: Sequence[zipfile.ZipInfo], end: int) -> None:
    """One behind the other, up to the directory: what lies between them nobody would see."""
    at = 0
    for info in infos:
        if info.header_offset != at:
            raise CrateError("there is more in it than its files")
        at += HEAD_BYTES + len(info.filename) + info.compress_size
    if at != end:
        raise CrateError("there is more in it than its files")


def _check_name(name: str) -> None:
    if len(name) > MOST_NAME or not NAME.fullmatch(name):
        raise CrateError(f"{name[:MOST_NAME]!r}: no such name is written by `llmpi export`")


def _check_size(name: str, size: int) -> None:
    if size > MOST_FILE_BYTES:
        raise CrateError(f"{name}: {size:,} bytes are more than the {MOST_FILE_BYTES:,} of a file")


def _checked_values(name: str, values: int, piece: bytes) -> int:
    """How many there are, with those of a piece, of what is read as data."""
    if name.endswith(".html"):
        return 0
    values += sum(map(piece.count, BETWEEN))
    if values > MOST_VALUES:
        raise CrateError(f"{name}: it has more than the {MOST_VALUES:,} values of a file")
    return values


def _check_extent(files: int, size: int) -> None:
    if files > MOST_FILES:
        raise CrateError(f"{files:,} files are more than the {MOST_FILES:,} it may hold")
    if size > MOST_BYTES:
        raise CrateError(f"{size:,} bytes are more than the {MOST_BYTES:,} it may hold")


def names_in(folder: Path) -> list[str]:
    """The files below a folder, by their paths in it."""
    found: Iterable[Path] = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)
