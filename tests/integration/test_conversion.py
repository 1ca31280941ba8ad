"""Checkpoints of each architecture through llama.cpp's own converter: the same model comes out.

The checkpoints are tiny and random, the converter, the engine and transformers are the real ones.
"""

import json
import os
import pydoc_data.topics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tiny_checkpoints as tiny
import torch
from safetensors.torch import load_file, save_file
from support import ROOT, first_of, run_snakemake

from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, Settings
from llmpi.errors import LlmpiError
from llmpi.gguf import engine_source
from llmpi.gguf.convert import convert
from llmpi.gguf.converter import NEEDED, converter_folder
from llmpi.gguf.quantize import quantize

pytestmark = pytest.mark.usefixtures("forked_training")

LOCK = ROOT / "envs/workstation.lock"
TOKENS = 96
CONTEXT_TOKENS = 256
TERNARY = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@pytest.fixture(scope="module", autouse=True)
def quiet_and_small() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    engine_info.log_to(lambda _: None)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.tokenizer(tmp_path_factory.mktemp("pieces"))


@pytest.fixture(scope="module")
def read_gguf() -> Callable[[Path], dict[str, tuple[str, np.ndarray]]]:
    """Tensor name -> type and values, read and dequantized by llama.cpp's Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(converter_folder(engine_source.pin(LOCK)) / "gguf-py"))
        import gguf

    def read(path: Path) -> dict[str, tuple[str, np.ndarray]]:
        return {
            tensor.name: (
                tensor.tensor_type.name,
                gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32),
            )
            for tensor in gguf.GGUFReader(path).tensors
        }

    return read


def manifest_of(folder: Path) -> dict[str, Any]:
    """As `fetch_model` leaves it."""
    files = {path.name: {"sha256": path.name, "bytes": 1} for path in folder.iterdir()}
    origin = {"kind": "path", "path": str(folder)}
    return {"status": "ok", "files": files, "origin": origin, "checkpoint": None, "ggufs": []}


def converted(folder: Path, outtype: str) -> tuple[Path, dict[str, Any]]:
    out = folder.with_name(f"{folder.name}.{outtype}.gguf")
    return out, convert(folder, manifest_of(folder), out, lock=LOCK, outtype=outtype)


def failure(folder: Path) -> str:
    """Why a checkpoint cannot be converted, from its manifest."""
    out, manifest = converted(folder, "F16")
    assert (manifest["status"], manifest["stage"]) == ("failed", "convert")
    assert out.read_bytes() == b""
    return manifest["reason"].removeprefix(f"{folder}: ")


def text_tokens(pieces: Path, count: int = TOKENS) -> list[int]:
    read = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    return [1, *read.encode(pydoc_data.topics.topics["formatstrings"])][:count]


def assert_same_model(
    gguf: Path, reference: torch.nn.Module, tokens: list[int], context_tokens: int = CONTEXT_TOKENS
) -> None:
    """The engine's logits of every token are the reference's."""
    with torch.no_grad():
        expected = reference(torch.tensor([tokens])).logits[0].numpy()
    settings = Settings(threads=1, kv_cache="f32", flash_attention="off")
    with Engine(gguf, settings, context_tokens=context_tokens) as engine:
        got = np.array(engine.decode_all(tokens))
    difference = float(np.abs(expected - got).max())
    print(f"{gguf.name}: std {expected.std():.2f}, maximum difference {difference:.1e}")
    assert expected.std() > 1, "logits too small for the difference to mean anything"
    assert difference < 1e-2
    assert (expected.argmax(-1) == got.argmax(-1)).all()


# --- the same model -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", first_of([name for name in reversed(tiny.CONFIGS) if name != "bitnet"], 3)
)
def test_logits_are_those_of_transformers(name: str, pieces: Path, tmp_path: Path) -> None:
    model = tiny.model(name)
    gguf, manifest = converted(tiny.save(model, tmp_path / name, pieces), "F32")
    assert manifest["status"] == "ok", manifest.get("reason")
    assert_same_model(gguf, model, text_tokens(pieces))


def test_a_long_text_has_the_rope_of_long_texts(pieces: Path, tmp_path: Path) -> None:
    """Phi-3.5 has factors of their own beyond its original context, here 512 tokens."""
    model = tiny.model("phi3.5-longrope")
    gguf, _ = converted(tiny.save(model, tmp_path / "phi3.5", pieces), "F32")
    assert_same_model(gguf, model, text_tokens(pieces, 600), context_tokens=1024)


def test_a_file_says_how_it_came_about(pieces: Path, tmp_path: Path) -> None:
    model = tiny.model("llama").bfloat16()
    folder = tiny.save(model, tmp_path / "-Tiny-Llama", pieces, max_shard_size="2MB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    gguf, manifest = converted(folder, "F16")
    assert manifest["lineage"] == ["BF16", "F16"]
    assert (manifest["architecture"], manifest["main_type"]) == ("llama", "F16")
    assert set(manifest["tensors_by_type"]) == {"f16", "f32"}
    assert manifest["bytes"] == gguf.stat().st_size
    assert manifest["converter"]["torch"].startswith("2.")
    assert manifest["converter"]["sources"].startswith("0.3.36-")
    _, wide = converted(folder, "BF16")
    assert wide["lineage"] == ["BF16", "BF16"]
    assert set(wide["tensors_by_type"]) == {"bf16", "f32"}


def test_the_engine_reads_text_as_the_tokenizer_does(pieces: Path, tmp_path: Path) -> None:
    gguf, _ = converted(tiny.save(tiny.model("llama"), tmp_path / "llama", pieces), "F16")
    text = pydoc_data.topics.topics["assert"].strip()
    read = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    with Engine(gguf, Settings(threads=1), context_tokens=CONTEXT_TOKENS) as engine:
        assert engine.tokenize(text) == [1, *read.encode(text)]


@pytest.fixture(scope="module")
def published(
    read_gguf: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], list[list]]:
    """Tokens, types and merges of a published vocabulary, as the engine's sources hold them."""
    import gguf

    folder = tmp_path_factory.mktemp("sources") / "llama.cpp"
    files = {kind: f"models/ggml-vocab-{kind}.gguf" for kind in ("llama-bpe", "qwen2")}
    engine_source.unpack(engine_source.pin(LOCK), folder, list(files.values()))

    def read(kind: str) -> list[list]:
        fields = gguf.GGUFReader(folder / files[kind]).fields
        names = ("tokens", "token_type", "merges")
        return [fields[f"tokenizer.ggml.{name}"].contents() for name in names]

    return read


