"""`llmpi-device binding`."""

import sys

from llmpi.device.records import BindingRequest
from llmpi.engine.laid_over import laid_over
from llmpi.engine.progress import to_stderr
from llmpi.engine.records import Binding, Failed
from llmpi.engine.supervise import Death, supervise

TIMEOUT_S = 60
"""Its libraries are read, from the slowest of cards."""


def binding(request: BindingRequest) -> Binding | Failed:
    """Whether an engine here can be run as llmpi runs it."""
    found = supervise(
        "llmpi.engine.binding",
        request,
        writes=Binding,
        log=to_stderr,
        timeout_s=TIMEOUT_S,
        owner=sys.stdin,
        environment=laid_over(request["engine"]),
    )
    return found.failed("engine") if isinstance(found, Death) else found
