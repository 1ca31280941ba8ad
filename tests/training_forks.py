"""What learns and what converts, imported once: each process of it is a fork of this one, which
spares six seconds of a processor. Torch has computed nothing here yet, and so has no threads that a
fork would lose.

`forked_training` starts it. A message is JSON, with the file its standard error goes to; answered
are the process, and, when it has ended, how: a line each.
"""

import json
import os
import runpy
import socket
import sys

from forks import become, ending, settled

import llmpi.gguf.hf_to_gguf  # noqa: F401
import llmpi.train.__main__  # noqa: F401
import llmpi.train.probe.__main__  # noqa: F401
import llmpi.train.rounding.__main__  # noqa: F401
from llmpi.engine.supervise import die_with_parent

LONGEST = 1 << 20


def serve(asks: socket.socket) -> None:
    """Until whoever asks has gone; returns in each process that is to work."""
    while True:
        message, [*files], _, _ = socket.recv_fds(asks, LONGEST, 1)
        if not message:
            sys.exit()
        ends = die_with_parent()
        if (child := os.fork()) == 0:
            ends()
            asks.close()
            asked, nothing = json.loads(message), os.open(os.devnull, os.O_WRONLY)
            return become(asked["cwd"], asked["env"], nothing, files[0], asked["command"])
        os.close(files[0])
        asks.sendall(f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        asks.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    settled()
    serve(socket.socket(fileno=int(sys.argv[1])))
    with ending():
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
