"""How fast this machine reads memory and storage: what bounds token generation.

`python -m llmpi.device.measure.bandwidth JOB OUT`, in a process of its own, so that its memory is
not the engine's.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from llmpi.device.records import ModelFile
from llmpi.engine.records import Bandwidth

MEMORY_BYTES = 256 << 20  # in all; far more than any cache of these machines
PASSES = 5
STORAGE_BYTES = 1 << 30
CHUNK_BYTES = 4 << 20


def memory_read_bytes_per_s(threads: int) -> float:
    """Sequential reads by all threads at once, the best of some passes.

    Each thread takes the largest of its share of an array of 64-bit numbers: one read of each
    word, no writes, as decoding reads the weights.
    """
    share = np.ones(MEMORY_BYTES // 8 // threads, dtype=np.uint64)
    arrays = [share.copy() for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = min(_seconds(lambda: list(pool.map(np.max, arrays))) for _ in range(PASSES))
    return sum(array.nbytes for array in arrays) / seconds


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


def forget_cached(path: Path) -> None:
    """Drop a file from the page cache; needs no root, but what is mapped elsewhere stays."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # only clean pages are dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(job: str, out: str) -> None:
    asked: ModelFile = json.loads(Path(job).read_text())
    threads = asked["threads"] or len(os.sched_getaffinity(0))
    record: Bandwidth = {
        "memory_read_bytes_per_s": memory_read_bytes_per_s(threads),
        "storage_read_bytes_per_s": storage_read_bytes_per_s(Path(asked["gguf"])),
    }
    Path(out).write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
