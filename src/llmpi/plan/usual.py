"""What mixes, learned roundings and trainings take and bring as a rule, of whatever model."""

from llmpi import needs
from llmpi.plan.presets import Range
from llmpi.study.training import Training

TRAIN, BY_BLOCK = "train", "train by block"
"""Stages: of all weights at once, or of one transformer block after another."""
SEARCH, ROUND = "search mixes", "round"

TRAINED = Range(3e9, 2e10, 5e10)
"""Parameters times tokens of training, each way through a model counted: 2e10 at 135M."""
WATTS_PER_CORE = Range(3.0, 9.0, 25.0)
"""At the wall, of a busy core with its share of memory, board and supply: servers of a hundred
cores draw 360 W (AMD EPYC 9654, its TDP) and half as much beside them, desktops of sixteen 230
(Ryzen 9 7950X, its limit), those of four 91 (Core i7-7700K)."""
JOULES_PER_KWH = 3.6e6

USUAL = {
    TRAIN: Range(0.4, 0.8, 0.9),
    BY_BLOCK: Range(0.4, 0.75, 0.9),
    ROUND: Range(0.3, 0.65, 0.85),
}
"""Of the loss that llmpi's or anybody's plain rounding to the type has, what comes back. Of the
demo's model at Q4_0 0.83 to 0.86 at once, 0.88 block by block, 0.81 by rounding (`benchmarks.qat`);
it is its own teacher, which flatters. The least are those of few bits and short texts."""
MIXED = {True: Range(0.15, 0.25, 0.4), False: Range(0.05, 0.15, 0.4)}
"""Of the loss of llama.cpp's own types at as many bytes, what a mix does without: below four bits a
weight, and above. What is published, and of widths that no K-quant takes up to two thirds."""


def of_training(parameters: int, asked: Training, cores: int) -> tuple[Range, Range]:
    """Seconds and kWh of a training block by block, which fits everywhere."""
    tokens = asked.steps * asked.sequences * asked.sequence_tokens
    seconds = computing_s(needs.BLOCK_PASSES * tokens * parameters, TRAINED, cores)
    return seconds, kwh(seconds, cores)


def computing_s(work: float, rate: Range, cores: int) -> Range:
    """Seconds of so much work, at so much a second and core."""
    return Range(*(work / (each * cores) for each in reversed(rate)))


def kwh(seconds: Range, cores: int) -> Range:
    """What so many busy cores of this machine take from the wall in that time."""
    pairs = zip(seconds, WATTS_PER_CORE, strict=True)
    return Range(*(time * watts * cores / JOULES_PER_KWH for time, watts in pairs))
