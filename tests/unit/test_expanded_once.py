"""A study of thousands of jobs is expanded once, not again for each of them."""

from typing import Any

import pytest

from llmpi.study import inputs, runs, settings
from llmpi.study.runs import by_width, expand_runs, scored, sessions, stands_for
from llmpi.study.study import Study


def shelf(**more: object) -> Study:
    ssh = {"transport": "ssh-group", "boards": {f"b{at}": f"b{at}.local" for at in range(4)}}
    return Study.model_validate(
        {
            "study": "s",
            "models": {name: {"source": {"path": f"{name}.gguf"}} for name in ("m", "n")},
            "quants": ["F16", "Q8_0", "Q4_0"],
            "devices": {"shelf": ssh},
            "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 4}},
            "quality": {"qa": {"task": "squad", "squad_file": "qa.json"}},
            "exclude": [{"device": "shelf.b3", "quant": "F16"}],
            **more,
        }
    )


def test_however_many_jobs_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Any] = []
    drops = runs._drops
    monkeypatch.setattr(runs, "_drops", lambda *given: looked_at.append(given) or drops(*given))
    study = shelf(study="asked-often")
    inputs.records(study)
    for session in sessions(study):
        settings.session(study, session)
        inputs.tuned(study, session)
        stands_for(study, session.device, session.variant)
    for one in scored(study):
        inputs.wider(study, one, "qa")
        by_width(study, one.model)
    assert len(looked_at) == 4 * 2 * 3, "each run of the sweep against the one rule"


def test_another_study_of_the_same_name_is_another() -> None:
    assert len(expand_runs(shelf())) == 22
    assert len(expand_runs(shelf(exclude=[]))) == 24
    assert len(expand_runs(shelf())) == 22


def test_a_board_that_is_excluded_stands_for_nobody() -> None:
    study = shelf()
    stand_ins = {
        stands_for(study, s.device, s.variant) for s in sessions(study) if s.quant == "F16"
    }
    assert "shelf.b3" not in stand_ins
