"""A whole model in training: all its weights, gradients and moments in memory."""

import shutil
from pathlib import Path

import torch

from llmpi.code import sha256_of_code
from llmpi.engine.progress import say
from llmpi.errors import CellError
from llmpi.gguf.fallbacks import check_quantizes
from llmpi.study.training import Training
from llmpi.train import export
from llmpi.train.child import SCRATCH
from llmpi.train.network import MODULES, Network
from llmpi.train.outcome import Trained
from llmpi.train.process import device_name, scratch
from llmpi.train.qat import Job
from llmpi.train.student import Student, weights_of
from llmpi.train.text import Text
from llmpi.train.trainer import Trainer


def train(
    job: Job, network: Network, text: Text, settings: Training, device: torch.device
) -> Trained:
    """Make the file of a job.

    Raises:
        CellError, LlmpiError: as `llmpi.train.qat.train_qat` says.
    """
    base, quant = Path(job["base"]), job["quant"]
    checkpoints = Path(job["checkpoints"])
    with scratch(checkpoints / SCRATCH) as folder:
        say(f"asks which tensor of a {quant} becomes what")
        kinds = export.kinds_of(base, quant)
        check_quantizes(quant, kinds.values())
        say("reads its weights")
        weights = {name: weight.to(device) for name, weight in weights_of(base).items()}
        teacher = {name: w.clone() for name, w in weights.items()} if settings.distill else None
        student = Student(weights, kinds)
        trainer = Trainer(
            student,
            teacher,
            network,
            text,
            settings,
            folder=checkpoints,
            identity={
                "base": job["base_manifest"]["sha256"],
                "kinds": kinds,
                "corpus": job["corpus"]["sha256"],
                "device": device.type,
                "code": sha256_of_code("llmpi.train"),
                "modules": MODULES,
            },
        )
        del weights, teacher
        say(f"trains {len(student.trained)} tensors for {quant} on {device_name(device)}")
        trainer.run()
        say(f"writes and quantizes what was trained, to {quant}")
        made = export.write(student, base, job["base_manifest"], quant, folder, job["threads"])
        if made["status"] != "ok":
            raise CellError(made["reason"])
        say("compares the file with what training saw")
        verified = export.verify(student, folder / export.QUANTIZED)
        shutil.move(folder / export.QUANTIZED, job["out"])
    return Trained(
        made,
        trainer.history,
        min(trainer.history, key=lambda look: look["loss"]),
        windows=len(text.train),
        verified=verified,
        blocks=[],
    )
