"""Importance matrices: the moments against numpy, the file format, what is refused.

What is compared with is slow and independent: a Llama layer in double precision, and the loops of
llama-imatrix.
"""

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from random_gguf import TRAINED, tiny_model

from llmpi.engine import info as engine_info
from llmpi.errors import LlmpiError
from llmpi.gguf import ggml, imatrix
from llmpi.gguf.calibrate import calibrate
from llmpi.gguf.imatrix import Moments
from llmpi.gguf.moments import add_dense, add_experts
from llmpi.gguf.quantize import quantize
from llmpi.quant_types import FTYPES, IGNORES_IMATRIX, NEEDS_IMATRIX, type_of, wants_imatrix
from llmpi.records import is_ok, sha256_of, sha256_of_text

TEXT = "The fan hums while the pump runs; nobody reads the log. " * 6
BEGIN = 1
# A sentencepiece vocabulary of bytes: spaces are "▁", one stands in front.
TOKENS = np.array([BEGIN, *(3 + byte for byte in f" {TEXT}".replace(" ", "▁").encode())])
CHUNKS = 4
HEADS = 2
EPSILON = 1e-5
EXPERTS, USED = 4, 2


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    engine_info.log_to(lambda _: None)
    yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "base.gguf"
    path.write_bytes(tiny_model(0))
    return path


@pytest.fixture(scope="module")
def calibrated(model) -> tuple[Path, dict[str, Any]]:
    out = model.with_name("imatrix.gguf")
    return out, calibrate(model, manifest_of(model), TEXT, out, chunks=CHUNKS, threads=1)


def manifest_of(model: Path) -> dict[str, Any]:
    return {"status": "ok", "sha256": sha256_of(model), "lineage": ["F32"]}


# --- a model --------------------------------------------------------------------------------------


def test_moments_are_those_of_a_forward_pass_in_numpy(model, calibrated) -> None:
    chunks = TOKENS[: CHUNKS * TRAINED].reshape(CHUNKS, TRAINED).copy()
    chunks[:, 0] = BEGIN
    with ggml.opened(model) as (_, tensors):
        weights = {name: tensor.astype(float) for name, tensor in tensors.items()}
        inputs = [inputs_of_the_layer(weights, chunk) for chunk in chunks]
    found = imatrix.read(calibrated[0])
    assert set(found) == set(inputs[0])
    for name, moments in found.items():
        expected = sum((chunk[name] ** 2).sum(axis=0) for chunk in inputs)
        assert moments.counts.tolist() == [CHUNKS * TRAINED], name
        # The engine keeps keys and values in 16 bits.
        np.testing.assert_allclose(moments.sums[0], expected, rtol=5e-3, err_msg=name)


def inputs_of_the_layer(weights: dict[str, np.ndarray], chunk: np.ndarray) -> dict[str, Any]:
    """What each weight of the only block of `tiny_model` is multiplied with: [tokens, columns]."""
    part = lambda name: weights[f"blk.0.{name}.weight"]  # noqa: E731
    x = weights["token_embd.weight"][chunk]
    normed = rms_norm(x) * part("attn_norm")
    q, k, v = (
        (normed @ part(f"attn_{name}").T).reshape(len(x), HEADS, -1).swapaxes(0, 1)
        for name in "qkv"
    )
    scores = rotated(q) @ rotated(k).swapaxes(1, 2) / np.sqrt(q.shape[-1])
    scores[:, *np.triu_indices(len(x), 1)] = -np.inf
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    attended = (shares @ v).swapaxes(0, 1).reshape(x.shape)
    x = x + attended @ part("attn_output").T
    fed = rms_norm(x) * part("ffn_norm")
    gate = fed @ part("ffn_gate").T
    inputs = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v"), normed),
        "attn_output": attended,
        **dict.fromkeys(("ffn_gate", "ffn_up"), fed),
        "ffn_down": gate / (1 + np.exp(-gate)) * (fed @ part("ffn_up").T),
    }
    return {f"blk.0.{name}.weight": rows for name, rows in inputs.items()}


def rms_norm(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPSILON)


