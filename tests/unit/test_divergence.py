"""Perplexity and KL divergence: the formulas, the rows in 16 bits, the window rule, resumption.

What is compared with is slow and independent: plain Python in double precision, llama-perplexity's
own sums, and a real (tiny, random) model that is fed token by token.
"""

import json
import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import llama_cpp
import numpy as np
import pytest
from gguf_edit import edited
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from random_gguf import VOCAB, tiny_model

from llmpi.engine import info as engine_info
from llmpi.engine.llama import EngineError
from llmpi.engine.params import fill
from llmpi.errors import LlmpiError
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.divergence import chunks
from llmpi.quality.divergence import windows as windows_module
from llmpi.quality.divergence.chunks import Partial
from llmpi.quality.divergence.evaluate import divergence, perplexity, reference
from llmpi.quality.divergence.jobs import DivergenceJob, PerplexityJob
from llmpi.quality.divergence.log_probs import (
    LogProbs,
    compare,
    decode,
    encode,
    let_go,
    log_sum_exp,
    positions_of,
    score,
    score_and_encode,
)
from llmpi.quality.divergence.measure import measure
from llmpi.quality.divergence.records import PerplexityMeasured
from llmpi.quality.divergence.summaries import RESAMPLING, summarize
from llmpi.quality.divergence.windows import Windows, cut


def log_softmax(logits: Sequence[float]) -> list[float]:
    total = math.fsum(math.exp(value - max(logits)) for value in logits)
    return [value - max(logits) - math.log(total) for value in logits]


# --- statistics -----------------------------------------------------------------------------------


def mean_and_uncertainty(total: float, squares: float, count: int) -> tuple[float, float]:
    """As in perplexity.cpp."""
    mean = total / count
    return mean, math.sqrt(max(squares / count - mean * mean, 0) / (count - 1))


def percentile(values: list[float], fraction: float) -> float:
    """As in perplexity.cpp."""
    place = fraction * (len(values) - 1)
    low = int(place)
    high = values[min(low + 1, len(values) - 1)]
    return (1 - (place - low)) * values[low] + (place - low) * high


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(8, 40), st.integers(0, 2**32 - 1))
def test_summary_is_llama_perplexitys(chunks: int, positions: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    base = random.exponential(3, (chunks, positions))
    nll = base + random.normal(0.2, 0.5, (chunks, positions))
    kld = random.exponential(0.1, (chunks, positions))
    same = random.integers(0, 2, (chunks, positions))
    summary = summarize(np.stack([nll, base, kld, same]))

    a, b, n = nll.ravel().tolist(), base.ravel().tolist(), chunks * positions
    mean_a, error_a = mean_and_uncertainty(sum(a), sum(x * x for x in a), n)
    mean_b, error_b = mean_and_uncertainty(sum(b), sum(x * x for x in b), n)
    covariance = (sum(x * y for x, y in zip(a, b, strict=True)) / n - mean_a * mean_b) / (n - 1)
    ratio = mean_a - mean_b
    ratio_error = math.sqrt(error_a**2 + error_b**2 - 2 * covariance)
    klds = sorted(kld.ravel().tolist())
    share = same.mean()
    expected = {
        "perplexity": (math.exp(mean_a), math.exp(mean_a) * error_a),
        "reference_perplexity": (math.exp(mean_b), math.exp(mean_b) * error_b),
        "ln_perplexity_ratio": (ratio, ratio_error),
        "perplexity_ratio": (math.exp(ratio), math.exp(ratio) * ratio_error),
        "kld_mean_nats": mean_and_uncertainty(sum(klds), sum(x * x for x in klds), n),
        "top1_agreement_pct": (100 * share, 100 * math.sqrt(share * (1 - share) / (n - 1))),
    }
    for name, pair in expected.items():
        assert tuple(summary[name].values()) == pytest.approx(pair, rel=1e-6, abs=1e-9), name
    middle = sorted(klds)[(n - 1) // 2 : n // 2 + 1]
    assert summary["kld_median_nats"]["value"] == pytest.approx(sum(middle) / len(middle))
    assert summary["kld_p99_nats"]["value"] == pytest.approx(percentile(klds, 0.99))
    assert set(summary) == {*expected, "kld_median_nats", "kld_p99_nats"}


def test_quantiles_know_that_positions_of_a_chunk_are_not_independent() -> None:
    kld = np.repeat(np.arange(50.0)[:, None], 20, axis=1)  # each chunk of one value
    values = np.stack([kld, kld, kld, kld % 2])
    spread = summarize(values)["kld_median_nats"]["standard_error"]
    by_position = 14.43 * 1.2533 / math.sqrt(1000)  # as if all 1000 were independent
    assert spread > 3 * by_position
    assert summarize(values) == summarize(values)
    draws = np.random.default_rng(RESAMPLING["seed"]).integers(
        len(kld), size=(RESAMPLING["resamples"], len(kld))
    )
    medians = [np.median(kld[draw]) for draw in draws]
    assert spread == pytest.approx(np.std(medians)), "as the record's seed has it"
    assert summarize(values[:, :1])["kld_median_nats"] == {"value": 0.0, "standard_error": None}


# --- rows in 16 bits ------------------------------------------------------------------------------

logit_blocks = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(2, 9)),
    elements=st.floats(-60, 60, width=32),
)


