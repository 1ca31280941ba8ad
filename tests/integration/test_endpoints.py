"""Engines behind HTTP: real servers on loopback, beside the same model in process."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import systemd_device
from conftest import QUESTIONS, Work
from engine_wheel import engine_wheel
from support import ROOT, free_port, needed, only_root, until

from benchmarks import peer

CSV = "results/report/small/summary.csv"
KEY = "a-key-that-stands-nowhere"


@contextlib.contextmanager
def server(folder: Path, command: Callable[[int], Sequence[str]], path: str) -> Iterator[str]:
    """A server that answers under its path, while the block lasts: its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with (folder / f"{port}.log").open("wb") as log:
        run = subprocess.Popen([*command(port)], stdout=log, stderr=log)

    def answers() -> bool:
        assert run.poll() is None, (folder / f"{port}.log").read_text(errors="replace")[-2000:]
        with contextlib.suppress(URLError, OSError):
            return bool(urlopen(address + path).status == 200)
        return False

    try:
        until(answers)
        yield address
    finally:
        run.terminate()
        run.wait()


def llama_cpp_python(gguf: Path) -> Callable[[int], Sequence[str]]:
    one = ("--n_threads", "1", "--n_threads_batch", "1", "--n_ctx", "1024")
    module = (sys.executable, "-m", "llama_cpp.server")
    return lambda port: (*module, "--model", str(gguf), "--port", str(port), *one)


def llama_server(gguf: Path) -> Callable[[int], Sequence[str]]:
    one = ("-t", "1", "-tb", "1", "-c", "1024", "-np", "1", "--api-key", KEY)
    return lambda port: (
        *(str(peer.tool("llama-server")), "-m", str(gguf), "--port", str(port)),
        *one,
    )


def asking(work: Work, **endpoints: dict[str, object]) -> Work:
    """The study in process and behind these, which serve one quantization."""
    served = {"model": "smollm2-135m", "quant": "Q4_0", "name": "it", "file": "Q4_0 of this study"}
    asked = {name: {"endpoint": {**one, "serves": [served]}} for name, one in endpoints.items()}
    work.config["runtimes"] = {"default": {"threads": 1}, **asked}
    work.config["workloads"]["chat"] = {"prompt_tokens": 32, "output_tokens": 16, "repetitions": 2}
    work.config["workloads"]["chat"]["depths"] = [64]
    return work


def gguf_of(work: Work) -> Path:
    return work.folder / "results/gguf/smollm2-135m/Q4_0.gguf"


def test_an_endpoint_beside_the_cell_in_process(copy: Work) -> None:
    command = llama_cpp_python(gguf_of(copy))
    with server(copy.folder, command, "/v1/models") as address:
        rows = asking(copy, server={"url": f"{address}/v1"}).summarized()
    ours, theirs = (row for row in rows if row["quant"] == "Q4_0")
    assert (ours["status"], theirs["status"]) == ("ok", "ok"), theirs["reason"]
    assert (ours["marks"], theirs["marks"]) == ([], ["over HTTP"])
    assert theirs["endpoint"] == "completions"
    assert theirs["endpoint_place"] == "on the device"
    assert theirs["claimed_file"] == "Q4_0 of this study"
    assert theirs["tg_tps"] > 0 and theirs["pp_tps"] > 0 and theirs["tg_at_depths_tps"]
    assert theirs["endpoint_tg_tps"] is None  # it tells nothing in a stream
    summary = copy.json("report/small/summary.json")
    [cell] = summary["over_http"]
    assert cell["against"] == "default"
    assert cell["tg_less_pct"] == pytest.approx(100 * (1 - theirs["tg_tps"] / ours["tg_tps"]))
    assert (theirs["computation"], theirs["unscored"]) == ("http-server", None)
    assert theirs["quality"]["field"]["status"] == "ok"
    [score] = cell["scores"]
    assert (score["items"], score["errors"]) == (QUESTIONS, 0)
    assert score["against_pct"] == ours["quality"]["field"]["f1_pct"]
    record = copy.json("bench/small/here/smollm2-135m/Q4_0/server.json")
    assert record["endpoint"]["url"] == f"{address}/v1"
    [done, *_] = record["workloads"]["chat"]["repetitions"]
    assert done["served"]["pieces"] == 17 > len(done["itl_s"]) > 4


def test_an_endpoint_that_is_not_there_is_no_result(copy: Work) -> None:
    asking(copy, server={"url": f"http://127.0.0.1:{free_port()}/v1"}).write()
    bench = "results/bench/small/here/smollm2-135m/Q4_0/server.json"
    failed = copy.snakemake("--", bench, check=False)
    assert failed.returncode != 0
    assert "cannot be reached" in failed.stdout
    assert not (copy.folder / bench).exists()


def ollama(gguf: Path) -> Callable[[int], Sequence[str]]:
    stand_in = str(ROOT / "tests/ollama.py")
    return lambda port: (sys.executable, stand_in, str(gguf), str(port))


def test_ollama_counts_what_is_clocked(copy: Work) -> None:
    with server(copy.folder, ollama(gguf_of(copy)), "/") as address:
        rows = asking(copy, ollama={"url": address, "api": "ollama"}).summarized()
    ours, theirs = (row for row in rows if row["quant"] == "Q4_0")
    assert theirs["status"] == "ok", theirs["reason"]
    assert (theirs["endpoint"], theirs["computation"]) == ("ollama", "http-ollama")
    assert theirs["endpoint_tg_tps"] == pytest.approx(theirs["tg_tps"], rel=0.3)
    assert theirs["quality"]["field"]["status"] == ours["quality"]["field"]["status"] == "ok"
    assert theirs["answers"]["field"]["prompt_p50_tokens"] > 100


