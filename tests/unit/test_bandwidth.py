"""The probe of memory: small beside what is free, and the first to go."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device.machine.environment import memory_available_bytes
from llmpi.device.measure import bandwidth
from llmpi.device.measure.bandwidth import LEAST_BYTES, MEMORY_BYTES, room

MB = 1 << 20


@given(st.integers(0, 64 << 30), st.integers(0, 100 * MB))
def test_never_more_than_a_quarter(available: int, taken: int) -> None:
    try:
        size = room(available, taken)
    except MemoryError:
        assert available / 4 - taken < LEAST_BYTES + 1
    else:
        assert LEAST_BYTES <= size <= MEMORY_BYTES
        assert size + taken <= available / 4


def test_a_board_of_512_mb_with_304_free() -> None:
    assert room(304 * MB, 40 * MB) == 36 * MB


@pytest.mark.parametrize("available", [None, 0, 150 * MB])
def test_too_little(available: int | None) -> None:
    with pytest.raises(MemoryError, match="MB available is too little"):
        room(available, 40 * MB)


WATCHED = """
import json, sys
from llmpi.device.measure import bandwidth
from llmpi.device.measure.memory import status_bytes
bandwidth.memory_available_bytes = lambda: int(sys.argv[3])
bandwidth.main(sys.argv[1], sys.argv[2])
adjusted = int(open("/proc/self/oom_score_adj").read())
print(json.dumps([status_bytes("VmHWM"), adjusted]))
"""


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_a_real_probe_keeps_to_it(tmp_path: Path, threads: int) -> None:
    (tmp_path / "model").write_bytes(os.urandom(1000))
    job = {"gguf": str(tmp_path / "model"), "threads": threads}
    (tmp_path / "job").write_text(json.dumps(job))
    available = 304 * MB
    files = (str(tmp_path / "job"), str(tmp_path / "out"))
    command = [sys.executable, "-c", WATCHED, *files, str(available)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, adjusted = json.loads(done.stdout)
    assert adjusted == 1000
    # Its threads and their stacks come on top of what it had before.
    assert peak < available / 4 + 4 * MB
    assert json.loads((tmp_path / "out").read_text())["memory_read_bytes_per_s"] > 1e8


def test_of_this_machine() -> None:
    available = memory_available_bytes()
    assert available
    assert bandwidth.memory_read_bytes_per_s(1, 32 * MB) > 1e8
