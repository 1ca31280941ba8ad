"""A release as a device has it, around any model file, with llama-server in its runtime."""

import hashlib
import json
from pathlib import Path
from typing import Any

from benchmarks import peer
from llmpi.device import store
from llmpi.device.service import releases
from llmpi.device.service.records import ServiceSettings, StoredModel
from llmpi.engine import shards
from llmpi.engine.records import Runtime

RUNTIME: Runtime = {
    "threads": 1,
    "batch_tokens": 64,
    "ubatch_tokens": 64,
    "kv_cache": "f16",
    "flash_attention": "auto",
    "mmap": True,
    "mlock": False,
    "lazy": "auto",
    "repack": True,
    "omp_wait_policy": None,
    "prompt_lookup": None,
}
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
    "runtime": RUNTIME,
}


def released(gguf: Path, root: Path, **settings: Any) -> Path:
    """
    Args:
        root: of a store, which has none yet.
        settings: that are not `SETTINGS`.

    Returns:
        The release's folder.
    """
    models = [_stored(part, root) for part in shards.parts(gguf)]
    runtime = root / "service/runtimes/none/bin"
    runtime.mkdir(parents=True)
    (runtime / "llama-server").symlink_to(peer.tool("llama-server"))
    new = releases.incoming(root, "one")
    new.mkdir(parents=True)
    (new / "settings.json").write_text(json.dumps({**SETTINGS, **settings}))
    releases.add(root, "one", models=models, runtime="none")
    return root / "service/releases/one"


def _stored(gguf: Path, root: Path) -> StoredModel:
    data = gguf.read_bytes()
    name = f"tiny/{gguf.name}" if shards.NAME.fullmatch(gguf.name) else "tiny/F32.gguf"
    sha256 = hashlib.sha256(data).hexdigest()
    found = store.expect(root, name, len(data), sha256, None)
    Path(found["partial"]).write_bytes(data)
    assert store.accept(root, name, sha256)
    return {"path": found["path"], "sha256": sha256}
