"""A hub, or a mirror, that says anything: words, and no file touched outside of the cache."""

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fetching import Fetcher, clean_env, tiny_gguf
from hub_server import HubServer, Repo, commit_id

from llmpi import hub_answers
from llmpi.errors import LlmpiError

TINY = tiny_gguf()
FIRST = commit_id("first")
INDEX = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
CHECKPOINT = {
    "config.json": b"{}",
    "tokenizer.json": b"[]",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    "model-00001-of-00002.safetensors": b"some",
    "consolidated.safetensors": b"the same again",
    "adapter_model.safetensors": b"what someone trained",
    "adapter_config.json": b"{}",
    ".model.safetensors": b"hidden",
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    files = {"README.md": b"---\nlicense: mit\n---\n", "tiny.gguf": TINY, "small.gguf": TINY}
    with HubServer(
        Repo("acme/tiny", files),
        Repo("acme/shards", {**CHECKPOINT}),
        Repo("acme/adapter", {"adapter_model.safetensors": b"a", "config.json": b"{}"}),
    ) as server:
        yield server


@pytest.fixture
def fetch(hub: HubServer, tmp_path: Path) -> Fetcher:
    (tmp_path / "mine.txt").write_text("nobody's but mine")
    return Fetcher(tmp_path, {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")})


def of_others(fetch: Fetcher) -> set[str]:
    """Files outside of the cache and of the model's folder."""
    ours = ("hf/", "results/", "config/", "log")
    paths = (path.relative_to(fetch.root).as_posix() for path in fetch.root.rglob("*"))
    return {path for path in paths if not f"{path}/".startswith(ours) and path != "log"}


NAMES = ("../../../../mine.txt", "/tmp/x", "..", ".hidden", "a/b", "a\\b", "x" * 300, "", "ä")


@pytest.mark.fault("hostile names from a hub", by="files outside: none")
@pytest.mark.parametrize("header", ["ETag", "X_Linked_ETag"])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_from_the_server(hub: HubServer, fetch: Fetcher, header: str, name: str) -> None:
    """Case 15: refused before a byte is written."""
    hub.faults.headers["tiny.gguf"] = {header: f'"{name}"'.encode().decode("latin-1")}
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    if header == "ETag":  # where both are said, the other one counts
        assert "Nothing was kept" in got.error or got.error == ""
    assert "Traceback" not in got.terminal + got.log
    assert got.manifest is None
    assert hub.asked("GET", "tiny.gguf", "storage") == []
    assert of_others(fetch) == {"mine.txt"}
    assert (fetch.root / "mine.txt").read_text() == "nobody's but mine"


@pytest.mark.parametrize("commit", ["../../../../x", "f" * 40, "main", ""])
def test_another_commit(hub: HubServer, fetch: Fetcher, commit: str) -> None:
    hub.faults.headers["tiny.gguf"] = {"X_Repo_Commit": commit}
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert commit[:20] in got.error
    assert "Traceback" not in got.terminal + got.log
    assert of_others(fetch) == {"mine.txt"}


JSON = ("null", "5", "[]", '"x"', "{}", "[[]]", "[5]", "{", "NaN", "[" * 5000, '{"sha": 5}', "")
ENTRIES = (
    {"path": "../../mine.txt"},
    {"path": "/etc/passwd"},
    {"path": 5},
    {"path": None},
    {"size": "many"},
    {"size": None, "oid": None},
    {"lfs": 5},
    {"lfs": {"oid": "../../../mine.txt", "size": -1, "pointerSize": 1}},
    {"xetHash": "../x"},
)


@pytest.mark.parametrize("said", JSON, ids=[text[:10] for text in JSON])
@pytest.mark.parametrize("of", ["/revision/main", f"/tree/{FIRST}"])
def test_other_json(hub: HubServer, fetch: Fetcher, of: str, said: str) -> None:
    hub.faults.answers[of] = said.encode()
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error
    assert "Traceback" not in got.terminal + got.log
    assert of_others(fetch) == {"mine.txt"}


@pytest.mark.parametrize("lie", ENTRIES, ids=str)
def test_other_listing(hub: HubServer, fetch: Fetcher, lie: dict[str, object]) -> None:
    honest = {"type": "file", "path": "tiny.gguf", "size": len(TINY), "oid": "0" * 40}
    hub.faults.answers[f"/tree/{FIRST}"] = json.dumps([honest | lie]).encode()
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert "Traceback" not in got.terminal + got.log
    assert of_others(fetch) == {"mine.txt"}


def test_a_listing_without_end(hub: HubServer, fetch: Fetcher) -> None:
    hub.faults.headers[FIRST] = {
        "Link": f'<{hub.url}/api/models/acme/tiny/tree/{FIRST}>; rel="next"'
    }
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error == "the server at 127.0.0.1 lists without end: 1000 answers were read"


def test_an_answer_without_end(hub: HubServer, fetch: Fetcher) -> None:
    hub.faults.endless = (FIRST,)
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert re.fullmatch(
        r"the server at 127\.0\.0\.1 answers without end: \d+ bytes were read", got.error
    )


def test_an_answer_that_is_packed(hub: HubServer, fetch: Fetcher) -> None:
    hub.faults.headers[FIRST] = {"Content_Encoding": "gzip"}
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error == ("the server at 127.0.0.1 packs its answers, although it was asked not to")


def test_a_body_that_hardly_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_answers, "SLOW_S", 0.01)

    class Trickle(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            while True:
                time.sleep(0.02)
                yield b"x"

    with pytest.raises(LlmpiError, match="sends 1 bytes in 0 s: given up"):
        list(hub_answers._Body(Trickle(), "the server", None))


@pytest.mark.parametrize("size", ["-1", "1e3", "many", "9" * 40, "10", str(10**14), "0"])
def test_odd_sizes(hub: HubServer, fetch: Fetcher, size: str) -> None:
    hub.faults.headers["tiny.gguf"] = {"X_Linked_Size": size}
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert "Traceback" not in got.terminal + got.log
    assert got.manifest is None
    assert not list(fetch.root.glob(f"hf/hub/*/blobs/{hashlib.sha256(TINY).hexdigest()}"))


def test_more_than_was_stated(hub: HubServer, fetch: Fetcher) -> None:
    hub.faults.headers["tiny.gguf"] = {"X_Linked_Size": "10"}
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error == (
        "tiny.gguf: more comes than the 10 bytes that the hub stated. Nothing was kept."
    )


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("hub.example.org", "HF_ENDPOINT is 'hub.example.org': it must begin with https://"),
        ("ftp://hub.example.org", "HF_ENDPOINT is 'ftp://hub.example.org': it must begin"),
        ("https://", "it must begin with https:// (or http://)"),
        ("http://me:secret@127.0.0.1:9", "the hub (http://127.0.0.1:9) cannot be asked"),
    ],
    ids=["no scheme", "another scheme", "no host", "a password"],
)
def test_endpoint(fetch: Fetcher, endpoint: str, said: str) -> None:
    fetch.env["HF_ENDPOINT"] = endpoint
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert said in got.error
    assert "secret" not in got.terminal + got.log
    assert "Traceback" not in got.log


@pytest.mark.parametrize("token", ["hf_schlüssel", "hf_a b", "hf_\x1bx"])
def test_token_that_is_none(fetch: Fetcher, token: str) -> None:
    fetch.env["HF_TOKEN"] = token
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.error.startswith("the token of the hub (HF_TOKEN) holds at place")
    assert token not in got.terminal + got.log


CARDS = {
    b"---\nmodel_name: Smol: the small one\n---\n": None,
    b"---\nlicense: mit\n---\n": "mit",
    b"---\r\nlicense: mit\r\n---\r\n": "mit",
    b"\xef\xbb\xbf---\nlicense: mit\n---\n": "mit",
    b"---\nlicense: [mit, apache-2.0, 5]\n---\n": "mit, apache-2.0",
    b"---\nlicense: {a: 5}\n---\n": None,
    b"---\n- license\n---\n": None,
    b"---\nlicense: !!python/object/apply:os.system [id]\n---\n": None,
    b"---\nlicense: mit": None,
    b"\xff\xfe---": None,
    b"": None,
}


@pytest.mark.parametrize("card", CARDS, ids=str)
def test_card_costs_the_licence_not_the_model(hub: HubServer, fetch: Fetcher, card: bytes) -> None:
    """Case 16."""
    hub.repos["model", "acme/tiny"].files["README.md"] = card
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.manifest, got.terminal
    assert got.manifest["status"] == "ok"
    assert got.manifest["licence"] == CARDS[card]


@pytest.mark.parametrize("name", ["Content_Length", "X_Xet_Hash", "ETag", "X_Repo_Commit"])
@pytest.mark.parametrize("said", ["-rf", ".", "9" * 400])
def test_what_is_said_of_a_card_costs_no_model(
    hub: HubServer, fetch: Fetcher, name: str, said: str
) -> None:
    hub.faults.headers["README.md"] = {name: said}
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert got.manifest, got.terminal
    assert (got.manifest["status"], got.manifest["licence"]) == ("ok", None)
    assert "the licence is unknown: README.md of acme/tiny: " in got.log


def test_weights_are_fetched_once(hub: HubServer, fetch: Fetcher) -> None:
    """Case 17."""
    got = fetch(hub="acme/shards")
    assert got.manifest, got.terminal
    assert sorted(got.manifest["files"]) == [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
        "tokenizer.json",
    ]
    assert hub.asked("GET", "consolidated.safetensors") == []


def test_weights_of_a_folder_are_taken_once(fetch: Fetcher) -> None:
    folder = fetch.root / "checkpoint"
    folder.mkdir()
    for name, data in CHECKPOINT.items():
        (folder / name).write_bytes(data)
    got = fetch(path=str(folder))
    assert got.manifest, got.terminal
    assert "consolidated.safetensors" not in got.manifest["files"]
    assert "adapter_model.safetensors" not in got.manifest["files"]


def test_an_adapter_alone_is_no_model(fetch: Fetcher) -> None:
    got = fetch(hub="acme/adapter")
    assert got.error == (
        "acme/adapter holds no safetensors weights of a model (model*.safetensors), but "
        "adapter_model.safetensors"
    )


@pytest.mark.parametrize("index", [b"[]", b"{", b'{"weight_map": {"a": 5}}', b"[" * 5000])
def test_an_index_that_is_none(hub: HubServer, fetch: Fetcher, index: bytes) -> None:
    hub.repos["model", "acme/shards"].files["model.safetensors.index.json"] = index
    got = fetch(hub="acme/shards")
    assert got.error.endswith("it does not say which files hold the weights")


def test_a_damaged_file_that_the_cache_only_links_to_is_not_removed(
    hub: HubServer, fetch: Fetcher
) -> None:
    fetch(hub="acme/tiny", file="tiny.gguf")
    digest = hashlib.sha256(TINY).hexdigest()
    elsewhere = fetch.root / digest
    elsewhere.write_bytes(TINY[::-1])
    [link] = fetch.root.glob("hf/hub/*/snapshots/*/tiny.gguf")
    link.unlink()
    link.symlink_to(elsewhere)
    got = fetch(hub="acme/tiny", file="tiny.gguf")
    assert "It was damaged in the cache" in got.error
    assert elsewhere.exists()
    assert not link.is_symlink()
    assert fetch(hub="acme/tiny", file="tiny.gguf").manifest


def test_a_plan_takes_no_other_file_for_a_config(hub: HubServer, fetch: Fetcher) -> None:
    """`llmpi plan` asks the hub for config.json alone."""
    program = (
        "from llmpi.errors import LlmpiError; from llmpi.plan.model_facts import _of_hub\n"
        "from llmpi.study.models import HubSource\n"
        "try: print(len(_of_hub(HubSource(hub='acme/shards'), True).header.tensors))\n"
        "except LlmpiError as error: print(f'error: {error}')"
    )

    def planned() -> str:
        env = clean_env(fetch.root, **fetch.env)
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    hub.faults.sizes["config.json"] = 10**12
    assert (
        planned() == "error: config.json of acme/shards has 1,000,000,000,000 bytes: it is none\n"
    )
    hub.faults.sizes.clear()
    hub.faults.headers["config.json"] = {"ETag": '"../../../../mine.txt"'}
    assert "which is none. Nothing was kept" in planned()
    hub.faults.headers.clear()
    config = dict.fromkeys(("num_attention_heads", "num_hidden_layers", "vocab_size"), 2)
    config |= {"hidden_size": 64, "intermediate_size": 64, "architectures": ["LlamaForCausalLM"]}
    hub.repos["model", "acme/shards"].files["config.json"] = json.dumps(config).encode()
    assert planned() == "21\n"
    assert of_others(fetch) == {"mine.txt"}
