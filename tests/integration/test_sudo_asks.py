"""A device whose sudo asks for a password, as images of Raspberry Pi OS do since April 2026."""

import re
import subprocess
import threading
from collections.abc import Iterator

import pytest
import systemd_device
from support import PATIENCE_S, needed, only_root, until

from llmpi.errors import LlmpiError
from llmpi.operate import host, sudo
from llmpi.remote.connection import connected
from llmpi.study.devices import SshDevice

pytestmark = pytest.mark.long

PASSWORD = "pomegranate"
ASKS = f"""\
rm -f /etc/sudoers.d/llmpi
echo '{systemd_device.USER}:{PASSWORD}' | chpasswd
echo '{systemd_device.USER} ALL=(ALL) ALL' > /etc/sudoers.d/asks
chmod 440 /etc/sudoers.d/asks
"""


@pytest.fixture(scope="module")
def device(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[systemd_device.SystemdDevice]:
    for tool in systemd_device.TOOLS:
        needed(tool)
    only_root("a namespace with systemd in it")
    with systemd_device.running(tmp_path_factory.mktemp("sudo") / "pi3", "pi3", 3) as running:
        yield running


@pytest.fixture
def reached(device: systemd_device.SystemdDevice) -> SshDevice:
    device.run("sh", "-ec", ASKS)
    return SshDevice.model_validate(device.spec())


def typed(device: systemd_device.SystemdDevice, command: str) -> None:
    """As a person runs a command there who is asked for a password."""
    ssh = ["ssh", "-tt", "-i", str(device.identity_file), "-o", "BatchMode=yes"]
    ssh += ["-o", f"UserKnownHostsFile={device.known_hosts}"]
    target = f"{systemd_device.USER}@{device.address}"
    with subprocess.Popen(
        [*ssh, target, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as person:
        assert person.stdin and person.stdout
        said = b""
        while b"password" not in said and (letter := person.stdout.read(1)):
            said += letter
        person.stdin.write(f"{PASSWORD}\n".encode())
        person.stdin.flush()
        assert person.wait(PATIENCE_S) == 0, said


def test_a_line_is_said_that_a_person_runs_once(
    device: systemd_device.SystemdDevice, reached: SshDevice
) -> None:
    said: list[str] = []
    with pytest.raises(LlmpiError) as error:
        sudo.ready({"pi3": reached}, said.append, waits=False)
    assert "device pi3: writing and starting units needs sudo without a password" in str(
        error.value
    )
    with connected("pi3", reached) as there, pytest.raises(LlmpiError, match="without a password"):
        host.check(there, needs_memory_limit=False)
    [line] = re.findall(r"^  (sudo .*)$", str(error.value), re.MULTILINE)
    typed(device, line)
    assert device.run("stat", "-c", "%a %U", sudo.RULE).split() == ["440", "root"]
    sudo.ready({"pi3": reached}, said.append, waits=False)
    with connected("pi3", reached) as there:
        assert host.check(there, needs_memory_limit=False) == systemd_device.USER
        assert host.sudo(there, "id", "-un").stdout.strip() == "root"
    assert said == []
    assert device.run("visudo", "-c", check=False).count("parsed OK") >= 1


def test_at_a_terminal_it_waits_and_goes_on(
    device: systemd_device.SystemdDevice, reached: SshDevice
) -> None:
    said: list[str] = []
    waiting = threading.Thread(
        target=sudo.ready, args=({"pi3": reached}, said.append), kwargs={"waits": True}
    )
    waiting.start()
    until(lambda: len(said) == 2)
    assert waiting.is_alive()
    [line] = re.findall(r"^  (sudo .*)$", said[0], re.MULTILINE)
    typed(device, line)
    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()
