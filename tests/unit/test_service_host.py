"""What a device must have for a service, and what is done there, against a device of words."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from llmpi.errors import LlmpiError
from llmpi.operate import host
from llmpi.operate.units import SERVICE, SOCKET
from llmpi.remote.machine import Done

GOOD = {
    "systemctl --version": Done(0, "systemd 252", ""),
    "id -un": Done(0, "pi\n", ""),
    "sudo -n true": Done(0, "", ""),
    "sh -c": Done(0, "cpuset cpu io memory pids\n", ""),
}
GONE = Done(127, "", "not found")


class Board:
    """Answers a command by how it begins, and remembers all."""

    name, store = "pi5", "/home/pi/.llmpi"

    def __init__(self, answers: dict[str, Done]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def run(self, argv: Sequence[str], **_: Any) -> Done:
        command = " ".join(argv)
        self.asked.append(command)
        found = [done for start, done in self.answers.items() if command.startswith(start)]
        return found[0] if found else Done(0, "", "")

    def put(self, *_: Any) -> None:
        return


def problem(**answers: Done) -> str:
    with pytest.raises(LlmpiError) as error:
        host.check(Board({**GOOD, **answers}), needs_memory_limit=True)
    return str(error.value)


def test_the_service_runs_as_the_user_of_the_connection() -> None:
    assert host.check(Board(GOOD), needs_memory_limit=True) == "pi"


def test_what_is_missing_is_said_with_what_to_do() -> None:
    assert "has no systemd" in problem(**{"systemctl --version": GONE})
    assert "must not run as root" in problem(**{"id -un": Done(0, "root\n", "")})
    said = problem(**{"sudo -n true": Done(1, "", "a password is required")})
    line = 'umask 227; echo "pi ALL=(ALL) NOPASSWD: ALL" > /etc/sudoers.d/llmpi'
    assert f"\n  sudo sh -c '{line}'\n" in said
    strange = {"id -un": Done(0, "pi,ALL\n", ""), "sudo -n true": Done(1, "", "")}
    assert "cannot name 'pi,ALL'" in problem(**strange) and "echo" not in problem(**strange)
    said = problem(**{"sh -c": Done(0, "cpuset cpu io pids\n", "")})
    assert "cgroup_enable=memory" in said


def test_without_a_limit_in_the_config_it_warns(caplog: pytest.LogCaptureFixture) -> None:
    board = Board({**GOOD, "sh -c": Done(0, "cpu pids\n", "")})
    with caplog.at_level(logging.WARNING):
        assert host.check(board, needs_memory_limit=False) == "pi"
    assert "limits no memory" in caplog.text


def test_only_what_changed_is_written() -> None:
    board = Board({f"cat -- /etc/systemd/system/{SERVICE}": Done(0, "same", ""), "cat": GONE})
    assert host.write(board, {SERVICE: "same", SOCKET: "new", "gone": None}) == [SOCKET]
    assert [command for command in board.asked if SERVICE in command and "cat" not in command] == []
    assert board.asked[-1] == "sudo -n systemctl daemon-reload"
    board.asked.clear()
    assert host.write(board, {SERVICE: "same"}) == []
    assert not any("daemon-reload" in command for command in board.asked)


@pytest.mark.parametrize("new_socket", [False, True])
def test_the_socket_stays_open_unless_it_is_another(new_socket: bool) -> None:
    board = Board({})
    assert host.restart(board, SERVICE, SOCKET, new_socket=new_socket, timeout_s=9) == []
    stops = [command for command in board.asked if " stop " in command]
    assert bool(stops) == new_socket


def test_a_unit_that_does_not_start_says_why_in_its_own_words() -> None:
    board = Board(
        {
            f"sudo -n systemctl restart {SERVICE}": Done(1, "", "Job failed. See journalctl"),
            "sudo -n journalctl _SYSTEMD_UNIT": Done(0, "llama.cpp cannot load it\n", ""),
        }
    )
    assert host.restart(board, SERVICE, SOCKET, new_socket=False, timeout_s=9) == [
        f"{SERVICE} does not start: llama.cpp cannot load it"
    ]


def test_what_systemd_says_of_a_unit() -> None:
    said = "ActiveState=active\nSubState=running\nNRestarts=2\nMemoryCurrent=1048576\n"
    board = Board({"systemctl show": Done(0, f"{said}ActiveEnterTimestamp=Thu 10:00\n", "")})
    assert host.unit_state(board, SERVICE) == ("active", "running", "Thu 10:00", 2, 1 << 20)
    said = "ActiveState=inactive\nSubState=dead\nNRestarts=0\nMemoryCurrent=[not set]\n"
    board = Board({"systemctl show": Done(0, f"{said}ActiveEnterTimestamp=\n", "")})
    assert host.unit_state(board, SERVICE) == ("inactive", "dead", None, 0, None)
