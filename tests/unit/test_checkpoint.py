"""What a safetensors checkpoint says of itself, and what is wrong with one that is not whole."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from support import ROOT

from llmpi.errors import CellError, LlmpiError
from llmpi.gguf import engine_source
from llmpi.gguf.checkpoint import check, facts, read_header, shards
from llmpi.gguf.converter import explain

DTYPES = st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.uint8, np.int64])
SHAPES = st.lists(st.integers(0, 5), max_size=3).map(tuple)
LLAMA = {"architectures": ["LlamaForCausalLM"]}


def checkpoint(folder: Path, config: dict, **tensors: np.ndarray) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    return folder


@settings(max_examples=25)
@given(
    st.dictionaries(st.text("abc.", min_size=1), st.tuples(DTYPES, SHAPES), min_size=1),
    st.integers(1, 40),
)
def test_a_header_is_read_as_the_library_writes_it(
    tmp_path_factory: pytest.TempPathFactory, described: dict, cut: int
) -> None:
    path = tmp_path_factory.mktemp("st") / "model.safetensors"
    save_file({name: np.zeros(shape, dtype) for name, (dtype, shape) in described.items()}, path)
    read = read_header(path)
    assert {name: tuple(held["shape"]) for name, held in read.items()} == {
        name: shape for name, (_, shape) in described.items()
    }
    os.truncate(path, path.stat().st_size - min(cut, path.stat().st_size))
    with pytest.raises(CellError, match="cut short"):
        read_header(path)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is no safetensors file"),
        (b"GGUF" + bytes(100), "is no safetensors file"),
        ((4).to_bytes(8, "little") + b"{{{{", "is damaged"),
        ((4).to_bytes(8, "little") + b"[12]", "is damaged"),
    ],
)
def test_what_is_no_safetensors_file(raw: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(CellError, match=why):
        read_header(path)


def test_headers_that_break_the_reader_are_one_failed_cell(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    raw = b"[" * 1_000_000
    (tmp_path / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw)
    with pytest.raises(CellError, match=r"model\.safetensors is damaged"):
        check(tmp_path)


def test_facts(tmp_path: Path) -> None:
    matrix, norm = np.zeros((4, 8), np.float16), np.zeros(8, np.float32)
    assert check(checkpoint(tmp_path, LLAMA, a=matrix, b=norm)) == {
        "architecture": "LlamaForCausalLM",
        "dtype": "F16",
        "parameters": 40,
        "vectors": 8,
    }


def test_packed_ternary_weights_are_counted_as_weights(tmp_path: Path) -> None:
    config = LLAMA | {"quantization_config": {"quant_method": "bitnet"}}
    weights = {"a.weight": np.zeros((4, 8), np.uint8), "a.weight_scale": np.zeros(1, np.float32)}
    found = facts(checkpoint(tmp_path, config, **weights))
    assert (found["dtype"], found["parameters"]) == ("TERNARY", 4 * 4 * 8 + 1)


@pytest.mark.parametrize(
    ("index", "why"),
    [
        ({"a": "../model.safetensors"}, "names a file outside the folder"),
        ({"a": "model.safetensors", "z": "model.safetensors"}, "does not hold z"),
        ({"a": "gone.safetensors"}, "the shard gone.safetensors is missing; .* holds 1 tensors"),
    ],
)
def test_an_index_that_is_not_true(index: dict, why: str, tmp_path: Path) -> None:
    checkpoint(tmp_path, LLAMA, a=np.zeros(2, np.float32))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    with pytest.raises(CellError, match=why):
        shards(tmp_path)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "names no architecture"),
        ({"architectures": ["BitNetForCausalLM"], "model_type": "bitnet"}, "is relu2, as in"),
        (
            {
                "architectures": ["BitNetForCausalLM"],
                "hidden_act": "silu",
                "quantization_config": {"quant_method": "bitnet"},
            },
            "does not know this packing of BitNetForCausalLM",
        ),
        (
            LLAMA | {"quantization_config": {"quant_method": "bitnet", "use_rms_norm": True}},
            "linear_class bitlinear, use_rms_norm",
        ),
        (
            LLAMA | {"quantization_config": {"quant_method": "gptq"}},
            r"a.qweight is of type I32, .*; the checkpoint is quantized already \(gptq\)",
        ),
    ],
)
def test_what_the_engine_would_get_wrong(config: dict, why: str, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, config, **{"a.qweight": np.zeros((2, 2), np.int32)})
    with pytest.raises(CellError, match=why):
        facts(folder)


def test_errors_of_the_converter_are_explained() -> None:
    known = {"architecture": "LlamaForCausalLM"}
    assert explain("SystemExit", "1", known).startswith("llama.cpp's converter knows no archit")
    assert explain("KeyError", "'rope'", known) == "llama.cpp's converter failed: KeyError: 'rope'"


def test_the_pin_of_the_engine(tmp_path: Path) -> None:
    pin = engine_source.pin(ROOT / "envs/workstation.lock")
    assert pin == engine_source.pin(ROOT / "envs/train.lock")
    assert pin.startswith("llama-cpp-python==") and "--hash=sha256:" in pin
    other = tmp_path / "other.lock"
    other.write_text("numpy==2.2\n")
    with pytest.raises(LlmpiError, match="does not pin llama-cpp-python"):
        engine_source.pin(other)


def test_torch_is_in_no_lock() -> None:
    """But for the one that is taken where there is no build for the CPU."""
    for lock in {*(ROOT / "envs").glob("*.lock")} - {ROOT / "envs/cuda.lock"}:
        assert not {line.split("==")[0] for line in lock.read_text().splitlines()} & {"torch"}