@pytest.mark.parametrize(
    ("kind", "name"), first_of([("qwen2", "qwen2.5"), ("llama-bpe", "llama3-rope")])
)
def test_published_bpe_tokenizers_are_known(
    kind: str, name: str, published: Callable[[str], list[list]], tmp_path: Path
) -> None:
    """Llama 3's and Qwen 2.5's own; the converter knows them by transformers' reading of a text."""
    tokens, types, merges = published(kind)
    config = tiny.CONFIGS[name](vocab_size=len(tokens), hidden_size=64, intermediate_size=128)
    folder = tmp_path / name
    tiny.random_model(config).half().save_pretrained(folder)
    tokenizer = tiny.save_bpe(kind, tokens, [kind != 1 for kind in types], merges, folder)
    out, manifest = converted(folder, "F16")
    assert manifest["status"] == "ok", manifest.get("reason")
    text = "It's 2025; Größe ≥ 12345 — “naïve” \n\n\tx = {'a': 1}  # 🦙 done"
    with Engine(out, Settings(threads=1), context_tokens=CONTEXT_TOKENS) as engine:
        assert engine.tokenize(text) == tokenizer.encode(text).ids


# --- ternary weights ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def onebitllm(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("1bitllm") / "bitnet"
    return tiny.save_as_1bitllm(tiny.model("bitnet"), folder, pieces)