def encoded(logits: np.ndarray) -> np.ndarray:
    rows = np.zeros((len(logits), LogProbs.width(logits.shape[1])), np.uint16)
    encode(logits, log_sum_exp(logits), rows)
    return rows


@given(logit_blocks)
def test_rows_are_exact_to_half_a_step(logits: np.ndarray) -> None:
    found = decode(encoded(logits), logits.shape[1])
    for row, stored in zip(logits.tolist(), found.tolist(), strict=True):
        for exact, value in zip(log_softmax(row), stored, strict=True):
            bound = max(exact, max(log_softmax(row)) - 16)
            assert value == pytest.approx(bound, rel=0, abs=16 / 65535 / 2 + 2e-5)


def test_rows_that_are_written_take_no_memory_here(tmp_path: Path) -> None:
    held = LogProbs.create(tmp_path / "rows", np.zeros((8, 64), np.int32), 20_000)
    held.rows[:] = 7
    before = mapped_bytes(tmp_path / "rows")
    let_go(held.rows)
    assert before >= held.rows.nbytes > 8e6
    assert mapped_bytes(tmp_path / "rows") == 0
    assert (held.rows == 7).all()


def mapped_bytes(file: Path) -> int:
    """Of a file, in this process."""
    maps = Path("/proc/self/smaps").read_text()
    return sum(
        1024 * int(found)
        for found in re.findall(rf"{re.escape(str(file))}\n.*?^Rss: +(\d+) kB", maps, re.M | re.S)
    )


def test_file_is_llama_perplexitys(tmp_path: Path) -> None:
    """Read back as perplexity.cpp reads it: magic, n_ctx, n_vocab, n_chunk, tokens, rows."""
    tokens = np.arange(3 * 8, dtype=np.int32).reshape(3, 8)
    held = LogProbs.create(tmp_path / "rows", tokens, 5)
    logits = np.random.default_rng(0).normal(0, 3, (3, 3, 5)).astype(np.float32)
    for block, rows in zip(logits, held.rows, strict=True):
        encode(block, log_sum_exp(block), rows)
    assert isinstance(held.rows, np.memmap)
    held.rows.flush()
    data = (tmp_path / "rows").read_bytes()
    assert len(data) == LogProbs.size(3, 8, 5)
    assert data[:8] == b"_logits_"
    assert struct.unpack_from("<3i", data, 8) == (8, 5, 3)
    assert struct.unpack_from("<24i", data, 20) == tuple(range(24))
    at, width = 20 + 24 * 4, 2 * ((5 + 1) // 2) + 4
    for row in logits.reshape(9, 5).tolist():
        scale, lowest = struct.unpack_from("<2f", data, at)
        codes = struct.unpack_from("<5H", data, at + 8)
        values = [scale * code + lowest for code in codes]
        assert values == pytest.approx(log_softmax(row), rel=0, abs=16 / 65535)
        at += 2 * width
    assert at == len(data)
    assert np.array_equal(LogProbs.open(tmp_path / "rows").tokens, tokens)


@given(st.integers(1, 50), st.integers(4, 64), st.integers(2, 99), st.integers(0, 99))
def test_as_many_chunks_as_fit(chunks: int, window: int, vocab: int, spare: int) -> None:
    assume(spare < LogProbs.size(1, window, vocab) - LogProbs.size(0, window, vocab))
    assert LogProbs.fitting(LogProbs.size(chunks, window, vocab) + spare, window, vocab) == chunks


def test_not_one_chunk_fits() -> None:
    with pytest.raises(LlmpiError) as caught:
        LogProbs.fitting(25_000_000, 512, 49152)
    assert str(caught.value) == (
        "one chunk of 512 tokens of a vocabulary of 49152 takes 25.1 MB, more than max_bytes, "
        "25.0 MB: raise it, or take a smaller window_tokens"
    )


def test_no_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(LlmpiError, match=r"has no room for 0 MB .* \(No space left on device\)"):
        LogProbs.create(tmp_path / "rows", np.zeros((2, 8), np.int32), 5)
    assert not (tmp_path / "rows").exists()


def test_no_room_for_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "rows").symlink_to("/dev/full")
    with pytest.raises(LlmpiError, match=r"has no room .* \(No space left on device\)"):
        LogProbs.create(tmp_path / "rows", np.zeros((2, 8), np.int32), 5)
    assert not (tmp_path / "rows").is_symlink()


