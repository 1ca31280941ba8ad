"""Prediction and paper, for the page: counted, and put together where many cells say the same."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from llmpi.report.page.content import Content
from llmpi.report.words.languages import Words
from llmpi.summary.records import (
    CellKey,
    Differs,
    Ours,
    PaperKept,
    PaperPair,
    PaperPoint,
    PaperRatios,
    PredictedCell,
    PredictionVerdict,
)


class Predictions(NamedTuple):
    """What became of the predictions.

    Args:
        verdicts: how often each was passed.
        median_error_pct: of tg without its sign; None where nothing can be compared.
        unpredicted: how many cells were not predicted, for each reason.
    """

    verdicts: Mapping[PredictionVerdict, int]
    median_error_pct: float | None
    unpredicted: Mapping[str, int]


def predictions(cells: Sequence[PredictedCell], words: Words) -> Predictions | None:
    """None where nothing was predicted."""
    if not any(cell["predicted"] for cell in cells):
        return None
    errors = [abs(e) for cell in cells if (e := cell["error_pct"]["tg_tps"]) is not None]
    return Predictions(
        verdicts=dict(Counter(cell["verdict"] for cell in cells).most_common()),
        median_error_pct=median(errors) if errors else None,
        unpredicted=Counter(words.unpredicted(c) for c in cells if c["predicted"] is None),
    )


class Correspondence(NamedTuple):
    """A point of the paper and a cell that corresponds to it; see `PaperPair`."""

    model: str
    quant: str
    device: str
    paper: PaperPoint
    ours: Ours
    ratios: PaperRatios
    kept: PaperKept
    differs: Sequence[Differs]

    @property
    def name(self) -> str:
        return f"{self.model} {self.quant}, {self.device}"

    @property
    def cell(self) -> CellKey:
        return {
            "device": self.device,
            "model": self.ours["model"],
            "quant": self.ours["quant"],
            "runtime": self.ours["runtime"],
            "workload": self.ours["workload"],
        }


class Difference(NamedTuple):
    """Something that is not the same in the method, and where it holds (empty: everywhere)."""

    what: str
    paper: str
    ours: str
    where: str


def nearest_workload(content: Content) -> str:
    """The workload of the cells that is nearest to the paper's, whose prompt is short."""
    workloads = content.study.singles
    measured = dict.fromkeys(row["workload"] for row in content.rows)
    return min(measured, key=lambda name: workloads[name].prompt_tokens)


def correspondences(content: Content) -> list[Correspondence]:
    """The points that have a cell of the workload that is compared."""
    workload, found = nearest_workload(content), []
    for pair in content.summary["paper"]:
        device, ours, ratios, kept = pair["device"], pair["ours"], pair["ratios"], pair["kept"]
        if device and ours and ratios and kept and ours["workload"] == workload:
            found.append(
                Correspondence(
                    model=pair["model"],
                    quant=pair["quant"],
                    device=device,
                    paper=pair["paper"],
                    ours=ours,
                    ratios=ratios,
                    kept=kept,
                    differs=pair["differs"],
                )
            )
    return found


def without_cell(content: Content) -> list[PaperPair]:
    """The points that no cell corresponds to."""
    return [pair for pair in content.summary["paper"] if not pair["ours"]]


MOST_NAMED = 4


def differences(pairs: Sequence[Correspondence], words: Words) -> list[Difference]:
    """What differs in the method, each once, with the points that it holds for."""
    holds: dict[tuple[str, str, str, str], dict[str, None]] = {}
    for pair in pairs:
        for one in pair.differs:
            holds.setdefault((one["key"], *words.difference(one)), {})[pair.name] = None
    everywhere = len({pair.name for pair in pairs})
    return [
        Difference(what, paper, ours, _where(list(names), everywhere))
        for (_, what, paper, ours), names in sorted(holds.items())
    ]


def _where(names: Sequence[str], everywhere: int) -> str:
    if len(names) == everywhere:
        return ""
    return "; ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} / {everywhere}"
