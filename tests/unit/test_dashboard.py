"""The dashboard, held against Grafana's own published types, and its queries against Prometheus."""

import json
import re
import subprocess
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard, Panel
from grafana_foundation_sdk.models.prometheus import Dataquery
from support import needed

from llmpi.device.monitor.canary_metrics import GAUGES
from llmpi.operate.alerts import rates
from llmpi.operate.dashboard import ROWS, dashboard


@pytest.fixture(scope="module")
def loaded() -> Dashboard:
    """As Grafana's SDK reads it, whose types are generated from Grafana's schema."""
    register_default_plugins()
    return Dashboard.from_json(json.loads(json.dumps(dashboard())))


def test_grafana_knows_every_key(loaded: Dashboard) -> None:
    """What its types do not know is gone after reading and writing it again."""
    back = json.loads(JSONEncoder().encode(loaded))
    assert list(lost(dashboard(), back, "")) == []
    panels = [panel for panel in loaded.panels or [] if isinstance(panel, Panel)]
    assert len(panels) == sum(map(len, ROWS.values()))
    for panel in panels:
        assert panel.type_val == "timeseries"
        assert all(isinstance(target, Dataquery) for target in panel.targets or [])


def lost(wanted: Any, got: Any, where: str) -> Iterator[str]:
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            yield from lost(value, got[key], f"{where}/{key}") if key in got else [f"{where}/{key}"]
    elif isinstance(wanted, list):
        assert len(wanted) == len(got), where
        for i, pair in enumerate(zip(wanted, got, strict=True)):
            yield from lost(*pair, f"{where}/{i}")
    elif wanted != got:
        yield f"{where}: {wanted!r} became {got!r}"


def test_every_value_has_grafanas_type(loaded: Dashboard) -> None:
    assert list(mistyped(loaded, Dashboard, "")) == []
    wrong = Dashboard.from_json({**dashboard(), "title": 5, "editable": "yes"})
    assert len(list(mistyped(wrong, Dashboard, ""))) == 2, "the check itself sees them"


def mistyped(value: Any, kind: Any, where: str) -> Iterator[str]:
    """Where a value of the SDK's classes is not of the type they declare."""
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if all(list(mistyped(value, one, where)) for one in inside):
            yield f"{where}: {value!r} is none of {inside}"
    elif origin is typing.Literal:
        if value not in inside:
            yield f"{where}: {value!r} is none of {inside}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
        else:
            for i, item in enumerate(value):
                yield from mistyped(item, inside[0], f"{where}/{i}")
    elif origin is dict or kind in (object, Any):
        return
    elif kind is float:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            yield f"{where}: {value!r} is no number"
    elif isinstance(kind, type) and (kind.__module__ == "builtins" or issubclass(kind, Enum)):
        if not isinstance(value, kind) and value not in (list(kind) if is_enum(kind) else []):
            yield f"{where}: {value!r} is no {kind.__name__}"
    elif not isinstance(value, kind):
        yield f"{where}: {value!r} is no {kind.__name__}"
    else:
        for name, hint in typing.get_type_hints(type(value)).items():
            if name in vars(value):
                yield from mistyped(getattr(value, name), hint, f"{where}/{name}")


def is_enum(kind: type) -> bool:
    return issubclass(kind, Enum)


def test_panels_do_not_overlap_and_ids_are_unique() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_prometheus_can_read_every_query(tmp_path: Path) -> None:
    """As rules, with the dashboard's variables filled in."""
    queries = [expr for panels in ROWS.values() for p in panels for _, expr in p.queries]
    filled = [re.sub(r"\$__rate_interval", "5m", query) for query in queries]
    rules = [{"record": f"q{i}", "expr": expr} for i, expr in enumerate(filled)]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    subprocess.run([needed("promtool"), "check", "rules", str(path)], check=True)


def test_everything_that_the_canary_and_the_rules_make_is_shown() -> None:
    shown = json.dumps(dashboard())
    made = [name for name, _ in GAUGES.values()] + [rule["record"] for rule in rates()]
    assert [name for name in made if name not in shown] == [
        "llmpi_canary_prompt_processing_tokens_per_second"
    ]
