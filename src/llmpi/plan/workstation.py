"""What a study asks of this machine before anything runs: memory, disk and time, stage by stage.

Needs are those that bound jobs while they run (`llmpi.needs`), of tensors as the engine sizes them.
Rates were measured of SmolLM2-135M and of a model of Llama-3.2-1B's shape, on two cores with
AVX-512.
"""

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from llmpi import layout, needs
from llmpi.device.machine import capacity
from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import Context
from llmpi.plan.as_bytes import about
from llmpi.plan.learning import refused
from llmpi.plan.model import Model
from llmpi.plan.presets import Range
from llmpi.plan.usual import BY_BLOCK, ROUND, SEARCH, TRAIN, TRAINED, computing_s
from llmpi.quality.divergence.log_probs import LogProbs, positions_of
from llmpi.quant_types import (
    is_mix,
    is_published,
    is_rounded,
    is_trained,
    type_of,
    wants_imatrix,
)
from llmpi.study import inputs, settings
from llmpi.study.computation import BY_ID
from llmpi.study.runs import Scored, scored, variants
from llmpi.study.study import Study
from llmpi.study.task import Task
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.divergence import DivergenceTask
from llmpi.study.tasks.squad import SquadTask

COMPUTED = Range(2e10, 8e10, 2.5e11)
"""Products (`Work`) per second and core, of prompts and answers that share batches. Counted with
all parameters, which is up to a fifth more: 6.8e10 at 135M, 7.9e10 (text) to 2.2e11 (questions) at
1.2B; the least is an older processor."""
QUANTIZED = {
    **dict.fromkeys(("F32", "BF16", "F16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"), 5e8),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), 5e8),
    "Q3_K": 8.9e7,
    "Q6_K": 3.7e7,
    **dict.fromkeys(("Q2_K", "Q4_K", "Q5_K"), 2.1e7),
}
"""Parameters per second and core, by type: ggml's quantizers, of normal weights."""
OTHERS_QUANTIZED = 5e6
"""Those that search a codebook: IQ4_NL 5.8e6, IQ3_S 3.7e6."""
BY_A_MATRIX = 5e7
"""At most, with an importance matrix: every type searches then."""
MIXED, TRIED = 1.2e7, 5
"""Parameters per second and core as a search quantizes them, of types of every kind; and how often
it does with each: alone, in the mix, as its neighbour and back, and a part of it in all types."""
READ = 2e8
"""Parameters per second, on one core: unpacked, what they became written and hashed."""
QUANTIZER_S = 2.0
"""Before the first tensor, and to look into the file at the end."""
CONVERTED = 1.5e8
"""Parameters per second, on one core: 2.47 GB of weights take as long again as CONVERTER_S."""
CONVERTER_S = 10.0
"""torch and transformers, and a vocabulary of 128k."""
SCORER_S = 2.0
"""Python, the engine and a model before the first token."""
SLOWER, FASTER = 4.0, 0.5
"""What these seconds may be, in times of them."""
NOTHING = Range(0.0, 0.0, 0.0)

QUESTION_TOKENS = 150
"""A question, its share of its passage, the frame of the chat (rules/needs.smk)."""
SQUAD_QUESTIONS = 11_873
"""Of SQuAD v2's validation split."""
TEXT_TOKEN_BYTES = 4


class Work(NamedTuple):
    """What goes through a model for a task."""

    tokens: int = 0
    predicted: int = 0
    """Of these, such whose next token is asked for: only they need the output matrix."""

    def products(self, model: Model) -> float:
        """Weights times the tokens that are multiplied with them."""
        inner = sum(model.sizes(layout.BASE_QUANT).multiplied.values())
        return self.tokens * inner + self.predicted * model.outputs


class Stage(NamedTuple):
    """A kind of job of one model."""

    model: str
    stage: str
    jobs: int
    memory_bytes: int
    """Of the largest of them."""
    disk_bytes: int
    """Beside the model files: what all keep, or need while they run."""
    seconds: Range
    """All of them, one after another."""
    by_block_bytes: int | None = None
    """Memory of a training that is done at once, if it were done block by block."""


class Here(NamedTuple):
    """This machine, as it is now."""

    cores: int
    memory_bytes: int | None
    disk_bytes: int


def here() -> Here:
    folder = next(path for path in (Path("results"), Path()) if path.is_dir())
    return Here(capacity.processors(), capacity.memory_bytes(), shutil.disk_usage(folder).free)


def held_bytes() -> int:
    """Of what is to be on this disk, what is there: models, references, what is under way."""
    folders = (
        Path("results") / part for part in ("models", "gguf", "mix", "reference", "training")
    )
    files = (path for folder in folders for path in folder.rglob("*") if not path.is_symlink())
    return sum(path.stat().st_size for path in files if path.is_file())


