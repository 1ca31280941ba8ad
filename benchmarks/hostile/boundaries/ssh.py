"""`~/.ssh/config`, known_hosts and files of keys, as people have them."""

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from paramiko import ECDSAKey, PKey, SSHClient
from paramiko.agent import AgentSSH

from benchmarks.hostile import spoiled
from llmpi.remote.host_keys import Verified
from llmpi.remote.identities import Identities
from llmpi.remote.openssh import settings
from llmpi.study.devices import SshDevice

LINES = (
    *("Host *", "Host pi !pi", "Match all", "Match host pi exec true", "Include *", "Include /x/*"),
    *("HostName 127.0.0.1", "HostName %h.local", "HostName -oProxyCommand=x", "HostName a b"),
    *("Port 22", "Port 0", "Port 99999", "Port x", "User root", "User a b", 'User "', "User %u"),
    *("ProxyJump none", "ProxyJump a,b:1,ssh://c@[::1]:2", "ProxyJump ,", "ProxyJump -x"),
    *("ProxyCommand none", "ProxyCommand nc %h %p", "ProxyCommand %", "ProxyUseFdpass yes"),
    *("IdentityFile none", "IdentityFile %d/%i/%k/%L/%l/%n/%p/%r/%u/%%", "IdentityFile ~nobody/x"),
    *('IdentityFile "a key"', "IdentityFile ${NONE}/x", "IdentitiesOnly yes", "IdentityAgent $X"),
    *("IdentityAgent none", "IdentityAgent SSH_AUTH_SOCK", "IdentityAgent /dev/null"),
    *("UserKnownHostsFile none", 'UserKnownHostsFile "a b" /c', "UserKnownHostsFile /dev/zero"),
    *("HostKeyAlias pi", "HostKeyAlias -F", "HashKnownHosts yes", "RevokedHostKeys none"),
    *("RevokedHostKeys /nowhere", "CertificateFile x", "StrictHostKeyChecking no", "Nonsense yes"),
)
KEY = ECDSAKey.generate()
SOUND = f"pi {KEY.get_name()} {KEY.get_base64()}"
KNOWN = (
    *(SOUND, f"@revoked * {SOUND.split(' ', 1)[1]}", f"@cert-authority *.x {SOUND[3:]}", "@x"),
    *(f"*,!pi {SOUND[3:]}", "pi ssh-rsa AAAA", "pi", "|1|AAAA|BBBB ssh-rsa AAAA", "pi ssh-dss x y"),
    *("@cert-authority", "@revoked pi", "\0", "pi " + "A" * 9000, "[pi]:22 ssh-ed25519 AAAA"),
)
HOSTS = ("pi", "::1", "fe80::1%lo", "127.0.0.1", "a.b", "x:y", "_", "x%y")


class Given(NamedTuple):
    host: str
    config: bytes
    known: bytes
    key: bytes
    accept_new: bool


def inputs(draw: random.Random) -> Iterator[Given]:
    while True:
        yield Given(
            host=draw.choice(HOSTS),
            config=_lines(draw, LINES),
            known=_lines(draw, KNOWN),
            key=draw.choice((b"", b"ssh-ed25519 !", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAA\n")),
            accept_new=draw.random() < 0.3,
        )


def _lines(draw: random.Random, of: tuple[str, ...]) -> bytes:
    lines = [draw.choice(of) for _ in range(draw.randint(0, 3))]
    if draw.random() < 0.15:
        lines.insert(0, spoiled.text(draw))
    return "\n".join(lines).encode("utf-8", "replace")


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[Given], None]]:
    ssh, home = shutil.which("ssh"), folder / "home"
    wrapper = folder / "bin/ssh"
    wrapper.parent.mkdir()
    home.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F "{home}/config" "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    os.environ |= {"PATH": f"{wrapper.parent}:{os.environ['PATH']}", "HOME": str(home)}

    def receive(given: Given) -> None:
        for name, content in (("config", given.config), ("known", given.known)):
            (home / name).write_bytes(content)
        (home / "key").write_bytes(given.key)
        policy = {"host_key": "accept-new"} if given.accept_new else {}
        where = {"known_hosts": str(home / "known"), "identity_file": str(home / "key")}
        device = SshDevice.model_validate(
            {"transport": "ssh", "host": given.host, **where, **policy}
        )
        how = settings("pi", device)
        keys = Identities("pi", how, named=True)
        assert all(isinstance(key, PKey) for key in keys._keys(AgentSSH()))
        Verified("pi", how, accept_new=given.accept_new).missing_host_key(SSHClient(), "pi", KEY)
        known = given.known.decode("utf-8", "replace")
        with contextlib.suppress(ValueError):
            assert given.accept_new or KEY.get_base64() in known, "an unknown host was let through"

    yield receive