@pytest.mark.parametrize("done", [0, 1])
def test_rows_that_nothing_can_go_on_from_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    partial = Partial(tmp_path / "partial", {})
    for chunk in range(done):
        partial.save(chunk, np.zeros((1, 3)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chunks, "score_chunks", full)
    out = tmp_path / "rows"
    unfinished = tmp_path / ".rows.part"
    tokens = np.zeros((2, 8), np.int32)
    if done:
        LogProbs.create(unfinished, tokens, 5)
    model: Any = SimpleNamespace(vocab_tokens=5)
    with pytest.raises(OSError, match="No space"):
        chunks.write_rows(model, tokens, out, partial, 1)
    assert unfinished.is_file() == bool(done)


@pytest.mark.parametrize("spoil", [b"", b"_logits_", b"GGUF" * 100])
def test_no_whole_file(tmp_path: Path, spoil: bytes) -> None:
    (tmp_path / "rows").write_bytes(spoil)
    with pytest.raises(LlmpiError, match="no whole file of log-probabilities; delete it"):
        LogProbs.open(tmp_path / "rows")


# --- scores ---------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 3.0, 8.0]), st.floats(0, 2))
def test_scores_are_those_of_double_precision(seed: int, sharpness: float, noise: float) -> None:
    random = np.random.default_rng(seed)
    base = random.normal(0, sharpness, (4, 40)).astype(np.float32)
    variant = base + random.normal(0, noise, (4, 40)).astype(np.float32)
    following = random.integers(0, 40, 4).astype(np.int32)
    rows = np.zeros((4, LogProbs.width(40)), np.uint16)
    [nll_base] = score_and_encode(base, following, rows)
    values = compare(variant, following, rows)
    assert np.array_equal(score(variant, following, rows)[0], values[0])
    for i, token in enumerate(following):
        p, q = log_softmax(base[i].tolist()), log_softmax(variant[i].tolist())
        kld = math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q, strict=True))
        top = p.index(max(p)) == q.index(max(q))
        assert nll_base[i] == pytest.approx(-p[token], abs=2e-5)
        assert values[0, i] == pytest.approx(-q[token], abs=2e-5)
        # What is 16 nats below the top stands in the row as that.
        assert values[1, i] == pytest.approx(min(-p[token], 16 - max(p)), abs=2e-4)
        assert values[2, i] == pytest.approx(kld, rel=1e-3, abs=2e-4)
        assert values[3, i] == top


def test_divergence_is_the_references() -> None:
    """KL(reference || variant), by hand: ln 2 this way, infinite the other way."""
    base = np.array([[0, -1000]], np.float32)
    variant = np.array([[0, 0]], np.float32)
    token = np.zeros(1, np.int32)
    rows = encoded(base)
    assert compare(variant, token, rows)[2] == pytest.approx([math.log(2)], abs=1e-5)


