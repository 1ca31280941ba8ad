"""Learned rounding of a tiny model: what a file holds, what it gains, and where it goes on."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llama
import torch
from held import Hold
from hypothesis import given, settings
from hypothesis import strategies as st
from support import first_of
from tiny_training import corpus_in, manifest_of

from llmpi.device.machine import capacity
from llmpi.engine.records import Failed
from llmpi.errors import LlmpiError
from llmpi.gguf import contents, imatrix, quantizers
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf
from llmpi.gguf.trainable import ROUNDABLE_KINDS
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.quality.divergence.records import Corpus, CutWithin
from llmpi.quant_types import ROUNDABLE, type_of
from llmpi.records import sha256_of
from llmpi.study.training import Rounding
from llmpi.train.blocks.steps import batches
from llmpi.train.fake_quant import Codes
from llmpi.train.rounding.grids import GRIDS, best_scales
from llmpi.train.rounding.layouts import LAYOUTS, Layout, Parts
from llmpi.train.rounding.make import learn_rounding
from llmpi.train.rounding.matrix import FlatMatrix, NestedMatrix
from llmpi.train.rounding.nested import Nested

pytestmark = pytest.mark.usefixtures("forked_training")
SETTINGS = {"steps": 12, "windows": 32}
KINDS, NESTED = sorted(GRIDS), sorted(LAYOUTS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_in(tmp_path_factory.mktemp("corpus"), text_of(seed=0))


def text_of(seed: int) -> str:
    random = np.random.default_rng(seed)
    words = ["the", "thin", "thing", "in", "inn", "is", "other", "then", "a", "of", "river"]
    return "\n".join(" ".join(random.choice(words, 9)) for _ in range(300))


def learn(
    base: Path, corpus: Corpus, folder: Path, quant: str, matrix: Any = (None, None), **other: Any
) -> Gguf | Failed:
    return learn_rounding(
        base,
        manifest_of(base),
        folder / f"{quant}.gguf",
        quant=quant,
        settings=Rounding(**SETTINGS | other),
        corpus=corpus,
        imatrix=matrix[0],
        imatrix_manifest=matrix[1],
        checkpoints=folder / "checkpoints",
    )


# --- grids ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_ggml_reads_the_codes_and_scales_that_were_packed(kind: str, seed: int) -> None:
    grid, random = GRIDS[kind], torch.Generator().manual_seed(seed)
    codes = torch.randint(grid.low, grid.high + 1, (8, grid.block), generator=random).float()
    scales = torch.randn(8, 1, generator=random).half()
    read = quantizers.dequantized(grid.pack(Codes(scales, codes)).numpy(), kind, grid.block)
    np.testing.assert_array_equal(read, (codes * scales.float()).numpy())


@pytest.mark.parametrize(("kind", "most"), [("Q2_0", 0.14), ("Q4_0", 0.0095), ("TQ2_0", 0.21)])
def test_the_best_scale_errs_less_than_ggml_does(kind: str, most: float) -> None:
    """Of normal weights; relative squared errors of ggml: Q2_0 0.53, Q4_0 0.0095, TQ2_0 0.6."""
    weight = torch.randn(64, 2048, generator=torch.Generator().manual_seed(0))
    plain = quantizers.dequantized(quantizers.quantized(weight.numpy(), kind), kind, 2048)
    ours = ((FlatMatrix(weight, GRIDS[kind]).seen - weight) ** 2).sum() / (weight**2).sum()
    theirs = ((plain - weight.numpy()) ** 2).sum() / (weight**2).sum().numpy()
    assert ours < most and ours < theirs


def test_a_matrix_weighs_the_columns() -> None:
    weight = torch.randn(16, 128, generator=torch.Generator().manual_seed(0))
    importance = torch.ones(128)
    importance[::8] = 100
    found = {}
    for name, given_ in (("with", importance), ("without", None)):
        seen = FlatMatrix(weight, GRIDS["Q2_0"], given_).seen
        found[name] = ((seen - weight)[:, ::8] ** 2).sum()
    assert found["with"] < found["without"]


def test_zeros_stay_zeros() -> None:
    blocks = torch.zeros(3, 64)
    blocks[1, 5] = 1e-9
    scales = best_scales(blocks, GRIDS["Q2_0"])
    assert scales.isfinite().all() and not FlatMatrix(blocks[:1], GRIDS["Q2_0"]).seen.any()


def test_a_step_moves_each_weight_by_no_more_than_one_code() -> None:
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    one = FlatMatrix(weight, GRIDS["Q4_0"])
    before = one.seen.detach().clone()
    for step in range(50):
        (one.seen * 3).sum().backward()
        one.step((1 - step / 50) / 50)
    moved = before - one.seen.detach()
    assert (moved > 0).float().mean() > 0.8, "against the gradient"
    one.reset()
    assert torch.equal(one.seen, before)


def test_each_window_comes_once_before_any_comes_again() -> None:
    windows = torch.tensor([3, 5, 7, 9, 11, 13, 15, 17])
    found = torch.cat([*batches(windows, 4, seed=1, each=4)])
    assert sorted(found[:8].tolist()) == sorted(found[8:].tolist()) == windows.tolist()


# --- layouts --------------------------------------------------------------------------------------

seeds = st.integers(0, 2**32)


def weights_like(seed: int) -> torch.Tensor:
    """Normal, heavy-tailed, some columns large, and blocks and rows of zeros: float32 [8, 512]."""
    random = np.random.default_rng(seed)
    rows = random.normal(0, 1, (8, 512)) * 10.0 ** random.integers(-4, 2)
    rows[2:4] = random.standard_t(1.5, (2, 512)).clip(-1000, 1000)
    rows[4, ::64] *= 30
    rows[5, 128:144], rows[5, 256:], rows[6] = 0, 0, 0
    rows[7] = np.abs(rows[7])
    return torch.from_numpy(rows.astype(np.float32))


def read(layout: Layout, parts: Parts) -> np.ndarray:
    """The float32 [blocks, block] that parts stand for, in float64 on the way there."""
    halves = [half.double().numpy() for half in (parts.scale, parts.minimum) if half is not None]
    shares = np.ones((len(parts.codes), len(halves), layout.sub_blocks))
    if parts.shares is not None:
        shares = parts.shares.double().numpy().reshape(shares.shape) - layout.no_share
    levels = np.array(layout.levels or range(-layout.zero, layout.codes - layout.zero))
    found = levels[parts.codes.numpy()].reshape(len(parts.codes), layout.sub_blocks, -1)
    found = found * (halves[0] * shares[:, 0])[..., None]
    if len(halves) > 1:
        found = found - (halves[1] * shares[:, 1])[..., None]
    return found.reshape(len(found), -1).astype(np.float32)


@pytest.mark.parametrize("kind", NESTED)
def test_a_layout_is_as_large_as_ggml_s(kind: str) -> None:
    ggml = quantizers.kinds()[kind]
    assert (LAYOUTS[kind].block, LAYOUTS[kind].size) == (ggml.block, ggml.block_bytes)


@pytest.mark.parametrize("kind", NESTED)
@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_any_bytes_are_unpacked_and_packed_again(kind: str, seed: int) -> None:
    layout, random = LAYOUTS[kind], np.random.default_rng(seed)
    data = torch.from_numpy(random.integers(0, 256, (64, layout.size), np.uint8))
    parts = layout.unpack(data)
    assert torch.equal(layout.pack(parts), data)
    halves = [half for half in (parts.scale, parts.minimum) if half is not None]
    sound = torch.cat(halves, 1).isfinite().all(1).numpy()
    ggml = quantizers.dequantized(data.numpy(), kind, layout.block)
    np.testing.assert_array_equal(read(layout, parts)[sound], ggml[sound])


@pytest.mark.parametrize("kind", NESTED)
@settings(deadline=None, max_examples=20)
@given(seed=seeds, weighed=st.booleans())
def test_what_ggml_made_is_unpacked_and_packed_again(kind: str, seed: int, weighed: bool) -> None:
    layout, weight = LAYOUTS[kind], weights_like(seed)
    importance = np.random.default_rng(seed).uniform(0, 9, 512) ** 2 if weighed else None
    made = torch.from_numpy(quantizers.quantized(weight.numpy(), kind, importance))
    blocks = made.view(-1, layout.size)
    assert torch.equal(layout.pack(layout.unpack(blocks)), blocks)


@pytest.mark.parametrize("kind", NESTED)
@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_parts_are_packed_and_unpacked_again(kind: str, seed: int) -> None:
    layout, random = LAYOUTS[kind], torch.Generator().manual_seed(seed)
    held = layout.unpack(torch.zeros(1, layout.size, dtype=torch.uint8))
    parts = Parts(
        torch.randint(0, layout.codes, (8, layout.block), generator=random, dtype=torch.uint8),
        torch.randn(8, 1, generator=random).half(),
        None if held.minimum is None else torch.randn(8, 1, generator=random).half(),
        None
        if held.shares is None
        else torch.randint(
            0, layout.shares, (8, held.shares.shape[1]), generator=random, dtype=torch.uint8
        ),
    )
    again = layout.unpack(layout.pack(parts))
    for name, wanted in parts._asdict().items():
        found = getattr(again, name)
        assert found is wanted or torch.equal(found, wanted)


@pytest.mark.parametrize("kind", NESTED)
@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_a_file_holds_what_is_seen_from_the_beginning_to_the_end(kind: str, seed: int) -> None:
    layout, weight = LAYOUTS[kind], weights_like(seed)
    made = quantizers.quantized(weight.numpy(), kind)
    one, random = NestedMatrix(weight, layout, torch.from_numpy(made)), np.random.default_rng(seed)

    def held() -> np.ndarray:
        return quantizers.dequantized(one.file_bytes(), kind, 512)

    theirs = np.square(quantizers.dequantized(made, kind, 512) - weight.numpy()).sum()
    assert np.square(held() - weight.numpy()).sum() <= 1.001 * theirs, "but for ties"
    for step in range(8):
        np.testing.assert_array_equal(held(), one.seen.detach().numpy())
        target = torch.from_numpy(random.normal(0, 1, weight.shape).astype(np.float32))
        (one.seen * target).sum().backward()
        one.step((1 - step / 8) / 8)
    np.testing.assert_array_equal(held(), one.seen.detach().numpy())
    assert not np.array_equal(one.file_bytes(), made)


def test_shares_go_against_the_gradient_and_stay_whole_and_within_their_bounds() -> None:
    begin = torch.tensor([[0.1]]).half()
    one = Nested(begin, torch.tensor([[0, 20, -20, 31]]), -32, 31)
    for step in range(20):
        one.step(torch.tensor([[1.0, 1.0, 1.0, -1.0]]).view(-1, 1), (1 - step / 20) / 20)
    shares = one.shares()[0].tolist()
    assert shares[0] == 0 and shares[1] < 20 and shares[2] < -20 and shares[3] == 31
    assert all(share == int(share) for share in shares)
    assert one.halves() > begin, "most is gained by the largest, which has no other way"
    assert torch.equal(one.values(), (one.halves().float() * one.shares()).view(-1, 1))
    one.reset()
    assert torch.equal(one.halves(), begin) and one.shares()[0].tolist() == [0, 20, -20, 31]


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quant", first_of([f"{kind}+round" for kind in ROUNDABLE], 3))
def test_a_file_holds_what_was_learned_and_errs_less(
    base: Path, corpus: Corpus, tmp_path: Path, quant: str
) -> None:
    made, kind = learn(base, corpus, tmp_path, quant), type_of(quant)
    assert made["status"] == "ok" and made["lineage"] == ["F16", quant]
    assert (made["quant"], made["sha256"]) == (quant, sha256_of(tmp_path / f"{quant}.gguf"))
    done = made["rounding"]
    assert done["corpus"]["sha256"] == corpus["sha256"]
    for block in done["blocks"]:
        assert block["learned"] < min(block["searched"], block["plain"])
        assert block["searched"] < block["plain"] or kind not in GRIDS
        assert block["kept"] == "learned"
    assert [path.name for path in tmp_path.iterdir()] == [f"{quant}.gguf"]
    plain = tmp_path / "plain.gguf"
    assert quantize(base, manifest_of(base), plain, kind)["status"] == "ok"
    assert plain.stat().st_size == (tmp_path / f"{quant}.gguf").stat().st_size
    before, after = (contents.stored(path) for path in (plain, tmp_path / f"{quant}.gguf"))
    assert [(t.kind, t.shape) for t in before.values()] == [
        (t.kind, t.shape) for t in after.values()
    ]
    changed = {n for n in before if not np.array_equal(before[n].data, after[n].data)}
    assert changed == {
        n for n, t in after.items() if n.startswith("blk.") and t.kind in ROUNDABLE_KINDS
    }
    assert done["verified"] == len(changed) >= 7
    if kind in GRIDS:
        assert {after[name].kind for name in changed} == {kind} and len(changed) == 14
    with contents.header(plain) as one, contents.header(tmp_path / f"{quant}.gguf") as other:
        assert contents.fields(one) == contents.fields(other)


@pytest.mark.parametrize("kind", first_of(["Q2_K", "Q2_0", "Q4_K_S"]))
def test_a_matrix_is_where_it_begins(base: Path, corpus: Corpus, tmp_path: Path, kind: str) -> None:
    matrix, random = tmp_path / "imatrix.gguf", np.random.default_rng(0)
    moments = {
        name: imatrix.Moments(random.uniform(0, 9, (1, held.shape[-1])) ** 2, np.array([1]))
        for name, held in contents.stored(base).items()
        if len(held.shape) > 1
    }
    imatrix.write(matrix, moments, corpus="text", chunks=1, chunk_tokens=64)
    about: Any = {
        "status": "ok",
        "sha256": sha256_of(matrix),
        "source": {"sha256": sha256_of(base)},
        "corpus_sha256": corpus["sha256"],
        "chunks": 1,
    }
    made = learn(base, corpus, tmp_path, f"{kind}+round+imatrix", (matrix, about))
    assert made["status"] == "ok" and made["imatrix"]["sha256"] == about["sha256"]
    without = learn(base, corpus, tmp_path, f"{kind}+round")
    assert without["sha256"] != made["sha256"]
    with pytest.raises(LlmpiError, match="asks for an importance matrix"):
        learn(base, corpus, tmp_path, f"{kind}+round+imatrix")


@pytest.mark.parametrize("kind", first_of(["Q2_K", "Q4_K_S"]))
def test_what_was_learned_diverges_less_on_other_text(
    base: Path, corpus: Corpus, tmp_path: Path, kind: str
) -> None:
    """As the engine computes both files."""
    other = corpus_in(tmp_path, text_of(seed=1))
    made = learn(base, corpus, tmp_path, f"{kind}+round")
    plain = quantize(base, manifest_of(base), tmp_path / f"{kind}.gguf", kind)
    rows, how = tmp_path / "rows", {"partial": tmp_path / "partial", "threads": 2}
    cut = CutWithin(window_tokens=64, chunks=None, max_bytes=1 << 30)
    told = reference(base, manifest_of(base), other, cut, out=rows, **how)
    before, after = (
        divergence(tmp_path / f"{one['quant']}.gguf", one, rows, told, **how)["summary"]
        for one in (plain, made)
    )
    assert after["kld_mean_nats"]["value"] < 0.9 * before["kld_mean_nats"]["value"]


@pytest.mark.fault("a rounding killed half way", by="hash of the file: that of a run that was not")
def test_an_interrupted_rounding_goes_on_to_the_same_file(
    base: Path, corpus: Corpus, hold: Hold, tmp_path: Path
) -> None:
    quant, whole, cut = "Q2_0+round", tmp_path / "whole", tmp_path / "cut"
    wanted = learn(base, corpus, whole, quant)
    job = {
        "base": str(base),
        "base_manifest": manifest_of(base),
        "out": str(cut / "out.gguf"),
        "quant": quant,
        **SETTINGS,
        "corpus": {"source": corpus["source"], "sha256": corpus["sha256"]},
        "text": corpus["text"],
        "imatrix": None,
        "imatrix_manifest": None,
        "checkpoints": str(cut / "checkpoints"),
        "threads": capacity.processors(),
    }
    cut.mkdir()
    (cut / "job.json").write_text(json.dumps(job))
    child = [sys.executable, "-m", "llmpi.train.rounding", *map(str, (cut / "job.json", cut / "o"))]
    with (
        hold.at(said="block 1 of 2:"),
        subprocess.Popen(child, stderr=subprocess.DEVNULL, env=hold.env_here) as process,
    ):
        hold.wait(lambda: process.poll() is None)
        process.kill()
    assert not (cut / "o").exists()
    found = learn(base, corpus, cut, quant)
    assert found["sha256"] == wanted["sha256"]
    blocks = [made["rounding"]["blocks"] for made in (wanted, found)]
    assert blocks[0] == blocks[1]


def test_what_cannot_be_learned_is_said(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(LlmpiError, match="8 are needed; take a longer text"):
        learn(base, corpus | {"text": "the inn\n" * 9}, tmp_path, "Q4_0+round")
    failed: Failed = {"status": "failed", "stage": "fetch", "reason": "gone"}
    assert learn(base, failed, tmp_path, "Q4_0+round") is failed
    assert (tmp_path / "Q4_0+round.gguf").stat().st_size == 0


def test_another_architecture_is_refused(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    other = tmp_path / "other.gguf"
    tiny_llama.write_tokenizer(other)
    made = learn(other, corpus, tmp_path, "Q4_0+round")
    assert made["status"] == "failed" and "does not say llama.embedding_length" in made["reason"]
