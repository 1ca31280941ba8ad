"""What mixes, learned roundings and trainings take and bring, before any of them is made.

What a rounding or a training wins back of the loss that rounding alone has is known of few models.
A probe (`llmpi plan --probe`) has one transformer block of this very model learn: as much of its
error as it loses there, the whole may be expected to win back about, and the time of the one says
what all of them take.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from llmpi import layout, needs
from llmpi.engine.records import Failed
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.plan.learning import refused
from llmpi.plan.model import Model
from llmpi.plan.presets import Range
from llmpi.plan.usual import BY_BLOCK, MIXED, ROUND, SEARCH, TRAIN, USUAL, kwh
from llmpi.plan.workstation import Stage
from llmpi.quality.divergence.records import Corpus
from llmpi.quant_types import is_mix, is_rounded, is_trained
from llmpi.records import failed, write_json
from llmpi.results import NotRun, result
from llmpi.study import settings
from llmpi.study.runs import Variant
from llmpi.study.study import Study
from llmpi.study.training import Rounding, Training
from llmpi.train.probe.make import BlockProbe, identity_of, probe_block

Basis = Literal["usual", "probe"]
BY_OTHERS: Basis = "usual"
BY_A_PROBE: Basis = "probe"

ABOUT = Range(0.8, 1.3, 1.45)
"""Of what a block wins back, what the model does: blocks learn against what those before them
leave, too. For Q4_0 a learned rounding of the demo's model wins 0.60 in its middle and 0.81 in all,
a training by block 0.67 and 0.88."""
BLOCKS_DIFFER = Range(0.8, 1.0, 1.5)
"""In time."""
FOUR_BITS = 4.25
OF_LEARNING = 3
"""Passes of a token through a block that learns, there and twice back, of `needs.BLOCK_PASSES`."""


class Brings(NamedTuple):
    """A variant that is searched or learned."""

    model: str
    quant: str
    stage: str
    seconds: Range
    kwh: Range
    wins_back: Range
    """A share: of the loss of plain rounding to its type; of a mix, of that of llama.cpp's types at
    as many bytes."""
    basis: Basis
    """Whether that is what others came to, or a block of this model in a probe."""


def brings(
    study: Study, variants: Mapping[Variant, Model | str], found: Sequence[Stage], cores: int
) -> list[Brings]:
    """Of every variant that is searched or learned and can be, as far as is known.

    Args:
        found: the stages of this machine.
    """
    by_stage = {(stage.model, stage.stage): stage for stage in found}
    told = []
    for variant, model in variants.items():
        if isinstance(model, str) or refused(variant, model):
            continue
        for stage in _stages_of(variant.quant):
            if one := by_stage.get((variant.model, stage)):
                told.append(_brings(study, variant, model, one, cores))
    return told


def _stages_of(quant: str) -> tuple[str, ...]:
    if is_mix(quant):
        return (SEARCH,)
    if is_rounded(quant):
        return (ROUND,)
    return (TRAIN, BY_BLOCK) if is_trained(quant) else ()


def _brings(study: Study, variant: Variant, model: Model, stage: Stage, cores: int) -> Brings:
    seconds = Range(*(value / stage.jobs for value in stage.seconds))
    wins, basis = _usual(variant.quant, model, stage.stage), BY_OTHERS
    if probe := kept_probe(study, variant):
        wins, basis = _won(probe), BY_A_PROBE
        likely = probe["seconds"] * probe["blocks"] * _times(study, stage.stage)
        seconds = Range(*(likely * each for each in BLOCKS_DIFFER))
    return Brings(*variant, stage.stage, seconds, kwh(seconds, cores), wins, basis)


def _usual(quant: str, model: Model, stage: str) -> Range:
    if not is_mix(quant):
        return USUAL[stage]
    try:
        return MIXED[model.sizes(quant).bits_per_weight < FOUR_BITS]
    except LlmpiError:  # how large it is, only a board's rates or a search tell
        return Range(MIXED[False].low, MIXED[True].likely, MIXED[True].high)


def _won(probe: BlockProbe) -> Range:
    share = max(0.0, 1 - probe["kept"] / probe["plain"]) if probe["plain"] else 0.0
    return Range(*(min(1.0, share * each) for each in ABOUT))


def _times(study: Study, stage: str) -> float:
    """How much longer a block takes than in a probe, which only learns."""
    if stage == ROUND:
        own = study.rounding
        learned = 3 * own.steps * needs.ROUNDING_STEP_TOKENS
        return needs.rounding_tokens(own.steps, own.windows) / learned
    return (4 if stage == TRAIN else needs.BLOCK_PASSES) / OF_LEARNING


# --- probes ---------------------------------------------------------------------------------------


def kept_probe(study: Study, variant: Variant) -> BlockProbe | None:
    """What a probe found, if one was made of this model, text and settings."""
    found = result(BlockProbe, layout.PROBE, **variant._asdict())
    if found["status"] != "ok":
        return None
    base, corpus = _made(study, variant)
    if base["status"] != "ok" or corpus["status"] != "ok":
        return None
    wanted = identity_of(base["sha256"], variant.quant, _settings(study, variant), corpus["text"])
    return found if found["identity"] == wanted else None


def probe_all(study: Study, variants: Mapping[Variant, Model | str]) -> Iterator[str]:
    """Have a block of each variant that is to learn do so, and keep what it came to.

    Returns:
        Of each that was not probed, why.

    Raises:
        LlmpiError: a text is too short.
        AccidentError: the memory or the disk did not suffice.
    """
    for variant in variants:
        if not _learns(variant.quant) or kept_probe(study, variant):
            continue
        found = _probed(study, variant)
        if found["status"] == "ok":
            path = Path(layout.at(layout.PROBE, **variant._asdict()))
            write_json(path, found)
        else:
            yield f"{variant.model} {variant.quant}: no probe: {found['reason']}"


def _probed(study: Study, variant: Variant) -> BlockProbe | Failed:
    if study.models[variant.model].is_scratch:
        return failed("probe", "a model from scratch has nothing that it could win back")
    base, corpus = _made(study, variant)
    if base["status"] != "ok" or corpus["status"] != "ok":
        files = (
            layout.at(layout.BASE_GGUF, model=variant.model),
            layout.at(layout.CORPUS, study=study.study, task=_use(variant.quant)),
        )
        return failed("probe", f"it wants {' and '.join(files)}: `snakemake --cores all FILES`")
    path = Path(layout.at(layout.PROBE, **variant._asdict()))
    shutil.rmtree(folder := path.with_suffix(".partial"), ignore_errors=True)
    return probe_block(
        Path(layout.at(layout.BASE_GGUF, model=variant.model)),
        {"status": "ok", "sha256": base["sha256"], "lineage": base["lineage"]},
        quant=variant.quant,
        settings=_settings(study, variant),
        text=corpus["text"],
        folder=folder,
    )


def _learns(quant: str) -> bool:
    return is_trained(quant) or is_rounded(quant)


def _use(quant: str) -> str:
    return "qat" if is_trained(quant) else "calibration"


def _made(
    study: Study, variant: Variant
) -> tuple[Gguf | Failed | NotRun, Corpus | Failed | NotRun]:
    return (
        result(Gguf, layout.BASE_MANIFEST, model=variant.model),
        result(Corpus, layout.CORPUS, study=study.study, task=_use(variant.quant)),
    )


def _settings(study: Study, variant: Variant) -> Training | Rounding:
    if is_rounded(variant.quant):
        return study.rounding
    return Training(**settings.training(study, variant.model))
