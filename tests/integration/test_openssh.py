"""A device is reached as `ssh` reaches it: by ~/.ssh/config, an agent and known_hosts.

`ssh` reads the file of the user's passwd entry; here it is told of another one.
"""

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Sshd, running_sshd

from llmpi import cli
from llmpi.errors import LlmpiError
from llmpi.remote.check import check_devices
from llmpi.remote.connection import connected
from llmpi.remote.machine import LinkError
from llmpi.start import init
from llmpi.study.devices import SshDevice
from llmpi.study.file import load_study


class Home:
    """What a user has: a config, known hosts, keys, an agent."""

    def __init__(self, folder: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.sshd = folder, sshd
        self.config = folder / "config"
        self.known_hosts = folder / "known_hosts"
        self.known_hosts.write_text(sshd.known_hosts.read_text())
        ssh = shutil.which("ssh")
        wrapper = folder / "bin/ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F "{self.config}" "$@"\n')
        wrapper.chmod(0o755)
        monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        self.default = (
            f"  UserKnownHostsFile {self.known_hosts}\n  User {sshd.user}\n  Port {sshd.port}\n"
        )
        self.identity = f"  IdentityFile {sshd.identity_file}\n"

    def write(self, *blocks: str) -> None:
        """Blocks of the config, the first of which count most."""
        self.config.write_text("".join(f"{block}\n" for block in blocks))

    @property
    def for_all(self) -> str:
        return f"Host *\n{self.default}{self.identity}"

    def key(self, name: str) -> Path:
        """One that is let in nowhere."""
        path = self.folder / name
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(command, check=True)
        return path


@pytest.fixture
def home(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Home:
    folder = tmp_path / "home"
    folder.mkdir()
    return Home(folder, sshd, monkeypatch)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    while not path.exists():
        assert process.poll() is None
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield path
    process.kill()
    process.wait()


def device(tmp_path: Path, host: str = "pi", **more: object) -> SshDevice:
    store = {"transport": "ssh", "host": host, "store": str(tmp_path / "store")}
    return SshDevice.model_validate({**store, "python": "python3", **more})


def reaches(tmp_path: Path, host: str = "pi", **more: object) -> None:
    """By both transports: commands, and rsync."""
    source = tmp_path / "source"
    source.write_text("text")
    with connected("pi", device(tmp_path, host, **more)) as there:
        there.put(source, str(tmp_path / "store/target"))
    assert (tmp_path / "store/target").read_text() == "text"


def refused(tmp_path: Path, host: str = "pi", **more: object) -> str:
    with pytest.raises(LlmpiError) as error, connected("pi", device(tmp_path, host, **more)):
        pass
    return str(error.value)


# --- the config -----------------------------------------------------------------------------------


def test_a_host_of_an_included_file(home: Home, tmp_path: Path) -> None:
    (home.folder / "config.d").mkdir()
    (home.folder / "config.d/pi.conf").write_text("Host pi\n  HostName 127.0.0.1\n")
    home.write(f"Include {home.folder}/config.d/*.conf", home.for_all)
    reaches(tmp_path)


def test_a_match_and_a_pattern(home: Home, tmp_path: Path) -> None:
    match = 'Match host pi-* exec "test %n = pi-3"\n  HostName 127.0.0.1'
    home.write(match, f"Host pi-* !pi-4\n{home.identity}", f"Host *\n{home.default}")
    reaches(tmp_path, "pi-3")


def test_what_stands_in_the_study_goes_before(home: Home, tmp_path: Path) -> None:
    wrong = "  Port 1\n  User nobody\n"
    home.write(f"Host pi\n  HostName 127.0.0.1\n{wrong}", home.for_all)
    reaches(tmp_path, port=home.sshd.port, user=home.sshd.user)


def test_paths_with_blanks_and_tokens(home: Home, tmp_path: Path) -> None:
    shutil.copy(home.sshd.identity_file, home.folder / "a key of pi")
    hosts = home.folder / "known hosts"
    hosts.write_text(home.known_hosts.read_text())
    home.write(
        f'Host pi\n  HostName 127.0.0.1\n  IdentityFile "{home.folder}/a key of %n"\n'
        f'  UserKnownHostsFile "{hosts}" {home.folder}/none\n',
        f"Host *\n{home.default}",
    )
    reaches(tmp_path)
    home.write(home.for_all.replace(home.identity, ""))
    named = {"identity_file": f"{home.folder}/a key of pi", "known_hosts": str(hosts)}
    reaches(tmp_path, "127.0.0.1", **named)


def test_an_error_in_the_config_is_sshs_own_words(home: Home, tmp_path: Path) -> None:
    home.write("Host pi\n  Prot 22\n")
    assert "Bad configuration option: prot" in refused(tmp_path)


def test_without_openssh(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install the OpenSSH client" in refused(tmp_path)


def test_ipv6(home: Home, tmp_path: Path) -> None:
    from llmpi.remote.openssh import settings

    home.write(home.for_all)
    found = settings("pi", device(tmp_path, "::1"))
    assert (found.hostname, found.known_as) == ("::1", (f"[::1]:{home.sshd.port}", "::1"))
    assert "cannot be reached" in refused(tmp_path, "::1")  # nothing listens there


# --- other hosts on the way -----------------------------------------------------------------------

PI = "Host pi\n  HostName 127.0.0.1\n"


def test_no_jump_for_one_host(home: Home, tmp_path: Path) -> None:
    home.write(f"{PI}  ProxyJump none\n", "Host *\n  ProxyJump bastion\n", home.for_all)
    reaches(tmp_path)


def test_a_jump_by_alias(home: Home, tmp_path: Path) -> None:
    home.write(f"{PI}  ProxyJump bastion\n", "Host bastion\n  HostName 127.0.0.1\n", home.for_all)
    reaches(tmp_path)


def test_a_chain_of_jumps(home: Home, tmp_path: Path) -> None:
    """Two names of the server: `ssh` refuses to jump over a host to itself."""
    user, port = home.sshd.user, home.sshd.port
    key = home.known_hosts.read_text().split(maxsplit=1)[1]
    home.known_hosts.write_text(f"localhost,127.0.0.1 {key}")
    home.write(
        f"{PI}  ProxyJump one,{user}@localhost:{port}\n",
        "Host one\n  HostName 127.0.0.1\n",
        home.for_all,
    )
    reaches(tmp_path)


def test_a_jump_host_whose_key_is_not_known(home: Home, tmp_path: Path) -> None:
    home.write(
        f"{PI}  ProxyJump bastion\n",
        f"Host bastion\n  HostName 127.0.0.1\n  UserKnownHostsFile {home.folder}/none\n",
        home.for_all,
    )
    message = refused(tmp_path)
    assert "by way of the ProxyJump or ProxyCommand" in message
    assert "Host key verification failed" in message


@pytest.mark.fault("a jump host that is gone", by="the reason")
def test_a_jump_host_that_is_not_there(home: Home, tmp_path: Path) -> None:
    home.write(f"{PI}  ProxyJump nobody.invalid\n", home.for_all)
    assert "Could not resolve hostname nobody.invalid" in refused(tmp_path)


def test_a_proxy_command(home: Home, tmp_path: Path) -> None:
    (home.folder / "pass on").write_text(
        "import os, socket, sys, threading\n"
        "link = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "def back():\n"
        "    while data := link.recv(65536): os.write(1, data)\n"
        "    os._exit(0)\n"
        "threading.Thread(target=back, daemon=True).start()\n"
        "while data := os.read(0, 65536): link.sendall(data)\n"
    )
    command = f'python3 "{home.folder}/pass on" %h %p'
    home.write(f"{PI}  ProxyCommand {command}\n", home.for_all)
    reaches(tmp_path)


@pytest.mark.fault("a proxy command that dies", by="its own words")
def test_a_proxy_command_that_dies_says_so(home: Home, tmp_path: Path) -> None:
    home.write(f"{PI}  ProxyCommand sh -c 'echo no way >&2; exit 1'\n", home.for_all)
    with pytest.raises(LinkError, match="no way"), connected("pi", device(tmp_path)):
        pass


# --- whose key it is ------------------------------------------------------------------------------


@pytest.fixture
def host(home: Home) -> str:
    """The server's key, as a known_hosts file has it."""
    home.write(PI, home.for_all)
    return " ".join(home.known_hosts.read_text().split()[1:3])


def test_a_host_key_alias(home: Home, host: str, tmp_path: Path) -> None:
    home.write(f"{PI}  HostKeyAlias board\n", home.for_all)
    assert "host key that is not known" in refused(tmp_path)
    home.known_hosts.write_text(f"board {host}\n")
    reaches(tmp_path)


@pytest.mark.parametrize("names", ["127.0.*,!127.0.0.2", "[127.0.0.?]:*", "127.0.0.1,other"])
def test_patterns(home: Home, host: str, names: str, tmp_path: Path) -> None:
    home.known_hosts.write_text(f"{names} {host}\n")
    reaches(tmp_path)


def test_a_pattern_that_excludes_it(home: Home, host: str, tmp_path: Path) -> None:
    home.known_hosts.write_text(f"127.0.*,!127.0.0.1 {host}\n")
    assert "host key that is not known" in refused(tmp_path)


def test_hashed_names(home: Home, host: str, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(home.known_hosts)], check=True)
    assert home.known_hosts.read_text().startswith("|1|")
    reaches(tmp_path)


def test_lines_that_are_no_keys_are_passed_over(home: Home, host: str, tmp_path: Path) -> None:
    blob = base64.b64encode(b"x").decode()
    home.known_hosts.write_text(
        f"@cert-authority *.example.org ssh-ed25519 {blob}\n127.0.0.1 ssh-ed25519\n\x00\nwords\n"
        f"[127.0.0.1]:{home.sshd.port} {host}\n"
    )
    reaches(tmp_path)


def test_one_of_two_keys_of_a_kind(home: Home, host: str, tmp_path: Path) -> None:
    other = " ".join(home.key("other").with_suffix(".pub").read_text().split()[:2])
    name = f"[127.0.0.1]:{home.sshd.port}"
    home.known_hosts.write_text(f"{name} {other}\n{name} {host}\n")
    reaches(tmp_path)


@pytest.mark.fault("a host key that was revoked", by="the reason; nobody is let in")
def test_a_revoked_key(home: Home, host: str, tmp_path: Path) -> None:
    home.known_hosts.write_text(f"{home.known_hosts.read_text()}@revoked * {host}\n")
    for host_key in ("known", "accept-new"):
        assert "marked as revoked" in refused(tmp_path, host_key=host_key)


@pytest.mark.parametrize("binary", [False, True])
def test_a_file_of_revoked_keys(home: Home, host: str, binary: bool, tmp_path: Path) -> None:
    (home.folder / "key").write_text(f"{host}\n")
    revoked = home.folder / "key"
    if binary:
        revoked = home.folder / "krl"
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, home.folder / "key"], check=True)
    home.write(f"{PI}  RevokedHostKeys {revoked}\n", home.for_all)
    assert "marked as revoked" in refused(tmp_path)
    other = home.key("other").with_suffix(".pub")
    if binary:
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", revoked, other], check=True)
    else:
        shutil.copy(other, revoked)
    reaches(tmp_path)


