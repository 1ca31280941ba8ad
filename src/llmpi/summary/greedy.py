"""Whether a cell with speculative decoding said what greedy decoding says."""

from collections.abc import Mapping

from llmpi.engine.records import Failed
from llmpi.results import NotRun
from llmpi.study.measuring import Drafting
from llmpi.study.runs import Run
from llmpi.study.study import Study
from llmpi.summary.measured import Single
from llmpi.summary.records import SpeculationKind

KIND_OF: Mapping[Drafting, SpeculationKind] = {
    "prompt_lookup": "prompt lookup",
    "draft": "draft model",
}
"""By the key of a runtime."""


def twin_of(study: Study, runtime: str) -> str | None:
    """The runtime that is the same without what drafts tokens; none of one that a search ended at
    drafts, whose settings no other runtime has."""
    plain = study.runtimes[runtime].plain
    if plain.tune:
        return None
    return next((name for name, other in study.runtimes.items() if other == plain), None)


def says_the_same(study: Study, cells: Mapping[Run, Single | Failed | NotRun], run: Run) -> bool:
    """Whether speculation, where there was any, is shown to be exact.

    Returns:
        False where another text was generated than with the runtime that is the same without it, or
        where there is no such cell.
    """
    own = cells[run]
    if not isinstance(own, Single) or "drafted" not in own.cell["repetitions"][0]:
        return True
    twin = twin_of(study, run.runtime)
    other = cells.get(run._replace(runtime=twin)) if twin else None
    return isinstance(other, Single) and own.cell["output"] == other.cell["output"]
