"""Machines that tell their names by real mDNS are offered as boards; what names no host is not."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import until
from zeroconf import IPVersion, ServiceInfo, Zeroconf

from llmpi.start import init as starting
from llmpi.start.neighbours import neighbours


@contextlib.contextmanager
def telling(**servers: str) -> Iterator[None]:
    """Machines that tell of a service: its kind, and what they say they are called."""
    with Zeroconf(ip_version=IPVersion.V4Only) as network:
        for number, (kind, server) in enumerate(servers.items()):
            service = f"_{kind}._tcp.local."
            name = f"Pi {number} of llmpi's tests.{service}"
            address = [socket.inet_aton("192.0.2.1")]
            network.register_service(
                ServiceInfo(service, name, addresses=address, port=22, server=f"{server}.")
            )
        yield


def test_who_tells_a_name_is_heard() -> None:
    with telling(ssh="kitchen-of-tests.local", workstation="Hall-of-tests.local"):
        until(lambda: {"hall-of-tests.local", "kitchen-of-tests.local"} <= {*neighbours()})


def test_a_new_board_is_heard_that_tells_of_no_service_we_know() -> None:
    with telling(http="raspberrypi.local"):
        until(lambda: "raspberrypi.local" in neighbours())


def test_what_is_no_name_of_a_host_is_not_offered() -> None:
    """It would be an option of `ssh`, or colour the terminal."""
    option, paint = "-oProxyCommand=sh.local", "a\x1b[31m.local"
    told = {"ssh": option, "sftp-ssh": paint, "workstation": "sound-of-tests.local"}
    with telling(**told):
        until(lambda: "sound-of-tests.local" in neighbours())
        assert not {option.lower(), paint} & {*neighbours()}


def test_without_the_library_nobody_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    assert neighbours() == []


def test_a_person_is_told_who_was_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(starting, "SSH_CONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(starting, "neighbours", lambda: ["kitchen-pi.local"])
    monkeypatch.setattr(starting, "_ask", lambda _, default: default)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert starting._chosen() == ["kitchen-pi.local"]
    assert "The network has: kitchen-pi.local" in capsys.readouterr().out