def test_a_host_known_by_an_authority_alone(home: Home, host: str, tmp_path: Path) -> None:
    home.known_hosts.write_text(f"@cert-authority 127.0.0.* {host}\n")
    for host_key in ("known", "accept-new"):
        message = refused(tmp_path, host_key=host_key)
        assert "@cert-authority" in message
        assert "ssh-keyscan -p" in message
    home.known_hosts.write_text(f"@cert-authority 127.0.0.* {host}\n127.0.0.1 {host}\n")
    reaches(tmp_path)


def test_a_new_key_is_added_to_what_stands_there(home: Home, host: str, tmp_path: Path) -> None:
    before = "@cert-authority *.example.org ssh-ed25519 AAAA\n# mine\nother ssh-ed25519 AAAA"
    home.known_hosts.write_text(before)
    reaches(tmp_path, host_key="accept-new")
    assert home.known_hosts.read_text().startswith(f"{before}\n")
    reaches(tmp_path)


# --- who we are -----------------------------------------------------------------------------------


def add(*keys: Path) -> None:
    for key in keys:
        key.chmod(0o600)
        subprocess.run(["ssh-add", "-q", str(key)], check=True)


@pytest.fixture
def nine(home: Home, agent: Path) -> Path:
    """Keys in the agent, of which none is let in."""
    add(*(home.key(f"key{i}") for i in range(9)))
    home.write(PI, f"Host *\n{home.default}")
    return agent


