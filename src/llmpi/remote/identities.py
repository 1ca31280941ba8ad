"""Who we are to a host: keys in the order in which OpenSSH offers them, and why none was taken."""

import base64
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from paramiko import (
    AuthenticationException,
    BadAuthenticationType,
    PasswordRequiredException,
    PKey,
    SSHException,
    Transport,
    UnknownKeyType,
)
from paramiko.agent import AgentSSH

from llmpi.errors import LlmpiError
from llmpi.remote.openssh import Settings

LOCKED = (PasswordRequiredException, TypeError)
"""What a key with a passphrase brings about; the second is cryptography's."""
UNREADABLE = (OSError, ValueError, SSHException, UnknownKeyType, UnsupportedAlgorithm)
"""What a file brings about that holds no key, or one of a kind that is not known here."""


class NotLetInError(LlmpiError):
    """The host takes none of our keys."""


class Identities:
    """Offers keys to a host, one after another.

    Args:
        name: of the device.
        named: whether its `identity_file` stands in the study.
    """

    def __init__(self, name: str, settings: Settings, *, named: bool) -> None:
        self._name, self._settings, self._named = name, settings, named
        self._locked = 0

    def authenticate(self, transport: Transport) -> None:
        """Log in.

        Raises:
            NotLetInError: no key is taken; with what to do.
            LlmpiError: the key that the study names is not there.
        """
        first = self._settings.identities[:1]
        if self._named and not any(map(_is_there, first)):
            raise self._failed("the file named by identity_file is not there")
        with _agent(self._settings.agent) as agent:
            self._offer(transport, agent)

    def _offer(self, transport: Transport, agent: AgentSSH) -> None:
        if self._needs_no_key(transport):
            return
        offered = 0
        for key in self._keys(agent):
            try:
                left = transport.auth_publickey(self._settings.user, key)
            except (SSHException, EOFError):  # refused, or cut off
                left = ["publickey"]
            if not left:
                return
            offered += 1
            if "publickey" not in left:
                raise self._failed(f"asks for more than a key ({', '.join(left)})")
            if not transport.is_active():
                raise self._failed(self._too_many(offered, len(agent.get_keys())))
        raise self._failed(self._none_taken(offered))

    def _needs_no_key(self, transport: Transport) -> bool:
        """Some hosts know who comes by other means; the others say what they ask for."""
        try:
            transport.auth_none(self._settings.user)
        except BadAuthenticationType as error:
            if "publickey" not in error.allowed_types:
                asked = ", ".join(error.allowed_types)
                raise self._failed(f"takes no keys, only: {asked}") from None
            return False
        except AuthenticationException:
            return False
        return True

    def _keys(self, agent: AgentSSH) -> Iterator[PKey]:
        """Those of the files that the agent has, the agent's others, then the files."""
        held = {key.blob: key for key in agent.get_keys()}
        files = [file for file in self._settings.identities if _is_there(file)]
        public = {file: blob for file in files if (blob := _public(file))}
        named = [held.pop(blob) for blob in public.values() if blob in held]
        yield from named
        if not self._settings.identities_only:
            yield from held.values()
        taken = {key.blob for key in named} | set(held)
        for file in files:
            if file.is_file() and public.get(file) not in taken:
                yield from self._of_file(file)

    def _of_file(self, file: Path) -> Iterator[PKey]:
        """Certified, where it is, and by itself."""
        try:
            key = PKey.from_path(file)
        except LOCKED:
            self._locked += 1
            return
        except UNREADABLE:
            return
        for certificate in self._settings.certificates:
            with contextlib.suppress(*UNREADABLE):
                key.load_certificate(str(certificate))
        if key.public_blob:
            yield key
            key = PKey.from_path(file)
            key.public_blob = None
        yield key

    # --- words ------------------------------------------------------------------------------------

    def _failed(self, why: str) -> NotLetInError:
        s = self._settings
        where = f"{s.user}@{s.hostname}:{s.port}"
        by_hand = f"ssh -p {s.port} {s.user}@{s.host} true"
        return NotLetInError(
            f"device {self._name}: {where} did not let us in: {why}. Try: {by_hand}"
        )

    def _too_many(self, offered: int, held: int) -> str:
        if self._named or not held:
            return f"it closed the connection after {offered} keys"
        return (
            f"the agent offers {held} keys and the server stops at {offered}; name the right one "
            "by identity_file in the study, or by IdentityFile and IdentitiesOnly in ~/.ssh/config"
        )

    def _none_taken(self, offered: int) -> str:
        locked = (
            f" {self._locked} more have a passphrase: add them to an agent with ssh-add."
            if self._locked
            else ""
        )
        if not offered:
            return (
                f"there is no key to offer.{locked} Name one by identity_file, start an agent, or "
                "make one with ssh-keygen and ssh-copy-id"
            )
        return (
            f"it takes none of {offered} keys for the user {self._settings.user}.{locked} Is the "
            "user right, and does the key stand in ~/.ssh/authorized_keys there (ssh-copy-id)?"
        )


@contextlib.contextmanager
def _agent(path: Path | None) -> Iterator[AgentSSH]:
    """Without keys where none answers."""
    agent = AgentSSH()
    if path is not None:
        link = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError, SSHException):
            link.connect(str(path))
            agent._connect(link)
    try:
        yield agent
    finally:
        agent._close()


def _is_there(file: Path) -> bool:
    return file.is_file() or _pub(file).is_file()


def _pub(file: Path) -> Path:
    return file.with_name(f"{file.name}.pub")


def _public(file: Path) -> bytes | None:
    """The public half, by which an agent is asked for the other."""
    for path in (file, _pub(file)):
        with contextlib.suppress(OSError, ValueError, IndexError):
            kind, key = path.read_text(encoding="utf-8", errors="replace").split()[:2]
            if kind.startswith(("ssh-", "ecdsa-", "sk-")):
                return base64.b64decode(key, validate=True)
    with contextlib.suppress(*LOCKED, *UNREADABLE):
        return PKey.from_path(file).asbytes()
    return None
