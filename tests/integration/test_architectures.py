"""Training of each architecture: what transformers computes, in blocks, and what files then hold.

The checkpoints are tiny and random; transformers, the converter and the engine are the real ones.
"""

import pydoc_data.topics
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sentencepiece
import tiny_checkpoints as tiny
import torch
from support import ROOT, first_of
from tiny_training import corpus_in, manifest_of

from llmpi.engine.llama import Engine, Settings
from llmpi.gguf import contents, quantizers
from llmpi.gguf.convert import convert
from llmpi.gguf.quantize import quantize
from llmpi.quality.divergence.records import Corpus
from llmpi.study.training import Rounding, Training
from llmpi.train import export, loss
from llmpi.train.blocks import file
from llmpi.train.blocks.model import Model, name_of
from llmpi.train.blocks.steps import Lesson
from llmpi.train.network import network_of, output_name
from llmpi.train.one_block import StudentBlock
from llmpi.train.qat import train_qat
from llmpi.train.rounding.make import learn_rounding
from llmpi.train.student import Student, weights_of
from llmpi.train.text import windows
from llmpi.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("forked_training")
NAMES = ["gemma3", "qwen3", "phi4-mini", "llama", "smollm3", "phi3", "phi3.5-longrope"]
TRAINED = ["gemma3", "qwen3", "smollm3", "phi4-mini"]
"""Of each architecture one; `test_blocks` and `test_rounding` train a Llama."""
CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {
    "steps": 2,
    "sequences": 2,
    "sequence_tokens": 48,
    "learning_rate": 1e-4,
    "held_out_sequences": 2,
    "evaluate_every": 2,
    "by_block": True,
}


class Made(NamedTuple):
    model: Any
    """transformers' own, of weights that an F16 holds as they are."""
    base: Path
    """What llama.cpp's converter made of it."""
    tokens: list[int]
    """96 of a text: more than the sliding window that one of them has."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model of each name, converted once."""
    pieces = tiny.tokenizer(tmp_path_factory.mktemp("pieces"))
    read = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    tokens = [1, *read.encode(pydoc_data.topics.topics["formatstrings"])][:96]
    found: dict[str, Made] = {}

    def of(name: str) -> Made:
        if name not in found:
            model = tiny.model(name)
            for weight in model.parameters():  # not the frequencies, as half() of the whole would
                weight.data = weight.data.half().float()
            folder = tiny.save(model, tmp_path_factory.mktemp(name) / name, pieces)
            files = {path.name: {"sha256": path.name, "bytes": 1} for path in folder.iterdir()}
            origin = {"kind": "path", "path": str(folder)}
            fetched: Any = {"status": "ok", "files": files, "origin": origin}
            base = folder.with_name("base.gguf")
            record = convert(
                folder,
                {**fetched, "checkpoint": None, "ggufs": []},
                base,
                lock=ROOT / "envs/workstation.lock",
            )
            assert record["status"] == "ok", record["reason"]
            found[name] = Made(model, base, tokens)
        return found[name]

    return of


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    text = "\n".join(pydoc_data.topics.topics[name] for name in ("assert", "class", "if", "with"))
    return corpus_in(tmp_path_factory.mktemp("corpus"), text)


# --- what is computed -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", first_of(NAMES, 3))
def test_each_block_makes_what_transformers_has_there(name: str, made: Any) -> None:
    model, base, tokens = made(name)
    with torch.no_grad():
        wanted = model(torch.tensor([tokens]), output_hidden_states=True).hidden_states
        network, weights = network_of(base), weights_of(base)
        last, outputs = network.hidden_states(weights, torch.tensor([tokens]), dtype=torch.float32)
        first = network.embedded(weights["token_embd.weight"][tokens])
    for ours, theirs in zip([first[None], *outputs[:-1], last], wanted, strict=True):
        apart = ((ours - theirs).norm() / theirs.norm()).item()
        print(f"{name}: {apart:.1e}")
        assert apart < 1e-5


@pytest.mark.parametrize("name", first_of(NAMES, 3))
def test_logits_are_those_of_llama_cpp(name: str, made: Any, tmp_path: Path) -> None:
    _, base, tokens = made(name)
    wide = tmp_path / "F32.gguf"
    assert quantize(base, manifest_of(base), wide, "F32")["status"] == "ok"
    exact = Settings(threads=1, kv_cache="f32", flash_attention="off")
    with Engine(wide, exact, context_tokens=128) as engine:
        theirs = engine.decode_all(tokens).copy()
    weights = weights_of(base)
    with torch.no_grad():
        state, _ = network_of(base).hidden_states(
            weights, torch.tensor([tokens]), dtype=torch.float32
        )
        ours = state[0] @ weights[output_name(weights)].T
    apart = np.abs(ours.numpy() - theirs).max()
    print(f"{name}: {apart:.1e} of {theirs.std():.1f}")
    assert apart < 1e-2 < theirs.std()


@pytest.mark.parametrize("name", first_of(NAMES, 3))
def test_a_block_in_bfloat16_is_nearly_the_same(name: str, made: Any) -> None:
    """Products alone are of fewer digits: what a block hands on stays float32."""
    _, base, tokens = made(name)
    network, weights = network_of(base), weights_of(base)
    with torch.no_grad():
        one, other = (
            network.hidden_states(weights, torch.tensor([tokens]), dtype=dtype)[1][0]
            for dtype in (torch.float32, torch.bfloat16)
        )
    assert other.dtype == torch.float32
    assert 0 < ((one - other).norm() / one.norm()).item() < 0.03