def test_what_a_row_only_bounds_counts_for_nothing() -> None:
    """999 tokens of no probability stand in the row as exp(-16) each: 0.11 nats if they counted."""
    logits = np.array([[0, *[-1000] * 999]], np.float32)
    [kld] = compare(logits, np.zeros(1, np.int32), encoded(logits))[2]
    assert kld == pytest.approx(0, abs=1e-5)


# --- the window rule ------------------------------------------------------------------------------


@given(st.integers(2, 40), st.integers(0, 200))
def test_chunks_of_a_text(window: int, length: int) -> None:
    tokens = np.arange(length, dtype=np.int32)
    assume(length >= 2 * window)
    chunks = cut(tokens, window)
    assert len(chunks) == length // window
    assert np.array_equal(chunks.ravel(), tokens[: chunks.size])


def test_text_shorter_than_two_windows() -> None:
    with pytest.raises(LlmpiError) as caught:
        cut(np.zeros(1023, np.int32), 512)
    assert str(caught.value) == (
        "the corpus has 1023 tokens, and windows of 512 need at least 1024: take a longer text or "
        "a smaller window_tokens"
    )


# --- a real model, tiny and random ----------------------------------------------------------------

TEXT = "The pump runs while the fans hum; the log says so. " * 6


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    engine_info.log_to(lambda _: None)
    yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one model and of what differs from it."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "base.gguf").write_bytes(tiny_model(0))
    (folder / "variant.gguf").write_bytes(tiny_model(0, noise=0.2))
    (folder / "no_bos.gguf").write_bytes(tiny_model(0, bos=False))
    (folder / "stranger.gguf").write_bytes(tiny_model(0, end="<end>"))
    (folder / "damaged.gguf").write_bytes(tiny_model(0)[:5000])
    (folder / "nan.gguf").write_bytes(tiny_model(0, noise=math.nan))
    return folder


def one_by_one(gguf: Path, text: str, window: int, bos: bool) -> list[list[float]]:
    """Negative log-likelihoods [chunks][positions], the model fed one token at a time."""
    model = llama_cpp.llama_model_load_from_file(
        str(gguf).encode(), llama_cpp.llama_model_default_params()
    )
    params = llama_cpp.llama_context_default_params()
    fill(params, n_threads=1)
    context = llama_cpp.llama_init_from_model(model, params)
    # As sentencepiece does: a space in front (its mark is no token here, so its three bytes are).
    tokens = [1] * bos + [byte + 3 for byte in (" " + text).replace(" ", "▁").encode()]
    found = []
    for start in range(0, len(tokens) - window + 1, window):
        chunk = tokens[start : start + window]
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
        nll = []
        for i, following in enumerate(chunk[1:]):
            token = (llama_cpp.llama_token * 1)(1 if bos and i == 0 else chunk[i])
            assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(token, 1)) == 0
            logits = llama_cpp.llama_get_logits_ith(context, -1)[:VOCAB]
            if i >= window // 2:
                nll.append(-log_softmax(logits)[following])
        found.append(nll)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return found


def nlls(record: dict[str, Any]) -> list[float]:
    return [chunk["nll"] for chunk in record["chunk_sums"]]


def job(
    folder: Path, task: Literal["perplexity", "reference"], gguf: str = "base", **other: Any
) -> PerplexityJob:
    made: PerplexityJob = {
        "task": task,
        "gguf": str(folder / f"{gguf}.gguf"),
        "gguf_sha256": gguf,
        "threads": 1,
        "computation": BY_DEFAULT,
        "partial": str(folder / "partial"),
        "corpus": {"source": {"text_file": "text"}, "sha256": "of the text"},
        "text": TEXT,
        "window_tokens": 16,
        "chunks": None,
        "rows": None,
        "max_bytes": None,
    }
    made.update(other)
    return made


