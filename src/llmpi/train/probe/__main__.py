"""The process that learns one block: `python -m llmpi.train.probe JOB OUT`, whose arguments are
files."""

import sys
import time
from pathlib import Path

import numpy as np
import torch

from llmpi import needs
from llmpi.accidents import check_memory
from llmpi.device.machine import capacity
from llmpi.engine.progress import Progress, say
from llmpi.errors import CellError
from llmpi.gguf.quantize import quantize
from llmpi.quant_types import type_of
from llmpi.study.training import Training
from llmpi.train.blocks.model import Model
from llmpi.train.blocks.steps import Lesson, advance
from llmpi.train.blocks.walk import Begin, learned
from llmpi.train.network import network_of
from llmpi.train.one_block import StudentBlock
from llmpi.train.probe.make import WINDOWS, Job, Learned
from llmpi.train.process import answer, scratch, use_threads
from llmpi.train.rounding.begin import Beginning
from llmpi.train.text import Windows, spread
from llmpi.train.trainer import make_deterministic

HELD_OUT_EVERY = 8
"""Of so many windows one is not learned from."""


def probe(job: Job) -> Learned:
    """
    Raises:
        CellError, LlmpiError: as `probe_block` says.
    """
    base, quant = Path(job["base"]), job["quant"]
    settings = Training(**job["training"]) if job["training"] else None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_deterministic()
    use_threads(job["threads"])
    network = network_of(base)
    asked = settings.sequence_tokens if settings else needs.ROUNDING_WINDOW_TOKENS
    window = min(asked, network.context_tokens)
    if device.type == "cpu":
        memory = needs.MB * _mb(base.stat().st_size, window, trains=settings is not None)
        check_memory(memory, capacity.own_memory_bytes(), f"a block that learns for {quant}")
    tokens = spread(base, job["text"], tokens=window, windows=WINDOWS, least=HELD_OUT_EVERY)
    with scratch(Path(job["folder"])) as folder:
        say(f"quantizes it to {type_of(quant)}")
        file = folder / "quantized.gguf"
        made = quantize(base, job["base_manifest"], file, type_of(quant), threads=job["threads"])
        if made["status"] != "ok":
            raise CellError(made["reason"])
        model = Model(base, file, network, device, _dtype(settings))
        begin = _begin(model, settings, job["rounding_steps"])
        return _of_block(model, tokens, begin)


def _mb(f16_bytes: int, window: int, *, trains: bool) -> int:
    if trains:
        return needs.block_training_mb(f16_bytes, WINDOWS * window)
    return needs.rounding_mb(f16_bytes, WINDOWS)


def _dtype(settings: Training | None) -> torch.dtype:
    return torch.float32 if settings and not settings.bf16 else torch.bfloat16


def _begin(model: Model, settings: Training | None, steps: int) -> Begin:
    if settings is None:
        return Beginning(model, {}, steps).block
    own = settings

    def student(number: int, wide: dict[str, torch.Tensor], _: object) -> StudentBlock:
        return StudentBlock(wide, model.kinds(number), model.output(number), own)

    return student


def _of_block(model: Model, tokens: Windows, begin: Begin) -> Learned:
    number = model.blocks // 2
    states, _ = model.begin(tokens)
    progress = Progress(number + 1, "blocks")
    for before in range(number):
        advance(model.output(before), model.unquantized(before), states)
        progress.at(before + 1)
    wide, plain = model.unquantized(number), model.plain(number)
    targets = states.clone()
    advance(model.output(number), wide, targets)
    places = np.arange(len(tokens)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    seen, unseen = (torch.from_numpy(np.flatnonzero(some)) for some in (~places, places))
    start = time.monotonic()
    lesson = Lesson(states, targets, seen, number, lambda _, __: None)
    about, _ = learned(model, lesson, unseen, wide, plain, begin)
    return {
        "block": number,
        "blocks": model.blocks,
        "plain": about["plain"],
        "kept": about[about["kept"]],
        "seconds": time.monotonic() - start,
    }


if __name__ == "__main__":
    answer(probe, sys.argv[1], sys.argv[2])
