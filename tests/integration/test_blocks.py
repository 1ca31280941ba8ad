"""Training block by block of a tiny model: the way it goes, what a file holds, where it goes on."""

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
from support import first_of
from tiny_training import corpus_in, manifest_of

from llmpi import needs
from llmpi.accidents import AccidentError
from llmpi.device.machine import capacity
from llmpi.engine.records import Failed
from llmpi.gguf import contents, quantizers
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.records import Corpus
from llmpi.records import sha256_of
from llmpi.study.training import Training
from llmpi.train import loss, way
from llmpi.train.blocks import file
from llmpi.train.blocks.model import Model
from llmpi.train.network import network_of, output_name
from llmpi.train.predictions import Windows
from llmpi.train.qat import Job, said, train_qat
from llmpi.train.scales import Scales
from llmpi.train.student import weights_of
from llmpi.train.text import windows

SETTINGS: dict[str, Any] = {
    "steps": 4,
    "sequences": 4,
    "sequence_tokens": 32,
    "learning_rate": 1e-4,
    "held_out_sequences": 4,
    "evaluate_every": 2,
    "by_block": True,
}
pytestmark = pytest.mark.usefixtures("forked_training")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_in(tmp_path_factory.mktemp("corpus"))


def train(base: Path, corpus: Corpus, folder: Path, quant: str, **other: Any) -> Gguf | Failed:
    return train_qat(
        base,
        manifest_of(base),
        folder / f"{quant}.gguf",
        quant=quant,
        settings=Training(**SETTINGS | other),
        corpus=corpus,
        checkpoints=folder / "checkpoints",
    )


def job_of(base: Path, corpus: Corpus, folder: Path, quant: str, **other: Any) -> Job:
    return {
        "base": str(base),
        "base_manifest": manifest_of(base),
        "out": str(folder / "out.gguf"),
        "quant": quant,
        "settings": said(Training(**SETTINGS | other)),
        "corpus": {"source": corpus["source"], "sha256": corpus["sha256"]},
        "text": corpus["text"],
        "checkpoints": str(folder / "checkpoints"),
        "threads": capacity.processors(),
    }


# --- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("quant", first_of(["Q4_0", "Q4_K_M", "Q2_0", "TQ1_0"], 2))
def test_a_file_holds_what_training_saw(
    base: Path, corpus: Corpus, tmp_path: Path, quant: str
) -> None:
    made, out = train(base, corpus, tmp_path, quant), tmp_path / f"{quant}.gguf"
    assert made["status"] == "ok", made["reason"]
    assert made["lineage"] == ["F16", "QAT", quant] and made["sha256"] == sha256_of(out)
    training, has_scales = made["training"], quant != "Q4_K_M"
    assert training["by_block"] and training["settings"]["by_block"] is True
    assert [look["step"] for look in training["history"]] == [0, 4, *([6, 8] if has_scales else [])]
    assert training["after"]["loss"] == min(look["loss"] for look in training["history"][1:])
    for block in training["blocks"]:
        assert block[block["kept"]] == min(block[n] for n in ("plain", "searched", "learned"))
        assert block["matrices"] == (0 if block["kept"] == "plain" else 9)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    plain = tmp_path / "plain.gguf"
    assert quantize(base, manifest_of(base), plain, quant)["status"] == "ok"
    before, after = contents.stored(plain), contents.stored(out)
    assert {n: (t.kind, t.shape) for n, t in before.items()} == {
        n: (t.kind, t.shape) for n, t in after.items()
    }
    changed = {n for n in before if not np.array_equal(before[n].data, after[n].data)}
    assert changed and all(name.startswith("blk.") for name in changed)
    assert len(changed) <= training["verified"]
    assert training["after"]["loss"] == pytest.approx(divergence(base, out, corpus), rel=0.01)


def divergence(base: Path, out: Path, corpus: Corpus) -> float:
    """Of a file on the held-out windows, its weights all at once."""
    text = windows(base, corpus["text"], tokens=32, held_out_share=0.1, held_out_windows=4)
    tokens, found = torch.from_numpy(text.held_out), []
    network = network_of(base)
    for path in (out, base):
        weights = weights_of(path)
        hidden, _ = network.hidden_states(weights, tokens, dtype=torch.bfloat16)
        found += [hidden.flatten(0, 1), weights[output_name(weights)]]
    ours, ours_output, theirs, theirs_output = found
    return loss.divergence(
        ours, ours_output, theirs, theirs_output, temperature=1.0, dtype=torch.bfloat16
    ).item()