def test_own_prompts_in_process_and_over_http_on_one_sheet(copy: Work) -> None:
    prompts: list[dict[str, object]] = [
        {"prompt": "What freezes at 0 °C?", "expect": {"contains": "water"}},
        {"system": "Answer in one word.", "prompt": "好的？", "expect": {"max_words": 100}},
        {"messages": [{"role": "user", "content": "Count: one, two,"}]},
    ]
    (copy.folder / "own.jsonl").write_text("\n".join(map(json.dumps, prompts)))
    theirs = "here/smollm2-135m/Q4_0/server"
    copy.config["quality"]["own"] = {
        **{"task": "ab", "prompts": "own.jsonl", "max_new_tokens": 12},
        "pairs": [["smollm2-135m/Q4_0", theirs]],
    }
    pair = f"smollm2-135m,Q4_0,vs,{theirs.replace('/', ',')}"
    with server(copy.folder, llama_cpp_python(gguf_of(copy)), "/v1/models") as address:
        work = asking(copy, server={"url": f"{address}/v1"}).write()
        work.snakemake("--", f"results/ab/small/own/{pair}.json")
    asked = copy.json(f"asked/small/{theirs}/own.json")
    ours = copy.json("quality/small/smollm2-135m/Q4_0/f16/own.json")
    assert (asked["summary"]["items"], asked["summary"]["errors"]) == (3, 0)
    assert all(one["text"].strip() for one in asked["answers"])
    assert any(not one["stopped"] for one in asked["answers"]) == bool(asked["summary"]["cut"])
    assert asked["prompts_sha256"] == ours["prompts_sha256"]
    compared = copy.json(f"ab/small/own/{pair}.json")
    assert (compared["a"], compared["b"]) == ("smollm2-135m/Q4_0", theirs)
    shown = [one["b"]["text"] for one in compared["prompts"]]
    assert shown == [one["text"] for one in asked["answers"]]
    sheet = (copy.folder / f"results/ab/small/own/{pair}.html").read_text()
    assert "server" not in sheet.partition("<main>")[2].partition("<script>")[0]


@pytest.mark.long
def test_what_http_costs_of_two_servers(copy: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama-server, which has a key and tells what it counts, and llama-cpp-python's: one table."""
    monkeypatch.setenv("ENDPOINT_KEY", KEY)
    gguf = gguf_of(copy)
    with (
        server(copy.folder, llama_server(gguf), "/health") as first,
        server(copy.folder, llama_cpp_python(gguf), "/v1/models") as second,
    ):
        asking(
            copy,
            **{
                "llama-server": {"url": f"{first}/v1", "key_variable": "ENDPOINT_KEY"},
                "llama-cpp-python": {"url": f"{second}/v1"},
            },
        )
        page = copy.shown()
    cells = {cell["runtime"]: cell for cell in copy.json("report/small/summary.json")["over_http"]}
    assert [*cells] == ["llama-server", "llama-cpp-python"]
    told = cells["llama-server"]
    assert told["endpoint"]["server"] == "llama.cpp"
    assert told["own_tg_tps"] == pytest.approx(told["tg_tps"], rel=0.5)
    assert told["ttft_beyond_own_s"] is not None
    assert cells["llama-cpp-python"]["own_tg_tps"] is None
    assert "Over HTTP" in page and first not in page
    for name in ("llama-server", "llama-cpp-python"):
        asked = copy.json(f"asked/small/here/smollm2-135m/Q4_0/{name}/field.json")
        assert all(item["error"] is None and item["answer"] for item in asked["items"])
        assert asked["endpoint"]["claimed"]["file"] == "Q4_0 of this study"
    record = copy.json("bench/small/here/smollm2-135m/Q4_0/llama-server.json")
    counted = [r["served"]["prompt_tokens"] for r in record["workloads"]["chat"]["repetitions"]]
    assert all(abs(count - 32) <= 2 for count in counted)
    for folder, _, files in os.walk(copy.folder):
        for name in files:
            if not name.endswith(".gguf"):
                assert KEY.encode() not in (Path(folder) / name).read_bytes()


@pytest.mark.long
def test_a_board_asks_what_only_it_can_reach(copy: Work, tmp_path: Path) -> None:
    """On its own loopback, by the client that is there; questions and own prompts likewise."""
    for tool in systemd_device.TOOLS:
        needed(tool)
    only_root("a namespace with systemd in it")
    with systemd_device.running(tmp_path / "pi4", "pi4", 4) as board:
        shutil.copy(gguf_of(copy), f"/proc/{board.pid}/root/srv/it.gguf")
        port = free_port()
        command = (str(peer.tool("llama-server")), "-m", "/srv/it.gguf", "--port", str(port))
        unit = ("systemd-run", "--unit=its-server", "--property=Restart=no")
        board.run(*unit, *command, "-t", "1", "-tb", "1", "-c", "1024", "-np", "1")
        health = f"from urllib.request import urlopen; urlopen('http://127.0.0.1:{port}/health')"
        until(lambda: board.run("python3", "-c", f"{health}; print('there')", check=False))
        engine = {"wheel": str(engine_wheel(tmp_path / "wheels"))}
        copy.config["devices"] = {"pi": board.spec(engine=engine)}
        address = f"http://127.0.0.1:{port}/v1"
        with pytest.raises(URLError):
            urlopen(f"{address}/models")
        rows = asking(copy, server={"url": address}).summarized()
    [theirs] = [row for row in rows if row["runtime"] == "server"]
    assert theirs["status"] == "ok", theirs["reason"]
    assert (theirs["endpoint_place"], theirs["marks"]) == ("on the device", ["over HTTP"])
    assert theirs["quality"]["field"]["status"] == "ok"
    assert theirs["endpoint_tg_tps"] == pytest.approx(theirs["tg_tps"], rel=0.5)
