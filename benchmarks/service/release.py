"""A release as a device has it, around any model file, with llama-server in its runtime."""

import json
import shutil
from pathlib import Path

from benchmarks.peer import tool
from llmpi.device import store
from llmpi.device.service import releases
from llmpi.device.service.records import ServiceSettings, StoredModel
from llmpi.engine import shards
from llmpi.records import sha256_of

RUNTIME = "here"


def released(gguf: Path, root: Path, settings: ServiceSettings) -> Path:
    """
    Args:
        gguf: the model; of one in parts the first.
        root: of a store, which has none yet.

    Returns:
        The release's folder.
    """
    models = [_stored(part, root, settings) for part in shards.parts(gguf)]
    runtime = root / f"service/runtimes/{RUNTIME}/bin"
    runtime.mkdir(parents=True)
    (runtime / "llama-server").symlink_to(tool("llama-server"))
    new = releases.incoming(root, "one")
    new.mkdir(parents=True)
    (new / "settings.json").write_text(json.dumps(settings))
    releases.add(root, "one", models=models, runtime=RUNTIME)
    return root / "service/releases/one"


def _stored(gguf: Path, root: Path, settings: ServiceSettings) -> StoredModel:
    file = gguf.name if shards.NAME.fullmatch(gguf.name) else f"{settings['quant']}.gguf"
    name, sha256 = f"{settings['model']}/{file}", sha256_of(gguf)
    found = store.expect(root, name, gguf.stat().st_size, sha256, None)
    shutil.copyfile(gguf, found["partial"])
    assert store.accept(root, name, sha256), f"{gguf} changed while it was copied"
    return {"path": found["path"], "sha256": sha256}
