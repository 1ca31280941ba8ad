"""What OpenSSH would do for a host: its own answers (`ssh -G`), for every transport of a device.

`~/.ssh/config` is read by nobody else here, so that Include, Match, patterns, tokens and defaults
mean what they mean to `ssh`.
"""

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmpi.errors import LlmpiError
from llmpi.study.devices import SshDevice
from llmpi.user import user_name

ANSWER_S = 60
"""A `Match exec` of the config may take its time."""

Answers = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Settings:
    """How a host is reached.

    Args:
        host: as the study names it.
        hostname: what is connected to.
        known_as: the name under which its key is known, `[NAME]:PORT` where the port is another
            than SSH's own; and by which it may be known, too.
        identities: files of keys, in the order in which they are offered.
        agent: socket of the agent; None where none is to be asked.
        known_hosts: the user's files, the first of which new keys are written to, and the system's.
        proxy: command that connects; None where the host is connected to directly.
    """

    host: str
    hostname: str
    port: int
    user: str
    known_as: tuple[str, ...]
    identities: tuple[Path, ...]
    identities_only: bool
    certificates: tuple[Path, ...]
    agent: Path | None
    known_hosts: tuple[Path, ...]
    revoked: Path | None
    hashes_known_hosts: bool
    proxy: tuple[str, ...] | None


def options(device: SshDevice) -> list[str]:
    """What the study says of a device, as options of `ssh`; it goes before `~/.ssh/config`."""
    return [
        *_link(device),
        *_given("Port", device.port),
        *_given("User", device.user),
        *_given("IdentityFile", device.identity_file and _quoted(device.identity_file)),
        *_given("IdentitiesOnly", device.identity_file and "yes"),
    ]


def settings(name: str, device: SshDevice) -> Settings:
    """How a device is reached.

    Args:
        name: of the device.

    Raises:
        LlmpiError: there is no `ssh` here, or its config has an error.
    """
    found = _answers(name, ["ssh", *options(device), "-G", device.host])
    one = {key: values[0] for key, values in found.items()}
    port = int(one["port"])
    tokens = _tokens(device.host, one["hostname"], port, one["user"])
    alias = one.get("hostkeyalias")
    return Settings(
        host=device.host,
        hostname=one["hostname"],
        port=port,
        user=one["user"],
        known_as=(alias,) if alias else _known_as(one["hostname"], port),
        identities=_paths(found.get("identityfile", ()), tokens),
        identities_only=one.get("identitiesonly") == "yes",
        certificates=_paths(found.get("certificatefile", ()), tokens),
        agent=_agent(one.get("identityagent"), tokens),
        known_hosts=_paths(
            [
                path
                for key in ("userknownhostsfile", "globalknownhostsfile")
                for path in _split(one.get(key, ""))
            ],
            tokens,
        ),
        revoked=next(iter(_paths([one.get("revokedhostkeys", "none")], tokens)), None),
        hashes_known_hosts=one.get("hashknownhosts") == "yes",
        proxy=_proxy(device, one, tokens),
    )


def _link(device: SshDevice) -> list[str]:
    """What holds for every host on the way."""
    known = device.known_hosts
    return [
        "-oBatchMode=yes",
        f"-oStrictHostKeyChecking={'yes' if device.host_key == 'known' else 'accept-new'}",
        f"-oConnectTimeout={max(1, round(device.connect_timeout_s))}",
        *_given("UserKnownHostsFile", known and _quoted(known)),
        *_given("GlobalKnownHostsFile", known and "/dev/null"),
    ]


def _given(key: str, value: object) -> list[str]:
    return [f"-o{key}={value}"] if value else []


def _quoted(path: str) -> str:
    """As a path stands in `~/.ssh/config`: blanks and per cent signs are its own."""
    return '"' + str(Path(path).expanduser()).replace("%", "%%") + '"'


def _answers(name: str, command: Sequence[str]) -> dict[str, list[str]]:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=ANSWER_S,
            encoding="utf-8",
            errors="surrogateescape",
        )
    except FileNotFoundError:
        raise LlmpiError(
            f"device {name}: there is no ssh on this machine; install the OpenSSH client"
        ) from None
    except subprocess.TimeoutExpired:
        raise LlmpiError(
            f"device {name}: ssh does not say within {ANSWER_S} s what stands in ~/.ssh/config for "
            f"it; is there a 'Match exec' that hangs? Try: {shlex.join(command)}"
        ) from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if "Pseudo-terminal" not in line]
        raise LlmpiError(f"device {name}: ssh: {'; '.join(said) or 'it failed without a word'}")
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value)
    return found


def _known_as(hostname: str, port: int) -> tuple[str, ...]:
    """`ssh` looks for the name with its port first, then for the name alone."""
    name = hostname.lower()
    return (name,) if port == 22 else (f"[{name}]:{port}", name)


# --- paths and tokens -----------------------------------------------------------------------------


def _tokens(host: str, hostname: str, port: int, user: str) -> dict[str, str]:
    """Of ssh_config(5), but for those of a connection that is there already."""
    here = socket.gethostname()
    return {
        "%%": "%",
        "%d": str(Path.home()),
        "%h": hostname,
        "%i": str(os.getuid()),
        "%k": hostname,
        "%L": here.partition(".")[0],
        "%l": here,
        "%n": host,
        "%p": str(port),
        "%r": user,
        "%u": user_name(),
    }


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    text = re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], found[0]), text)
    return re.sub("%.", lambda found: tokens.get(found[0], found[0]), text)


def _paths(given: Sequence[str], tokens: Mapping[str, str]) -> tuple[Path, ...]:
    return tuple(Path(_expanded(one, tokens)).expanduser() for one in given if one != "none")


def _split(paths: str) -> list[str]:
    """Several in one line, where blanks within one are not marked."""
    return re.split(r" (?=[/~])", paths) if paths else []


def _agent(named: str | None, tokens: Mapping[str, str]) -> Path | None:
    if named == "none":
        return None
    if named in (None, "SSH_AUTH_SOCK"):
        named = os.environ.get("SSH_AUTH_SOCK")
    elif named.startswith("$"):
        named = os.environ.get(named.strip("${}"))
    return Path(_expanded(named, tokens)).expanduser() if named else None


# --- other hosts on the way -----------------------------------------------------------------------


def _proxy(
    device: SshDevice, one: Mapping[str, str], tokens: Mapping[str, str]
) -> tuple[str, ...] | None:
    """As `ssh` does it: jumps are a proxy command, too, and `ssh` itself goes there."""
    command, jumps = one.get("proxycommand", "none"), one.get("proxyjump", "none")
    if command != "none":
        shell = os.environ.get("SHELL", "/bin/sh")
        return (shell, "-c", f"exec {_expanded(command, tokens)}")
    if jumps == "none":
        return None
    before, _, last = jumps.rpartition(",")
    last = last if last.startswith("ssh://") else f"ssh://{last}"
    target = f"[{one['hostname']}]:{one['port']}"
    return ("ssh", *_link(device), *(["-J", before] if before else []), "-W", target, last)
