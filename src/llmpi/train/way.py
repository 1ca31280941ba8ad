"""Which way a model is trained: the whole at once, or one block after another."""

import json
from pathlib import Path

import torch

from llmpi import needs
from llmpi.accidents import check_memory, check_room
from llmpi.device.machine import capacity
from llmpi.engine.progress import say
from llmpi.records import sha256_of_json, write_json
from llmpi.study.training import Training
from llmpi.train.qat import Job

KEPT = "way.json"


def trains_by_block(job: Job, settings: Training, device: torch.device) -> bool:
    """As the settings ask, or else by the memory that is free; it is said with what it needs.

    What was begun goes on the way that it began, whatever is free by then.

    Raises:
        AccidentError: the memory or the disk that is free does not suffice.
    """
    base, folder, quant = Path(job["base"]), Path(job["checkpoints"]), job["quant"]
    size, free = base.stat().st_size, _free_bytes(device)
    tokens = settings.steps * settings.sequences * settings.sequence_tokens
    begun = _begun(folder / KEPT, job)
    asked = settings.by_block if begun is None else begun
    by_block = needs.trains_by_block(size, distill=settings.distill, asked=asked, free_bytes=free)
    whole = needs.MB * needs.training_mb(size, settings.distill)
    each = needs.MB * needs.block_training_mb(size, tokens)
    if by_block:
        how, memory, disk = "block by block", each, needs.block_training_disk_bytes(size)
        minutes = needs.block_training_minutes(size // 2, tokens)
    else:
        how, memory, disk = "as a whole", whole, needs.training_disk_bytes(size)
        minutes = needs.training_minutes(size // 2, tokens)
    if begun is not None:
        why = "as it was begun"
    elif asked is not None:
        why = "as by_block asks"
    elif not settings.distill:
        why = "as it has no teacher"
    else:
        left = "" if free is None else f", and {free / 1e9:.1f} GB are free"
        what = "the whole" if by_block else "that"
        why = f"as {what} takes {whole / 1e9:.1f} GB{left}"
    say(
        f"trains for {quant} {how}, {why}: about {memory / 1e9:.1f} GB of memory and "
        f"{disk / 1e9:.1f} GB of disk, less than {minutes} minutes"
    )
    smaller = f"Block by block (by_block: true) it is about {each / 1e9:.1f} GB. "
    instead = smaller if settings.distill and each < memory else ""
    check_memory(memory, free, f"training for {quant}", instead)
    held = sum(path.stat().st_size for path in folder.glob("*.pt"))
    check_room(folder, disk - held, f"training for {quant}")
    if begun is None:
        _remove_those_of_another(folder)
    write_json(folder / KEPT, {"training": _identity(job), "by_block": by_block})
    return by_block


def _remove_those_of_another(folder: Path) -> None:
    """They are of no use any more, and their room is counted with."""
    for path in folder.glob("*.pt"):
        path.unlink()


def _free_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return capacity.own_memory_bytes()


def _begun(path: Path, job: Job) -> bool | None:
    """Which way this training was begun before, if it was."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found["by_block"] if found.get("training") == _identity(job) else None


def _identity(job: Job) -> str:
    base = job["base_manifest"]["sha256"]
    return sha256_of_json([base, job["quant"], job["settings"], job["corpus"]])
