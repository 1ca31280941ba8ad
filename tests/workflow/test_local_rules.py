"""What may be a cluster's job: nothing that reaches a device or the internet."""

import re

import pytest
from rule_texts import RULES
from support import ROOT

from llmpi.code import code_of

# Said in the rule: a list of names would not hold where another workflow takes ours as a module.
LOCAL = {name for name, (_, body) in RULES.items() if "    localrule: True\n" in body}


@pytest.mark.parametrize("name", RULES)
def test_only_here_are_devices_and_the_internet_reached(name: str) -> None:
    files = code_of(ROOT / "workflow/scripts" / f"{name}.py")
    reaches = {path for path in files if path.parent.name == "remote" or "hub" in path.name}
    assert not reaches or name in LOCAL, reaches


@pytest.mark.parametrize("name", sorted(set(RULES) - LOCAL - {"start_model"}))
def test_a_clusters_job_says_what_it_needs(name: str) -> None:
    resources = re.search(r"^    resources:\n((?:        .*\n)+)", RULES[name][1], re.MULTILINE)
    assert resources
    assert re.search(r"scoring\(|searching\(|quantizing\(|TRAINING|ROUNDING", resources[1])
