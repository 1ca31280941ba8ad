"""Where more items of a task would come from."""

import pytest
from made_evidence import Truth, answers, requirements
from made_study import study

from llmpi.decide.more import supply
from llmpi.study.runs import Scored

ASKED = requirements(answers({Scored("m", "F16"): Truth(80, 80)}, 20))["requirements"]
"""200 questions."""


@pytest.mark.parametrize(
    ("budget", "key"),
    [(None, None), (500, None), (200, "quality.qa.questions")],
    ids=["all were asked", "there were no more", "more may be there"],
)
def test_a_bound_that_was_reached_can_be_raised(budget: int | None, key: str | None) -> None:
    asked = study(quality={"qa": {"task": "squad", "squad_file": "qa.json", "questions": budget}})
    assert supply(asked, ASKED) == {
        "qa": {
            "item": "question",
            "asked": 200,
            "key": key,
            "value": budget if key else None,
        }
    }
