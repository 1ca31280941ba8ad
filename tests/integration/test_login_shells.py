"""Whatever shell a user of a device logs in with."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sshd, running_sshd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support import needed

from llmpi.remote.any_shell import for_any_shell
from llmpi.remote.connection import connected
from llmpi.study.devices import SshDevice

SHELLS = {
    "bash": ["bash"],
    "dash": ["dash"],
    "zsh": ["zsh"],
    "fish": ["fish"],
    "tcsh": ["tcsh"],
    "busybox": ["busybox", "sh"],
}
HOSTILE = (
    'a b\'; touch pwned; $(touch pwned)\n`touch pwned` "*" !! !x \\n \\0047 ~ {a,b} =ls %1 é\t#'
)


def shell(name: str) -> list[str]:
    command, *rest = SHELLS[name]
    return [needed(command), *rest]


@pytest.fixture(scope="module", params=SHELLS)
def device(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sshd, str]]:
    words = " ".join(shell(request.param))
    forced = f'ForceCommand {words} -c "$SSH_ORIGINAL_COMMAND"\n'
    with running_sshd(tmp_path_factory.mktemp(request.param), forced) as server:
        yield server, request.param


def test_commands_and_files(device: tuple[Sshd, str], tmp_path: Path) -> None:
    server, _ = device
    there = SshDevice.model_validate(server.device(tmp_path / "a store"))
    (tmp_path / "source").write_text("text")
    with connected("pi", there) as board:
        assert board.run(["printf", "%s", HOSTILE]).stdout == HOSTILE
        assert board.run(["sh", "-c", "exit 7"], check=False).status == 7
        target = str(tmp_path / "a store" / HOSTILE.replace("/", ""))
        board.put(tmp_path / "source", target)
        assert board.sha256(target) is not None
    assert Path(target).read_text() == "text"
    assert not (Path.home() / "pwned").exists()


@pytest.mark.parametrize("name", SHELLS)
@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
        min_size=1,
        max_size=3,
    )
)
@example(["", "'", "\\", "!", "\n", "\\\\0047", "a\n", "-n", "%b"])
def test_every_argument_arrives(name: str, arguments: list[str]) -> None:
    count = 'import os, sys; sys.stdout.buffer.write(b"\\0".join(map(os.fsencode, sys.argv[1:])))'
    command = for_any_shell([needed("python3"), "-I", "-c", count, *arguments])
    done = subprocess.run([*shell(name), "-c", command], capture_output=True, check=True)
    assert done.stdout.decode().split("\0") == arguments


def test_all_shells_are_here() -> None:
    assert all(shutil.which(command) for command, *_ in SHELLS.values())
