"""The service on a whole virtual Pi: its own kernel, systemd and disk. A tiny model is served.

A power cut there loses what its disk has not; `test_service` has what needs no board of its own.
"""

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from expected_answers import expectation, right_answer, spoil
from full_pi import made, moments, recipe
from full_pi.board import Board
from full_pi.moments import waiting
from gguf_edit import edited
from service_command import llmpi_service
from support import needed, until
from tiny_llama import tiny_llama
from virtual_pi import share_engines

from llmpi import layout
from llmpi.records import sha256_of, write_json

pytestmark = pytest.mark.long

MODEL, GOOD, BAD = "tiny", "Q4_0", "Q8_0"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
PORT = 8080
UNIT, MONITOR = "llmpi-serve.service", "llmpi-monitor.service"
FOLDER = "/home/pi/.llmpi/service"
PROMPT, TOKENS = "The capital of France is", 4
ASK = """\
import json, sys, urllib.error, urllib.request
url, body = sys.argv[1:]
try:
    request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
    print(json.load(urllib.request.urlopen(request, timeout=300))["choices"][0]["text"], end="")
except urllib.error.HTTPError as error:
    print(error.code, end="")
"""


@dataclass
class Served:
    """A board, and a working copy whose study serves on it."""

    work: Any
    """Of conftest.py."""
    board: Board
    right: str
    """What the good release answers to `PROMPT`."""

    def install(self, quant: str = GOOD, *, context_tokens: int = 512, check: bool = True) -> str:
        variant = {"model": MODEL, "quant": quant}
        service = {"variant": variant, "port": PORT, "drain_s": 10}
        self.work.config["service"] = {**service, "context_tokens": context_tokens}
        self.work.write()
        return llmpi_service(self.work.folder, "install", check=check)

    def current(self) -> str:
        """The release that is served."""
        return self.board.run("readlink", f"{FOLDER}/current").strip().rpartition("/")[2]

    def says(self, prompt: str = PROMPT) -> str | None:
        """What it answers there, or with which status it refuses; None where nobody listens yet."""
        body = json.dumps({"prompt": prompt, "max_tokens": TOKENS, "temperature": 0})
        url = f"http://127.0.0.1:{PORT}/v1/completions"
        return self.board.run("python3", "-c", ASK, url, body, check=False) or None

    def is_active(self, unit: str) -> bool:
        return self.board.run("systemctl", "is-active", unit, check=False).strip() == "active"


@pytest.fixture(scope="module")
def served(new, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    for tool in made.TOOLS:
        needed(tool)
    folder = tmp_path_factory.mktemp("served-pi")
    work = new(folder / "work", "served")
    chat = {"tokenizer.chat_template": TEMPLATE, "llama.context_length": 512}
    edited(tiny_llama(folder), work.folder / "tiny.gguf", chat)
    share_engines(work.folder)
    with made.board(folder / "board") as board:
        work.config |= {
            "models": {MODEL: {"source": {"path": "tiny.gguf"}}},
            "quants": [GOOD, BAD],
            "quality": {},
            "devices": {"pi": board.device()},
        }
        work.write().snakemake("--", "gguf")
        files = {
            quant: work.folder / layout.at(layout.GGUF, model=MODEL, quant=quant)
            for quant in (GOOD, BAD)
        }
        spoil(files[GOOD], files[BAD])
        expected = expectation(files[GOOD], work.folder)
        for quant, file in files.items():
            cell = {"device": "pi", "model": MODEL, "quant": quant}
            where = layout.at(layout.EXPECTATION, study="served", runtime="default", **cell)
            wanted = {**expected, **cell, "gguf_sha256": sha256_of(file)}
            write_json(work.folder / where, wanted)
        board.boot()
        moments.prepare(board)
        # As on Raspberry Pi OS.
        sudoers = f"echo '{recipe.USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/010_pi-nopasswd"
        board.run("sh", "-c", f"{sudoers} && sync", user="root")
        found = Served(work, board, right_answer(files[GOOD], PROMPT, TOKENS))
        assert "pi: passed" in found.install()
        yield found


@pytest.fixture(autouse=True)
def _on(served: Served) -> None:
    """The board is on, whatever became of it before."""
    if not served.board.is_on:
        served.board.boot()


def test_installed_it_answers(served: Served) -> None:
    assert served.says() == served.right
    assert served.is_active(MONITOR)


@pytest.mark.fault("the service of a board killed", by="the answer")
def test_killed_it_comes_back(served: Served) -> None:
    served.board.run("systemctl", "kill", "--signal=KILL", UNIT, user="root")
    assert until(served.says) == served.right


@pytest.mark.fault("a release that answers nonsense, on a board", by="the answer of the one before")
def test_a_bad_release_is_rolled_back(served: Served) -> None:
    before = served.current()
    said = served.install(BAD, check=False)
    assert "pi: rolled back" in said
    assert served.current() == before
    assert served.says() == served.right


@pytest.mark.fault("a serving board is started again", by="the answer")
@pytest.mark.parametrize("by", ["its own command", "a power cut"])
def test_started_again_it_serves_by_itself(served: Served, by: str) -> None:
    if by == "a power cut":
        served.board.cut_power()
        served.board.boot()
    else:
        served.board.reboot()
    assert until(served.says) == served.right
    assert served.is_active(MONITOR)


@pytest.mark.fault("power cut in an update of a board's service", by="the answer, before and after")
@pytest.mark.parametrize("moment", ["service/previous", "service/current", "behind the switch"])
def test_power_cut_in_an_update_it_serves_by_itself(served: Served, moment: str) -> None:
    """By the one release or by the other; installing goes on from there."""
    board, old = served.board, served.current()
    behind = moment == "behind the switch"
    held = contextlib.nullcontext() if behind else waiting(board, named=moment)
    with held as wait, ThreadPoolExecutor() as pool:
        installed = pool.submit(served.install, context_tokens=256, check=False)
        if wait:
            wait(lambda: not installed.done())
        else:
            until(lambda: installed.done() or served.current() != old)
        board.cut_power()
        assert "pi: failed" in installed.result()
    board.boot()
    assert until(served.says) == served.right
    served.install(context_tokens=256)
    assert served.current() != old
    assert served.says("word " * 80) == "400"
    served.install()
    assert served.current() == old
