"""What a session is measured with."""

from typing_extensions import TypedDict

from llmpi.study.devices import SingleDevice
from llmpi.study.measuring import AnyWorkload, Runtime


class SessionSettings(TypedDict):
    """What decides how a session is measured."""

    device: SingleDevice
    runtime: Runtime
    workloads: dict[str, AnyWorkload]


class RatesSettings(TypedDict):
    """What decides how fast a device multiplies with each type of weights."""

    device: SingleDevice
    runtime: Runtime