def rotated(x: np.ndarray) -> np.ndarray:
    """Rotary positions over neighbouring pairs, as a GGUF of a Llama has them.

    Args:
        x: [heads, tokens, width].
    """
    pairs = x[..., ::2] + 1j * x[..., 1::2]
    speed = 10000.0 ** (-np.arange(pairs.shape[-1]) / pairs.shape[-1])
    turned = pairs * np.exp(1j * np.outer(np.arange(x.shape[1]), speed))
    return np.stack([turned.real, turned.imag], axis=-1).reshape(x.shape)


def test_the_manifest_says_what_was_read(model, calibrated) -> None:
    path, record = calibrated
    assert record["status"] == "ok"
    assert record["sha256"] == sha256_of(path)
    assert record["corpus_sha256"] == sha256_of_text(TEXT)
    assert record["source"] == {"sha256": sha256_of(model)}
    assert (record["chunks"], record["available_chunks"]) == (CHUNKS, len(TOKENS) // TRAINED)
    assert (record["chunk_tokens"], record["tokens"]) == (TRAINED, CHUNKS * TRAINED)
    assert record["engine"]["name"] == "llama-cpp-python"


def test_experts_get_what_is_sent_to_them(tmp_path) -> None:
    """The router sees each row once, and the experts together each row twice."""
    model = mixture(tmp_path)
    out = tmp_path / "imatrix.gguf"
    record = calibrate(model, manifest_of(model), TEXT, out, chunks=None, threads=1)
    assert is_ok(record), record
    found = imatrix.read(out)
    router = found["blk.0.ffn_gate_inp.weight"]
    for name in ("ffn_gate_exps", "ffn_up_exps"):
        experts = found[f"blk.0.{name}.weight"]
        assert experts.counts.sum() == USED * router.counts[0] == USED * record["tokens"]
        assert len(set(experts.counts)) > 1
        np.testing.assert_allclose(experts.sums.sum(axis=0), USED * router.sums[0], rtol=1e-5)
    assert found["blk.0.ffn_down_exps.weight"].counts.tolist() == experts.counts.tolist()


def mixture(folder: Path) -> Path:
    """The tiny model with four experts, of which two are asked for each token."""
    source, out = folder / "dense.gguf", folder / "experts.gguf"
    source.write_bytes(tiny_model(0))
    random = np.random.default_rng(1)
    base = ggml.base()
    with ggml.opened(source) as (fields, tensors):
        header = base.gguf_init_empty()
        base.gguf_set_kv(header, fields)
        base.gguf_set_val_u32(header, b"llama.expert_count", EXPERTS)
        base.gguf_set_val_u32(header, b"llama.expert_used_count", USED)
        for name in ("ffn_gate", "ffn_up", "ffn_down"):
            shape = EXPERTS, *tensors.pop(f"blk.0.{name}.weight").shape
            tensors[f"blk.0.{name}_exps.weight"] = random.normal(0, 0.4, shape).astype(np.float32)
        shape = EXPERTS, tensors["token_embd.weight"].shape[1]
        tensors["blk.0.ffn_gate_inp.weight"] = random.normal(0, 0.4, shape).astype(np.float32)
        ggml.write(out, header, tensors)
        base.gguf_free(header)
    return out


def test_a_tensor_of_the_engine_is_laid_out_as_we_read_it() -> None:
    """ggml_tensor_overhead (ggml.c) is a tensor's size and that of a `struct ggml_object`, 32."""
    assert ctypes.sizeof(ggml.Tensor) + 32 == ggml.base().ggml_tensor_overhead()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiny_model(0)[:5000], "cannot load base.gguf"),
        (tiny_model(0, noise=float("nan")), "no finite numbers"),
    ],
)
def test_a_model_that_does_not_work_is_a_failed_cell(content, reason, tmp_path) -> None:
    model, out = tmp_path / "base.gguf", tmp_path / "imatrix.gguf"
    model.write_bytes(content)
    record = calibrate(model, manifest_of(model), TEXT, out, chunks=None, threads=1)
    assert (record["status"], record["stage"]) == ("failed", "calibrate")
    assert reason in record["reason"]
    assert out.read_bytes() == b""
    variant = quantize(
        model, manifest_of(model), tmp_path / "Q4_0+imatrix.gguf", "Q4_0+imatrix", out, record
    )
    assert variant == record