def test_nine_keys_in_the_agent_and_the_right_one_named(
    home: Home, nine: Path, tmp_path: Path
) -> None:
    reaches(tmp_path, identity_file=str(home.sshd.identity_file))


@pytest.mark.fault("more keys than the server hears", by="the reason, with its remedy")
def test_nine_keys_in_the_agent_and_none_named(home: Home, nine: Path, tmp_path: Path) -> None:
    message = refused(tmp_path)
    assert "the agent offers 9 keys and the server stops at 6" in message
    assert "identity_file" in message


def test_an_identity_file_goes_before_the_agents_other_keys(
    home: Home, nine: Path, tmp_path: Path
) -> None:
    add(home.sshd.identity_file)
    home.write(f"{PI}{home.identity}", f"Host *\n{home.default}")
    reaches(tmp_path)


def test_a_public_file_names_a_key_of_the_agent(home: Home, nine: Path, tmp_path: Path) -> None:
    add(home.sshd.identity_file)
    public = home.folder / "mine.pub"
    shutil.copy(f"{home.sshd.identity_file}.pub", public)
    only = f"  IdentityFile {public}\n  IdentitiesOnly yes\n"
    home.write(f"{PI}{only}", f"Host *\n{home.default}")
    reaches(tmp_path)
    reaches(tmp_path, identity_file=str(public))


