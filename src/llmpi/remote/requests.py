"""A study's settings as a device is asked for them (`llmpi.device.records`)."""

from collections.abc import Mapping

from llmpi.device import records
from llmpi.engine.records import AnyWorkload, Limits, Runtime, SingleWorkload
from llmpi.records import check
from llmpi.study import measuring, meters
from llmpi.study.devices import LocalDevice, MeasuredDevice, SingleDevice
from llmpi.study.endpoint import Endpoint


def runtime(asked: measuring.Runtime) -> Runtime:
    """How the engine is to be run."""
    return check(asked.model_dump_json(exclude={"tune", "endpoint"}), Runtime, "a runtime")


def endpoint(asked: Endpoint, model: str, quant: str) -> records.EndpointRequest:
    """Who is asked in the engine's place, for a variant that it serves."""
    served = asked.served(model, quant)
    assert served
    return {
        "url": asked.url,
        "api": asked.api,
        "key_variable": asked.key_variable,
        "model": served.name,
        "claimed": {"file": served.file, "type": served.type, "template": served.template},
    }


def workloads(
    asked: Mapping[str, measuring.AnyWorkload],
) -> dict[str, AnyWorkload]:
    """What is to be measured, by id."""
    return {name: check(one.model_dump_json(), AnyWorkload, name) for name, one in asked.items()}


def single_workloads(asked: Mapping[str, measuring.Workload]) -> dict[str, SingleWorkload]:
    """The same of conversations one by one."""
    return {name: check(one.model_dump_json(), SingleWorkload, name) for name, one in asked.items()}


def turns(
    what: str,
    gguf: str,
    device: SingleDevice,
    workloads: Mapping[str, measuring.Workload],
    repetitions: int,
    meter: records.MeterHere | None = None,
) -> records.TurnsRequest:
    """What all blocks of a search or of a comparison have in common.

    Args:
        what: is waited for; seeds all random orders.
        gguf: path of the file there.
        meter: where joules are wanted.
    """
    return {
        "what": what,
        "gguf": gguf,
        "threads": device.threads,
        "limits": limits(device),
        "rest": cooling(device),
        "workloads": single_workloads(workloads),
        "repetitions": repetitions,
        "timeout_s": sum(workload.timeout_s for workload in workloads.values()),
        "turns": [],
        "meter": meter,
        "seed": what,
    }


def meter(asked: meters.Meter) -> records.Meter:
    """Where the power is read: of a meter at the workstation no more than that it is one."""
    elsewhere = isinstance(asked, meters.TasmotaMeter | meters.ShellyMeter | meters.CsvMeter)
    told = {"kind", "accuracy_pct"} if elsewhere else None
    return check(asked.model_dump_json(include=told), records.Meter, "a meter")


def limits(device: SingleDevice) -> Limits | None:
    """A smaller machine within it."""
    asked = device.limits if isinstance(device, LocalDevice) else None
    return {"memory": asked.memory, "cpus": asked.cpus} if asked else None


def cooling(device: MeasuredDevice) -> records.Cooling:
    """How long to wait for a cooler machine."""
    return {"cool_below_c": device.cool_below_c, "cool_limit_s": device.cool_limit_s}


def rest(device: MeasuredDevice) -> records.Rest:
    """The same, and the rest behind it."""
    return {**cooling(device), "idle_s": device.idle_s}
