"""Makes the machine too small for the processes of one module (`LLMPI_SHORT`: MODULE HOW).

HOW is `killed` (as the kernel does that is out of memory), `killed in` and the name of a function,
the bytes of its address space, or the `cgroup.procs` of a control group.
"""

import os
import resource
import signal
import sys
from pathlib import Path
from types import FrameType

module, _, how = os.environ.get("LLMPI_SHORT", "").partition(" ")
if module in sys.orig_argv:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how.startswith("killed in "):
        function = how.removeprefix("killed in ")

        def kill(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame.f_code.co_qualname == function:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.setprofile(kill)
    elif how.isdigit():
        resource.setrlimit(resource.RLIMIT_AS, (int(how), int(how)))
    else:
        Path(how).write_text("0")
