"""A release that serves a tiny model."""

from pathlib import Path
from typing import Any

from benchmarks.service import release
from llmpi.device.service.records import ServiceSettings
from llmpi.remote import requests
from llmpi.study.measuring import Runtime

SETTINGS: ServiceSettings = {
    "model": "tiny",
    "quant": "F32",
    "port": 0,
    "thinking_tokens": None,
    "context_tokens": 64,
    "slots": 1,
    "prefix_cache_bytes": 0,
    "waiting": 4,
    "answer_s": 60,
    "drain_s": 60,
    "runtime": requests.runtime(Runtime(threads=1, batch_tokens=64, ubatch_tokens=64)),
}


def released(gguf: Path, root: Path, **settings: Any) -> Path:
    """
    Args:
        root: of a store, which has none yet.
        settings: that are not `SETTINGS`.

    Returns:
        The release's folder.
    """
    made: Any = {**SETTINGS, **settings}
    return release.released(gguf, root, made)