def test_no_agent_where_that_is_said(home: Home, nine: Path, tmp_path: Path) -> None:
    home.write(f"{PI}  IdentityAgent none\n{home.identity}", f"Host *\n{home.default}")
    reaches(tmp_path)


def test_another_agent_than_the_environments(
    home: Home, agent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(home.sshd.identity_file)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "none"))
    home.write(f"{PI}  IdentityAgent {agent}\n", f"Host *\n{home.default}")
    reaches(tmp_path)


def test_the_second_of_several_files(home: Home, tmp_path: Path) -> None:
    first, gone = home.key("first"), home.folder / "gone"
    files = "".join(f"  IdentityFile {file}\n" for file in (gone, first))
    home.write(f"{PI}{files}{home.identity}", f"Host *\n{home.default}")
    reaches(tmp_path)


def test_a_key_with_a_passphrase(home: Home, agent: Path, tmp_path: Path) -> None:
    locked = home.folder / "locked"
    shutil.copy(home.sshd.identity_file, locked)
    locked.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "word", "-f", locked], check=True)
    home.write(f"{PI}  IdentityFile {locked}\n", f"Host *\n{home.default}")
    assert "1 more have a passphrase: add them to an agent with ssh-add" in refused(tmp_path)
    add(home.sshd.identity_file)
    shutil.copy(f"{home.sshd.identity_file}.pub", f"{locked}.pub")
    reaches(tmp_path)


def test_a_certificate_of_the_user(home: Home, tmp_path: Path) -> None:
    authority, mine = home.key("authority"), home.key("mine")
    sign = ["ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", home.sshd.user]
    subprocess.run([*sign, f"{mine}.pub"], check=True)
    trusted = f"TrustedUserCAKeys {authority}.pub\n"
    with running_sshd(tmp_path / "certified", trusted) as server:
        known = f"  UserKnownHostsFile {server.known_hosts}\n  Port {server.port}\n"
        home.write(f"{PI}{known}  IdentityFile {mine}\n", f"Host *\n{home.default}")
        reaches(tmp_path)


@pytest.mark.fault("an identity file that is gone", by="the reason")
def test_an_identity_file_that_is_gone(home: Home, tmp_path: Path) -> None:
    home.write(PI, home.for_all)
    message = refused(tmp_path, identity_file=str(tmp_path / "secret/gone"))
    assert "the file named by identity_file is not there" in message
    assert "secret" not in message


def test_no_key_at_all(home: Home, tmp_path: Path) -> None:
    home.write(f"{PI}  IdentityFile none\n", f"Host *\n{home.default}")
    assert "there is no key to offer" in refused(tmp_path)


def test_a_wrong_user(home: Home, tmp_path: Path) -> None:
    home.write(PI, home.for_all)
    message = refused(tmp_path, user="nobody-here")
    assert "takes none of 1 keys for the user nobody-here" in message
    assert "Is the user right" in message


def test_a_server_that_takes_no_keys(home: Home, tmp_path: Path) -> None:
    settings = "PubkeyAuthentication no\nKbdInteractiveAuthentication yes\nUsePAM yes\n"
    with running_sshd(tmp_path / "words", settings) as server:
        known = f"  UserKnownHostsFile {server.known_hosts}\n  Port {server.port}\n"
        home.write(f"{PI}{known}", home.for_all)
        assert "takes no keys, only: keyboard-interactive" in refused(tmp_path)


def test_a_first_config_out_of_the_hosts_of_ssh(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`llmpi init` lists them, looks at the board as `ssh` reaches it, and its config works."""
    home.write("Host bench\n  HostName 127.0.0.1", home.for_all)
    monkeypatch.setattr(init, "SSH_CONFIG", str(home.config))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["init", "--out", "my.yaml"]) == 1
    assert f"{home.config} has: bench" in capsys.readouterr().err
    (tmp_path / "config/data").mkdir(parents=True)
    (tmp_path / "config/data/field_qa.json").touch()
    assert cli.main(["init", "--board", "bench", "--need", "chat", "--out", "my.yaml"]) == 0
    found = check_devices(load_study(tmp_path / "my.yaml").devices)
    assert [(one.device, one.facts["reachable"]) for one in found] == [("bench", "yes")]
