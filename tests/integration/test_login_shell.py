"""What a login shell does around a command, over a real OpenSSH server: told apart, and bounded."""

import os
from pathlib import Path

import pytest

from llmpi.errors import LlmpiError
from llmpi.records import sha256_of
from llmpi.remote.check import check_device, table
from llmpi.remote.connection import connected
from llmpi.remote.machine import LinkError
from llmpi.remote.ssh_machine import SshMachine
from llmpi.remote.transfer import Piped
from llmpi.study.devices import LocalDevice


@pytest.mark.parametrize(
    ("bashrc", "noise"),
    [
        ("echo Welcome", "Welcome"),
        ("printf 'no new line'", "no new line"),
        ("echo Hello; trap 'printf Goodbye' EXIT", "Hello"),  # it is replaced by the command
        ("sleep 1000 & echo Welcome", "Welcome"),
        (r"printf '\033[31mred\0\377\n'", "\x1b[31mred\x00�"),
        ('printf "%s" {}', "{}"),
        ("head -c 300000 /dev/zero | tr '\\0' x", "x" * 197 + "..."),
    ],
)
def test_noise_is_no_answer(board, tmp_path: Path, bashrc: str, noise: str) -> None:
    with connected("pi", board(bashrc)) as device:
        assert device.run(["printf", "%s\n", "a  b"]).stdout == "a  b\n"
        assert device.run(["true"]).stdout == ""
        failed = device.run(["sh", "-c", "echo out; echo err >&2; exit 7"], check=False)
        assert (failed.status, failed.stdout, failed.stderr) == (7, "out\n", "err\n")
        assert device.noise == noise
        source = tmp_path / "source"
        source.write_bytes(os.urandom(3_000_000))
        device.put(source, f"{tmp_path}/there/file")
        assert isinstance(device, SshMachine)
        assert isinstance(device._sender, Piped)
    assert sha256_of(tmp_path / "there/file") == sha256_of(source)


def test_a_shell_that_repeats_what_it_is_told(board) -> None:
    """The mark cannot be found in the command itself."""
    with connected("pi", board('echo "$BASH_EXECUTION_STRING"')) as device:
        assert device.run(["echo", "hello"]).stdout == "hello\n"


def test_much_is_heard_whole(board) -> None:
    text = "°C 日本 " * 400_000  # characters of several bytes, in pieces
    with connected("pi", board("")) as device:
        command = ["python3", "-c", "print('°C 日本 ' * 400_000, end='')"]
        assert device.run(command).stdout == text
        assert device.noise == ""


@pytest.mark.fault("a login shell that runs nothing", by="the reason, within its time")
@pytest.mark.parametrize(
    ("bashrc", "said"),
    [
        ("yes Welcome", "prints and does not stop; its login shell did not come to run"),
        ("sleep 1000", "no end within 3 s; its login shell did not come to run the command"),
        ("echo Name:; read name", "the login shell prints 'Name:' when it is not interactive"),
        ("echo Closed; exit 3", "ended with status 3; its login shell did not come to run"),
        ("exec false", "ended with status 1"),
    ],
)
def test_a_shell_that_runs_nothing(board, bashrc: str, said: str) -> None:
    patience_s = 1 if "no end" in said else 3
    asked = board(bashrc).model_copy(update={"connect_timeout_s": patience_s})
    with pytest.raises(LlmpiError) as caught, connected("pi", asked) as device:
        device.run(["true"])
    assert said in str(caught.value)


@pytest.mark.fault("a command that never ends", by="the next command's answer")
def test_a_command_that_never_ends_or_stops(board) -> None:
    with connected("pi", board("")) as device:
        with pytest.raises(LinkError, match="no end within 1 s"):
            device.run(["sleep", "1000"], timeout_s=1)
        for where in ("", " >&2"):
            with pytest.raises(LlmpiError, match="prints and does not stop"):
                device.run(["sh", "-c", f"yes{where}"])
        assert device.run(["echo", "still there"]).stdout == "still there\n"


def test_check_names_the_file_and_the_other_boards(board) -> None:
    device = board("echo Welcome to the shelf")
    noisy = check_device("noisy", device)
    here = check_device("here", LocalDevice(transport="local"))
    shown = table([noisy, here])
    assert "noisy: the login shell prints 'Welcome to the shelf' when it is not interactive" in (
        shown
    )
    assert "/.bashrc" in shown
    assert noisy.facts["reachable"] == here.facts["reachable"] == "yes"


def test_much_on_stderr_holds_no_transfer_up(board, tmp_path: Path) -> None:
    """More than a pipe takes."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    with connected("pi", board("head -c 300000 /dev/zero | tr '\\0' e >&2")) as device:
        assert device.noise == ""
        device.put(source, f"{tmp_path}/there/file")
        with pytest.raises(LlmpiError, match=r"sending source broke off at .* \(eee"):
            device.send(source, "/nowhere/file", 0)
    assert sha256_of(tmp_path / "there/file") == sha256_of(source)
