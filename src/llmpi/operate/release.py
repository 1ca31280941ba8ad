"""What a release of the service is: which variant of a study, and all that is served with it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from typing_extensions import TypeForm, TypeVar

from llmpi import layout
from llmpi.decide.records import ProvisionalBy, Recommendation
from llmpi.device.machine import capacity
from llmpi.device.service.records import ServiceSettings
from llmpi.engine.records import Failed, Runtime
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.operate.expectation import expectation
from llmpi.operate.records import Expectation
from llmpi.records import read, sha256_of, sha256_of_json, write_json
from llmpi.remote import requests
from llmpi.study.computation import DEFAULT
from llmpi.study.devices import SshDevice, group_of
from llmpi.study.runs import Variant, stands_for
from llmpi.study.service import ServedVariant, Service
from llmpi.study.study import Study
from llmpi.tune.records import Tuned

log = logging.getLogger(__name__)

Kind = TypeVar("Kind")


class Release(NamedTuple):
    """A release for a device, as it lies on the workstation; `settings` go there as they are."""

    settings: ServiceSettings
    gguf: Path
    sha256: str
    parts: list[str]
    """Hashes of its parts, where it comes in several."""
    expectation: Path
    """File of an `llmpi.operate.records.Expectation`."""

    def id(self, runtime: str) -> str:
        """The same for the same content: settings, model, expectation and code (`runtime`)."""
        content = [self.settings, self.sha256, sha256_of(self.expectation), runtime]
        return sha256_of_json(content)[:12]


def service_of(study: Study) -> Service:
    """
    Raises:
        LlmpiError: the study has none.
    """
    if study.service is None:
        raise LlmpiError(f"study {study.study} has no section 'service' (see config/README.md)")
    return study.service


def devices_of(study: Study, asked: list[str]) -> dict[str, SshDevice]:
    """The service's devices by id, in the order of the rollout; those `asked` for, if any are.

    Raises:
        LlmpiError: the study has none, or none of such a name.
    """
    service_of(study)
    found = study.served_on
    if not found:
        raise LlmpiError(f"study {study.study} has no device behind SSH; a service needs one")
    if unknown := [name for name in asked if name not in found]:
        raise LlmpiError(f"no service device '{unknown[0]}'; there are: {', '.join(found)}")
    return {name: device for name, device in found.items() if not asked or name in asked}


def release_for(study: Study, device: str) -> Release:
    """The release that the study's config asks for on a device.

    Raises:
        LlmpiError: a file that it is made of is not there, with what makes it.
    """
    service = service_of(study)
    served = _served(study, service, device)
    gguf, manifest = (
        Path(layout.at(pattern, model=served.model, quant=served.quant))
        for pattern in (layout.GGUF, layout.GGUF_MANIFEST)
    )
    record = _made(Gguf | Failed, manifest)
    if record["status"] == "failed":
        raise LlmpiError(f"{served.model} {served.quant} cannot be served: {record['reason']}")
    if not gguf.is_file():
        raise LlmpiError(f"{gguf} is gone; run: snakemake --forcerun {manifest}")
    expected = _expectation(study, served, device, record["sha256"])
    parts = [part["sha256"] for part in record["parts"]]
    return Release(settings(study, served, device), gguf, record["sha256"], parts, expected)


def settings(study: Study, served: ServedVariant, device: str) -> ServiceSettings:
    """How the variant was measured, and what is asked of the service."""
    service = service_of(study)
    runtime = _runtime(study, served, device)
    return {
        "model": served.model,
        "quant": served.quant,
        "port": service.port,
        "thinking_tokens": study.models[served.model].thinking_tokens,
        "context_tokens": service.context_tokens,
        "slots": service.slots,
        "prefix_cache_bytes": service.prefix_cache or 0,
        "waiting": service.waiting,
        "answer_s": service.answer_s,
        "drain_s": service.drain_s,
        "runtime": {**runtime, "threads": runtime["threads"] or study.devices[device].threads},
    }


def _runtime(study: Study, served: ServedVariant, device: str) -> Runtime:
    """The runtime; of a tuned one, what was found for this device."""
    asked = study.runtimes[served.runtime]
    if not asked.tune:
        return requests.runtime(asked)
    cell = {"study": study.study, "device": device, **served.model_dump()}
    path = Path(layout.at(layout.TUNED, **cell))
    found = _made(Tuned | Failed, path)
    if found["status"] == "failed":
        raise LlmpiError(f"{path}: no settings were found: {found['reason']}")
    return found["runtime"]


def _expectation(study: Study, served: ServedVariant, device: str, sha256: str) -> Path:
    """What the canary expects; made again only for another model file or newer measurements.

    A new one has a new date in it and would make a new release of the same.
    """
    cell = {"study": study.study, "device": device, **served.model_dump()}
    path = Path(layout.at(layout.EXPECTATION, **cell))
    board = stands_for(study, device, Variant(served.model, served.quant))
    records = [
        Path(layout.at(layout.BENCH, **cell)),
        Path(layout.at(layout.PARITY, **{**cell, "device": board})),
    ]
    records += [
        Path(layout.at(layout.QUALITY, **cell, computation=DEFAULT, task=task))
        for task in study.quality
    ]
    changed = max((record.stat().st_mtime for record in records if record.is_file()), default=0)
    current = path.is_file() and path.stat().st_mtime >= changed
    if not current or read(path, Expectation)["gguf_sha256"] != sha256:
        log.info("asking %s %s what a canary is to expect of it", served.model, served.quant)
        threads = capacity.processors()
        variant = (served.model, served.quant, device)
        write_json(path, expectation(study, *variant, runtime=served.runtime, threads=threads))
    return path


NOT_YET: Mapping[ProvisionalBy, str] = {
    "quality": "its quality is not shown yet",
    "disturbed": "other programs ran while it was measured",
}


def _served(study: Study, service: Service, device: str) -> ServedVariant:
    if isinstance(service.variant, ServedVariant):
        return service.variant
    path = Path(layout.at(layout.RECOMMENDATION, study=study.study))
    found = _made(Recommendation, path)
    where = group_of(study.devices[device]) or device  # equal boards are one choice
    decision = next((d for d in found["decisions"] if d["where"] == where), None)
    if decision is None or decision["pick"] is None:
        raise LlmpiError(
            f"{path} recommends nothing for device {device}; look at the report, or name a variant "
            "in the section 'service'"
        )
    pick = next(c for c in found["candidates"] if c["id"] == decision["pick"])
    if why := decision["provisional_by"]:
        log.warning(
            "%s %s is recommended for device %s for the time being only: %s, see %s",
            *(pick["model"], pick["quant"], device, "; ".join(NOT_YET[one] for one in why)),
            layout.at(layout.PAGE, study=study.study),
        )
    return ServedVariant(model=pick["model"], quant=pick["quant"], runtime=pick["runtime"])


def _made(kind: TypeForm[Kind], path: Path) -> Kind:
    """
    Raises:
        LlmpiError: the file is not there, or does not hold what it should.
    """
    if not path.is_file():
        raise LlmpiError(f"{path} is not there yet; run: snakemake {path}")
    return read(path, kind)
