"""Models of somebody else's: what is no model is one failed cell, or words."""

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_gguf import tiny_model
from safetensors.numpy import save_file

from llmpi.errors import CellError, LlmpiError
from llmpi.gguf.checkpoint import check
from llmpi.gguf.inspect import inspect
from llmpi.plan.config_json import of_config
from llmpi.plan.model import Model
from llmpi.quality.ab.evaluate import answer_prompts
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.records import sha256_of

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "vocab_size": 256,
}


def answered(folder: Path, template: str) -> Any:
    """The record of a tiny model with this template, on one prompt."""
    gguf = folder / "tiny.gguf"
    gguf.write_bytes(tiny_model(1, template=template))
    prompts = folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": "a", "prompt": "Hi"}))
    settings = {
        "computation": BY_DEFAULT,
        "thinking_tokens": None,
        "grammar": False,
        "max_new_tokens": 4,
        "context_tokens": 512,
    }
    manifest = {"status": "ok", "sha256": sha256_of(gguf)}
    return answer_prompts(gguf, manifest, prompts, settings, threads=1, store=folder / "blocks")


def test_a_template_that_ends(tmp_path: Path) -> None:
    record = answered(tmp_path, "{% for m in messages %}{{ m.content }}{% endfor %}!")
    assert record["status"] == "ok"
    assert record["answers"][0]["prompt_tokens"] == 1 + len("\u2581Hi!".encode())


def test_an_endless_template_is_a_failed_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 28: after so much time of a processor, here of 2 s, with its reason."""
    (tmp_path / "sitecustomize.py").write_text(
        "import llmpi.engine.chat.template as found\nfound.RENDER_S = 2.0\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    record = answered(tmp_path, LOOPS)
    assert record["status"] == "failed"
    assert record["reason"] == "the model's chat template has no end: it was broken off after 2 s"


def test_what_a_template_says_is_no_accident_of_this_machine(tmp_path: Path) -> None:
    """Else whoever made the file could keep a study from ever ending."""
    said = "MemoryError: No space left on device"
    record = answered(tmp_path, "{{ raise_exception('" + said + "') }}")
    assert record["status"] == "failed"
    assert record["reason"].endswith(said)


def gguf_of(path: Path, shape: tuple[int, ...], name: str = "blk.0.attn_q.weight") -> Path:
    """One tensor, which may have a dimension of 0."""
    text = lambda value: struct.pack("<Q", len(value)) + value.encode()  # noqa: E731
    numbers = {"embedding_length": 64, "block_count": 1, "attention.head_count": 2}
    header = b"GGUF" + struct.pack("<IQQ", 3, 2, 1 + len(numbers))
    header += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    for key, value in numbers.items():
        header += text(f"llama.{key}") + struct.pack("<II", 4, value)
    for tensor, sides in (("token_embd.weight", shape), (name, shape)):
        header += text(tensor) + struct.pack("<I", len(sides))
        header += struct.pack(f"<{len(sides)}Q", *sides) + struct.pack("<IQ", 0, 0)
    path.write_bytes(header + bytes(-len(header) % 32) + bytes(4096))
    return path


@pytest.mark.parametrize("shape", [(0, 0), (0,), (32, 0), (0, 32), (2**63, 2), (2**40, 2**40), ()])
def test_dimensions_of_a_gguf(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = gguf_of(tmp_path / "x.gguf", shape)
    with pytest.raises(CellError, match="the GGUF file is damaged or cut short"):
        inspect(path)
    with pytest.raises(LlmpiError, match=r"x\.gguf: the engine cannot say what it takes: "):
        Model(path, str(path)).sizes("Q4_0")


@pytest.mark.parametrize("value", [0, -1, 10**9, 10**30, "64", 1.5, None, [], True])
@pytest.mark.parametrize("key", [key for key in CONFIG if key != "architectures"])
def test_dimensions_of_a_config(key: str, value: object) -> None:
    with pytest.raises(LlmpiError, match=key):
        of_config({**CONFIG, key: value}, "config.json")


def test_heads_wider_than_the_model() -> None:
    with pytest.raises(LlmpiError, match="no model has a 'head_dim' of 0"):
        of_config({**CONFIG, "num_attention_heads": 65}, "config.json")


def test_weights_of_no_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file({"a": np.zeros((0, 4), np.float16)}, tmp_path / "model.safetensors")
    with pytest.raises(CellError, match="its tensors hold no weights: a dimension is 0"):
        check(tmp_path)
