"""What is heard of llama-server over its socket; a program that says what a test wants is there."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_service import settings

from llmpi.device.service.engine import Engine
from llmpi.device.service.heard import EngineRefusedError, Heard

PROGRAM = f"""#!{sys.executable}
import socket, sys
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[sys.argv.index("--host") + 1])
listening.listen()
while True:
    link, _ = listening.accept()
    asked = link.recv(65536)
    healthy = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}"
    link.sendall(healthy if b" /health " in asked else open(__file__ + ".says", "rb").read())
    link.close()
"""
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FIRST, LAST = {"content": "a", "stop": False}, {"content": "", "stop": True}


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def line(piece: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(piece).encode() + b"\n\n"


def heard(folder: Path, says: bytes) -> Sequence[Any]:
    """The pieces of an answer, where the program says that to a request."""
    program = folder / "llama-server"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (folder / "llama-server.says").write_bytes(says)

    async def ask() -> list[Any]:
        there = Engine(program, folder / "m.gguf", settings())
        running = asyncio.ensure_future(there.run())
        try:
            await there.wait()
            found: list[Any] = []
            await there.complete({"prompt": "p"}, found.append)
            return found
        finally:
            running.cancel()
            await asyncio.wait({running})

    return asyncio.run(ask())


@pytest.mark.parametrize("read", [1, 7, 1 << 16], ids="{} bytes at once".format)
def test_a_line_may_come_in_several_chunks_and_several_lines_in_one(read: int) -> None:
    async def lines(said: bytes) -> list[bytes]:
        found: list[bytes] = []

        def last(one: bytes) -> bool:
            found.append(one)
            return b"true" in one

        listening = Heard(last)
        for at in range(0, len(said), read):
            listening.data_received(said[at : at + read])
        await listening.ended
        return found

    text = line(FIRST) + line(FIRST) + line(LAST)
    for cut in (1, 6, 20, len(line(FIRST)), len(text) - 1):
        said = HEAD + chunks(text[:cut], text[cut:]) + b"0\r\n\r\n"
        assert asyncio.run(lines(said)) == text.rstrip().split(b"\n"), cut


@pytest.mark.parametrize("kept", [0, 1, 10, 30], ids="{} bytes of the next".format)
def test_an_engine_that_ends_within_an_answer_died(tmp_path: Path, kept: int) -> None:
    """Whether it ends between two lines, or in the middle of one."""
    for said in (
        HEAD + chunks(line(FIRST), line(LAST)[:kept] or b" "),
        HEAD + chunks(line(FIRST)) + chunks(line(LAST))[:kept],
        (HEAD + chunks(line(FIRST)))[: len(HEAD) + kept],
    ):
        with pytest.raises(ConnectionResetError):
            heard(tmp_path, said)


def test_the_last_line_may_lack_its_end(tmp_path: Path) -> None:
    said = HEAD + chunks(line(FIRST), line(LAST).rstrip()) + b"0\r\n\r\n"
    assert heard(tmp_path, said) == [FIRST, LAST]


def test_who_cannot_do_with_a_piece_hears_of_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="stop"):
        heard(tmp_path, HEAD + chunks(line({"content": "a"})) + b"0\r\n\r\n")


def test_a_whole_answer_without_an_end_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        heard(tmp_path, HEAD + chunks(line(FIRST)) + b"0\r\n\r\n")


def test_what_is_no_http_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError):
        heard(tmp_path, b"Segmentation fault\n")


def test_who_is_refused_hears_with_which_status(tmp_path: Path) -> None:
    error = {"error": {"code": 501, "message": "no"}}
    for said, status in (
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\n\r\n{}", 503),
        (HEAD + chunks(line(FIRST), line(error)) + b"0\r\n\r\n", 501),
    ):
        with pytest.raises(EngineRefusedError) as refused:
            heard(tmp_path, said)
        assert refused.value.status == status
