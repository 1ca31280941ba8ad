"""Put a model file into a device's store, verified there by its hash."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from llmpi.device.records import Expected, ExpectRequest, NoRoom, OverQuota, Sound
from llmpi.engine import shards
from llmpi.engine.records import Failed
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.records import failed, now, sha256_of
from llmpi.remote.connection import connected
from llmpi.remote.machine import ANSWER_S, Device
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import DeployedPart, Provisioned, Receipt
from llmpi.study.devices import SingleDevice, SshDevice

log = logging.getLogger(__name__)

SLOWEST_BYTES_PER_S = 2e6
"""Of a worn SD card."""


def deploy(
    name: str,
    device: SingleDevice,
    provisioned: Provisioned,
    *,
    gguf: Path,
    manifest: Gguf,
    model: str,
    quant: str,
) -> Receipt | Failed:
    """Deploy one file to a provisioned device and return the receipt.

    What is there with the right hash is not sent again; of what is there in part, only the rest.

    Args:
        provisioned: the receipt of the device.
        manifest: of `gguf`.

    Raises:
        LlmpiError: the device or the way to it failed; try again.
    """
    sha256, hashes = manifest["sha256"], [part["sha256"] for part in manifest["parts"]]
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned)
        return put_model(reached, gguf, f"{model}/{quant}.gguf", sha256, _quota(device), hashes)


def put_model(
    device: Device,
    gguf: Path,
    file: str,
    sha256: str,
    quota: int | None,
    parts: Sequence[str] = (),
) -> Receipt | Failed:
    """The receipt of a file that is in the store now, or of one that cannot be.

    Args:
        parts: the hash of each part, where it comes in several.

    Raises:
        LlmpiError: see `deploy`.
    """
    if not parts:
        return _put_file(device, gguf, file, sha256, quota)
    names = shards.names(f"{shards.stem(file)}-00001-of-{len(parts):05}.gguf")
    found: list[Receipt] = []
    for path, name, digest in zip(shards.parts(gguf), names, parts, strict=True):
        receipt = _put_file(device, path, name, digest, quota)
        if receipt["status"] == "failed":
            return receipt
        found.append(receipt)
    whole: Receipt = {
        **found[0],
        "sha256": sha256,
        "parts": [{"path": part["path"], "sha256": part["sha256"]} for part in found],
        "bytes": sum(part["bytes"] for part in found),
        "sent_bytes": sum(part["sent_bytes"] for part in found),
    }
    if not _is_there(device, whole):
        return failed(
            "deploy",
            f"the {len(parts)} parts of {file}, {whole['bytes'] / 1e9:.2f} GB, do not fit into the "
            "store side by side: one made room for another",
        )
    return whole


def _put_file(
    device: Device, gguf: Path, file: str, sha256: str, quota: int | None
) -> Receipt | Failed:
    gguf = gguf.resolve()  # a published file is a link, which would be sent as one
    size = gguf.stat().st_size
    wanted: ExpectRequest = {
        "store": device.store,
        "name": file,
        "size": size,
        "sha256": sha256,
        "quota": quota,
        "fresh": False,
    }
    found = _expected(device, wanted)
    if isinstance(found, str):
        return failed("deploy", found)
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
        found = _expected(device, {**wanted, "fresh": True})
        if isinstance(found, str):
            return failed("deploy", found)
        sent += device.send(gguf, found["partial"], 0)
        if not _accepted(device, wanted):
            raise LlmpiError(f"device {device.name}: {file} arrived damaged and was removed")
    return _receipt(device, found["path"], sha256, size, sent=sent)


def ensure_model(
    reached: Device, device: SingleDevice, gguf: Path, receipt: Receipt
) -> Receipt | Failed:
    """A receipt that holds now: the file may have made room for another since, or been damaged.

    Raises:
        LlmpiError: the file is of another store; or see `deploy`.
    """
    path, sha256 = PurePath(receipt["path"]), receipt["sha256"]
    _check_store(reached, receipt)
    if _is_there(reached, receipt):
        return receipt
    log.info("device %s: %s is not there any more; sending it again", reached.name, path)
    file = f"{path.parent.name}/{shards.stem(path.name)}.gguf"
    hashes = [part["sha256"] for part in receipt["parts"]]
    return put_model(reached, gguf, file, sha256, _quota(device), hashes)


class Sent(NamedTuple):
    """A model file here, and its receipt of a device."""

    gguf: Path
    receipt: Receipt


def ensure_models(reached: Device, device: SingleDevice, sent: Sequence[Sent]) -> Failed | None:
    """Have all of them there side by side; or why that cannot be.

    Raises:
        LlmpiError: see `ensure_model`.
    """
    for one in sent:
        again = ensure_model(reached, device, *one)
        if again["status"] == "failed":
            return again
    if all(_is_there(reached, one.receipt) for one in sent[:-1]):
        return None
    size = sum(one.receipt["bytes"] for one in sent)
    return failed(
        "deploy",
        f"a model and its draft model, {size / 1e9:.2f} GB, do not fit into the store side by "
        "side: one made room for the other",
    )


def _is_there(device: Device, receipt: Receipt) -> bool:
    """Whether it is what was taken in, all parts of it; it counts as used now."""
    sound = [device.ask("use", {**part}, Sound)["sound"] for part in deployed_parts(receipt)]
    return all(sound)


def deployed_parts(receipt: Receipt) -> list[DeployedPart]:
    """The files of a receipt, in order: one, or its parts."""
    whole: DeployedPart = {"path": receipt["path"], "sha256": receipt["sha256"]}
    return receipt["parts"] or [whole]


def _quota(device: SingleDevice) -> int | None:
    return device.quota if isinstance(device, SshDevice) else None


def _expected(device: Device, wanted: ExpectRequest) -> Expected | str:
    """What is there of the file, or why it will never fit.

    Raises:
        LlmpiError: the disk is too full.
    """
    found = device.ask(
        "expect", wanted, Expected | OverQuota | NoRoom, timeout_s=_hash_s(wanted["size"])
    )
    if "no_room" in found:
        raise LlmpiError(f"device {device.name}: {found['no_room']}")
    if "quota" in found:
        return found["quota"]
    return found


def _check_store(device: Device, receipt: Receipt) -> None:
    """A file outside the store may lie on another disk than the one that is to be measured.

    Raises:
        LlmpiError: it does.
    """
    if not PurePath(receipt["path"]).is_relative_to(device.store):
        raise LlmpiError(
            f"device {device.name}: {receipt['path']} is not in its store, {device.store}; remove "
            "the receipt under results/deploy and run again"
        )


def _accepted(device: Device, wanted: ExpectRequest) -> bool:
    asked = {"store": wanted["store"], "name": wanted["name"], "sha256": wanted["sha256"]}
    return device.ask("accept", asked, Sound, timeout_s=_hash_s(wanted["size"]))["sound"]


def _hash_s(size: int) -> float:
    """By then a device has read a file of so many bytes, and written it out."""
    return ANSWER_S + size / SLOWEST_BYTES_PER_S


def _receipt(device: Device, path: str, sha256: str, size: int, sent: int) -> Receipt:
    return {
        "status": "ok",
        "device": device.name,
        "path": path,
        "sha256": sha256,
        "parts": [],
        "bytes": size,
        "sent_bytes": sent,
        "deployed": now(),
    }
