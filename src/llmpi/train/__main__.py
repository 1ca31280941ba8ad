"""The process that trains: `python -m llmpi.train JOB OUT`, whose arguments are files."""

import sys
from pathlib import Path

import torch
import transformers

from llmpi.engine.progress import say
from llmpi.errors import LlmpiError
from llmpi.gguf.records import Gguf
from llmpi.study.training import Training
from llmpi.train import by_block, whole
from llmpi.train.network import network_of
from llmpi.train.process import answer, device_name, use_threads
from llmpi.train.qat import Job
from llmpi.train.text import windows
from llmpi.train.trainer import make_deterministic
from llmpi.train.way import trains_by_block


def train(job: Job) -> Gguf:
    """The manifest of a job of `train_qat`.

    Raises:
        CellError, LlmpiError: as `train_qat` says.
    """
    base, settings = Path(job["base"]), Training(**job["settings"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_deterministic()
    use_threads(job["threads"])
    network = network_of(base)
    if settings.sequence_tokens > network.context_tokens:
        raise LlmpiError(
            f"qat: sequence_tokens is {settings.sequence_tokens}, and the model was trained on "
            f"{network.context_tokens} at most: take a smaller one"
        )
    is_by_block = trains_by_block(job, settings, device)
    say("cuts the text into sequences")
    text = windows(
        base,
        job["text"],
        tokens=settings.sequence_tokens,
        held_out_share=settings.held_out_share,
        held_out_windows=settings.held_out_sequences,
    )
    way = by_block.train if is_by_block else whole.train
    found = way(job, network, text, settings, device)
    return {
        **found.made,
        "training": {
            "settings": job["settings"],
            "by_block": is_by_block,
            "corpus": job["corpus"],
            "train_windows": found.windows,
            "held_out_windows": len(text.held_out),
            "before": found.history[0],
            "after": found.after,
            "history": found.history,
            "blocks": found.blocks,
            "steps": found.history[-1]["step"],
            "seconds": found.history[-1]["seconds"],
            "device": device_name(device),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "verified": found.verified,
        },
    }


if __name__ == "__main__":
    answer(train, sys.argv[1], sys.argv[2])
