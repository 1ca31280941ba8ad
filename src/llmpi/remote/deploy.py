"""Put a model file into a device's store, verified there by its hash."""

import logging
from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.records import Record, failed, is_ok, now, sha256_of
from llmpi.remote.connection import Device, connected

log = logging.getLogger(__name__)


def deploy(
    name: str, spec: dict[str, Any], *, gguf: Path, manifest: Record, model: str, quant: str
) -> Record:
    """Deploy one file to a provisioned device and return the receipt.

    What is there with the right hash is not sent again; of what is there in part, only the rest.

    Args:
        manifest: of `gguf`; a failed one is passed on as the receipt.

    Raises:
        LlmpiError: the device or the way to it failed; try again.
    """
    if not is_ok(manifest):
        return manifest
    with connected(name, spec) as device:
        file = f"{model}/{quant}.gguf"
        return put_model(device, gguf, file, manifest["sha256"], spec.get("quota"))


def put_model(device: Device, gguf: Path, file: str, sha256: str, quota: int | None) -> Record:
    """The receipt of a file that is in the store now, or of one that cannot be.

    Raises:
        LlmpiError: see `deploy`.
    """
    size = gguf.stat().st_size
    wanted = {"store": device.store, "name": file, "size": size, "sha256": sha256, "quota": quota}
    found = device.ask("expect", wanted)
    if "quota" in found:
        return failed("deploy", found["quota"])
    if "no_room" in found:
        raise LlmpiError(f"device {device.name}: {found['no_room']}")
    for path in found["removed"]:
        log.info("device %s: removed %s to make room", device.name, path)
    if found["here"]:
        log.info("device %s: %s is there already", device.name, file)
        return _receipt(device, found["path"], sha256, size, sent=0)
    if sha256_of(gguf) != sha256:
        return failed(
            "deploy",
            f"{gguf} does not have the hash its manifest states; it was damaged or cut short. "
            "Delete it and run again.",
        )
    sent = device.send(gguf, found["partial"], found["there"])
    if not _accepted(device, wanted) and found["there"]:
        # What an earlier transfer left may have been the damaged part.
        found = device.ask("expect", {**wanted, "fresh": True})
        sent += device.send(gguf, found["partial"], 0)
        if not _accepted(device, wanted):
            raise LlmpiError(f"device {device.name}: {file} arrived damaged and was removed")
    return _receipt(device, found["path"], sha256, size, sent=sent)


def ensure_model(device: Device, spec: dict[str, Any], gguf: Path, receipt: Record) -> Record:
    """A receipt that holds now: the file may have made room for another since, or been damaged.

    Raises:
        LlmpiError: see `deploy`.
    """
    if device.ask("use", {"path": receipt["path"], "sha256": receipt["sha256"]})["sound"]:
        return receipt
    log.info("device %s: %s is not there any more; sending it again", device.name, receipt["path"])
    file = "/".join(receipt["path"].split("/")[-2:])
    return put_model(device, gguf, file, receipt["sha256"], spec.get("quota"))


def _accepted(device: Device, wanted: dict[str, Any]) -> bool:
    return device.ask("accept", {key: wanted[key] for key in ("store", "name", "sha256")})["sound"]


def _receipt(device: Device, path: str, sha256: str, size: int, sent: int) -> Record:
    return {
        "status": "ok",
        "device": device.name,
        "path": path,
        "sha256": sha256,
        "bytes": size,
        "sent_bytes": sent,
        "deployed": now(),
    }