def stages(
    study: Study, models: Mapping[str, Model | str], cores: int, free_bytes: int | None
) -> list[Stage]:
    """What is done here of each model that is known; what is unknown of a task is left out.

    Args:
        models: by name; a text says why one is not known.
        free_bytes: of memory, by which it is chosen how a model is trained.
    """
    found: list[Stage] = []
    for name, model in models.items():
        if not isinstance(model, str):
            with suppress(LlmpiError):  # that the engine takes a type or context: its sessions say
                found += list(_of_model(study, name, model, cores, free_bytes))
    return found


def _of_model(
    study: Study, name: str, model: Model, cores: int, free_bytes: int | None
) -> Iterator[Stage]:
    f16 = model.sizes(layout.BASE_QUANT)
    quants = [v.quant for v in variants(study) if v.model == name and not refused(v, model)]
    made = [q for q in quants if not is_published(q)]
    learned = [q for q in made if is_trained(q) or is_rounded(q)]
    plain = [q for q in made if q != layout.BASE_QUANT and q not in learned]
    trained = [q for q in learned if is_trained(q)]
    rounded = [q for q in learned if is_rounded(q)]
    if inputs.needs_base(study, name) and not study.models[name].is_scratch:
        mb = needs.converting_mb(f16.file_bytes, model.largest)
        seconds = _about(CONVERTER_S + f16.parameters / CONVERTED)
        yield Stage(name, "convert", 1, mb * needs.MB, 0, seconds)
    if any(map(wants_imatrix, made)) and study.calibration:
        work = Work(512 * (study.calibration.chunks or 1000))
        mb = _scoring_mb(model, layout.BASE_QUANT, text_mb=needs.READ_TEXT_MB)
        seconds = _computing(work, model, 1, cores)
        yield Stage(name, "calibrate", 1, mb * needs.MB, 0, seconds)
    if mixes := [q for q in plain if is_mix(q)]:
        yield _searching(study, name, model, len(mixes), cores)
    if plain:
        mb = needs.quantizing_mb(f16.file_bytes, model.largest)
        seconds = _about(sum(_quantizing_s(model, quant, cores) for quant in plain))
        yield Stage(name, "quantize", len(plain), mb * needs.MB, 0, seconds)
    if rounded:
        yield _rounding(study, name, f16.file_bytes, f16.parameters, len(rounded), cores)
    if trained or study.models[name].is_scratch:
        size, jobs = f16.file_bytes, len(trained) or 1
        yield _training(study, name, size, f16.parameters, jobs, cores, free_bytes)
    for task, asked in study.quality.items():
        yield from _scoring(study, name, model, task, asked, cores)


def _searching(study: Study, name: str, model: Model, jobs: int, cores: int) -> Stage:
    """Each group of tensors is tried alone and beside the others: quantized for it, and back."""
    f16 = model.sizes(layout.BASE_QUANT)
    windows, window = study.mix.windows, needs.MIX_WINDOW_TOKENS
    probes = 2 * model.mix_groups + 3 * needs.MIX_SPLITS + 5
    work = Work(probes * windows * window, probes * windows * positions_of(window))
    mb = _scoring_mb(model, layout.BASE_QUANT, text_mb=needs.SCORED_TEXT_MB)
    computed = _computing(work, model, jobs, cores)
    tried = _about(jobs * TRIED * f16.parameters / (MIXED * cores))
    return Stage(
        name,
        SEARCH,
        jobs,
        (mb + needs.QUANTIZED_AT_ONCE_MB) * needs.MB,
        f16.file_bytes
        + model.sizes("Q8_0").file_bytes
        + LogProbs.size(windows, window, model.vocabulary),
        Range(*map(sum, zip(computed, tried, strict=True))),
    )


def _rounding(
    study: Study, name: str, f16_bytes: int, parameters: int, jobs: int, cores: int
) -> Stage:
    tokens = needs.rounding_tokens(study.rounding.steps, study.rounding.windows)
    return Stage(
        name,
        ROUND,
        jobs,
        needs.rounding_mb(f16_bytes, study.rounding.windows) * needs.MB,
        needs.rounding_disk_bytes(f16_bytes),
        computing_s(jobs * tokens * parameters, TRAINED, cores),
    )


def _training(
    study: Study,
    name: str,
    f16_bytes: int,
    parameters: int,
    jobs: int,
    cores: int,
    free_bytes: int | None,
) -> Stage:
    spec = settings.training(study, name)
    tokens = spec["steps"] * spec["sequences"] * spec["sequence_tokens"]
    each_mb = needs.block_training_mb(f16_bytes, tokens)
    if needs.trains_by_block(
        f16_bytes, distill=spec["distill"], asked=spec["by_block"], free_bytes=free_bytes
    ):
        stage, mb, by_block = BY_BLOCK, each_mb, None
        disk, passes = needs.block_training_disk_bytes(f16_bytes), needs.BLOCK_PASSES
    else:
        stage, mb = TRAIN, needs.training_mb(f16_bytes, spec["distill"])
        disk = needs.training_disk_bytes(f16_bytes)
        passes = 3 + spec["distill"]  # there, twice back, and once through the teacher
        by_block = each_mb * needs.MB if spec["distill"] and each_mb < mb else None
    seconds = computing_s(jobs * passes * tokens * parameters, TRAINED, cores)
    return Stage(name, stage, jobs, mb * needs.MB, disk, seconds, by_block)


