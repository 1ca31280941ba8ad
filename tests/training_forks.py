"""What learns, imported once: each process of it is a fork of this one, which spares six seconds of
a processor. Torch has computed nothing here yet, and so has no threads that a fork would lose.

`forked_training` starts it. A message is a line of JSON, with the file its standard error goes to;
answered are the process, and, when it has ended, how.
"""

import json
import os
import runpy
import socket
import sys
from typing import Any

import llmpi.train.__main__  # noqa: F401
import llmpi.train.probe.__main__  # noqa: F401
import llmpi.train.rounding.__main__  # noqa: F401
from llmpi.engine.supervise import die_with_parent

LONGEST = 1 << 20


def serve(asks: socket.socket) -> None:
    """Until whoever asks has gone; returns in each process that is to learn."""
    while True:
        message, [*files], _, _ = socket.recv_fds(asks, LONGEST, 1)
        if not message:
            sys.exit()
        ends = die_with_parent()
        if (child := os.fork()) == 0:
            ends()
            asks.close()
            return become(json.loads(message), files[0])
        os.close(files[0])
        asks.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        asks.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def become(asked: dict[str, Any], errors: int) -> None:
    """As `python -m MODULE ...` would be started."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    nothing = os.open(os.devnull, os.O_RDWR)
    for source, target in ((nothing, 0), (nothing, 1), (errors, 2)):
        os.dup2(source, target)
    module, *arguments = asked["command"]
    sys.argv = [module, *arguments]


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
