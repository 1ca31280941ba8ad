"""An open connection to a device behind SSH: Fabric's, with OpenSSH's answers for settings."""

import contextlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any

from fabric import Config, Connection
from paramiko import SSHException, Transport

from llmpi.remote.host_keys import Verified
from llmpi.remote.identities import Identities
from llmpi.remote.machine import LinkError
from llmpi.remote.openssh import Settings, settings
from llmpi.remote.transfer import fast_transport
from llmpi.study.devices import SshDevice


@contextlib.contextmanager
def opened(name: str, device: SshDevice) -> Iterator[Connection]:
    """Reach a device.

    Raises:
        LinkError: unreachable.
        LlmpiError: host key unknown or wrong, not let in, or an error in `~/.ssh/config`; with what
            to do.
    """
    how = settings(name, device)
    timeout_s = max(1, round(device.connect_timeout_s))
    verified = Verified(name, how, accept_new=device.host_key == "accept-new")

    def transport(*arguments: Any, **options: Any) -> Transport:
        made = fast_transport(*arguments, **options)
        verified.prefer_known(made)
        return made

    with contextlib.ExitStack() as stack, tempfile.TemporaryFile() as said:
        arguments = {
            "transport_factory": transport,
            "auth_strategy": Identities(name, how, named=device.identity_file is not None),
            "banner_timeout": max(15, timeout_s),
        }
        if how.proxy:
            arguments["sock"] = stack.enter_context(_through(how.proxy, said))
        connection = Connection(
            how.hostname,
            user=how.user,
            port=how.port,
            connect_timeout=timeout_s,
            connect_kwargs=arguments,
            config=Config(overrides={"load_ssh_configs": False}),
        )
        connection.client.set_missing_host_key_policy(verified)
        # Fabric leaves a link open that it did not get to log in over, and servers count these.
        stack.callback(connection.client.close)
        stack.enter_context(connection)
        _open(name, connection, how, said)
        yield connection


@contextlib.contextmanager
def _through(command: Sequence[str], said: IO[bytes]) -> Iterator[socket.socket]:
    """A socket to the host by a proxy command, which ends with the socket."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            end = theirs.fileno()
            process = subprocess.Popen(command, stdin=end, stdout=end, stderr=said)
        try:
            yield ours
        finally:
            process.kill()
            process.wait()


def _open(name: str, connection: Connection, how: Settings, said: IO[bytes]) -> None:
    where = f"{how.user}@{how.hostname}:{how.port}"
    by_hand = f"ssh -p {how.port} {how.user}@{how.host}"
    try:
        connection.open()
    except (SSHException, OSError, EOFError) as error:
        said.seek(0)
        words = said.read().decode(errors="replace").strip().splitlines()
        if how.proxy and words:
            raise LinkError(
                f"device {name}: {where} cannot be reached by way of the ProxyJump or ProxyCommand "
                f"of ~/.ssh/config: {words[-1]}. Try: {by_hand} true"
            ) from error
        if isinstance(error, OSError | EOFError):
            raise LinkError(
                f"device {name}: {where} cannot be reached ({error}). Is it on, and the host name "
                f"or port right? Try: {by_hand} true"
            ) from error
        raise LinkError(f"device {name}: SSH to {where} failed: {error}") from error