def _scoring(
    study: Study, name: str, model: Model, task: str, asked: Task, cores: int
) -> Iterator[Stage]:
    own = [one for one in scored(study) if one.model == name and not is_published(one.quant)]
    whose = [one for one in own if not refused(one.variant, model)]
    context = asked.context_tokens if isinstance(asked, SquadTask | AbTask) else 0
    text_mb = needs.SCORED_TEXT_MB if isinstance(asked, DivergenceTask) else 0
    work = _work(asked, model)
    if isinstance(asked, DivergenceTask):
        chunks = work.tokens // asked.window_tokens
        mb = _scoring_mb(model, layout.BASE_QUANT, text_mb=needs.SCORED_TEXT_MB)
        disk = LogProbs.size(chunks, asked.window_tokens, model.vocabulary)
        seconds = _computing(work, model, 1, cores)
        yield Stage(name, f"reference of {task}", 1, mb * needs.MB, disk, seconds)
    if work.tokens and whose:
        mb = max(_scoring_mb(model, one.quant, one, context, text_mb) for one in whose)
        seconds = _computing(work, model, len(whose), cores)
        yield Stage(name, f"score {task}", len(whose), mb * needs.MB, 0, seconds)


def _scoring_mb(
    model: Model,
    quant: str,
    computed: Scored | None = None,
    context_tokens: int = 0,
    text_mb: int = 0,
) -> int:
    size = model.sizes(about(quant))
    cache = 0
    if computed and context_tokens:
        reserved = model.reserved(scoring_context(computed, context_tokens))
        cache = reserved["kv_bytes"] + reserved["state_bytes"]
    without = needs.scoring_mb(
        size.file_bytes,
        size.parameters,
        repacked=type_of(about(quant)) not in needs.NEVER_REPACKED,
        text_mb=text_mb,
    )
    return without + math.ceil(cache / needs.MB)


def scoring_contexts(study: Study, name: str) -> Iterator[Context]:
    """What scoring a model asks of the engine."""
    for asked in study.quality.values():
        if isinstance(asked, SquadTask | AbTask):
            for one in scored(study):
                if one.model == name:
                    yield scoring_context(one, asked.context_tokens)


def scoring_context(computed: Scored, tokens: int) -> Context:
    by = BY_ID[computed.computation]
    return Context(tokens, by.kv_cache, by.flash_attention)


def _work(asked: Task, model: Model) -> Work:
    """Nothing where nothing is known beforehand."""
    if isinstance(asked, DivergenceTask):
        chunks = LogProbs.fitting(asked.max_bytes, asked.window_tokens, model.vocabulary)
        if asked.chunks:
            chunks = min(chunks, asked.chunks)
        if asked.text_file and (file := Path(asked.text_file)).is_file():
            part = (asked.to_pct - asked.from_pct) / 100
            whole = int(file.stat().st_size * part / TEXT_TOKEN_BYTES / asked.window_tokens)
            chunks = min(chunks, max(1, whole))
        return Work(chunks * asked.window_tokens, chunks * positions_of(asked.window_tokens))
    if isinstance(asked, SquadTask):
        return _answered(_questions(asked), asked.max_new_tokens)
    if isinstance(asked, AbTask):
        prompts = Path(asked.prompts)
        count = prompts.read_bytes().count(b"\n") + 1 if prompts.is_file() else 0
        return _answered(count, asked.max_new_tokens)
    return Work()


def _answered(questions: int, new_tokens: int) -> Work:
    return Work((QUESTION_TOKENS + new_tokens) * questions, new_tokens * questions)


def _questions(asked: SquadTask) -> int:
    whole = SQUAD_QUESTIONS
    if asked.squad_file and (file := Path(asked.squad_file)).is_file():
        whole = file.read_bytes().count(b'"question"')
    return min(whole, asked.questions or whole)


def _computing(work: Work, model: Model, jobs: int, cores: int) -> Range:
    computed = computing_s(jobs * work.products(model), COMPUTED, cores)
    return Range(*(map(sum, zip(computed, _about(jobs * SCORER_S), strict=True))))


def _quantizing_s(model: Model, quant: str, cores: int) -> float:
    most = BY_A_MATRIX if wants_imatrix(quant) else math.inf
    kinds, weights = model.quantized(about(quant))["kinds"], model.footprint["weights"]
    each = (
        weight["elements"] / min(most, QUANTIZED.get(kind, OTHERS_QUANTIZED))
        for weight, kind in zip(weights, kinds, strict=True)
    )
    return QUANTIZER_S + model.parameters / READ + sum(each) / cores


def _about(seconds: float) -> Range:
    return Range(FASTER * seconds, seconds, SLOWER * seconds)


def together(found: list[Stage]) -> Range:
    """Seconds of all stages: jobs that run side by side share the cores."""
    times = (stage.seconds for stage in found)
    return Range(*(sum(column) for column in zip(NOTHING, *times, strict=True)))