@pytest.mark.parametrize(
    ("window", "batch", "at_once"),
    [(16, 2048, 128), (16, 48, 3), (15, 50, 3), (17, 16, 1), (16, 5, 1), (64, 2048, 32)],
)
@pytest.mark.parametrize("model", ["base", "no_bos"])
def test_window_rule(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    window: int,
    batch: int,
    at_once: int,
) -> None:
    monkeypatch.setattr(windows_module, "BATCH_TOKENS", batch)
    expected = one_by_one(folder / f"{model}.gguf", TEXT, window, model == "base")
    record = measure(
        job(folder, "perplexity", model, window_tokens=window, partial=str(tmp_path / "partial"))
    )
    assert record["batching"] == f"{at_once} windows of {window}, n_ubatch 512"
    assert record["chunks"] == record["available_chunks"] == len(expected)
    assert record["positions_per_chunk"] == positions_of(window) == len(expected[0])
    assert nlls(record) == pytest.approx([sum(chunk) for chunk in expected], rel=3e-4)
    mean = np.mean(expected)
    assert record["summary"]["perplexity"]["value"] == pytest.approx(math.exp(mean), rel=1e-3)


@pytest.mark.parametrize("how", [{"kv_cache": "bf16"}, {"flash_attention": "off"}])
def test_the_engine_computes_as_it_is_asked_to(
    folder: Path, tmp_path: Path, how: dict[str, str]
) -> None:
    plain, other = (
        measure(
            job(folder, "perplexity", partial=str(tmp_path / f"partial-{i}"), computation=computed)
        )
        for i, computed in enumerate([BY_DEFAULT, {**BY_DEFAULT, **how}])
    )
    assert other["computation"] == {**BY_DEFAULT, **how}
    assert nlls(other) != nlls(plain)
    assert nlls(other) == pytest.approx(nlls(plain), rel=1e-2)


def test_a_files_last_newline_is_no_part_of_it(folder: Path) -> None:
    with Windows(folder / "base.gguf", 16, 1) as model:
        assert np.array_equal(model.tokenize("a\n"), model.tokenize("a"))
        assert len(model.tokenize("<s>a")) == len(model.tokenize("a")) + 3, "no special token"


@pytest.mark.parametrize("tokenizer", ["llama", "rwkv"])
def test_no_end_stands_behind_a_text(folder: Path, tmp_path: Path, tokenizer: str) -> None:
    """As a file may want for training (case 22); rwkv's appends none even then."""
    kind = {"tokenizer.ggml.model": tokenizer}
    wants = {**kind, "tokenizer.ggml.add_eos_token": True}
    plain = edited(folder / "base.gguf", tmp_path / "plain.gguf", kind)
    other = edited(folder / "base.gguf", tmp_path / "eos.gguf", wants)
    with (
        windows_module.Windows(plain, 16, 1) as base,
        windows_module.Windows(other, 16, 1) as eos,
    ):
        assert np.array_equal(base.tokenize(TEXT), eos.tokenize(TEXT))


@pytest.mark.parametrize(
    ("gguf", "other", "error", "message"),
    [
        ("damaged", {}, EngineError, "llama.cpp cannot load damaged.gguf"),
        ("nan", {}, EngineError, "the model predicts no finite numbers in chunk 0"),
        (
            "base",
            {"window_tokens": 65},
            LlmpiError,
            "window_tokens is 65, and the model was trained on 64 at most: take a smaller "
            "window_tokens",
        ),
    ],
)
def test_refused(
    folder: Path,
    tmp_path: Path,
    gguf: str,
    other: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error) as caught:
        measure(job(folder, "perplexity", gguf, partial=str(tmp_path / "partial"), **other))
    assert str(caught.value) == message


# --- interruptions --------------------------------------------------------------------------------


def compared(folder: Path, rows: Path, held: PerplexityMeasured) -> DivergenceJob:
    return {
        "task": "divergence",
        "gguf": str(folder / "variant.gguf"),
        "gguf_sha256": "variant",
        "threads": 1,
        "computation": BY_DEFAULT,
        "partial": str(folder / "partial"),
        "rows": str(rows),
        "reference": {"gguf_sha256": "base", "engine": held["engine"], "threads": 1},
        "corpus": held["corpus"],
        "vocabulary": held["vocabulary"],
        "window_tokens": held["window_tokens"],
        "chunks": held["chunks"],
        "wanted_chunks": held["wanted_chunks"],
        "available_chunks": held["available_chunks"],
    }


