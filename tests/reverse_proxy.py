"""nginx as docs/operations.md has it in front of the service, on a port of its own."""

import getpass
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from certificate import self_signed
from support import PATIENCE_S, ROOT, free_port, needed, until

AROUND = """
daemon off;
user {user};
pid {folder}/pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{server}
}}
"""


class Proxy(NamedTuple):
    port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"


@contextmanager
def before(port: int, folder: Path) -> Iterator[Proxy]:
    """
    Args:
        port: where the service listens on loopback.
        folder: empty.
    """
    certificate, key = self_signed(folder, "IP:127.0.0.1")
    proxy = Proxy(free_port(), certificate)
    server = documented(
        {
            "listen 443": f"listen 127.0.0.1:{proxy.port}",
            "pi.example.org;": "127.0.0.1;",
            "/etc/letsencrypt/live/pi.example.org/fullchain.pem": str(certificate),
            "/etc/letsencrypt/live/pi.example.org/privkey.pem": str(key),
            "127.0.0.1:8080": f"127.0.0.1:{port}",
        }
    )
    config, log = folder / "nginx.conf", folder / "log"
    config.write_text(AROUND.format(folder=folder, server=server, user=getpass.getuser()))
    with log.open("wb") as out:
        started = subprocess.Popen(
            [needed("nginx"), "-p", str(folder), "-c", str(config)], stdout=out, stderr=out
        )
    try:
        until(lambda: started.poll() is not None or listens(proxy.port))
        assert started.poll() is None, log.read_text()
        yield proxy
    finally:
        started.terminate()
        started.wait(PATIENCE_S)


def documented(changes: dict[str, str]) -> str:
    """The server of the documentation, with what is this machine's own."""
    page = (ROOT / "docs/operations.md").read_text()
    [server] = re.findall(r"```nginx\n(.+?)```", page, re.DOTALL)
    for documented, here in changes.items():
        assert server.count(documented) == 1, documented
        server = server.replace(documented, here)
    return str(server)


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
