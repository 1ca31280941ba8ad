"""What a release of the service is: which variant of a study, and all that is served with it."""

from pathlib import Path
from typing import Any, NamedTuple

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.records import Record, is_ok, read_json, sha256_of, sha256_of_json
from llmpi.study import ServedVariant, Service, Study


class Release(NamedTuple):
    """A release for a device, as it lies on the workstation; `settings` go there as they are."""

    settings: Record
    gguf: Path
    sha256: str
    expectation: Path

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


def devices_of(study: Study, asked: list[str]) -> list[str]:
    """The service's devices, in the order of the rollout; those `asked` for, if any are.

    Raises:
        LlmpiError: the study has none, or none of such a name.
    """
    named = service_of(study).devices or [
        name for name, device in study.devices.items() if device.transport == "ssh"
    ]
    if not named:
        raise LlmpiError(f"study {study.study} has no device behind SSH; a service needs one")
    if unknown := [name for name in asked if name not in named]:
        raise LlmpiError(f"no service device '{unknown[0]}'; there are: {', '.join(named)}")
    return [name for name in named if not asked or name in asked]


def release_for(study: Study, device: str) -> Release:
    """The release that the study's config asks for on a device.

    Raises:
        LlmpiError: a file that it is made of is not there, with what makes it.
    """
    service = service_of(study)
    served = _served(study, service, device)
    gguf, manifest, expectation = (
        Path(layout.at(pattern, study=study.study, **served.model_dump(), device=device))
        for pattern in (layout.GGUF, layout.GGUF_MANIFEST, layout.EXPECTATION)
    )
    record = _made(manifest, f"snakemake {manifest}")
    if not is_ok(record) or not gguf.is_file():
        reason = record.get("reason", f"{gguf} is gone; run: snakemake --forcerun {manifest}")
        raise LlmpiError(f"{served.model} {served.quant} cannot be served: {reason}")
    _made(expectation, f"llmpi monitor expect --device {device}")
    return Release(settings(study, served, device), gguf, record["sha256"], expectation)


def settings(study: Study, served: ServedVariant, device: str) -> Record:
    """What `llmpi-device serve` reads: how the variant was measured, and what is asked of it."""
    service = service_of(study)
    asked: dict[str, Any] = service.model_dump(
        include={"host", "port", "context_tokens", "waiting", "drain_s"}
    )
    runtime = study.runtimes[served.runtime].model_dump(exclude={"threads"})
    threads = study.runtimes[served.runtime].threads or study.devices[device].threads
    named = served.model_dump(include={"model", "quant"})
    return {**named, **asked, "runtime": runtime, "threads": threads}


def _served(study: Study, service: Service, device: str) -> ServedVariant:
    if isinstance(service.variant, ServedVariant):
        return service.variant
    path = Path(layout.at(layout.RECOMMENDATION, study=study.study))
    found = _made(path, f"snakemake {path}")
    decision = next((d for d in found.get("decisions", []) if d["where"] == device), None)
    if decision is None or decision["pick"] is None:
        raise LlmpiError(
            f"{path} recommends nothing for device {device}; look at the report, or name a variant "
            "in the section 'service'"
        )
    pick = next(c for c in found["candidates"] if c["id"] == decision["pick"])
    variant = ServedVariant(**{key: pick[key] for key in ("model", "quant", "runtime")})
    if not study.runtimes[variant.runtime].repack:
        raise LlmpiError(
            f"{path} recommends runtime {variant.runtime}, which has repack: false; the server "
            "always repacks weights. Name a variant in the section 'service'."
        )
    return variant


def _made(path: Path, how: str) -> Record:
    """
    Raises:
        LlmpiError: the file is not there; `how` says what makes it.
    """
    if not path.is_file():
        raise LlmpiError(f"{path} is not there yet; run: {how}")
    return read_json(path)
