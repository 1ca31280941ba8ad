"""Quantization-aware training of a tiny random model: real steps, files and interruptions."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_llama
import torch
from held import Hold
from support import first_of
from tiny_training import corpus_in, manifest_of

from benchmarks.small_models import small_models
from llmpi import needs
from llmpi.accidents import AccidentError
from llmpi.device.machine import capacity
from llmpi.engine.llama import Engine, Settings
from llmpi.engine.records import Failed
from llmpi.errors import CellError, LlmpiError
from llmpi.gguf import contents, ggml
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf
from llmpi.quality.divergence.records import Corpus
from llmpi.records import sha256_of
from llmpi.study.training import Training
from llmpi.train import export, loss
from llmpi.train.network import network_of, output_name
from llmpi.train.qat import train_qat
from llmpi.train.small import write_start
from llmpi.train.student import Student, weights_of
from llmpi.train.text import split, windows
from llmpi.train.trainer import LAST, Trainer
from llmpi.train.updates import rate_share

pytestmark = pytest.mark.usefixtures("forked_training")
SETTINGS = {
    "steps": 6,
    "sequences": 4,
    "sequence_tokens": 32,
    "learning_rate": 1e-3,
    "held_out_sequences": 4,
    "evaluate_every": 2,
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama.tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return corpus_in(tmp_path_factory.mktemp("corpus"))


def train(
    base: Path, corpus: Corpus, folder: Path, quant: str = "TQ2_0", **other: Any
) -> Gguf | Failed:
    return train_qat(
        base,
        manifest_of(base),
        folder / f"{quant}.gguf",
        quant=quant,
        settings=Training(**SETTINGS | other),
        corpus=corpus,
        checkpoints=folder / "checkpoints",
    )


@pytest.mark.parametrize("whole", [False, True], ids=["tied", "untied, scaled rotary frequencies"])
def test_logits_are_those_of_llama_cpp(tmp_path: Path, whole: bool) -> None:
    path, wide = tiny_llama.tiny_llama(tmp_path, whole=whole), tmp_path / "F32.gguf"
    assert quantize(path, manifest_of(path), wide, "F32")["status"] == "ok"
    exact = Settings(threads=1, kv_cache="f32", flash_attention="off")
    with Engine(wide, exact, context_tokens=64) as engine:
        tokens = engine.tokenize("the thing in the other inn")
        theirs = engine.decode_all(tokens).copy()
    weights = weights_of(path)
    state, _ = network_of(path).hidden_states(weights, torch.tensor([tokens]), dtype=torch.float32)
    ours = state[0] @ weights[output_name(weights)].T
    assert np.abs(ours.numpy() - theirs).max() < 1e-4


def test_a_file_holds_what_training_saw(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    made = train(base, corpus, tmp_path)
    assert made["status"] == "ok" and made["lineage"] == ["F16", "QAT", "TQ2_0"]
    assert made["sha256"] == sha256_of(tmp_path / "TQ2_0.gguf")
    assert made["tensors_by_type"]["tq2_0"]["tensors"] == 14
    training = made["training"]
    assert training["verified"] == 20 and training["corpus"]["sha256"] == corpus["sha256"]
    assert [look["step"] for look in training["history"]] == [0, 2, 4, 6]
    assert training["after"]["loss"] < training["before"]["loss"]
    assert not (tmp_path / "checkpoints").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["TQ2_0.gguf"]
    with contents.header(tmp_path / "TQ2_0.gguf") as new, contents.header(base) as old:
        kept = {"general.file_type", "general.quantization_version"}
        fields = contents.fields(new)
        assert {n: v for n, v in fields.items() if n not in kept} == {
            n: v for n, v in contents.fields(old).items() if n not in kept
        }


@pytest.mark.parametrize("quant", first_of(["Q4_K_M", "Q4_0", "F16", "Q8_0", "TQ1_0", "IQ4_XS"], 2))
def test_every_kind_of_type_is_exported_bit_for_bit(
    base: Path, corpus: Corpus, tmp_path: Path, quant: str
) -> None:
    made = train(base, corpus, tmp_path, quant, steps=1, evaluate_every=1)
    assert made["status"] == "ok", made["reason"]
    assert made["training"]["verified"] == 20


@pytest.mark.parametrize("by_block", [False, True])
def test_a_model_of_which_nothing_can_be_quantized_is_not_trained(
    corpus: Corpus, tmp_path: Path, by_block: bool
) -> None:
    """It would be an F16 that is called otherwise."""
    tiny_llama.write_tokenizer(tmp_path / "tokenizer.gguf")
    path = tmp_path / "narrow.gguf"
    size = replace(tiny_llama.SIZE, width=40, heads=2, kv_heads=1, ffn_width=72)
    write_start(tmp_path / "tokenizer.gguf", path, size, seed=1)
    made = train(path, corpus, tmp_path, "Q4_0", by_block=by_block)
    assert made["status"] == "failed" and "no tensor can be quantized" in made["reason"]


def test_what_is_too_small_for_torch_is_told_before_it_is_loaded(
    base: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 1000)
    with pytest.raises(AccidentError, match=r"the training needs about 0\.6 GB of memory"):
        train(base, corpus, tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("by_block", [False, True])
def test_a_training_that_failed_for_good_leaves_no_checkpoints(
    base: Path, corpus: Corpus, tmp_path: Path, by_block: bool
) -> None:
    """Its record is a result: nothing would go on from them."""
    steep: dict[str, Any] = {"learning_rate": 1e30, "clip_norm": 1e9, "evaluate_every": 1}
    made = train(base, corpus, tmp_path, "Q4_0", by_block=by_block, **steep)
    assert made["status"] == "failed" and "nan" in made["reason"], made
    assert [path.name for path in tmp_path.iterdir()] == ["Q4_0.gguf"]


@pytest.mark.parametrize("shape", ["tied", "untied", "falls back"])
@pytest.mark.parametrize("quant", ["Q4_0", "Q4_K_M", "TQ2_0", "Q2_0", "F16"])
def test_what_the_engine_says_it_would_make_it_makes(
    tmp_path: Path, quant: str, shape: str
) -> None:
    """No file of the untrained model is made to see it."""
    path = tiny_llama.tiny_llama(tmp_path, whole=shape == "untied")
    if shape == "falls back":
        size = replace(tiny_llama.SIZE, width=96, heads=3, kv_heads=1, ffn_width=160)
        write_start(tmp_path / "tokenizer.gguf", path, size, seed=1)
    before = {*tmp_path.iterdir()}
    told = export.kinds_of(path, quant)
    assert {*tmp_path.iterdir()} == before
    out = tmp_path / "out.gguf"
    made = quantize(path, manifest_of(path), out, quant)
    assert made["status"] == "ok", made["reason"]
    assert told == {name: held.kind for name, held in contents.stored(out).items()}
    assert bool(made["fallbacks"]) == (shape == "falls back" and quant != "F16")


def test_a_file_that_is_not_what_training_saw_is_found(base: Path, tmp_path: Path) -> None:
    made, manifest = tmp_path / export.QUANTIZED, manifest_of(base)
    kinds = export.kinds_of(base, "Q4_0")
    student = Student(weights_of(base), kinds)
    assert export.write(student, base, manifest, "Q4_0", tmp_path)["status"] == "ok"
    assert export.verify(student, made) == 20
    student.weights["blk.1.ffn_up.weight"][7, 9] += 0.1
    with pytest.raises(CellError, match=r"blk\.1\.ffn_up\.weight"):
        export.verify(student, made)


@pytest.mark.fault("a training killed half way", by="hash of the model: that of a run that was not")
def test_interrupted_training_goes_on_to_the_same_weights(
    base: Path, corpus: Corpus, hold: Hold, tmp_path: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    wanted = train(base, corpus, whole)
    job = {
        "base": str(base),
        "base_manifest": manifest_of(base),
        "out": str(cut / "out.gguf"),
        "quant": "TQ2_0",
        "settings": Training(**SETTINGS).model_dump(),
        "corpus": {"source": corpus["source"], "sha256": corpus["sha256"]},
        "text": corpus["text"],
        "checkpoints": str(cut / "checkpoints"),
        "threads": capacity.processors(),
    }
    cut.mkdir()
    (cut / "job.json").write_text(json.dumps(job))
    command = [sys.executable, "-m", "llmpi.train", str(cut / "job.json"), str(cut / "out.json")]
    with (
        hold.at(said="step 4:"),
        subprocess.Popen(command, stderr=subprocess.DEVNULL, env=hold.env_here) as child,
    ):
        hold.wait(lambda: child.poll() is None)
        child.kill()
    assert (cut / "checkpoints" / LAST).is_file()
    kept = sum(path.stat().st_size for path in (cut / "checkpoints").glob("*.pt"))
    assert kept < needs.training_disk_bytes(base.stat().st_size), "so much is planned for"
    assert not (cut / "out.json").exists()
    found = train(base, corpus, cut)
    assert found["sha256"] == wanted["sha256"]
    assert not (cut / "checkpoints").exists(), "they are of no use any more"
    losses = [
        [(look["step"], look["loss"]) for look in made["training"]["history"]]
        for made in (wanted, found)
    ]
    assert losses[0] == losses[1]


def test_a_loss_that_is_no_number_spoils_the_cell_and_is_in_no_checkpoint(
    base: Path, corpus: Corpus, tmp_path: Path
) -> None:
    steep = {"learning_rate": 1e38, "clip_norm": 1e38, "warmup_share": 0.0}
    made = train(base, corpus, tmp_path, **steep)
    assert made["status"] == "failed" and made["stage"] == "train"
    assert "learning_rate" in made["reason"]
    assert (tmp_path / "TQ2_0.gguf").stat().st_size == 0
    trainer, _ = trainer_of(base, corpus, tmp_path, **steep)
    with pytest.raises(CellError, match="learning_rate"):
        trainer.run()
    state = torch.load(tmp_path / LAST, weights_only=True)
    assert all(weight.isfinite().all() for weight in state["weights"].values())


def test_no_better_loss_ends_the_training(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    made = train(
        base, corpus, tmp_path, quant="Q8_0", steps=50, learning_rate=0.3, evaluate_every=1
    )
    training = made["training"]
    assert training["steps"] == 3 and training["after"]["step"] == 0


def trainer_of(base: Path, corpus: Corpus, folder: Path, **spec: Any) -> tuple[Trainer, Student]:
    wanted = Training(**SETTINGS | spec)
    weights = weights_of(base)
    text = windows(base, corpus["text"], tokens=32, held_out_share=0.1, held_out_windows=4)
    kinds = {name: "TQ2_0" if weight.dim() > 1 else "F32" for name, weight in weights.items()}
    student = Student({name: weight.clone() for name, weight in weights.items()}, kinds)
    network = network_of(base)
    return Trainer(student, weights, network, text, wanted, folder=folder, identity={}), student


def test_accumulated_and_recomputed_gradients_are_the_same(
    base: Path, corpus: Corpus, tmp_path: Path
) -> None:
    gradients = []
    for spec in ({}, {"accumulation": 4, "recompute": True}):
        trainer, student = trainer_of(base, corpus, tmp_path, bf16=False, **spec)
        trainer.step(0)
        gradients.append({name: student.weights[name].grad for name in student.trained})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-3, atol=1e-7)


def test_hidden_states_are_learned_from_too(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    plain, _ = trainer_of(base, corpus, tmp_path, bf16=False)
    more, _ = trainer_of(base, corpus, tmp_path, bf16=False, hidden_weight=1.0)
    assert more.step(0) > plain.step(0)


def test_losses_are_those_of_torch() -> None:
    random = torch.Generator().manual_seed(0)
    hidden, theirs = (torch.randn(300, 16, generator=random) for _ in range(2))
    output, their_output = (torch.randn(50, 16, generator=random) for _ in range(2))
    following = torch.randint(50, (300,), generator=random)

    def both(value: torch.Tensor) -> list[torch.Tensor]:
        found = torch.autograd.grad(value, (hidden, output))
        return [value.detach(), *found]

    hidden.requires_grad_()
    output.requires_grad_()
    found = loss.divergence(
        hidden, output, theirs, their_output, temperature=2.0, dtype=torch.float32
    )
    wanted = 4 * torch.nn.functional.kl_div(
        (hidden @ output.T / 2).log_softmax(1),
        (theirs @ their_output.T / 2).log_softmax(1),
        log_target=True,
        reduction="batchmean",
    )
    torch.testing.assert_close(both(found), both(wanted))
    found = loss.cross_entropy(hidden, output, following, dtype=torch.float32)
    wanted = torch.nn.functional.cross_entropy(hidden @ output.T, following)
    torch.testing.assert_close(both(found), both(wanted))


def test_held_out_text_is_never_trained_on(base: Path) -> None:
    text = "".join(f"line {i}\n" for i in range(1000))
    train_part, held_out = split(text, 0.25)
    assert train_part + held_out == text and train_part.endswith("\n")
    assert len(held_out) == pytest.approx(len(text) / 4, abs=10)
    found = windows(base, text, tokens=16, held_out_share=0.25, held_out_windows=5)
    assert len(found.held_out) == 5
    seen = [found.batch(step, 7, seed=3) for step in range(80)]
    rows = {row.tobytes() for batch in seen for row in batch}
    assert rows <= {row.tobytes() for row in found.train}
    once = np.concatenate(seen)[: len(found.train)]
    assert len({row.tobytes() for row in once}) == len({row.tobytes() for row in found.train})


def test_the_rate_rises_and_falls() -> None:
    wanted = Training(steps=100, warmup_share=0.1, final_rate_share=0.2)
    shares = [rate_share(step, wanted) for step in range(100)]
    assert shares[:11] == sorted(shares[:11]) and shares[10] == 1
    assert shares[10:] == sorted(shares[10:], reverse=True) and shares[-1] == pytest.approx(0.2)


def test_what_cannot_be_trained_is_said(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(LlmpiError, match="sequence_tokens is 128"):
        train(base, corpus, tmp_path, sequence_tokens=128)
    with pytest.raises(LlmpiError, match="longer text"):
        train(base, corpus | {"text": "the inn\n" * 9}, tmp_path)
    with pytest.raises(LlmpiError, match="without an importance matrix"):
        train(base, corpus, tmp_path, quant="IQ2_XXS")


def test_failed_inputs_are_passed_on(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    bad = {"status": "failed", "stage": "fetch", "reason": "gone"}
    out = tmp_path / "out.gguf"
    kwargs: dict[str, Any] = {
        "quant": "Q4_0",
        "settings": Training(**SETTINGS),
        "checkpoints": tmp_path / "kept",
    }
    assert train_qat(base, bad, out, corpus=corpus, **kwargs) is bad
    assert train_qat(base, manifest_of(base), out, corpus=bad, **kwargs) is bad
    assert out.stat().st_size == 0


def test_small_models_come_from_one_start(base: Path, corpus: Corpus, tmp_path: Path) -> None:
    made = small_models(
        base.with_name("tokenizer.gguf"),
        tmp_path,
        size=tiny_llama.SIZE,
        settings=Training(**SETTINGS | {"steps": 2}),
        corpus=corpus,
    )
    assert {name: record["status"] for name, record in made.items()} == dict.fromkeys(made, "ok")
    assert made["QAT"]["source"] == made["F16"]["source"]
    assert made["PTQ"]["tensors_by_type"] == made["QAT"]["tensors_by_type"]
    with ggml.opened(tmp_path / "F16.gguf") as (_, tensors):
        assert tensors["blk.0.attn_k.weight"].shape == (128, 256)


def test_nothing_but_the_training_process_imports_torch() -> None:
    code = (
        "import sys, llmpi.train.qat, llmpi.train.small, llmpi.gguf.quantize\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
