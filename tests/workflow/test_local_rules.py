"""What may be a cluster's job: nothing that reaches a device or the internet."""

import re

import pytest
from support import ROOT
from test_rules import RULES, _closure

LOCAL = set(re.findall(r"^    (\w+),$", (ROOT / "rules/local.smk").read_text(), re.MULTILINE)) - {
    "all",
    "models",
    "gguf",
    "deployed",
    "measured",
    "scored",
}


@pytest.mark.parametrize("name", RULES)
def test_only_here_are_devices_and_the_internet_reached(name: str) -> None:
    imported = _closure([ROOT / "workflow/scripts" / f"{name}.py"])
    reaches = {module for module in imported if module.startswith("remote/") or "hub" in module}
    assert not reaches or name in LOCAL, reaches


@pytest.mark.parametrize("name", sorted(set(RULES) - LOCAL - {"start_model"}))
def test_a_clusters_job_says_what_it_needs(name: str) -> None:
    resources = re.search(r"^    resources:\n((?:        .*\n)+)", RULES[name][1], re.MULTILINE)
    assert resources
    assert re.search(r"scoring\(|quantizing\(|TRAINING", resources[1])


def test_every_local_rule_is_a_rule() -> None:
    assert set(RULES) >= LOCAL
