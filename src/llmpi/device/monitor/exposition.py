"""What the service and the monitor share of Prometheus: names, labels, the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# A series beside each counter that says when the process began; `up` and its resets say that.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """A registry whose metrics all carry the same labels.

    Args:
        labels: what every series says, such as the model and its release.
    """

    def __init__(self, labels: Mapping[str, str]) -> None:
        self.registry = CollectorRegistry()
        self._labels = dict(labels)

    def __call__(
        self, kind: Any, name: str, meaning: str, own: Sequence[str] = (), **options: Any
    ) -> Any:
        """A metric of prometheus_client.

        Args:
            kind: Counter, Gauge or Histogram.
            own: its labels beside the shared ones.

        Returns:
            The metric itself, or a function of the values of its own labels that returns it.
        """
        names = [*self._labels, *own]
        metric = kind(name, meaning, names, registry=self.registry, **options)
        if not own:
            return metric.labels(**self._labels)
        return lambda **values: metric.labels(**self._labels, **values)

    def page(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self.registry)
