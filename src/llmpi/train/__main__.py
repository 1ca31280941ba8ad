"""The process that trains: `python -m llmpi.train JOB OUT`, whose arguments are files."""

import shutil
import sys
from pathlib import Path

import torch

from llmpi import needs
from llmpi.accidents import check_memory
from llmpi.code import sha256_of_code
from llmpi.engine.progress import say
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf import contents
from llmpi.gguf.records import Gguf
from llmpi.study.training import Training
from llmpi.train import export
from llmpi.train.llama import shape_of
from llmpi.train.process import answer, device_name, scratch
from llmpi.train.qat import Job
from llmpi.train.student import Student, weights_of
from llmpi.train.text import windows
from llmpi.train.trainer import Trainer, make_deterministic


def train(job: Job) -> Gguf:
    """The manifest of a job of `train_qat`.

    Raises:
        CellError, LlmpiError: as `train_qat` says.
    """
    base, quant, settings = Path(job["base"]), job["quant"], Training(**job["settings"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_deterministic()
    torch.set_num_threads(job["threads"])
    with contents.header(base) as handle:
        shape = shape_of(contents.fields(handle), contents.stored(base))
    if settings.sequence_tokens > shape.context_tokens:
        raise LlmpiError(
            f"qat: sequence_tokens is {settings.sequence_tokens}, and the model was trained on "
            f"{shape.context_tokens} at most: take a smaller one"
        )
    say("cuts the text into sequences")
    text = windows(
        base,
        job["text"],
        tokens=settings.sequence_tokens,
        held_out_share=settings.held_out_share,
        held_out_windows=settings.held_out_sequences,
    )
    if device.type == "cpu":
        needed = needs.MB * needs.training_mb(base.stat().st_size, settings.distill)
        check_memory(needed, f"training for {quant}")
    checkpoints = Path(job["checkpoints"])
    with scratch(checkpoints / "scratch") as folder:
        say(f"quantizes it to {quant} once, to see which tensor becomes what")
        kinds = export.kinds_of(base, job["base_manifest"], quant, folder, job["threads"])
        say("reads its weights")
        weights = {name: weight.to(device) for name, weight in weights_of(base).items()}
        teacher = {name: w.clone() for name, w in weights.items()} if settings.distill else None
        student = Student(weights, kinds)
        trainer = Trainer(
            student,
            teacher,
            shape,
            text,
            settings,
            folder=checkpoints,
            identity={
                "base": job["base_manifest"]["sha256"],
                "kinds": kinds,
                "corpus": job["corpus"]["sha256"],
                "device": device.type,
                "code": sha256_of_code("llmpi.train"),
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
    best = min(trainer.history, key=lambda look: look["loss"])
    return {
        **made,
        "training": {
            "settings": job["settings"],
            "corpus": job["corpus"],
            "train_windows": len(text.train),
            "held_out_windows": len(text.held_out),
            "before": trainer.history[0],
            "after": best,
            "history": trainer.history,
            "steps": trainer.history[-1]["step"],
            "seconds": trainer.history[-1]["seconds"],
            "device": device_name(device),
            "torch": torch.__version__,
            "verified": verified,
        },
    }


if __name__ == "__main__":
    answer(train, sys.argv[1], sys.argv[2])
