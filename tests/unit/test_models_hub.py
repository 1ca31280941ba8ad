"""A model from the hub: what is fetched, what is kept, and what each failure says and leaves."""

import hashlib
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fetching import Fetcher, tiny_gguf
from gguf_split import split
from hub_server import HubServer, Repo, commit_id
from support import needed, unavailable, until

CARD = b"---\nlicense: apache-2.0\n---\n# Tiny\n"
TINY = tiny_gguf()
BIG = tiny_gguf("big", 24_000_000)
CHUNK = 10 * 1024 * 1024  # huggingface_hub writes in steps of this size
FIRST = commit_id("first")
PARTS = ["UD/wide-00001-of-00003.gguf", "UD/wide-00002-of-00003.gguf"]
TOKEN = "hf_secretsecretsecret"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def hub() -> Iterator[HubServer]:
    files = {"README.md": CARD, "tiny.gguf": TINY, "big.gguf": BIG, "config.json": b"{}"}
    checkpoint = {
        "README.md": CARD,
        "config.json": b"{}",
        "tokenizer.json": b"[]",
        "model.safetensors": b"weights",
        "pytorch_model.bin": b"the same again",
        "original/params.json": b"{}",
    }
    with HubServer(
        Repo("acme/tiny", files),
        Repo("acme/checkpoint", checkpoint),
        Repo("acme/parts", dict.fromkeys(PARTS, TINY)),
        Repo("acme/gated", files, gated=True, allowed={TOKEN}),
    ) as server:
        yield server


