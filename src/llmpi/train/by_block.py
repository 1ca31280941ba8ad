"""A model trained one transformer block after another, and then the scales of all of them.

The two passes of EfficientQAT (Chen et al. 2024, arXiv 2407.11062): Block-AP, in which a block's
weights learn to make of what the quantized blocks before leave what the unquantized model has
there; and E2E-QP, in which the scales learn to predict as the unquantized model does.
"""

import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from llmpi.code import sha256_of_code
from llmpi.engine.progress import say
from llmpi.errors import CellError
from llmpi.gguf.fallbacks import check_quantizes
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import LookAtHeldOut
from llmpi.records import sha256_of, sha256_of_json
from llmpi.study.training import Training
from llmpi.train.blocks import file
from llmpi.train.blocks.model import Model
from llmpi.train.blocks.walk import Walker
from llmpi.train.child import SCRATCH
from llmpi.train.network import MODULES, Network
from llmpi.train.one_block import StudentBlock
from llmpi.train.outcome import Trained
from llmpi.train.predictions import Predictions, Windows
from llmpi.train.process import device_name, scratch
from llmpi.train.qat import Job
from llmpi.train.scales import Scales
from llmpi.train.text import Text, evenly


def train(
    job: Job, network: Network, text: Text, settings: Training, device: torch.device
) -> Trained:
    """Make the file of a job.

    Raises:
        CellError, LlmpiError: as `llmpi.train.qat.train_qat` says.
    """
    base, quant, checkpoints = Path(job["base"]), job["quant"], Path(job["checkpoints"])
    seen = evenly(text.train, settings.steps * settings.sequences)
    tokens = np.concatenate([seen, text.held_out])
    held_out = np.arange(len(tokens)) >= len(seen)
    with scratch(checkpoints / SCRATCH) as folder:
        out = folder / "quantized.gguf"
        made = quantize(base, job["base_manifest"], out, quant, threads=job["threads"])
        if made["status"] != "ok":
            raise CellError(made["reason"])
        check_quantizes(quant, [kind.upper() for kind in made["tensors_by_type"]])
        identity = sha256_of_json(
            {
                "plain": made["sha256"],
                "base": job["base_manifest"]["sha256"],
                "settings": job["settings"],
                "device": device.type,
                "threads": job["threads"],
                "code": sha256_of_code("llmpi.train"),
                "modules": MODULES,
            }
        )
        dtype = torch.bfloat16 if settings.bf16 else torch.float32
        model = Model(base, out, network, device, dtype)

        def begin(number: int, wide: dict[str, Tensor], _: dict[str, Tensor]) -> StudentBlock:
            return StudentBlock(wide, model.kinds(number), model.output(number), settings)

        walker = Walker(
            model,
            tokens,
            held_out,
            begin,
            steps=settings.steps,
            folder=checkpoints,
            identity=identity,
        )
        say(f"trains {network.layers} blocks for {quant} on {device_name(device)}")
        walked = walker.run()
        done, targets = walked.done, walked.targets
        del walked  # with the states of all windows
        windows = Windows(
            tokens,
            targets,
            torch.from_numpy(np.flatnonzero(~held_out)),
            torch.from_numpy(np.flatnonzero(held_out)),
        )
        seconds = sum(one["seconds"] for one in done)
        predictions = Predictions(model, windows, settings)
        before = _look(predictions, model, 0, 0.0)
        learned = dict(file.of_blocks(done))
        file.write(out, learned)
        after = _look(predictions, model, settings.steps, seconds)
        scales = Scales(
            model, windows, settings, [before, after], folder=checkpoints, identity=identity
        )
        scales.run()
        say("writes what was trained, and compares the file with it")
        learned |= dict(scales.learned())
        file.write(out, learned)
        file.verify(out, learned)
        made["sha256"] = sha256_of(out)
        shutil.move(out, job["out"])
    made["lineage"] = [*job["base_manifest"]["lineage"], "QAT", quant]
    return Trained(
        made,
        scales.history,
        min(scales.history[1:], key=lambda look: look["loss"]),
        windows=len(seen),
        verified=len(learned),
        blocks=[one["about"] for one in done],
    )


def _look(predictions: Predictions, model: Model, step: int, seconds: float) -> LookAtHeldOut:
    """At the file as it is."""
    loss, nll = predictions.look(model.plain)
    say(f"step {step}: held-out loss {loss:.4f}, perplexity {np.exp(nll):.2f}")
    return {
        "step": step,
        "loss": loss,
        "nll": nll,
        "train_loss": None,
        "seconds": round(seconds, 3),
    }
