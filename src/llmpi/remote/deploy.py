"""Put a model file into a device's store, verified there by its hash."""

import logging
from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.records import Record, failed, is_ok, now, sha256_of
from llmpi.remote.connection import connected

log = logging.getLogger(__name__)


def deploy(
    name: str, spec: dict[str, Any], *, gguf: Path, manifest: Record, model: str, quant: str
) -> Record:
    """Deploy one file and return the receipt. What is there with the right hash is not sent again.

    Args:
        manifest: of `gguf`; a failed one is passed on as the receipt.

    Raises:
        LlmpiError: the device or the way to it failed; try again.
    """
    if not is_ok(manifest):
        return manifest
    with connected(name, spec) as device:
        target = f"{device.store}/models/{model}/{quant}.gguf"
        sent = device.sha256(target) != manifest["sha256"]
        if sent:
            if sha256_of(gguf) != manifest["sha256"]:
                return failed(
                    "deploy",
                    f"{gguf} does not have the hash its manifest states; it was damaged or cut "
                    "short. Delete it and run again.",
                )
            device.put(gguf, target)
            if device.sha256(target) != manifest["sha256"]:
                device.run(["rm", "-f", "--", target])
                raise LlmpiError(f"device {name}: {target} arrived damaged and was removed")
        else:
            log.info("device %s: %s is there already", name, target)
    return {
        "status": "ok",
        "device": name,
        "path": target,
        "sha256": manifest["sha256"],
        "bytes": manifest["bytes"],
        "sent": sent,
        "deployed": now(),
    }
