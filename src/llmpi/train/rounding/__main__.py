"""The process that learns: `python -m llmpi.train.rounding JOB OUT`, whose arguments are files."""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor

from llmpi import needs
from llmpi.accidents import check_memory
from llmpi.code import sha256_of_code
from llmpi.device.machine import capacity
from llmpi.engine.progress import say
from llmpi.errors import CellError
from llmpi.gguf.imatrix import read
from llmpi.gguf.quantize import matrix_used, quantize
from llmpi.gguf.records import Gguf
from llmpi.quant_types import IGNORES_IMATRIX, IMATRIX, type_of
from llmpi.records import sha256_of, sha256_of_json
from llmpi.train.blocks import file
from llmpi.train.blocks.model import Model
from llmpi.train.blocks.walk import Walker
from llmpi.train.child import SCRATCH
from llmpi.train.network import MODULES, Network, network_of
from llmpi.train.process import answer, device_name, scratch, use_threads
from llmpi.train.rounding.begin import Beginning
from llmpi.train.rounding.make import Job
from llmpi.train.text import spread
from llmpi.train.trainer import make_deterministic

HELD_OUT_EVERY = 8
"""Of so many windows one is not learned from."""


def learn(job: Job) -> Gguf:
    """The manifest of a job of `learn_rounding`.

    Raises:
        CellError, LlmpiError: as `learn_rounding` says.
    """
    base, quant, steps = Path(job["base"]), job["quant"], job["steps"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_deterministic()
    use_threads(job["threads"])
    network = network_of(base)
    _begin(base, network, job)
    window = min(needs.ROUNDING_WINDOW_TOKENS, network.context_tokens)
    tokens = spread(base, job["text"], tokens=window, windows=job["windows"], least=HELD_OUT_EVERY)
    checkpoints = Path(job["checkpoints"])
    with scratch(checkpoints / SCRATCH) as folder:
        made_file = folder / "quantized.gguf"
        made = _quantized(base, job, made_file)
        model = Model(base, made_file, network, device)
        begin = Beginning(model, _importance(job, device), steps)
        walker = Walker(
            model,
            tokens,
            np.arange(len(tokens)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1,
            begin.block,
            steps=steps,
            folder=checkpoints,
            identity=sha256_of_json(
                {
                    "base": job["base_manifest"]["sha256"],
                    "plain": made["sha256"],
                    "imatrix": job["imatrix_manifest"] and job["imatrix_manifest"]["sha256"],
                    "device": device.type,
                    "threads": job["threads"],
                    "code": sha256_of_code("llmpi.train.rounding"),
                    "modules": MODULES,
                }
            ),
        )
        done = walker.run().done
        say("writes what was learned, and compares the file with it")
        learned = dict(file.of_blocks(done))
        file.write(made_file, learned)
        file.verify(made_file, learned)
        made["sha256"] = sha256_of(made_file)
        shutil.move(made_file, job["out"])
    return {
        **made,
        "quant": quant,
        "lineage": [*job["base_manifest"]["lineage"], quant],
        "imatrix": job["imatrix_manifest"] and matrix_used(job["imatrix_manifest"]),
        "rounding": {
            "steps": steps,
            "corpus": job["corpus"],
            "windows": len(tokens),
            "window_tokens": tokens.shape[1],
            "blocks": [one["about"] for one in done],
            "seconds": round(sum(one["seconds"] for one in done), 3),
            "device": device_name(device),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "verified": len(learned),
        },
    }


def _begin(base: Path, network: Network, job: Job) -> None:
    """Say what is to be done, and whether there is room for it."""
    size, windows = base.stat().st_size, job["windows"]
    memory = needs.MB * needs.rounding_mb(size, windows)
    minutes = needs.rounding_minutes(size // 2, job["steps"], windows)
    say(
        f"rounds {network.layers} blocks for {job['quant']}, one after another, {job['steps']} "
        f"steps each: about {memory / 1e9:.1f} GB of memory, less than {minutes} minutes"
    )
    if not torch.cuda.is_available():
        check_memory(memory, capacity.own_memory_bytes(), f"the rounding of {job['quant']}")


def _quantized(base: Path, job: Job, out: Path) -> Gguf:
    """What llama.cpp makes of it: the types of its tensors, and all that is not learned."""
    kind, matrix, about = type_of(job["quant"]), job["imatrix"], job["imatrix_manifest"]
    if matrix is None or kind in IGNORES_IMATRIX:
        made = quantize(base, job["base_manifest"], out, kind, threads=job["threads"])
    else:
        made = quantize(
            base,
            job["base_manifest"],
            out,
            kind + IMATRIX,
            Path(matrix),
            about,
            threads=job["threads"],
        )
    if made["status"] != "ok":
        raise CellError(made["reason"])
    return made


def _importance(job: Job, device: torch.device) -> dict[str, Tensor]:
    """Second moments of what a weight is multiplied with, by its name."""
    matrix = read(Path(job["imatrix"])) if job["imatrix"] else {}
    return {
        name: torch.from_numpy(np.ascontiguousarray(found.means[0], np.float32)).to(device)
        for name, found in matrix.items()
    }


if __name__ == "__main__":
    answer(learn, sys.argv[1], sys.argv[2])