@pytest.mark.fault(
    "a divergence broken off", by="the record of a run that was not; windows decoded again"
)
@pytest.mark.parametrize("saved", [1, 6, 7])
def test_interrupted_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: int
) -> None:
    """Batches of three windows: a batch that was not whole is done again, the others are not."""
    monkeypatch.setattr(windows_module, "BATCH_TOKENS", 48)
    whole, rows = tmp_path / "whole", tmp_path / "rows"
    plain = {"partial": str(tmp_path / "partial"), "max_bytes": 10**6}
    expected = measure(job(folder, "reference", rows=str(whole), **plain))
    chunks = expected["chunks"]

    def interrupted(work: dict[str, Any]) -> dict[str, Any]:
        save, read, decoded, calls = Partial.save, Windows.read, [], []

        def broken(self: Partial, chunk: int, values: np.ndarray) -> None:
            if len(calls) == saved:
                raise KeyboardInterrupt
            calls.append(chunk)
            save(self, chunk, values)

        def counted(self: Windows, windows: np.ndarray) -> Iterator[Any]:
            decoded.append(len(windows))
            return read(self, windows)

        with monkeypatch.context() as patched:
            patched.setattr(Partial, "save", broken)
            with pytest.raises(KeyboardInterrupt):
                measure(work)
        with monkeypatch.context() as patched:
            patched.setattr(Windows, "read", counted)
            record = measure(work)
        assert sum(decoded) == chunks - saved // 3 * 3
        return record

    other = {**plain, "partial": str(tmp_path / "other")}
    assert interrupted(job(folder, "reference", rows=str(rows), **other)) == expected
    assert rows.read_bytes() == whole.read_bytes()
    work = compared(folder, rows, expected)
    straight = measure(work | {"partial": str(tmp_path / "straight")})
    assert interrupted(work | {"partial": str(tmp_path / "third")}) == straight


def test_another_job_takes_over_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows_module, "BATCH_TOKENS", 48)
    partial = str(tmp_path / "partial")
    measure(job(folder, "perplexity", partial=partial))
    record = measure(job(folder, "perplexity", "variant", partial=partial))
    alone = measure(job(folder, "perplexity", "variant", partial=str(tmp_path / "alone")))
    assert record == alone


