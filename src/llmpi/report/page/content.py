"""What a page is made of: a study's summary, and what was decided on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from llmpi.decide.records import Candidate, DeviceMoney, Recommendation
from llmpi.device.service.records import ServiceBench
from llmpi.engine.records import Failed
from llmpi.quality.kind import Score, Shown
from llmpi.study.study import Study
from llmpi.summary.columns import kinds_of
from llmpi.summary.groups import by_class
from llmpi.summary.records import CellKey, ClassRow, Summary


@dataclass(frozen=True)
class Content:
    """A study as it is shown: a group of equal boards as one device.

    Args:
        recommendation: None while the study is not whole.
        service: by device, what its service was seen to carry.
    """

    summary: Summary
    recommendation: Recommendation | None
    service: Mapping[str, ServiceBench | Failed] = field(default_factory=dict)

    @cached_property
    def study(self) -> Study:
        return Study.model_validate(self.summary["provenance"]["config"])

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The tasks that have a score."""
        kinds = kinds_of(self.study).items()
        return {task: kind.score for task, kind in kinds if kind.score}

    @cached_property
    def losses(self) -> dict[str, Shown]:
        """The tasks that have none, but a loss."""
        kinds = kinds_of(self.study).items()
        return {task: kind.loss for task, kind in kinds if kind.loss and not kind.score}

    @cached_property
    def rows(self) -> list[ClassRow]:
        return by_class(self.summary["rows"], self.study.classes)

    @cached_property
    def places(self) -> list[tuple[str, str]]:
        """Devices with their workloads: the cells of each can be compared with one another."""
        return list(dict.fromkeys((row["device"], row["workload"]) for row in self.rows))

    @cached_property
    def group_of_board(self) -> dict[str, str]:
        """Board -> the group that a row shows it in; itself where it is in none."""
        return {board: row["device"] for row in self.rows for board in row["boards"]}

    def variant(self, cell: CellKey) -> str:
        """The quantization, and the runtime where there are several to tell apart."""
        several = len(self.study.runtimes) > 1
        return f"{cell['quant']} {cell['runtime']}" if several else cell["quant"]

    def name(self, cell: CellKey) -> str:
        """A cell by name."""
        where = f"{cell['device']}, {cell['workload']}"
        return f"{cell['model']} {self.variant(cell)}, {where}"

    def shown_id(self, cell: CellKey) -> str:
        """Of the row that shows a board's cell."""
        return cell_id(cell, self.group_of_board[cell["device"]])

    @property
    def candidates(self) -> list[Candidate]:
        return self.recommendation["candidates"] if self.recommendation else []

    @property
    def pick(self) -> Candidate | None:
        """The overall one."""
        if self.recommendation is None:
            return None
        overall = self.recommendation["decisions"][0]["pick"]
        return next((c for c in self.candidates if c["id"] == overall), None)

    @cached_property
    def ruled_out(self) -> list[Candidate]:
        """All but what a decision took nevertheless, for want of anything better."""
        decisions = self.recommendation["decisions"] if self.recommendation else []
        picks = {decision["pick"] for decision in decisions}
        return [c for c in self.candidates if c["killed_by"] and c["id"] not in picks]

    def row_of(self, candidate: Candidate) -> ClassRow:
        """Its row of the summary."""
        assert self.recommendation
        return self._row_by_id[f"{candidate['id']}/{self.recommendation['workload']}"]

    @cached_property
    def _row_by_id(self) -> dict[str, ClassRow]:
        return {cell_id(row): row for row in self.rows}

    @property
    def priced(self) -> list[DeviceMoney]:
        """The devices whose money is known."""
        money = self.recommendation and self.recommendation["money"]
        return [d for d in money["devices"] if d["status"] == "ok"] if money else []


def cell_id(cell: CellKey, device: str | None = None) -> str:
    """The address of a cell on the page; `device` stands in for its own."""
    variant = f"{cell['model']}/{cell['quant']}/{cell['runtime']}"
    return f"{device or cell['device']}/{variant}/{cell['workload']}"
