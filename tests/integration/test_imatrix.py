"""An importance matrix of a real model: what it holds, and that it is worth having.

(`python -m benchmarks.imatrix` holds it against llama-imatrix's.)
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.widened import widen
from llmpi.gguf import ggml, imatrix
from llmpi.gguf.calibrate import calibrate
from llmpi.gguf.quantize import quantize
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.quality.divergence.windows import Windows
from llmpi.records import sha256_of, sha256_of_text
from llmpi.study.fields import TextSource

MODEL = "results/gguf/smollm2-135m/F16.gguf"
CALIBRATED_CHUNKS, SCORED_CHUNKS = 4, 1


@pytest.fixture(scope="module")
def halves() -> tuple[str, str]:
    """A text to calibrate on and one to be scored on."""
    text = load_corpus(TextSource(python_topics=True), Path())["text"]
    return text[: len(text) // 2], text[len(text) // 2 :]


@pytest.fixture(scope="module")
def wide(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model at widths that K-quants take."""
    path = tmp_path_factory.mktemp("wide") / "F16.gguf"
    widen(finished.folder / MODEL, path)
    return path


@pytest.fixture(scope="module")
def calibrated(wide, halves) -> tuple[Path, dict[str, Any]]:
    out = wide.with_name("imatrix.gguf")
    record = calibrate(wide, of(wide), halves[0], out, chunks=CALIBRATED_CHUNKS, threads=2)
    return out, record


@pytest.fixture(scope="module")
def rows(finished, halves, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the narrow F16 predicts."""
    out = tmp_path_factory.mktemp("reference") / "rows"
    corpus = {
        "source": {"text_file": "half"},
        "sha256": sha256_of_text(halves[1]),
        "text": halves[1],
    }
    settings = {"window_tokens": 512, "chunks": SCORED_CHUNKS, "max_bytes": 1 << 40}
    f16, partial = finished.folder / MODEL, out.with_name("partial")
    return out, reference(f16, of(f16), corpus, settings, out=out, partial=partial, threads=2)


def of(gguf: Path) -> dict[str, Any]:
    return {"status": "ok", "sha256": sha256_of(gguf), "lineage": ["F16"]}


def test_the_first_layer_sees_normalized_embeddings(wide, calibrated, halves) -> None:
    path, record = calibrated
    with Windows(wide, 512, threads=1) as model:
        tokens = model.tokenize(halves[0])[: CALIBRATED_CHUNKS * 512]  # this model wants no BOS
    with ggml.opened(wide) as (_, tensors):
        embedded = tensors["token_embd.weight"][tokens].astype(float)
        epsilon = 1e-5 * 576 / 768
        normed = embedded / np.sqrt((embedded**2).mean(axis=1, keepdims=True) + epsilon)
        expected = (normed * tensors["blk.0.attn_norm.weight"]) ** 2
    found = imatrix.read(path)
    assert len(found) == record["weights"] == 30 * 7
    for name in ("attn_q", "attn_k", "attn_v"):
        moments = found[f"blk.0.{name}.weight"]
        assert moments.counts.tolist() == [record["tokens"]] == [CALIBRATED_CHUNKS * 512]
        np.testing.assert_allclose(moments.means[0], expected.mean(axis=0), rtol=1e-4)
    # The residual stream's zeros; every weight has columns that matter.
    assert not found["blk.0.attn_q.weight"].means[0, 576:].any()
    assert all(moments.means.max() > 0 for moments in found.values())


def test_two_bits_are_closer_to_the_original_with_a_matrix(wide, calibrated, rows) -> None:
    """The text that is scored is not the one it was calibrated on."""
    summary = {}
    for quant, matrix in (("F16", ()), ("Q2_K", ()), ("Q2_K+imatrix", calibrated)):
        gguf = wide.with_name(f"{quant}.gguf") if quant != "F16" else wide
        made = of(wide) if quant == "F16" else quantize(wide, of(wide), gguf, quant, *matrix)
        partial = wide.with_name("partial")
        record = divergence(gguf, made, *rows, partial=partial, threads=2)
        summary[quant] = record["summary"]["kld_mean_nats"]["value"]
        if quant != "F16":
            assert (made["main_type"], made["fallbacks"]) == ("Q2_K", [])
    assert summary["F16"] < 1e-4  # widening changes nothing
    assert summary["Q2_K+imatrix"] < 0.6 * summary["Q2_K"]


def test_a_type_that_needs_a_matrix_is_made(wide, calibrated, tmp_path) -> None:
    path, record = calibrated
    made = quantize(wide, of(wide), tmp_path / "out.gguf", "Q2_K_S+imatrix", path, record)
    assert made["status"] == "ok", made
    assert made["imatrix"]["corpus_sha256"] == record["corpus_sha256"]