def test_partial_rows_without_their_file_are_done_again(folder: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    work = job(
        folder, "reference", rows=str(rows), max_bytes=10**6, partial=str(tmp_path / "partial")
    )
    measure(work)
    first = rows.read_bytes()
    rows.unlink()  # as if the run had ended between the file and the record
    measure(work)
    assert rows.read_bytes() == first


# --- in a child process ---------------------------------------------------------------------------

OK = {"status": "ok", "sha256": "0" * 64}
CORPUS = {"source": {"text_file": "x"}, "sha256": "1" * 64, "text": TEXT}
SETTINGS = {"window_tokens": 16, "chunks": 20, "max_bytes": 10**6}


@pytest.fixture(scope="module")
def held(folder: Path) -> dict[str, Any]:
    """The manifest of a reference whose rows are in `folder`."""
    record = reference(
        folder / "base.gguf",
        OK,
        CORPUS,
        SETTINGS,
        out=folder / "rows",
        partial=folder / "child",
        threads=2,
    )
    assert record["status"] == "ok", record
    return record


def against(folder: Path, held: dict[str, Any], gguf: str, **other: Any) -> dict[str, Any]:
    return divergence(
        folder / f"{gguf}.gguf",
        other.get("manifest", OK),
        other.get("rows", folder / "rows"),
        held,
        partial=folder / "child",
        threads=2,
    )


def test_a_model_does_not_diverge_from_itself(folder: Path, held: dict[str, Any]) -> None:
    record = against(folder, held, "base")
    assert json.loads(json.dumps(record)) == record
    summary = record["summary"]
    assert abs(summary["kld_mean_nats"]["value"]) < 1e-5
    assert summary["top1_agreement_pct"] == {"value": 100, "standard_error": 0}
    assert summary["perplexity"] == held["summary"]["perplexity"]
    assert summary["reference_perplexity"]["value"] == pytest.approx(
        summary["perplexity"]["value"], rel=1e-4
    )
    assert record["corpus"] == {name: CORPUS[name] for name in ("source", "sha256")}
    assert record["reference"]["gguf_sha256"] == OK["sha256"]
    assert not (folder / "child").exists()
    assert [path.name for path in folder.glob(".rows*")] == []


def test_a_variant_diverges(folder: Path, held: dict[str, Any]) -> None:
    record = against(folder, held, "variant")
    summary, sums = record["summary"], record["chunk_sums"]
    assert record["resampling"] == RESAMPLING
    assert summary["kld_mean_nats"]["value"] > 0.01
    assert 0 < summary["top1_agreement_pct"]["value"] < 100
    positions = record["chunks"] * record["positions_per_chunk"]
    assert (record["chunks"], positions) == (20, 140)
    mean = sum(chunk["kld"] for chunk in sums) / positions
    assert summary["kld_mean_nats"]["value"] == pytest.approx(mean)
    same = sum(chunk["same_top1"] for chunk in sums)
    assert summary["top1_agreement_pct"]["value"] == pytest.approx(100 * same / positions)


def test_every_number_can_be_computed_from_the_positions(
    folder: Path, held: dict[str, Any]
) -> None:
    record = against(folder, held, "variant")
    nll, reference_nll, kld = (
        np.array(record["positions"][name]) for name in ("nll", "reference_nll", "kld")
    )
    same = np.zeros_like(kld)
    for chunk, sums in zip(same, record["chunk_sums"], strict=True):
        chunk[: int(sums["same_top1"])] = 1
    again = summarize(np.stack([nll, reference_nll, kld, same]))
    assert again.keys() == record["summary"].keys()
    for name, estimate in record["summary"].items():
        assert again[name] == pytest.approx(estimate, rel=1e-6, abs=1e-8), name


def test_perplexity_needs_no_reference(folder: Path, held: dict[str, Any]) -> None:
    record = perplexity(
        folder / "base.gguf", OK, CORPUS, SETTINGS, partial=folder / "child", threads=2
    )
    assert record["summary"] == held["summary"]
    assert record["reference"] is None


def test_only_so_many_chunks_as_may_be_held(
    folder: Path, tmp_path: Path, held: dict[str, Any]
) -> None:
    limit = LogProbs.size(7, 16, VOCAB)
    record = reference(
        folder / "base.gguf",
        OK,
        CORPUS,
        SETTINGS | {"max_bytes": limit},
        out=tmp_path / "rows",
        partial=tmp_path / "partial",
        threads=2,
    )
    assert (record["chunks"], record["wanted_chunks"]) == (7, 20)
    assert record["available_chunks"] == held["available_chunks"]
    assert (tmp_path / "rows").stat().st_size == limit
    assert nlls(record) == pytest.approx(nlls(held)[:7], rel=1e-6)


def test_another_vocabulary(folder: Path, held: dict[str, Any]) -> None:
    with pytest.raises(LlmpiError, match=r"stranger.gguf has another vocabulary \(259 tokens\)"):
        against(folder, held, "stranger")
    with pytest.raises(LlmpiError, match="is not the file its manifest tells of"):
        against(folder, held | {"chunks": 19}, "base")


def test_failures_are_results(folder: Path, tmp_path: Path, held: dict[str, Any]) -> None:
    record = against(folder, held, "damaged")
    assert (record["status"], record["stage"]) == ("failed", "quality")
    assert record["reason"] == "the engine failed: llama.cpp cannot load damaged.gguf"
    broken = {"status": "failed", "stage": "quantize", "reason": "no"}
    assert against(folder, held, "base", manifest=broken) is broken
    assert against(folder, broken, "base") is broken
    lost = reference(
        folder / "base.gguf",
        broken,
        CORPUS,
        SETTINGS,
        out=tmp_path / "rows",
        partial=tmp_path / "partial",
        threads=2,
    )
    assert lost is broken
    assert (tmp_path / "rows").read_bytes() == b""


def test_a_job_that_dies_before_its_first_chunk_leaves_nothing(tmp_path: Path) -> None:
    folder, identity = tmp_path / "text.parts", {"model": "m"}
    assert Partial(folder, identity).finished() == 0
    assert list(tmp_path.iterdir()) == []
    Partial(folder, identity).save(0, np.zeros((2, 3)))
    assert Partial(folder, identity).finished() == 1
    assert Partial(folder, {"model": "another"}).finished() == 0
    assert list(tmp_path.iterdir()) == []