@pytest.fixture
def fetch(hub: HubServer, tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path, {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")})


def cached_blobs(fetch: Fetcher) -> list[str]:
    return [path.name for path in fetch.root.glob("hf/hub/models--*/blobs/*")]


# --- what is fetched ------------------------------------------------------------------------------


def test_gguf(fetch: Fetcher) -> None:
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.status == 0, got.terminal
    assert got.manifest
    assert got.manifest["status"] == "ok"
    assert got.manifest["origin"] == {
        "kind": "hub",
        "hub": "acme/tiny",
        "revision": FIRST,
        "requested": "main",
    }
    assert got.manifest["licence"] == "apache-2.0"
    assert got.manifest["format"] == "gguf"
    assert got.manifest["files"] == {"tiny.gguf": {"sha256": sha256(TINY), "bytes": len(TINY)}}
    assert got.manifest["ggufs"][0]["contents"]["architecture"] == "llama"
    assert fetch.left == ["manifest.json", "tiny.gguf"]
    assert (fetch.folder / "tiny.gguf").read_bytes() == TINY
    assert got.out == ""


def test_several_files_in_parts_and_whole(hub: HubServer, fetch: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "wide.gguf").write_bytes(TINY)
    parts = split(tmp_path / "wide.gguf", tmp_path, "wide", 2)
    narrow = tiny_gguf("narrow")
    files = {f"BF16/{part.name}": part.read_bytes() for part in parts}
    hub.repos["model", "acme/tiny"].files |= {**files, "narrow.gguf": narrow}
    got = fetch(hub="acme/tiny", files=["BF16/wide-00001-of-00002.gguf", "narrow.gguf"])
    assert got.manifest, got.terminal
    assert [gguf["files"] for gguf in got.manifest["ggufs"]] == [
        ["wide-00001-of-00002.gguf", "wide-00002-of-00002.gguf"],
        ["narrow.gguf"],
    ]
    assert fetch.left == ["manifest.json", "narrow.gguf", *(part.name for part in parts)]
    for part in parts:
        assert got.manifest["files"][part.name]["sha256"] == sha256(part.read_bytes())
        assert (fetch.folder / part.name).read_bytes() == part.read_bytes()


def test_checkpoint_is_only_what_a_conversion_needs(fetch: Fetcher) -> None:
    stray = fetch.folder / "model-00001-of-00002.safetensors"
    stray.parent.mkdir(parents=True)
    stray.write_text("of an earlier revision")
    got = fetch(hub="acme/checkpoint", revision=FIRST)
    assert got.manifest
    assert got.manifest["format"] == "safetensors"
    assert got.manifest["ggufs"] == []
    weights = ["config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(got.manifest["files"]) == weights
    assert fetch.left == sorted([*weights, "manifest.json"])


def test_files_beside_their_checkpoint(hub: HubServer, fetch: Fetcher) -> None:
    got = fetch(
        hub="acme/tiny", file="tiny.gguf", checkpoint={"hub": "acme/checkpoint", "revision": "main"}
    )
    assert got.manifest, got.terminal
    weights = ["config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(got.manifest["files"]) == sorted([*weights, "tiny.gguf"])
    assert fetch.left == sorted([*weights, "manifest.json", "tiny.gguf"])
    assert got.manifest["origin"]["hub"] == "acme/tiny"
    assert got.manifest["checkpoint"] == {
        "kind": "hub",
        "hub": "acme/checkpoint",
        "revision": FIRST,
        "requested": "main",
    }
    assert [gguf["files"] for gguf in got.manifest["ggufs"]] == [["tiny.gguf"]]
    assert got.manifest["source"]["checkpoint"] == {"hub": "acme/checkpoint", "revision": "main"}
    again = fetch(hub="acme/tiny", file="tiny.gguf")
    assert again.manifest and again.manifest["checkpoint"] is None
    assert fetch.left == ["manifest.json", "tiny.gguf"]


def test_a_checkpoint_that_is_none(fetch: Fetcher) -> None:
    beside = {"hub": "acme/parts", "revision": "main"}
    got = fetch(hub="acme/tiny", file="tiny.gguf", checkpoint=beside)
    assert got.error.startswith("acme/parts holds no safetensors weights")


def test_branch_is_resolved_once(hub: HubServer, fetch: Fetcher) -> None:
    fetch(hub="acme/tiny", file="tiny.gguf")
    hub.repos["model", "acme/tiny"].commit("second", {"tiny.gguf": tiny_gguf("second")})
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.manifest
    assert got.manifest["origin"]["revision"] == FIRST
    assert (fetch.folder / "tiny.gguf").read_bytes() == TINY
    assert len(hub.asked("GET", "/revision/main")) == 1


def test_unsound_gguf_is_a_failed_manifest(hub: HubServer, fetch: Fetcher) -> None:
    """Fetching it again would not mend it: the model's cells fail, the sweep goes on."""
    broken = TINY[:-1000]
    hub.repos["model", "acme/tiny"].files["broken.gguf"] = broken
    got = fetch(hub="acme/tiny", file="broken.gguf")
    assert got.status == 0, got.terminal
    assert got.manifest
    assert got.manifest["status"] == "failed"
    assert got.manifest["reason"].endswith(
        "broken.gguf: the GGUF file is damaged or cut short "
        f"(the engine failed: broken.gguf has {len(broken)} of {len(TINY)} bytes)"
    )


# --- the cache ------------------------------------------------------------------------------------


def test_warm_cache_serves_offline(hub: HubServer, fetch: Fetcher) -> None:
    online = fetch(hub="acme/tiny", file="tiny.gguf").manifest
    fetch(hub="acme/checkpoint")
    asked = len(hub.requests)
    shutil.rmtree(fetch.folder)
    fetch.env["HF_HUB_OFFLINE"] = "1"
    offline = fetch(hub="acme/tiny", file="tiny.gguf").manifest
    assert online
    assert offline
    assert {**offline, "fetched": None} == {**online, "fetched": None}
    checkpoint = fetch(hub="acme/checkpoint").manifest
    assert checkpoint
    assert sorted(checkpoint["files"]) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert len(hub.requests) == asked


def test_warm_cache_serves_while_the_hub_is_down(hub: HubServer, fetch: Fetcher) -> None:
    fetch(hub="acme/tiny", file="tiny.gguf")
    hub.faults.down = True
    assert fetch(hub="acme/tiny", file="tiny.gguf").manifest


def test_cold_cache_offline(fetch: Fetcher) -> None:
    fetch.env["HF_HUB_OFFLINE"] = "1"
    got = fetch(hub="acme/tiny", revision=FIRST, file="tiny.gguf")
    assert got.error == (
        f"acme/tiny@{FIRST} is not whole in the cache ({fetch.root}/hf/hub), and the hub "
        f"({fetch.env['HF_ENDPOINT']}) cannot be asked: HF_HUB_OFFLINE is set"
    )
    assert fetch.left == []


def test_half_warm_cache_offline(fetch: Fetcher) -> None:
    """A checkpoint with a part missing is not taken for whole."""
    fetch(hub="acme/checkpoint", revision=FIRST)
    [part] = fetch.root.glob("hf/hub/*/snapshots/*/tokenizer.json")
    part.unlink()
    shutil.rmtree(fetch.folder)
    fetch.env["HF_HUB_OFFLINE"] = "1"
    got = fetch(hub="acme/checkpoint", revision=FIRST)
    assert "is not whole in the cache" in got.error
    assert fetch.left == []


def test_branch_without_hub(fetch: Fetcher) -> None:
    fetch.env["HF_ENDPOINT"] = "http://127.0.0.1:9"
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error == (
        f"acme/tiny@main is not whole in the cache ({fetch.root}/hf/hub), and the hub "
        "(http://127.0.0.1:9) cannot be asked: [Errno 111] Connection refused"
    )
    assert not fetch.lock.exists()


# --- hashes ---------------------------------------------------------------------------------------


def test_wrong_hash_in_the_config_is_told_before_the_download(
    hub: HubServer, fetch: Fetcher
) -> None:
    got = fetch(hub="acme/tiny", file="tiny.gguf", sha256="0" * 64)
    wrong = (
        "tiny.gguf has the wrong hash and was not kept.\n"
        f"  expected sha256 {'0' * 64}\n"
        f"  got      sha256 {sha256(TINY)}\n"
        "That is the hash the hub states. If it is the file you mean, put it in the config."
    )
    assert got.error == wrong
    assert fetch.left == []
    assert hub.asked("GET", "tiny.gguf") == []
    # Nor does it pass out of the cache, which keeps the hub's file.
    assert fetch(hub="acme/tiny", file="tiny.gguf").status == 0
    again = fetch(hub="acme/tiny", file="tiny.gguf", sha256="0" * 64)
    assert again.error == wrong
    assert again.manifest is None
    assert sha256(TINY) in cached_blobs(fetch)


@pytest.mark.fault("a download damaged on its way", by="hash of the file; the next run's")
def test_wrong_bytes(hub: HubServer, fetch: Fetcher) -> None:
    hub.faults.serve["tiny.gguf"] = TINY[::-1]
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error == (
        "tiny.gguf has the wrong hash and was not kept.\n"
        f"  expected sha256 {sha256(TINY)}\n"
        f"  got      sha256 {sha256(TINY[::-1])}\n"
        "It was damaged on its way. Run again to download it anew."
    )
    assert fetch.left == []
    assert not any(sha256(TINY) in name for name in cached_blobs(fetch))
    hub.faults.serve.clear()
    assert fetch(hub="acme/tiny", file="tiny.gguf").manifest


@pytest.mark.fault("damage in the hub's cache", by="hash of the file; the next run's")
def test_damage_in_the_cache(hub: HubServer, fetch: Fetcher) -> None:
    fetch(hub="acme/tiny", file="tiny.gguf")
    [blob] = fetch.root.glob(f"hf/hub/*/blobs/{sha256(TINY)}")
    blob.write_bytes(TINY[:-4] + b"evil")
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error.endswith(
        "It was damaged in the cache and was removed there. Run again to download it anew."
    )
    assert got.manifest is None
    assert fetch(hub="acme/tiny", file="tiny.gguf").manifest
    assert (fetch.folder / "tiny.gguf").read_bytes() == TINY


# --- the network ----------------------------------------------------------------------------------


@pytest.mark.fault("link cut in a download", by="bytes asked for again; the file's content")
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_dropped_connection_goes_on_by_range(hub: HubServer, fetch: Fetcher, reset: bool) -> None:
    hub.faults.drop["big.gguf"] = [CHUNK + 1000, CHUNK + 1000]
    hub.faults.reset = reset
    got = fetch(hub="acme/tiny", file="big.gguf")
    assert got.manifest, got.terminal
    ranges = [request.range for request in hub.asked("GET", "big.gguf", "storage")]
    assert ranges == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-"]
    assert (fetch.folder / "big.gguf").read_bytes() == BIG
    assert "big.gguf: 0.02 GB to come" in got.terminal


@pytest.mark.fault("a download killed", by="bytes asked for again; the file's content")
def test_killed_download_goes_on_in_the_next_run(hub: HubServer, fetch: Fetcher) -> None:
    hub.faults.stall["big.gguf"] = threading.Event()
    process = fetch.start(hub="acme/tiny", file="big.gguf")
    until(lambda: incomplete_bytes(fetch) == CHUNK)
    process.kill()
    process.communicate()
    hub.faults.stall.pop("big.gguf").set()
    assert fetch.left == []
    got = fetch(hub="acme/tiny", file="big.gguf")
    assert got.manifest, got.terminal
    assert hub.asked("GET", "big.gguf", "storage")[-1].range == f"bytes={CHUNK}-"
    assert (fetch.folder / "big.gguf").read_bytes() == BIG


@pytest.mark.fault("a download that ends early", by="files that are left: none")
def test_truncated_download(hub: HubServer, fetch: Fetcher) -> None:
    """A server that never gives the rest: given up, told, and nothing looks whole."""
    hub.faults.short["big.gguf"] = CHUNK + 1000
    got = fetch(hub="acme/tiny", file="big.gguf")
    assert re.fullmatch(
        f"the download of acme/tiny@{FIRST} broke off: peer closed connection without sending "
        r"complete message body \(received \d+ bytes, expected \d+\)\. "
        "Run again: it goes on where it stopped.",
        got.error,
    )
    assert fetch.left == []
    assert cached_blobs(fetch).count(f"{sha256(BIG)}.llmpi.incomplete") == 1
    assert sha256(BIG) not in cached_blobs(fetch)


def incomplete_bytes(fetch: Fetcher) -> int:
    found = fetch.root.glob("hf/hub/*/blobs/*.incomplete")
    return sum(path.stat().st_size for path in found)


# --- what the hub refuses -------------------------------------------------------------------------


def test_gated_without_token(fetch: Fetcher) -> None:
    got = fetch(hub="acme/gated", file="tiny.gguf")
    assert got.error == (
        "acme/gated is gated. Accept its terms on its page at the hub, then put a token of that "
        "account into the environment: export HF_TOKEN=... (none is set now)"
    )
    assert fetch.left == []


def test_gated_with_a_token_that_may_not(fetch: Fetcher) -> None:
    fetch.env["HF_TOKEN"] = "hf_othersecret"
    got = fetch(hub="acme/gated", file="tiny.gguf")
    assert got.error.endswith("export HF_TOKEN=... (the one set now may not read it)")
    assert "hf_othersecret" not in got.terminal + got.log
    assert fetch.left == []


def test_gated_with_token(hub: HubServer, fetch: Fetcher) -> None:
    fetch.env["HF_TOKEN"] = TOKEN
    got = fetch(hub="acme/gated", file="tiny.gguf")
    assert got.manifest, got.terminal
    assert (fetch.folder / "tiny.gguf").read_bytes() == TINY
    # The storage host is another origin: no token goes there, and none is written anywhere.
    assert [request.token for request in hub.asked("GET", "tiny.gguf", "storage")] == [None]
    assert TOKEN not in got.terminal + got.log
    for path in fetch.root.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


REFUSED = {
    "no such file": (
        {"hub": "acme/tiny", "file": "small.gguf"},
        "acme/tiny holds no file 'small.gguf'; its GGUF files: big.gguf, tiny.gguf",
    ),
    "no weights": (
        {"hub": "acme/tiny"},
        "acme/tiny holds no safetensors weights; name one of its GGUF files as 'file': "
        "big.gguf, tiny.gguf",
    ),
    "a part that is missing": (
        {"hub": "acme/parts", "file": "UD/wide-00001-of-00003.gguf"},
        "acme/parts holds 2 of the 3 parts of UD/wide-00001-of-00003.gguf, missing: "
        "UD/wide-00003-of-00003.gguf. Bring them there, or take one that is whole",
    ),
    "no such repository": (
        {"hub": "acme/nowhere", "file": "tiny.gguf"},
        "the hub knows no repository acme/nowhere, or shows it only to those allowed: check the "
        "spelling, and HF_TOKEN if it is private.",
    ),
    "no such branch": (
        {"hub": "acme/tiny", "revision": "v2", "file": "tiny.gguf"},
        "acme/tiny has no revision v2 (any more). Put one that exists into the config, or run "
        "`llmpi lock --update` if it stands in sources.lock.yaml.",
    ),
    "vanished commit": (
        {"hub": "acme/tiny", "revision": "f" * 40, "file": "tiny.gguf"},
        f"acme/tiny has no revision {'f' * 40} (any more). Put one that exists into the config, "
        "or run `llmpi lock --update` if it stands in sources.lock.yaml.",
    ),
}


@pytest.mark.parametrize(("source", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(fetch: Fetcher, source: dict[str, str], message: str) -> None:
    got = fetch(**source)
    assert got.error == message
    assert got.manifest is None
    assert not fetch.folder.exists() or fetch.left == []


# --- the disk -------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Callable[[Path], list[str]]:
    """A command prefix: a disk of 12 MB at a folder, seen by the command alone; lists it after."""
    import subprocess

    script = (
        'mount -t tmpfs -o size=12m none "$0" && { "$@"; status=$?; ls -A "$0"; exit $status; }'
    )
    unshare = [needed("unshare"), "--user", "--map-root-user", "--mount", "sh", "-c", script]
    if subprocess.run([*unshare, tmp_path, "true"], capture_output=True, check=False).returncode:
        unavailable("this machine lets nobody mount a disk of their own")

    def wrap(folder: Path) -> list[str]:
        folder.mkdir(parents=True)
        return [*unshare, str(folder)]

    return wrap


@pytest.mark.fault("no room here for a download", by="the reason; bytes asked for: none")
def test_no_room_for_the_download(
    hub: HubServer, fetch: Fetcher, small_disk: Callable[[Path], list[str]]
) -> None:
    got = fetch(small_disk(fetch.root / "hf"), hub="acme/tiny", file="big.gguf")
    assert got.error == (
        f"the disk is too full: 0.02 GB are to come, but {fetch.root}/hf/hub has 0.01 GB free. "
        "Make room, or set HF_HOME to a folder on a larger disk."
    )
    assert fetch.left == []
    assert hub.asked("GET", "big.gguf") == []


@pytest.mark.fault("disk full here at a model", by="the reason; files that are left: none")
def test_disk_gets_full(fetch: Fetcher, small_disk: Callable[[Path], list[str]]) -> None:
    """The results lie on another disk than the cache, and the copy does not fit there."""
    got = fetch(small_disk(fetch.folder), hub="acme/tiny", file="big.gguf")
    assert got.error == (
        "the disk is full: results/models/tiny/big.gguf. Make room there and run again; a "
        "download from the hub goes on where it stopped."
    ).replace("results", f"{fetch.root}/results")
    assert got.out == "", "something was left behind"
    assert sha256(BIG) in cached_blobs(fetch)
