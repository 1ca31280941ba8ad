"""A block on this machine whose engine cannot work: each turn says why, and the block goes on."""

import re
from pathlib import Path

from llmpi.device import block
from llmpi.study import Runtime


def test_a_turn_that_dies_is_a_result(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF, but no more")
    runtime = Runtime().model_dump()
    workload = {"prompt_tokens": 4, "output_tokens": 2, "depths": [], "context_tokens": None}
    lines: list[str] = []
    record = block.run(
        {
            "what": "a test",
            "seed": "1",
            "gguf": str(tmp_path / "broken.gguf"),
            "threads": 1,
            "limits": None,
            "rest": {"cool_below_c": None, "cool_limit_s": 0},
            "workloads": {"chat": workload},
            "repetitions": 1,
            "turns": [{"runtime": runtime, "check": False, "timeout_s": None}] * 2,
            "timeout_s": 60,
        },
        log=lines.append,
    )
    assert [turn["status"] for turn in record["turns"]] == ["failed", "failed"]
    assert re.search(r"cannot load broken\.gguf", record["turns"][0]["reason"])
    assert record["took_s"] > 0
    assert lines, "what the engine says is handed on"