def test_a_short_text_is_refused(model, tmp_path) -> None:
    with pytest.raises(
        LlmpiError, match="has 16 tokens, and an importance matrix needs at least 128"
    ):
        calibrate(model, manifest_of(model), "ten tokens", tmp_path / "out", chunks=None, threads=1)
    assert list(tmp_path.iterdir()) == []


# --- sums -----------------------------------------------------------------------------------------

FLOATS = st.floats(-8, 8, width=32)


@given(st.data(), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2), st.integers(1, 2))
def test_dense_sums_are_llama_imatrix_s(data, inner, outer, repeat_inner, repeat_outer) -> None:
    shape = outer * repeat_outer, inner * repeat_inner, 3, 2
    rows = data.draw(arrays(np.float32, shape, elements=FLOATS))
    found = Moments(np.zeros((inner * outer, 2)), np.zeros(inner * outer, int))
    add_dense(found, rows, inner, outer)
    expected = np.zeros((inner * outer, 2))
    for i3, i2, row, column in np.ndindex(shape):
        expected[i3 % outer * inner + i2 % inner, column] += float(rows[i3, i2, row, column]) ** 2
    np.testing.assert_allclose(found.sums, expected, rtol=1e-5, atol=1e-6)
    assert found.counts.tolist() == [rows[..., 0].size // (inner * outer)] * (inner * outer)


@given(st.data(), st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_sums_of_experts_are_llama_imatrix_s(data, tokens, used, shared) -> None:
    rows = data.draw(arrays(np.float32, (tokens, 1 if shared else used, 2), elements=FLOATS))
    experts = data.draw(arrays(np.int32, (tokens, used), elements=st.integers(0, EXPERTS - 1)))
    found = Moments(np.zeros((EXPERTS, 2)), np.zeros(EXPERTS, int))
    add_experts(found, rows, experts)
    sums, counts = np.zeros((EXPERTS, 2)), [0] * EXPERTS
    for token, place in np.ndindex(experts.shape):
        expert = experts[token, place]
        counts[expert] += 1
        sums[expert] += rows[token, place % rows.shape[1]].astype(float) ** 2
    np.testing.assert_allclose(found.sums, sums, rtol=1e-5, atol=1e-6)
    assert found.counts.tolist() == counts


# --- files ----------------------------------------------------------------------------------------


def test_what_is_written_is_read(tmp_path) -> None:
    dense = Moments(np.array([[1.5, 0, 3]]), np.array([2]))
    experts = Moments(np.array([[4.0, 8], [0, 0]]), np.array([4, 0]))
    path = tmp_path / "imatrix.gguf"
    held = {"blk.1.ffn_up_exps.weight": experts, "blk.0.attn_q.weight": dense}
    imatrix.write(path, held, corpus="sha256:0", chunks=3, chunk_tokens=512)
    found = imatrix.read(path)
    assert list(found) == ["blk.0.attn_q.weight", "blk.1.ffn_up_exps.weight"]
    for name, moments in held.items():
        assert found[name].sums.tolist() == moments.sums.tolist()
        assert found[name].counts.tolist() == moments.counts.tolist()
    assert dense.means.tolist() == [[0.75, 0, 1.5]]
    assert experts.means.tolist() == [[1, 2], [1, 1]]
    base = ggml.base()
    with ggml.opened(path) as (header, _):
        number = lambda key: base.gguf_get_val_u32(header, base.gguf_find_key(header, key))  # noqa: E731
        assert base.gguf_get_val_str(header, base.gguf_find_key(header, b"general.type"))
        assert number(b"imatrix.chunk_count") == 3
        assert number(b"imatrix.chunk_size") == 512


def test_what_is_no_matrix_is_refused(model, tmp_path) -> None:
    with pytest.raises(ValueError, match="no importance matrix"):
        imatrix.read(model)
    (tmp_path / "cut").write_bytes(model.read_bytes()[:5000])
    with pytest.raises(ValueError, match="no sound GGUF file"):
        imatrix.read(tmp_path / "cut")


# --- quantizing -----------------------------------------------------------------------------------


def test_a_matrix_changes_the_file_and_the_manifest(model, calibrated, tmp_path) -> None:
    matrix, of_matrix = calibrated
    plain = quantize(model, manifest_of(model), tmp_path / "Q4_0.gguf", "Q4_0")
    found = quantize(
        model, manifest_of(model), tmp_path / "Q4_0+imatrix.gguf", "Q4_0+imatrix", matrix, of_matrix
    )
    assert is_ok(plain) and is_ok(found), found
    assert plain["imatrix"] is None
    assert found["imatrix"] == {
        "sha256": sha256_of(matrix),
        "corpus_sha256": sha256_of_text(TEXT),
        "chunks": CHUNKS,
    }
    assert found["quant"] == "Q4_0+imatrix"
    assert found["lineage"] == ["F32", "Q4_0+imatrix"]
    assert found["sha256"] != plain["sha256"]


def test_a_damaged_matrix_is_a_failed_cell(model, calibrated, tmp_path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(calibrated[0].read_bytes()[:700])
    record = quantize(
        model, manifest_of(model), tmp_path / "out", "Q4_0+imatrix", cut, calibrated[1]
    )
    assert (record["status"], record["stage"]) == ("failed", "quantize")
    assert "no sound GGUF file" in record["reason"]


def test_a_variant_and_its_matrix_must_go_together(model, calibrated, tmp_path) -> None:
    matrix, of_matrix = calibrated
    out, source = tmp_path / "out", manifest_of(model)
    with pytest.raises(LlmpiError, match=r"IQ2_XS cannot be made .*: write IQ2_XS\+imatrix"):
        quantize(model, source, out, "IQ2_XS")
    with pytest.raises(LlmpiError, match=r"Q4_0\+imatrix asks for an importance matrix"):
        quantize(model, source, out, "Q4_0+imatrix")
    with pytest.raises(LlmpiError, match=r"write Q4_0\+imatrix"):
        quantize(model, source, out, "Q4_0", matrix, of_matrix)
    stranger = {**of_matrix, "source": {"sha256": "of another"}}
    with pytest.raises(LlmpiError, match="was made of another file"):
        quantize(model, source, out, "Q4_0+imatrix", matrix, stranger)
    assert not out.exists()


def test_names_of_variants() -> None:
    assert (type_of("Q4_K_M+imatrix"), type_of("Q4_K_M")) == ("Q4_K_M", "Q4_K_M")
    assert wants_imatrix("Q4_K_M+imatrix") and not wants_imatrix("Q4_K_M")
    assert not IGNORES_IMATRIX & NEEDS_IMATRIX
    assert set(FTYPES) > IGNORES_IMATRIX


def test_which_quantizers_look_at_a_matrix() -> None:
    """By what they make of 256 random weights, when all matter alike and when they do not.

    Those of IQ1, IQ2 and IQ3 need seconds to set themselves up, and most cannot do without.
    """
    weights = np.random.default_rng(0).normal(size=256).astype(np.float32)
    alike = np.ones(256, np.float32)
    uneven = np.where(np.arange(256) % 3, 1, 100).astype(np.float32)
    kinds = {name: kind for kind in range(43) if (name := name_of(kind))}
    assert len(kinds) > 15
    ignoring = {
        name
        for name, kind in kinds.items()
        if quantized(kind, weights, alike) == quantized(kind, weights, uneven)
    }
    ours = {name.removesuffix("_MOE") for name in IGNORES_IMATRIX}
    # NVFP4 is no type that llama-quantize offers.
    assert ignoring - {"NVFP4"} == ours


def name_of(kind: int) -> str | None:
    """Of a ggml_type that weights are stored in, as llama-quantize spells it."""
    name = ggml.base().ggml_type_name(kind).decode().upper()
    stored = re.match(r"(B?F(16|32)|T?Q\d|IQ4|MXFP4)", name)
    return name if stored and name not in ("Q8_1", "Q8_K") else None


def quantized(kind: int, weights: np.ndarray, importance: np.ndarray) -> bytes:
    floats = ctypes.POINTER(ctypes.c_float)
    chunk = ggml.base()["ggml_quantize_chunk"]  # a function of its own: others call it otherwise
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, floats, ctypes.c_void_p, *[ctypes.c_int64] * 3, floats]
    out = ctypes.create_string_buffer(weights.nbytes)
    data, matrix = (array.ctypes.data_as(floats) for array in (weights, importance))
    chunk(kind, data, out, 0, 1, len(weights), matrix)
    return out.raw
