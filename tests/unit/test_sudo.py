"""Where sudo asks for a password, an installation says what to run once, and goes on from there."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from llmpi.errors import LlmpiError
from llmpi.operate import sudo
from llmpi.remote.machine import Done


class Board:
    def __init__(self, name: str, asks: int, user: str = "pi") -> None:
        self.name, self.user = name, user
        self.asks = asks
        """So many times it still asks."""

    def run(self, argv: Sequence[str], **_: Any) -> Done:
        if argv[0] == "id":
            return Done(0, f"{self.user}\n", "")
        self.asks -= 1
        return Done(int(self.asks >= 0), "", "")


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def connected(_: str, device: Any) -> Iterator[Any]:
        if device is None:
            raise LlmpiError("cannot be reached")
        yield device

    monkeypatch.setattr(sudo, "connected", connected)


def ready(waits: bool, **devices: Any) -> list[str]:
    said: list[str] = []
    sudo.ready(devices, said.append, waits=waits, sleep=lambda _: None)
    return said


@pytest.mark.usefixtures("reached")
def test_without_a_person_it_ends_with_what_to_run_on_each_board() -> None:
    boards = {"one": Board("one", 9), "two": Board("two", 0), "three": Board("three", 9, "eve")}
    with pytest.raises(LlmpiError) as error:
        ready(waits=False, **boards)
    said = str(error.value)
    assert sudo.once("pi") in said and sudo.once("eve") in said
    assert "device two" not in said
    assert said.endswith("Then run `llmpi service install` again.")


@pytest.mark.usefixtures("reached")
def test_with_a_person_it_waits_and_goes_on() -> None:
    boards = {"one": Board("one", 3), "two": Board("two", 1)}
    said = ready(waits=True, **boards)
    assert len(said) == 3 and "Waiting" in said[-1]
    assert all(board.asks < 0 for board in boards.values())


@pytest.mark.usefixtures("reached")
def test_of_what_its_own_stage_tells_nothing_is_said() -> None:
    assert ready(waits=False, gone=None, root=Board("root", 9, "root")) == []
