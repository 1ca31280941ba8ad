"""The service's unit files: what they say, and what systemd says of them."""

import subprocess
from pathlib import Path

import pytest
from support import needed

from llmpi.errors import LlmpiError
from llmpi.operate.units import SERVICE, SOCKET, units

ASKED = {
    "store": "/home/pi/.llmpi",
    "user": "pi",
    "host": "127.0.0.1",
    "port": 8080,
    "key": True,
    "memory_limit": 3 * 1024**3,
    "drain_s": 120,
}


def test_what_was_asked_for_stands_there() -> None:
    service, socket = (units(**ASKED)[name].splitlines() for name in (SERVICE, SOCKET))
    assert "ListenStream=127.0.0.1:8080" in socket
    for line in (
        "User=pi",
        "MemoryMax=3221225472",
        "MemorySwapMax=0",
        "Restart=always",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "LoadCredential=key:/home/pi/.llmpi/service/key",
        "TimeoutStopSec=130",
    ):
        assert line in service


def test_without_key_and_limit() -> None:
    service = units(**{**ASKED, "key": False, "memory_limit": None})[SERVICE]
    assert "LoadCredential" not in service
    assert "MemoryMax=80%" in service


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert "ListenStream=[::1]:8080" in units(**{**ASKED, "host": "::1"})[SOCKET]


@pytest.mark.parametrize(
    "store", ["/home/pi/a store", "/x\nUser=root", "/x%h", "/$HOME", "x", "/x:y"]
)
def test_a_store_that_systemd_would_read_otherwise_is_refused(store: str) -> None:
    with pytest.raises(LlmpiError, match="path has only letters"):
        units(**{**ASKED, "store": store})


@pytest.fixture
def written(tmp_path: Path) -> list[str]:
    """The units as files, with a program and a user that this machine has."""
    program = tmp_path / "service/current/runtime/bin/llmpi-device"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    found = units(**{**ASKED, "store": str(tmp_path), "user": "daemon"})
    for name, text in found.items():
        (tmp_path / name).write_text(text)
    return [str(tmp_path / name) for name in found]


def test_systemd_finds_nothing_wrong_with_them(written: list[str]) -> None:
    analyze = needed("systemd-analyze")
    done = subprocess.run(
        [analyze, "verify", "--man=no", *written], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_counts_little_exposure(written: list[str]) -> None:
    """0 is safest, 10 as unsafe as can be; systemd calls 2 and less "OK"."""
    analyze = needed("systemd-analyze")
    service = next(path for path in written if path.endswith(SERVICE))
    done = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", service],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.splitlines()[-1])
