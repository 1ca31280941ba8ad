"""Whether a host is who it says: known_hosts, as OpenSSH reads it.

`ssh-keygen -F` finds the lines of a name: hashed, with patterns, marked, whatever stands around
them.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from paramiko import HostKeys, MissingHostKeyPolicy, PKey, SSHClient, Transport

from llmpi.errors import LlmpiError
from llmpi.remote.openssh import Settings

KRL = b"SSHKRL\n\0"
"""How a key revocation list begins (PROTOCOL.krl of OpenSSH)."""


class Line(NamedTuple):
    """Of a known_hosts file."""

    marker: str
    """`@revoked`, `@cert-authority` or nothing."""
    key: tuple[str, str]
    """Its type, and itself in base64."""


def known(settings: Settings) -> list[Line]:
    """What the known_hosts files say of a host, under the first of its names that they know."""
    found: list[Line] = []
    for name in settings.known_as:
        found += [line for file in settings.known_hosts for line in _lines(name, file)]
        if any(line.marker != "@revoked" for line in found):
            break
    return found


def _lines(name: str, file: Path) -> Iterator[Line]:
    if not file.is_file():
        return
    done = subprocess.run(
        ["ssh-keygen", "-F", name, "-f", str(file)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    )
    for line in done.stdout.splitlines():
        if not line.startswith("#"):
            marker, rest = line.split(maxsplit=1) if line.startswith("@") else ("", line)
            _, kind, key = [*rest.split(), "", "", ""][:3]
            yield Line(marker, (kind, key))


class Verified(MissingHostKeyPolicy):
    """Paramiko is told of no key, and so asks here about each; its own reading of known_hosts stops
    at what it does not know.

    Args:
        name: of the device.
        accept_new: write down the key of a host of which none is known.
    """

    def __init__(self, name: str, settings: Settings, *, accept_new: bool) -> None:
        self._name, self._settings, self._accept_new = name, settings, accept_new
        lines = known(settings)
        self._revoked = [line.key for line in lines if line.marker == "@revoked"]
        self._trusted = [line.key for line in lines if not line.marker]
        self._certified = any(line.marker == "@cert-authority" for line in lines)

    def prefer_known(self, transport: Transport) -> None:
        """Ask the host for a key of a kind that is known."""
        names = {"ssh-rsa": ["rsa-sha2-512", "rsa-sha2-256"]}
        kinds = [k for kind, _ in self._trusted for k in names.get(kind, [kind])]
        security = transport.get_security_options()
        security.key_types = sorted(security.key_types, key=lambda kind: kind not in kinds)

    def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:  # noqa: ARG002
        """
        Raises:
            LlmpiError: it is not the host's, as far as is known; with what to do.
        """
        shown = (key.get_name(), key.get_base64())
        if shown in self._revoked or self._is_revoked(key):
            raise self._refused(
                "shows a host key that is marked as revoked. Somebody may be in between; give the "
                "board a new host key, or remove the mark if it is there by mistake"
            )
        if shown in self._trusted:
            return
        alias = self._settings.known_as[0]
        if self._trusted:
            raise self._refused(
                "shows another host key than the known one. If the board was set up anew, remove "
                f"the old key (ssh-keygen -R '{alias}') and connect once by hand; if not, somebody "
                "is in between"
            )
        if self._certified:
            raise self._refused(
                "is known by @cert-authority alone, and llmpi does not read certificates of hosts. "
                f"Compare the fingerprint of its key, {key.fingerprint}, and write it down: "
                f"ssh-keyscan -p {self._settings.port} {self._settings.hostname}"
            )
        if not self._accept_new:
            raise self._refused(
                f"has a host key that is not known, {key.fingerprint}. Connect once by hand and "
                "compare the fingerprint"
            )
        self._write_down(alias, key)

    def _is_revoked(self, key: PKey) -> bool:
        """By `RevokedHostKeys`: lines of keys, or OpenSSH's own format."""
        if (file := self._settings.revoked) is None:
            return False
        if not file.is_file():
            raise self._refused("cannot be verified: the file named by RevokedHostKeys is gone")
        if not (listed := file.read_bytes()).startswith(KRL):
            return key.get_base64().encode() in listed.split()
        done = subprocess.run(
            ["ssh-keygen", "-Q", "-f", str(file), "/dev/stdin"],
            input=f"{key.get_name()} {key.get_base64()}\n".encode(),
            capture_output=True,
        )
        return done.returncode != 0

    def _refused(self, why: str) -> LlmpiError:
        s = self._settings
        by_hand = f"ssh -p {s.port} {s.user}@{s.host} true"
        return LlmpiError(
            f"device {self._name}: {s.user}@{s.hostname}:{s.port} {why}. Try: {by_hand}"
        )

    def _write_down(self, name: str, key: PKey) -> None:
        """At the end of the user's file; what stands there stays as it is."""
        file = self._settings.known_hosts[0]
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        whole = file.read_bytes()
        if self._settings.hashes_known_hosts:
            name = HostKeys.hash_host(name)
        with file.open("a", encoding="utf-8") as out:
            out.write("\n" * (whole[-1:] not in (b"", b"\n")))
            out.write(f"{name} {key.get_name()} {key.get_base64()}\n")
