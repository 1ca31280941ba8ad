"""Makes the machine too small for the processes of one module (`LLMPI_SHORT`: MODULE HOW).

HOW is `killed` (as the kernel does that is out of memory), the bytes of its address space, or the
`cgroup.procs` of a control group.
"""

import os
import resource
import signal
import sys
from pathlib import Path

module, _, how = os.environ.get("LLMPI_SHORT", "").partition(" ")
if module in sys.orig_argv:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how.isdigit():
        resource.setrlimit(resource.RLIMIT_AS, (int(how), int(how)))
    else:
        Path(how).write_text("0")
