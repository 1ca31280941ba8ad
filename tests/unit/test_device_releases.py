"""What a device says of its releases is checked where it arrives."""

import json
from collections.abc import Mapping

import pytest
from typing_extensions import TypeForm, TypeVar

from llmpi.errors import LlmpiError
from llmpi.operate import device_releases
from llmpi.records import check

Kind = TypeVar("Kind")
STATE = {"current": "two", "previous": "one", "releases": ["one", "two"]}


class Board:
    """A device that says what the test wants, and remembers what it was asked."""

    name, store = "pi5", "/srv/llmpi"

    def __init__(self, says: object) -> None:
        self.says = json.dumps(says)
        self.asked: list[Mapping[str, object]] = []

    def ask(
        self, command: str, request: Mapping[str, object], kind: TypeForm[Kind], **_: object
    ) -> Kind:
        assert command == "releases"
        self.asked.append(request)
        return check(self.says, kind, "device pi5: llmpi-device releases")


def test_the_state_before_is_what_is_restored() -> None:
    board = Board({"answer": STATE})
    before = device_releases.switch(board, "three")
    device_releases.restore(board, before)
    assert before == STATE
    assert board.asked == [
        {"store": "/srv/llmpi", "do": "switch", "release": "three"},
        {"store": "/srv/llmpi", "do": "restore", "current": "two", "previous": "one"},
    ]


def test_a_refusal_is_said_in_its_words() -> None:
    with pytest.raises(LlmpiError, match="device pi5: there is no previous release"):
        device_releases.roll_back(Board({"error": "there is no previous release"}))


def test_an_answer_of_another_shape_is_named() -> None:
    with pytest.raises(LlmpiError, match=r"llmpi-device releases: answer\.releases"):
        device_releases.state(Board({"answer": {"current": None, "previous": None}}))
