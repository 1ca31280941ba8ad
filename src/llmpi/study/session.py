"""What a session is measured with, and what a search for its settings tries."""

from typing_extensions import TypedDict

from llmpi.study.devices import SingleDevice
from llmpi.study.measuring import AnyWorkload, Runtime, Workload
from llmpi.study.tuning import Tune


class SessionSettings(TypedDict):
    """What decides how a session is measured."""

    device: SingleDevice
    runtime: Runtime
    workloads: dict[str, AnyWorkload]


class SearchSettings(TypedDict):
    """What decides how settings are searched for it: for conversations one by one."""

    device: SingleDevice
    runtime: Runtime
    """Where the search starts."""
    workloads: dict[str, Workload]
    tune: Tune