def test_a_bitnet_of_1bitllm_is_the_same_model(onebitllm: Path, pieces: Path) -> None:
    """Weights by the absmean rule of BitNet b1.58 (arXiv 2402.17764, equations 1 to 3)."""
    gguf, manifest = converted(onebitllm, "F32")
    assert manifest["status"] == "ok", manifest.get("reason")
    model = tiny.model("bitnet")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(weight.half())
            if name.endswith("_proj.weight"):
                scale = weight.abs().mean()
                weight.copy_((weight / scale).round().clamp(-1, 1) * scale)
    assert_same_model(gguf, model, text_tokens(pieces))


def test_a_packed_llama_of_hf1bitllm_is_the_same_model(
    pieces: Path, tmp_path: Path, read_gguf: Callable
) -> None:
    model, folder = tiny.model("llama"), tmp_path / "packed"
    ternary = tiny.save_as_hf1bitllm(model, folder, pieces)
    gguf, manifest = converted(folder, "F32")
    assert manifest["lineage"] == ["TERNARY", "F32"]
    assert_same_model(gguf, model, text_tokens(pieces))
    values = read_gguf(gguf)
    for theirs, ours in (("self_attn.v_proj", "attn_v"), ("mlp.down_proj", "ffn_down")):
        signs = np.sign(values[f"blk.0.{ours}.weight"][1])
        assert np.array_equal(signs, ternary[f"model.layers.0.{theirs}.weight"].float().numpy())


@pytest.mark.parametrize("kind", ["1bitllm", "hf1bitllm"])
def test_ternary_weights_survive_exactly(
    kind: str, onebitllm: Path, pieces: Path, tmp_path: Path, read_gguf: Callable
) -> None:
    folder = onebitllm
    if kind == "hf1bitllm":
        folder = tmp_path / "packed"
        tiny.save_as_hf1bitllm(tiny.model("llama"), folder, pieces)
    base, base_manifest = converted(folder, "F16")
    wide = read_gguf(base)
    for quant in ("TQ1_0", "TQ2_0"):
        out = tmp_path / f"{quant}.gguf"
        manifest = quantize(base, base_manifest, out, quant)
        assert manifest["fallbacks"] == []
        narrow = read_gguf(out)
        names = {name for name, (held, _) in narrow.items() if held == quant}
        assert names == {f"blk.{i}.{part}.weight" for i in (0, 1) for part in TERNARY}
        for name in names:
            values = narrow[name][1]
            assert len(np.unique(values)) == 3
            assert np.array_equal(values, wide[name][1])


def test_a_study_of_a_checkpoint(pieces: Path, tmp_path: Path) -> None:
    """The rules, from the folder of a packed Llama to its TQ2_0 file."""
    tiny.save_as_hf1bitllm(tiny.model("llama"), tmp_path / "packed", pieces)
    study = {
        "study": "tiny",
        "models": {"packed": {"source": {"path": str(tmp_path / "packed")}}},
        "quants": ["TQ2_0"],
        "devices": {"here": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8, "repetitions": 1}},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    target = "results/gguf/packed/TQ2_0.json"
    run_snakemake(target, "--cores", "1", "--configfile", "study.yaml", cwd=tmp_path)
    manifest = json.loads((tmp_path / target).read_text())
    assert manifest["lineage"] == ["TERNARY", "F16", "TQ2_0"]
    assert manifest["main_type"] == "TQ2_0"