@pytest.mark.parametrize("name", first_of(NAMES, 3))
def test_gradients_reach_every_weight_of_a_block(name: str, made: Any) -> None:
    """The same whether activations are kept or computed again."""
    _, base, tokens = made(name)
    network, found = network_of(base), []
    for recompute in (False, True):
        weights = {key: each.requires_grad_() for key, each in weights_of(base).items()}
        state, _ = network.hidden_states(
            weights, torch.tensor([tokens[:40]]), dtype=torch.float32, recompute=recompute
        )
        state.square().sum().backward()
        found.append({key: each.grad for key, each in weights.items() if key.startswith("blk.")})
    for key, gradient in found[0].items():
        assert gradient is not None and gradient.abs().max() > 0, key
        torch.testing.assert_close(found[1][key], gradient)


# --- what a file holds ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", first_of(TRAINED))
@pytest.mark.parametrize("quant", ["Q4_0", "TQ2_0"])
def test_ggml_reads_of_a_file_what_a_block_learned_with(
    name: str, quant: str, made: Any, tmp_path: Path
) -> None:
    _, base, tokens = made(name)
    out, network = tmp_path / "out.gguf", network_of(base)
    assert quantize(base, manifest_of(base), out, quant)["status"] == "ok"
    model, last = Model(base, out, network, CPU, torch.float32), network.layers - 1
    wide, states = model.unquantized(last), model.embedded(np.array(tokens).reshape(3, 32))
    targets = model.output(last)(wide, states)
    block = StudentBlock(wide, model.kinds(last), model.output(last), Training(**SETTINGS))
    block.learn(Lesson(states, targets, torch.arange(3), 0, lambda *_: None))
    learned = {
        name_of(last, part): data.numpy().reshape(-1) for part, data in block.file_bytes().items()
    }
    file.write(out, learned)
    held = contents.stored(out)
    assert {held[name_of(last, part)].kind for part in network.parts} == {quant, "F32"}
    for part, seen in block.seen.items():
        tensor = held[name_of(last, part)]
        rows = tensor.data.reshape(seen.numel() // seen.shape[-1], -1)
        read = quantizers.dequantized(rows, tensor.kind, seen.shape[-1]).reshape(seen.shape)
        np.testing.assert_array_equal(read, seen.detach().numpy(), part)


@pytest.mark.parametrize("name", first_of(TRAINED))
def test_a_model_is_trained_block_by_block(
    name: str, made: Any, corpus: Corpus, tmp_path: Path
) -> None:
    base, out = made(name).base, tmp_path / "out.gguf"
    record = train_qat(
        base,
        manifest_of(base),
        out,
        quant="Q4_0",
        settings=Training(**SETTINGS),
        corpus=corpus,
        checkpoints=tmp_path / "checkpoints",
    )
    assert record["status"] == "ok", record["reason"]
    training, network = record["training"], network_of(base)
    assert training["by_block"] and len(training["blocks"]) == network.layers
    assert training["after"]["loss"] == min(look["loss"] for look in training["history"][1:])
    text = windows(base, corpus["text"], tokens=48, held_out_share=0.1, held_out_windows=2)
    found = []
    for path in (out, base):
        weights = weights_of(path)
        with torch.no_grad():
            hidden, _ = network.hidden_states(
                weights, torch.from_numpy(text.held_out), dtype=torch.bfloat16
            )
        found += [hidden.flatten(0, 1), weights[output_name(weights)]]
    of_the_file = loss.divergence(*found, temperature=1.0, dtype=torch.bfloat16).item()
    assert training["after"]["loss"] == pytest.approx(of_the_file, rel=0.02)


@pytest.mark.parametrize("name", first_of(TRAINED))
def test_a_rounding_is_learned(name: str, made: Any, corpus: Corpus, tmp_path: Path) -> None:
    base, out = made(name).base, tmp_path / "out.gguf"
    record = learn_rounding(
        base,
        manifest_of(base),
        out,
        quant="Q2_0+round",
        settings=Rounding(steps=20, windows=16),
        corpus={**corpus, "text": corpus["text"] * 8},
        checkpoints=tmp_path / "checkpoints",
    )
    assert record["status"] == "ok", record["reason"]
    done, network = record["rounding"], network_of(base)
    print(name, done["blocks"])
    assert len(done["blocks"]) == network.layers
    assert done["verified"] == sum(block["matrices"] for block in done["blocks"]) > 0
    for block in done["blocks"]:
        assert block[block["kept"]] == min(block[n] for n in ("plain", "searched", "learned"))
        assert block["learned"] < block["plain"]


@pytest.mark.parametrize("name", first_of(TRAINED))
def test_a_whole_model_is_exported_bit_for_bit(
    name: str, made: Any, corpus: Corpus, tmp_path: Path
) -> None:
    base = made(name).base
    manifest, weights = manifest_of(base), weights_of(base)
    student = Student(weights, export.kinds_of(base, "Q4_0"))
    text = windows(base, corpus["text"], tokens=48, held_out_share=0.1, held_out_windows=2)
    settings = Training(**SETTINGS | {"by_block": False})
    trainer = Trainer(
        student, weights_of(base), network_of(base), text, settings, folder=tmp_path, identity={}
    )
    assert np.isfinite(trainer.step(0))
    assert export.write(student, base, manifest, "Q4_0", tmp_path)["status"] == "ok"
    assert export.verify(student, tmp_path / export.QUANTIZED) == len(weights)
