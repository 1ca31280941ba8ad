"""Make a GGUF file from a safetensors checkpoint with llama.cpp's own converter.

The converter is of the engine's commit, so that both know the same architectures. It needs torch
and transformers, which the default set-up does not have, and it reads files from outside; it runs
in a child process (`llmpi.gguf.hf_to_gguf`).
"""

import importlib.util
import logging
import os
from pathlib import Path

from llmpi.accidents import check_room, supervise
from llmpi.engine.progress import growing
from llmpi.engine.supervise import Death
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf import engine_source
from llmpi.gguf.hf_to_gguf import Job, Outcome
from llmpi.gguf.records import Checkpoint, Converter
from llmpi.script import tell

log = logging.getLogger(__name__)

CHILD = "llmpi.gguf.hf_to_gguf"
PARTS = ("convert_hf_to_gguf.py", "conversion", "gguf-py", "LICENSE")
NEEDED = ("torch", "transformers", "sentencepiece")
# A checkpoint may name repositories of the hub that are not of this study.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
BYTES = {"F32": 4, "F16": 2, "BF16": 2}  # of a weight, by output type
ROOM_BYTES = 64 << 20  # for vocabulary and metadata: the largest vocabularies take some 20 MB


def write_gguf(
    folder: Path, facts: Checkpoint, out: Path, *, name: str, outtype: str, lock: Path
) -> Converter:
    """Write `out` from the checkpoint in `folder`.

    Args:
        facts: of the checkpoint, from `checkpoint.check`.
        name: of the model, where it was published: the engine goes by it where families differ in
            how special tokens eat spaces (llama-vocab.cpp, on general.name).
        outtype: F16, BF16 or F32, of all tensors but vectors, which are F32.
        lock: the lock file that pins the engine.

    Raises:
        LlmpiError: the environment lacks torch, or the converter cannot be had.
        AccidentError: the memory or the disk did not suffice.
        CellError: the converter does not take this checkpoint.
    """
    _check_environment()
    matrices = facts["parameters"] - facts["vectors"]
    needed = matrices * BYTES[outtype] + facts["vectors"] * BYTES["F32"] + ROOM_BYTES
    check_room(out.parent, needed, f"the {outtype} file")
    pin = engine_source.pin(lock)
    job: Job = {
        "converter": str(converter_folder(pin)),
        "model": str(folder),
        "name": name,
        "out": str(out),
        "outtype": outtype.lower(),
    }
    with growing(out, needed - ROOM_BYTES, f"of {name} written", log.info):
        ended = supervise(CHILD, job, writes=Outcome, log=tell, environment=OFFLINE)
    if not isinstance(ended, Death) and (made_by := ended["made_by"]):
        return {"sources": engine_source.key(pin), **made_by}
    if isinstance(ended, Death):
        raise CellError(f"{folder}: {ended.reason.replace('the engine', 'the converter')}")
    raise CellError(f"{folder}: {explain(ended['error'], ended['message'], facts)}")


def converter_folder(pin: str) -> Path:
    """Where the converter of the pinned engine lies; it is fetched on the first call."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "llmpi" / "converter" / engine_source.key(pin)
    if not folder.is_dir():
        log.info("fetching llama.cpp's converter, once")
        engine_source.unpack(pin, folder, PARTS)
    return folder


def explain(error: str, message: str, facts: Checkpoint) -> str:
    """An exception of the converter in words for a person.

    Args:
        error: the exception's type.
    """
    if error == "SystemExit":
        return (
            f"llama.cpp's converter knows no architecture {facts['architecture']} at this "
            "engine's version; take the model as a GGUF file, if somebody made one"
        )
    if "BPE pre-tokenizer was not recognized" in message:
        return (
            "its tokenizer is a BPE that llama.cpp does not know (it knows them by a hash of what "
            "they make of a text); a model derived from a known one must keep its tokenizer"
        )
    if error == "RemoteCodeError":
        return "it needs Python code of its own to be run, and llmpi never runs a model's code"
    if error == "FloatingPointError":
        return "a weight is beyond F16's range (65,504), which llmpi's base files are of"
    if message.startswith("Can not map tensor"):
        return (
            f"{message.replace('Can not', 'llama.cpp cannot')}: its {facts['architecture']} has "
            "no such tensor"
        )
    if "tokenizer" in message and error in ("FileNotFoundError", "ValueError", "OSError"):
        return (
            "llama.cpp's converter finds no tokenizer it can read: it takes a sentencepiece "
            "tokenizer.model or a tokenizer.json"
        )
    return f"llama.cpp's converter failed: {error}: {message}"


def _check_environment() -> None:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise LlmpiError(
            f"{', '.join(missing)} not installed: a safetensors checkpoint is converted by "
            "llama.cpp's converter, which needs it. Run `make train`, or name a GGUF file of the "
            "model as its source."
        )