def test_blocks_err_less_than_they_did(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    made = train(base, corpus, tmp_path, "Q2_0", steps=12, evaluate_every=12)
    assert all(block["learned"] < block["plain"] for block in made["training"]["blocks"])
    assert made["training"]["after"]["loss"] < made["training"]["before"]["loss"]


@pytest.mark.parametrize("at", ["block 1 of 2:", "step 6:"])
@pytest.mark.fault(
    "a training by block killed half way", by="hash of the model: that of a run that was not"
)
def test_an_interrupted_training_goes_on_to_the_same_file(
    base: Path, corpus: Corpus, hold: Hold, tmp_path: Path, at: str
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    wanted = train(base, corpus, whole, "Q4_0")
    cut.mkdir()
    (cut / "job.json").write_text(json.dumps(job_of(base, corpus, cut, "Q4_0")))
    child = [sys.executable, "-m", "llmpi.train", *map(str, (cut / "job.json", cut / "o"))]
    with (
        hold.at(said=at),
        subprocess.Popen(child, stderr=subprocess.DEVNULL, env=hold.env_here) as process,
    ):
        hold.wait(lambda: process.poll() is None)
        process.kill()
    assert not (cut / "o").exists() and (cut / "checkpoints" / "block-0.pt").is_file()
    kept = sum(path.stat().st_size for path in (cut / "checkpoints").glob("*.pt"))
    assert kept < needs.block_training_disk_bytes(base.stat().st_size), "so much is planned for"
    found = train(base, corpus, cut, "Q4_0")
    assert found["sha256"] == wanted["sha256"]
    looks = [
        [(look["step"], look["loss"]) for look in made["training"]["history"]]
        for made in (wanted, found)
    ]
    assert looks[0] == looks[1]
    assert wanted["training"]["blocks"] == found["training"]["blocks"]
    assert not (cut / "checkpoints").exists(), "it is of no use any more"


# --- scales ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Q4_0", "Q2_0", "TQ1_0", "TQ2_0"])
def test_ggml_reads_the_scales_that_were_learned(base: Path, tmp_path: Path, kind: str) -> None:
    made = tmp_path / "made.gguf"
    assert quantize(base, manifest_of(base), made, kind)["status"] == "ok"
    model = Model(base, made, network_of(base), CPU, torch.float32)
    text = Windows(np.zeros((2, 8), np.int64), torch.ones(2, 8, 256), *torch.arange(2)[:, None])
    look: Any = {"step": 0, "loss": 9.0, "nll": 9.0, "train_loss": None, "seconds": 0.0}
    settings = Training(**SETTINGS | {"steps": 1, "evaluate_every": 1, "learning_rate": 0.01})
    scales = Scales(model, text, settings, [look], folder=tmp_path, identity="")
    before = model.plain(0)["ffn_up"]
    _, codes = scales._weights(0)
    scales.run()
    learned = dict(scales.learned())
    file.write(made, learned)
    file.verify(made, learned)
    ratio = model.plain(0)["ffn_up"] / before
    assert len(learned) == 14 and not torch.equal(before, model.plain(0)["ffn_up"])
    assert ratio[before != 0].sub(1).abs().max() < 0.1, "codes stay, scales move by their share"
    assert torch.equal(codes["ffn_up"], codes["ffn_up"].round())
    for name, held in contents.stored(made).items():
        if name in learned:
            rows = held.data.reshape(held.shape[0], -1)
            read = quantizers.dequantized(rows, held.kind, held.shape[1])
            assert np.isfinite(read).all()


# --- the way --------------------------------------------------------------------------------------


def test_what_is_free_chooses_and_what_was_begun_goes_on(
    base: Path,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    job, settings = (
        job_of(base, corpus, tmp_path, "Q4_0"),
        Training(**SETTINGS | {"by_block": None}),
    )
    whole = needs.MB * needs.training_mb(base.stat().st_size)
    free = whole - 1
    monkeypatch.setattr(capacity, "own_memory_bytes", lambda: free)
    # So small a model takes as much by block: what it would need is not what is looked at here.
    monkeypatch.setattr(needs, "block_training_mb", lambda size, tokens: 1)
    assert way.trains_by_block(job, settings, CPU)
    assert "trains for Q4_0 block by block, as the whole takes" in capfd.readouterr().err
    free, kept = whole, tmp_path / "checkpoints/block-0.pt"
    kept.touch()
    assert way.trains_by_block(job, settings, CPU), "it was begun so"
    assert "as it was begun" in capfd.readouterr().err
    assert kept.exists()
    other = {**job, "quant": "Q8_0"}
    assert not way.trains_by_block(other, settings, CPU), "that is another training"
    assert not kept.exists(), "and has no use for it"
    assert "trains for Q8_0 as a whole, as that takes" in capfd.readouterr().err


@pytest.mark.parametrize(("by_block", "would"), [(False, "by_block: true"), (True, "larger")])
def test_what_does_not_fit_is_refused_before_it_is_loaded(
    base: Path,
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    by_block: bool,
    would: str,
) -> None:
    monkeypatch.setattr(capacity, "own_memory_bytes", lambda: 1000)
    monkeypatch.setattr(needs, "training_mb", lambda *_: 10_000)
    job = job_of(base, corpus, tmp_path, "Q4_0", by_block=by_block)
    with pytest.raises(AccidentError, match=would):
        way.trains_by_block(job, Training(**SETTINGS | {"by_block": by_block}), CPU)
    assert not (tmp_path / "checkpoints" / way.KEPT).exists()
