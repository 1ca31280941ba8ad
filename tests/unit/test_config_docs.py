"""What is generated from the config's models is true."""

import json

import pytest
import yaml
from support import ROOT

from llmpi import layout, record_reference
from llmpi.study import reference as config_docs


@pytest.mark.parametrize("name", ["README.md", "schema.json"])
def test_generated_file_is_current(name: str) -> None:
    fresh = config_docs.readme() if name == "README.md" else config_docs.schema()
    assert (ROOT / "config" / name).read_text() == fresh, "run `make docs`"


def test_the_reference_of_records_is_current() -> None:
    assert (ROOT / record_reference.TARGET).read_text() == record_reference.reference(), "make docs"


def test_every_file_of_the_layout_has_its_type() -> None:
    """But for what is no record: folders, the page, tables in the formats of others, texts."""
    typed = {pattern for pattern, _ in record_reference.FILES}
    patterns = {v for k, v in vars(layout).items() if k.isupper() and str(v).endswith(".json")}
    assert {p for p in patterns if p not in (layout.BASE_MANIFEST,)} <= typed


def test_every_field_is_described() -> None:
    schema = json.loads(config_docs.schema())
    for part in [schema, *schema["$defs"].values()]:
        for name, field in part.get("properties", {}).items():
            assert field.get("description"), f"{part['title']}.{name} has no description"


@pytest.mark.parametrize("config", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_shipped_configs_match_the_schema(config) -> None:
    import jsonschema

    if config.name == "sources.lock.yaml":
        return
    schema = json.loads((ROOT / "config" / "schema.json").read_text())
    jsonschema.validate(yaml.safe_load(config.read_text()), schema)
