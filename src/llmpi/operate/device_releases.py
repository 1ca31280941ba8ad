"""The releases on a device, as `llmpi.device.service.releases` keeps them there."""

from collections.abc import Sequence

from typing_extensions import TypeForm, TypeVar

from llmpi.device.service.records import Answer, Refusal, Releases, StoredModel
from llmpi.errors import LlmpiError
from llmpi.remote.machine import Device
from llmpi.remote.provision import INSTALL_S
from llmpi.remote.records import DeployedPart

Said = TypeVar("Said")


def state(device: Device) -> Releases:
    """What is there. This and all others raise `LlmpiError`: it refused, or the device failed."""
    return _ask(device, Answer[Releases] | Refusal, "state")


def make_runtime(device: Device, key: str, wheels: str) -> None:
    """A venv for services, out of a folder of wheels there."""
    _ask(device, Answer[None] | Refusal, "make_runtime", key=key, wheels=wheels)


def add(device: Device, release: str, *, models: Sequence[DeployedPart], runtime: str) -> None:
    """Make a release of the files that were put there."""
    found: list[StoredModel] = [{"path": m["path"], "sha256": m["sha256"]} for m in models]
    _ask(device, Answer[None] | Refusal, "add", release=release, models=found, runtime=runtime)


def switch(device: Device, release: str) -> Releases:
    """Serve it from the next start on; what was there before."""
    return _ask(device, Answer[Releases] | Refusal, "switch", release=release)


def restore(device: Device, before: Releases) -> None:
    """Go back to what was there."""
    links = {"current": before["current"], "previous": before["previous"]}
    _ask(device, Answer[Releases] | Refusal, "restore", **links)


def roll_back(device: Device) -> None:
    """Serve the previous release again."""
    _ask(device, Answer[Releases] | Refusal, "roll_back")


def prune(device: Device) -> None:
    """Remove what neither the current nor the previous release needs."""
    _ask(device, Answer[list[str]] | Refusal, "prune")


def _ask(
    device: Device, kind: TypeForm[Answer[Said] | Refusal], do: str, **arguments: object
) -> Said:
    asked = {"store": device.store, "do": do, **arguments}
    answer = device.ask("releases", asked, kind, timeout_s=INSTALL_S)
    if "error" in answer:
        raise LlmpiError(f"device {device.name}: {answer['error']}")
    return answer["answer"]
