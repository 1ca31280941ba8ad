"""Reading Prometheus's text format, and what its naming conventions ask for."""

import re

from prometheus_client.parser import text_string_to_metric_families


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Value by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(text: str, name: str, **labels: str) -> float:
    """The one sample of that name with these labels among its own."""
    wanted = set(labels.items())
    [found] = [v for (n, held), v in samples(text).items() if n == name and wanted <= held]
    return found


BASE_UNITS = ("seconds", "bytes", "celsius", "hertz", "watts", "joules", "ratio", "tokens")
FORBIDDEN_UNITS = re.compile(
    r"_(ms|milliseconds|percent|pct|kb|mb|megabytes|khz|mhz|kwh|c|f|s|w|j)$"
)


def objections(text: str) -> list[str]:
    """Where names break the conventions (https://prometheus.io/docs/practices/naming/)."""
    found = []
    for family in text_string_to_metric_families(text):
        name = family.name
        if not re.fullmatch(r"llmpi_[a-z0-9_]+", name):
            found.append(f"{name}: no prefix, or no snake case")
        if not family.documentation.strip():
            found.append(f"{name}: no HELP")
        if family.type == "unknown":
            found.append(f"{name}: no TYPE")
        if family.type == "counter" and not all(s.name.endswith("_total") for s in family.samples):
            found.append(f"{name}: a counter without _total")
        if family.type != "counter" and name.endswith("_total"):
            found.append(f"{name}: _total, but a {family.type}")
        if FORBIDDEN_UNITS.search(name):
            found.append(f"{name}: no base unit")
        if family.type == "histogram" and not name.endswith(BASE_UNITS):
            found.append(f"{name}: a histogram without a unit")
    return found
