"""The metrics of a `squad` task, each over the questions that it is of."""

from collections.abc import Callable

from llmpi.quality.squad.records import Item, MetricName

METRICS: dict[MetricName, tuple[Callable[[Item], float], Callable[[Item], bool]]] = {
    "exact": (lambda item: item["exact"], lambda _: True),
    "f1": (lambda item: item["f1"], lambda _: True),
    "has_ans_exact": (lambda item: item["exact"], lambda item: bool(item["golds"])),
    "has_ans_f1": (lambda item: item["f1"], lambda item: bool(item["golds"])),
    "no_ans_exact": (lambda item: item["exact"], lambda item: not item["golds"]),
    "no_ans_f1": (lambda item: item["f1"], lambda item: not item["golds"]),
}
"""What of an item counts, and which items do."""
