"""Scripts of Snakemake's jobs as forks of a process that has imported what they begin with.

`snakemake_forks` is that process, and has `serve` run beside each Snakemake. Where Snakemake would
start Python with a script it starts this file, which asks for a fork in its own place: there, in
its environment, with its files, and ends as that ends.
"""

import json
import os
import signal
import socket
import sys
from pathlib import Path

LONGEST = 1 << 17
FAMILY = (socket.AF_UNIX, socket.SOCK_SEQPACKET)


def main(address: str, script: str) -> None:
    asked = {"script": script, "cwd": str(Path.cwd()), "env": dict(os.environ)}
    with socket.socket(*FAMILY) as server:
        server.connect(f"\0{address}")
        socket.send_fds(server, [json.dumps(asked).encode()], [1, 2])
        status = int(server.recv(LONGEST) or 1)
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


def listening(address: str) -> socket.socket:
    server = socket.socket(*FAMILY)
    server.bind(f"\0{address}")
    server.listen()
    return server


def serve(server: socket.socket) -> str:
    """Returns in each process that is to work: the path of its script."""
    from forks import become

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for a script
    while True:
        asker, _ = server.accept()
        if os.fork() != 0:
            asker.close()
            continue
        server.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message, [out, err], _, _ = socket.recv_fds(asker, LONGEST, 2)
        if (child := os.fork()) == 0:
            asker.close()
            asked = json.loads(message)
            become(asked["cwd"], asked["env"], out, err, [asked["script"]])
            sys.path[0] = str(Path(asked["script"]).parent)
            return str(asked["script"])
        _, status = os.waitpid(child, 0)
        asker.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
