"""`llmpi-device bench`."""

import sys

from llmpi.device.service import bench as service_bench
from llmpi.device.service.records import Bench, BenchRequest, Refusal
from llmpi.engine.progress import to_stderr


def bench(request: BenchRequest) -> Bench | Refusal:
    """Have the service here carry a load of clients, until standard input ends."""
    return service_bench.run(request, log=to_stderr, owner=sys.stdin)
