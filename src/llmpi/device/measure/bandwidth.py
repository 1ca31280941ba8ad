"""How fast this machine reads memory and storage: what bounds token generation.

`python -m llmpi.device.measure.bandwidth JOB OUT`, in a process of its own, so that its memory is
not the engine's, and the first that the kernel ends where memory runs out.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from llmpi.device.machine.environment import memory_available_bytes
from llmpi.device.measure.memory import forget_cached, status_bytes
from llmpi.device.records import ModelFile
from llmpi.engine.records import Bandwidth

MEMORY_BYTES = 256 << 20
"""In all; far more than any cache of these machines."""
LEAST_BYTES = 16 << 20
"""More than the caches of small boards."""
SHARE = 0.25
"""Of the memory that is available, this process takes no more."""
PASSES = 5
STORAGE_BYTES = 1 << 30
CHUNK_BYTES = 4 << 20


def memory_read_bytes_per_s(threads: int, size: int = MEMORY_BYTES) -> float:
    """Sequential reads by all threads at once, the best of some passes.

    Each thread takes the largest of its share of an array of 64-bit numbers: one read of each
    word, no writes, as decoding reads the weights.

    Args:
        size: bytes in all.
    """
    arrays = [np.ones(size // 8 // threads, dtype=np.uint64) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = min(_seconds(lambda: list(pool.map(np.max, arrays))) for _ in range(PASSES))
    return sum(array.nbytes for array in arrays) / seconds


def room(available: int | None, taken: int | None) -> int:
    """Bytes to read.

    Args:
        available: bytes that the machine has left; None where it does not tell.
        taken: bytes that this process has without them.

    Raises:
        MemoryError: they would fit into a cache.
    """
    found = int(SHARE * (available or 0)) - (taken or 0)
    if found < LEAST_BYTES:
        raise MemoryError(
            f"a quarter of the {(available or 0) / 1e6:.0f} MB available is too little"
        )
    return min(found, MEMORY_BYTES)


def storage_read_bytes_per_s(path: Path) -> float:
    """Sequential read of (the first GiB of) a file out of its storage, not out of memory."""
    forget_cached(path)
    size = min(path.stat().st_size, STORAGE_BYTES)
    buffer = memoryview(bytearray(CHUNK_BYTES))

    def read() -> None:
        left = size
        with path.open("rb", buffering=0) as file:
            while left > 0 and (count := file.readinto(buffer)):
                left -= count

    return size / _seconds(read)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(job: str, out: str) -> None:
    asked: ModelFile = json.loads(Path(job).read_text(encoding="utf-8"))
    Path("/proc/self/oom_score_adj").write_text("1000", encoding="utf-8")
    threads = asked["threads"] or len(os.sched_getaffinity(0))
    try:
        size = room(memory_available_bytes(), status_bytes("VmRSS"))
    except MemoryError as error:
        sys.exit(str(error))
    record: Bandwidth = {
        "memory_read_bytes_per_s": memory_read_bytes_per_s(threads, size),
        "storage_read_bytes_per_s": storage_read_bytes_per_s(Path(asked["gguf"])),
    }
    Path(out).write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