@pytest.mark.long
def test_a_study_of_published_files_beside_their_checkpoint(pieces: Path, tmp_path: Path) -> None:
    """The checkpoint's F16 is the reference, whatever is published of it, in any order."""
    checkpoint = tiny.save(tiny.model("llama"), tmp_path / "llama", pieces)
    wide, made = converted(checkpoint, "F16")
    (tmp_path / "hub").mkdir()
    start: Any = made
    for quant in ("Q4_0", "Q8_0"):
        published = quantize(wide, start, tmp_path / f"hub/tiny-{quant}.gguf", quant, threads=1)
        assert published["status"] == "ok"
    source = {
        "path": str(tmp_path / "hub"),
        "files": ["tiny-Q4_0.gguf", "tiny-Q8_0.gguf"],
        "checkpoint": {"path": str(checkpoint)},
    }
    study = {
        "study": "tiny",
        "models": {"llama": {"source": source}},
        "quants": ["as-published", "Q4_0", "F16"],
        "devices": {"here": {"transport": "local"}},
        "workloads": {"chat": {"prompt_tokens": 8, "output_tokens": 8, "repetitions": 1}},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    results = tmp_path / "results"
    run_snakemake(
        *("results/report/tiny/summary.json", "gguf"),
        *("--cores", "1", "--configfile", "study.yaml"),
        cwd=tmp_path,
    )

    def manifest(quant: str) -> dict[str, Any]:
        return json.loads((results / f"gguf/llama/{quant}.json").read_text())

    assert manifest("F16")["lineage"] == ["F32", "F16"]
    assert (results / "gguf/llama/F16.gguf").read_bytes() == wide.read_bytes()
    assert manifest("Q4_0")["sha256"] == manifest("as-published.tiny-Q4_0")["sha256"]
    assert manifest("as-published.tiny-Q8_0")["lineage"] == ["Q8_0"]
    summary = json.loads((results / "report/tiny/summary.json").read_text())
    assert [row["status"] for row in summary["rows"]] == ["ok"] * 4
    assert summary["models"]["llama"]["checkpoint"] == {"kind": "path", "path": str(checkpoint)}


def test_a_checkpoint_of_another_model_is_told(llama: Path) -> None:
    other: Any = {"architecture": "qwen3"}
    manifest = manifest_of(llama) | {"ggufs": [{"files": ["q.gguf"], "contents": other}]}
    manifest["checkpoint"] = manifest["origin"]
    made = convert(llama, manifest, llama.with_name("out.gguf"), lock=LOCK, outtype="F16")
    assert made["status"] == "failed"
    assert made["reason"] == (
        "the checkpoint is a llama, and q.gguf a qwen3: they are not of one model"
    )


# --- what cannot be converted ---------------------------------------------------------------------


@pytest.fixture
def llama(pieces: Path, tmp_path: Path) -> Path:
    """A sound checkpoint in two shards, to be damaged."""
    model = tiny.model("llama").half()
    return tiny.save(model, tmp_path / "llama", pieces, max_shard_size="2MB")


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_shard(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    shard = min(folder.glob("*.safetensors"))
    tensors = load_file(shard)
    change(tensors)
    save_file(tensors, shard, {"format": "pt"})
    return shard


def test_an_unknown_architecture(llama: Path) -> None:
    edit_config(llama, architectures=["AbacusForCausalLM"])
    assert failure(llama).startswith(
        "llama.cpp's converter knows no architecture AbacusForCausalLM"
    )


def test_an_unknown_tokenizer(llama: Path) -> None:
    (llama / "tokenizer.model").unlink()
    assert "finds no tokenizer it can read" in failure(llama)
    letters = [chr(i) for i in range(256, 512)]  # those of byte-level BPE are among them
    tiny.save_bpe("qwen2", [*letters, "<|end|>"], [False] * 256 + [True], [], llama)
    assert failure(llama).startswith("its tokenizer is a BPE that llama.cpp does not know")


def test_a_missing_shard(llama: Path) -> None:
    gone = max(llama.glob("*.safetensors"))
    gone.unlink()
    assert failure(llama).startswith(f"the shard {gone.name} is missing")
    (llama / "model.safetensors.index.json").unlink()
    assert failure(llama).startswith(f"the shard {gone.name} is missing")


def test_a_shard_that_is_cut_short(llama: Path) -> None:
    shard = max(llama.glob("*.safetensors"))
    size = shard.stat().st_size
    os.truncate(shard, size - 10)
    assert failure(llama) == (
        f"{shard.name} has {size - 10:,} bytes, but its header says {size:,}: "
        "it is cut short or damaged"
    )


def test_a_tensor_of_a_wrong_dtype(llama: Path) -> None:
    name = "model.layers.0.mlp.up_proj.weight"

    def to_int8(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = tensors[name].to(torch.int8)

    shard = edit_shard(llama, to_int8)
    assert failure(llama) == (
        f"{shard.name}: tensor {name} is of type I8, not one of BF16, F16, F32, F64. "
        "Take the model's float checkpoint."
    )


def test_a_tensor_the_architecture_does_not_have(llama: Path) -> None:
    (llama / "model.safetensors.index.json").unlink()
    name = "model.layers.0.mlp.side_proj.weight"

    def add(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = torch.zeros(2, 2)

    edit_shard(llama, add)
    assert failure(llama) == (
        f"llama.cpp cannot map tensor '{name}': its LlamaForCausalLM has no such tensor"
    )


def test_a_weight_beyond_f16(llama: Path) -> None:
    def widen(tensors: dict[str, torch.Tensor]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].float()
        tensors["model.embed_tokens.weight"][0, 0] = 1e5

    edit_shard(llama, widen)
    assert failure(llama).startswith("a weight is beyond F16's range")


def test_bitnets_the_engine_computes_otherwise(onebitllm: Path, llama: Path) -> None:
    """Microsoft's 2B-4T: relu2, and a scale that multiplies."""
    edit_config(llama, architectures=["BitNetForCausalLM"], model_type="bitnet", hidden_act="relu2")
    assert failure(llama).startswith("this BitNet's activation ('hidden_act') is relu2")
    packing = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
    edit_config(
        llama,
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        hidden_act="silu",
        quantization_config=packing,
    )
    assert failure(llama).startswith("llama.cpp's converter does not know this packing")


def test_code_of_a_model_is_never_run(llama: Path, tmp_path: Path) -> None:
    """The converter trusts a QWen's own tokenizer; llmpi does not."""
    (llama / "model.safetensors.index.json").unlink()
    for shard in llama.glob("*.safetensors"):
        shard.unlink()
    save_file({"transformer.wte.weight": torch.zeros(8, 8)}, llama / "model.safetensors")
    ran = tmp_path / "ran"
    (llama / "tokenization_own.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    own = {"AutoTokenizer": ["tokenization_own.Own", None]}
    (llama / "tokenizer_config.json").write_text(json.dumps({"auto_map": own}))
    (llama / "config.json").write_text(
        json.dumps(
            {
                "architectures": ["QWenLMHeadModel"],
                "model_type": "qwen",
                "num_hidden_layers": 1,
                "vocab_size": 8,
                "auto_map": {"AutoConfig": "tokenization_own.Own"},
            }
        )
    )
    assert "llmpi never runs a model's code" in failure(llama)
    assert not ran.exists()


@pytest.mark.fault("no room here for a conversion", by="the reason, before a byte is written")
def test_no_room_for_the_file(llama: Path, tmp_path: Path) -> None:
    """A sparse file claims more than any disk here has."""
    (llama / "model.safetensors.index.json").unlink()
    for shard in llama.glob("*.safetensors"):
        shard.unlink()
    size = 8 << 40
    header = {"w.weight": {"dtype": "F16", "shape": [1, size // 2], "data_offsets": [0, size]}}
    raw = json.dumps(header).encode()
    with (llama / "model.safetensors").open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        file.truncate(8 + len(raw) + size)
    with pytest.raises(LlmpiError, match=r"the F16 file needs 8796\.\d+ GB, but only .* are free"):
        converted(llama, "F16")


def test_an_environment_without_torch(tmp_path: Path) -> None:
    """Everything that is installed here, but for what `make train` adds."""
    site = tmp_path / "site"
    site.mkdir()
    for package in Path(pytest.__file__).parent.parent.iterdir():
        if package.name not in NEEDED:
            (site / package.name).symlink_to(package)
    code = (
        "from pathlib import Path\n"
        "from llmpi.gguf.converter import write_gguf\n"
        "write_gguf(Path(), {}, Path('x'), name='', outtype='F16', lock=Path())\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": f"{ROOT / 'src'}:{site}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "torch, transformers, sentencepiece not installed" in done.stderr
    assert "Run `make train`" in done.stderr
