"""Whether a GGUF file that was fetched can be run: told before anything is made of it."""

import logging
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from llmpi.engine import shards
from llmpi.errors import LlmpiError
from llmpi.gguf.inspect import Header, look
from llmpi.gguf.records import Contents, ModelGguf

log = logging.getLogger(__name__)

NO_MODELS = {
    "adapter": "a LoRA adapter",
    "imatrix": "an importance matrix",
    "mmproj": "a projector",
}
"""`general.type` (gguf-py, constants.py, GGUFType) of what is beside a model."""
OTHER_MODELS = {
    "clip": "a multimodal projector (mmproj)",
    "controlvector": "a control vector",
    "wavtokenizer-dec": "a vocoder",
    "t5encoder": "an encoder without its decoder",
    **dict.fromkeys(("eagle3", "dflash", "gemma4-assistant"), "a draft head of another model"),
    **dict.fromkeys(
        ("dream", "llada", "llada-moe", "rnd1"),
        "a diffusion model, which does not write token by token",
    ),
}
"""`general.architecture` (llama-arch.cpp; of projectors tools/mtmd) of what gives no text by
itself, token by token."""
EMBEDS = "an embedding model (its header says pooling, or no causal attention)"


def first_look(folder: Path, files: Sequence[str]) -> ModelGguf:
    """What is in a GGUF file.

    Args:
        files: its parts in `folder`, in order.

    Raises:
        CellError: it is damaged.
        LlmpiError: it is sound, but no language model that can be run, with what to do.
    """
    name = files[0]
    inside = look(*(folder / file for file in files))
    header = inside["header"]
    if wrong := _what_else(header):
        raise LlmpiError(f"{name} is {wrong}, not a language model: name the model's own file")
    if header["parts"] > len(files):
        raise LlmpiError(
            f"{name} is by its header part {header['part'] + 1} of {header['parts']} of a GGUF "
            "file, under another name: llama.cpp finds the other parts by the first one's. Call "
            f"it {shards.stem(name)}-00001-of-{header['parts']:05}.gguf, with the others beside it"
        )
    if not header["tokenizer"]:
        raise LlmpiError(
            f"{name} holds no tokenizer (tokenizer.ggml.model): no text can be put to it. Take a "
            "file with one: a whole model, not a vocabulary's or a converter's half"
        )
    if not header["chat_template"]:
        log.warning(
            "%s has no chat template, as base models have none: its prompts are plain text, in "
            "which it goes on. squad asks with worked examples, which suits it; for chats "
            "(ab, lm_eval's apply_chat_template, a service) take the model trained for them",
            name,
        )
    return {"files": [*files], "contents": inside["contents"]}


def check_of_one_model(found: Sequence[ModelGguf]) -> None:
    """
    Raises:
        LlmpiError: the files are not.
    """
    for first, other in product(found[:1], found[1:]):
        if first["contents"]["architecture"] != other["contents"]["architecture"]:
            raise LlmpiError(f"files: {_named(first)} and {_named(other)} are not of one model")


def check_widest_first(found: Sequence[ModelGguf]) -> None:
    """The first of several is the reference, so nothing beside it may be wider.

    Raises:
        LlmpiError: something is.
    """
    for first, other in product(found[:1], found[1:]):
        mine, others = _named(first), _named(other)
        if _bits(other) > _bits(first):
            raise LlmpiError(
                f"files: the first is the reference of the others, and {others} is wider: put it "
                f"first ({_bits(other):.2f} bits per weight; {mine} has {_bits(first):.2f})"
            )


def _what_else(header: Header) -> str | None:
    named = NO_MODELS.get(header["kind"] or "") or OTHER_MODELS.get(header["architecture"] or "")
    return named or (EMBEDS if header["embeds"] else None)


def _named(gguf: ModelGguf) -> str:
    return f"{gguf['files'][0]} ({gguf['contents']['architecture']})"


def _bits(gguf: ModelGguf) -> float:
    contents: Contents = gguf["contents"]
    return contents["bits_per_weight"]
