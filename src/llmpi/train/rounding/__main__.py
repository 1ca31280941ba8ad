"""The process that learns: `python -m llmpi.train.rounding JOB OUT`, whose arguments are files."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from llmpi import needs
from llmpi.accidents import check_memory
from llmpi.code import sha256_of_code
from llmpi.engine.progress import say
from llmpi.errors import CellError
from llmpi.gguf import contents
from llmpi.gguf.imatrix import read
from llmpi.gguf.quantize import matrix_used, quantize
from llmpi.gguf.records import Gguf
from llmpi.quant_types import IGNORES_IMATRIX, IMATRIX, ROUNDABLE, type_of
from llmpi.records import sha256_of, sha256_of_json
from llmpi.train.llama import Shape, shape_of
from llmpi.train.process import answer, device_name, scratch
from llmpi.train.rounding.learner import HELD_OUT_EVERY, Done, Learner
from llmpi.train.rounding.make import Job
from llmpi.train.rounding.model import Model, name_of
from llmpi.train.text import spread
from llmpi.train.trainer import make_deterministic


def learn(job: Job) -> Gguf:
    """The manifest of a job of `learn_rounding`.

    Raises:
        CellError, LlmpiError: as `learn_rounding` says.
    """
    base, quant, steps = Path(job["base"]), job["quant"], job["steps"]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    make_deterministic()
    torch.set_num_threads(job["threads"])
    with contents.header(base) as handle:
        shape = shape_of(contents.fields(handle), contents.stored(base))
    _begin(base, shape, job)
    window = min(needs.ROUNDING_WINDOW_TOKENS, shape.context_tokens)
    tokens = spread(base, job["text"], tokens=window, windows=job["windows"], least=HELD_OUT_EVERY)
    checkpoints = Path(job["checkpoints"])
    with scratch(checkpoints / "scratch") as folder:
        made_file = folder / "quantized.gguf"
        made = _quantized(base, job, made_file)
        matrix = read(Path(job["imatrix"])) if job["imatrix"] else {}
        importance = {name: found.means[0] for name, found in matrix.items()}
        model = Model(base, made_file, shape, importance, tokens.shape[1], device)
        if not any(model.learnable(block) for block in range(shape.layers)):
            raise CellError(
                f"of no matrix llama.cpp made a type whose rounding can be learned, which are "
                f"{', '.join(ROUNDABLE)}: their blocks do not divide its rows"
            )
        learner = Learner(
            model,
            shape.layers,
            tokens,
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
                }
            ),
        )
        done = learner.run()
        say("writes what was learned, and compares the file with it")
        _write(made_file, done)
        verified = _verified(made_file, done)
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
            "verified": verified,
        },
    }


def _begin(base: Path, shape: Shape, job: Job) -> None:
    """Say what is to be done, and whether there is room for it."""
    size, windows = base.stat().st_size, job["windows"]
    memory = needs.MB * needs.rounding_mb(size, windows)
    minutes = needs.rounding_minutes(size // 2, job["steps"], windows)
    say(
        f"rounds {shape.layers} blocks for {job['quant']}, one after another, {job['steps']} steps "
        f"each: about {memory / 1e9:.1f} GB of memory, less than {minutes} minutes"
    )
    if not torch.cuda.is_available():
        check_memory(memory, f"the rounding of {job['quant']}")


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


def _write(path: Path, done: Sequence[Done]) -> None:
    held = contents.stored(path, edit=True)
    for name, data in _learned(done):
        held[name].data[:] = data


def _verified(path: Path, done: Sequence[Done]) -> int:
    held = contents.stored(path)
    for name, data in _learned(done):
        if not np.array_equal(held[name].data, data):
            raise CellError(f"{name}: the file does not hold what was learned")
    return len(_learned(done))


def _learned(done: Sequence[Done]) -> list[tuple[str, np.ndarray]]:
    return [
        (name_of(block, part), data.numpy().reshape(-1))
        for block, one in enumerate(done)
        for part, data in one["data"].items()
    ]


if __name__ == "__main__":
    answer(learn, sys.argv[1], sys.argv[2])
