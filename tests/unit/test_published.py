"""Published files: what they are, byte for byte, and what is told at the first look."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fetching import Fetcher, tiny_gguf
from gguf_edit import edited
from gguf_split import split
from random_gguf import tiny_model

from llmpi.engine import shards
from llmpi.engine.llama import Engine, Settings
from llmpi.errors import CellError
from llmpi.gguf.inspect import inspect
from llmpi.gguf.published import came_as, publish, type_in
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Contents
from llmpi.models.records import ModelRecord
from llmpi.records import read, sha256_of, sha256_of_text

TEMPLATE = "{{ messages[0].content }}"


@pytest.fixture
def fetch(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model of random weights, as F32, Q8_0 and Q4_0."""
    folder = tmp_path_factory.mktemp("published")
    wide = folder / "Tiny F32.gguf"
    wide.write_bytes(tiny_model(1, template=TEMPLATE))
    for quant in ("Q8_0", "Q4_0"):
        start: Any = {"status": "ok", "sha256": "", "lineage": ["F32"]}
        made = quantize(wide, start, folder / f"tiny-{quant.lower()}.gguf", quant, threads=1)
        assert made["status"] == "ok"
    return folder


@pytest.fixture
def mine(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "mine")


FILES = ["Tiny F32.gguf", "tiny-q8_0.gguf", "tiny-q4_0.gguf"]


def fetched(fetch: Fetcher) -> ModelRecord:
    return read(fetch.folder / "manifest.json", ModelRecord)


def contents(file_type: str | None = None, **parameters: int) -> Contents:
    return {
        "architecture": "llama",
        "parameters": sum(parameters.values()),
        "bits_per_weight": 4.5,
        "main_type": max(parameters, key=lambda kind: parameters[kind]),
        "file_type": file_type,
        "read_per_token_bytes": 1,
        "tensors_by_type": {
            kind.lower(): {"tensors": 1, "parameters": count, "bytes": count}
            for kind, count in parameters.items()
        },
        "chat_template": True,
    }


def test_a_type_is_what_the_tensors_are() -> None:
    assert type_in(contents(Q4_K=80, Q6_K=19, F32=1)) == "Q4_K+Q6_K+F32"
    assert type_in(contents(F32=1, Q6_K=300, Q4_K=799)) == "Q4_K+Q6_K"


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (contents("Q4_K_M", Q8_0=168, Q5_0=60, Q6_K=40), "Q4_K_M (Q8_0+Q5_0+Q6_K)"),
        (contents("Q8_0", Q8_0=1000, F32=1), "Q8_0"),
        (contents(None, Q4_K=80, Q6_K=20), "Q4_K+Q6_K"),
        (contents("F16", F16=900, F32=100), "F16"),
        (contents("Q4_0", F16=60, Q4_0=40), "Q4_0 (F16+Q4_0)"),
    ],
)
def test_what_others_are_made_of_has_its_own_name_and_its_mix(found: Contents, name: str) -> None:
    assert came_as(found) == name


def test_a_file_s_own_name_is_read(mine: Path, tmp_path: Path) -> None:
    assert [inspect(mine / file)["file_type"] for file in FILES] == [None, "Q8_0", "Q4_0"]
    for number, name in ((15, "Q4_K_M"), (1024, None)):
        fields = {"general.file_type": number}
        assert inspect(edited(mine / FILES[1], tmp_path / "x", fields))["file_type"] == name


def test_files_are_variants_byte_for_byte(fetch: Fetcher, mine: Path, tmp_path: Path) -> None:
    got = fetch(path=str(mine), files=FILES)
    assert got.status == 0, got.terminal
    assert fetch.left == sorted([*FILES, "manifest.json"])
    for file, variant, kind in (
        (FILES[0], "as-published.Tiny-F32", "F32"),
        (FILES[1], "as-published.tiny-q8_0", "Q8_0"),
        (FILES[2], "as-published.tiny-q4_0", "Q4_0+F32"),
    ):
        out = tmp_path / "results/gguf/tiny" / f"{variant}.gguf"
        out.parent.mkdir(parents=True, exist_ok=True)
        made = publish(fetch.folder, fetched(fetch), out, variant)
        assert made["status"] == "ok"
        assert made["sha256"] == sha256_of(mine / file) == sha256_of(out)
        assert (made["bytes"], made["parts"]) == ((mine / file).stat().st_size, [])
        assert made["lineage"][0].startswith(kind.partition("+")[0])
        assert made["tensors_by_type"] == inspect(mine / file)["tensors_by_type"]


def test_a_file_that_lies_about_its_type_is_told_by_its_tensors(fetch: Fetcher, mine: Path) -> None:
    (mine / "tiny-q4_0.gguf").replace(mine / "tiny-Q8_0-really.gguf")
    fetch(path=str(mine / "tiny-Q8_0-really.gguf"))
    found = fetched(fetch)
    assert found["status"] == "ok"
    assert type_in(found["ggufs"][0]["contents"]).startswith("Q4_0")


def test_the_widest_stands_first(fetch: Fetcher, mine: Path) -> None:
    error = fetch(path=str(mine), files=[FILES[1], FILES[0]]).error
    assert error.startswith("files: the first is the reference of the others, and Tiny F32.gguf")
    assert "is wider: put it first (32.00 bits per weight" in error


def test_files_are_of_one_model(fetch: Fetcher, mine: Path) -> None:
    other = edited(mine / FILES[2], mine / "other.gguf", {"general.architecture": "gemma3"})
    error = fetch(path=str(mine), files=[FILES[0], other.name]).error
    assert error == "files: Tiny F32.gguf (llama) and other.gguf (gemma3) are not of one model"


def test_a_checkpoint_has_nothing_to_publish(tmp_path: Path) -> None:
    manifest: Any = {"status": "ok", "files": {}, "ggufs": [], "origin": {}}
    made = publish(tmp_path, manifest, tmp_path / "as-published.gguf", "as-published")
    assert made["status"] == "failed"
    assert "it is a checkpoint" in made["reason"]
    assert (tmp_path / "as-published.gguf").read_bytes() == b""


# --- in parts -------------------------------------------------------------------------------------


@pytest.fixture
def parts(mine: Path, tmp_path: Path) -> list[Path]:
    """The widest of them, in three parts, in a folder of their own."""
    (tmp_path / "parts").mkdir()
    return split(mine / FILES[0], tmp_path / "parts", "tiny", 3)


def published(fetch: Fetcher, first: Path, out: Path) -> Any:
    got = fetch(path=str(first))
    assert got.status == 0, got.terminal
    out.parent.mkdir(parents=True, exist_ok=True)
    return publish(fetch.folder, fetched(fetch), out, "as-published")


def test_parts_are_one_variant(fetch: Fetcher, parts: list[Path], mine: Path) -> None:
    out = fetch.root / "results/gguf/tiny/as-published.gguf"
    made = published(fetch, parts[0], out)
    assert made["status"] == "ok"
    hashes = [sha256_of(part) for part in parts]
    assert [part["sha256"] for part in made["parts"]] == hashes
    assert made["sha256"] == sha256_of_text("\n".join(hashes))
    assert made["bytes"] == sum(part.stat().st_size for part in parts)
    assert [part.read_bytes() for part in shards.parts(out)] == [p.read_bytes() for p in parts]
    whole = inspect(mine / FILES[0])
    assert {key: made[key] for key in whole} == whole


def test_the_engine_reads_all_parts(fetch: Fetcher, parts: list[Path], mine: Path) -> None:
    out = fetch.root / "results/gguf/tiny/as-published.gguf"
    published(fetch, parts[0], out)

    def logits(gguf: Path) -> bytes:
        with Engine(gguf, Settings(threads=1), context_tokens=64) as engine:
            return engine.decode_all([1, 70, 80]).tobytes()

    assert logits(out) == logits(mine / FILES[0])


def test_ours_are_made_of_all_parts(parts: list[Path], mine: Path, tmp_path: Path) -> None:
    start: Any = {"status": "ok", "sha256": "", "lineage": ["F32"]}
    made = quantize(parts[0], start, tmp_path / "Q4_0.gguf", "Q4_0", threads=1)
    assert made["status"] == "ok"
    assert made["tensors_by_type"] == inspect(mine / FILES[2])["tensors_by_type"]


def test_parts_of_another_order_are_told(parts: list[Path]) -> None:
    with pytest.raises(CellError, match="is by its header part 2 of 3"):
        inspect(parts[1], parts[0], parts[2])


Wrong = Callable[[list[Path]], Path]


def without_second(parts: list[Path]) -> Path:
    parts[1].unlink()
    return parts[0]


def without_first(parts: list[Path]) -> Path:
    parts[0].unlink()
    return parts[0].parent


def first_renamed(parts: list[Path]) -> Path:
    return parts[0].rename(parts[0].with_name("tiny.gguf"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (without_second, "holds 2 of the 3 parts of tiny-00001-of-00003.gguf, missing: "
                         "tiny-00002-of-00003.gguf. Bring them there"),
        (without_first, "holds 2 of the 3 parts of tiny-00001-of-00003.gguf, missing: "
                        "tiny-00001-of-00003.gguf. Bring them there"),
        (first_renamed, "tiny.gguf is by its header part 1 of 3 of a GGUF file, under another "
                        "name: llama.cpp finds the other parts by the first one's. Call it "
                        "tiny-00001-of-00003.gguf, with the others beside it"),
        (lambda parts: parts[1], "is a later part of a GGUF file: name the first, "
                                 "tiny-00001-of-00003.gguf"),
    ],
)  # fmt: skip
def test_parts_that_do_not_go_together(
    fetch: Fetcher, parts: list[Path], wrong: Wrong, message: str
) -> None:
    assert message in fetch(path=str(wrong(parts))).error


# --- what is no language model --------------------------------------------------------------------


def with_fields(mine: Path, **fields: str) -> Path:
    named = {key.replace("__", "."): value for key, value in fields.items()}
    return edited(mine / FILES[0], mine / "odd.gguf", named)


def test_a_projector_is_told(fetch: Fetcher, mine: Path) -> None:
    file = with_fields(mine, general__architecture="clip")
    assert fetch(path=str(file)).error == (
        "odd.gguf is a multimodal projector (mmproj), not a language model: "
        "name the model's own file"
    )


@pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix"])
def test_what_lies_beside_a_model_is_told(fetch: Fetcher, mine: Path, kind: str) -> None:
    file = with_fields(mine, general__type=kind)
    assert "not a language model: name the model's own file" in fetch(path=str(file)).error


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("wavtokenizer-dec", "a vocoder"),
        ("eagle3", "a draft head of another model"),
        ("llada", "a diffusion model, which does not write token by token"),
        ("controlvector", "a control vector"),
    ],
)
def test_another_kind_of_model_is_told(
    fetch: Fetcher, mine: Path, architecture: str, what: str
) -> None:
    file = with_fields(mine, general__architecture=architecture)
    assert f"odd.gguf is {what}, not a language model" in fetch(path=str(file)).error


@pytest.mark.parametrize("field", [{"llama.pooling_type": 3}, {"llama.attention.causal": False}])
def test_an_embedding_model_is_told(fetch: Fetcher, mine: Path, field: dict[str, int]) -> None:
    file = edited(mine / FILES[0], mine / "odd.gguf", field)
    assert "odd.gguf is an embedding model" in fetch(path=str(file)).error


def test_pooling_that_is_none_is_a_language_model(fetch: Fetcher, mine: Path) -> None:
    fields = {"llama.pooling_type": 0, "llama.attention.causal": True}
    assert fetch(path=str(edited(mine / FILES[0], mine / "odd.gguf", fields))).status == 0


def test_an_adapter_of_before_is_told(fetch: Fetcher, mine: Path) -> None:
    file = with_fields(mine, adapter__type="lora")
    assert "odd.gguf is a LoRA adapter" in fetch(path=str(file)).error


@pytest.mark.parametrize("without", ["tokenizer.ggml.model", "tokenizer.ggml.tokens"])
def test_a_file_without_a_tokenizer_is_told(fetch: Fetcher, mine: Path, without: str) -> None:
    file = edited(mine / FILES[0], mine / "odd.gguf", without=[without])
    assert "odd.gguf holds no tokenizer" in fetch(path=str(file)).error


def test_a_tokenizer_that_is_none_is_told(fetch: Fetcher, mine: Path) -> None:
    file = with_fields(mine, tokenizer__ggml__model="no_vocab")
    assert "odd.gguf holds no tokenizer" in fetch(path=str(file)).error


def test_a_base_model_is_told_and_taken(fetch: Fetcher, mine: Path) -> None:
    file = edited(mine / FILES[0], mine / "odd.gguf", without=["tokenizer.chat_template"])
    got = fetch(path=str(file))
    assert got.status == 0
    assert "odd.gguf has no chat template" in got.log
    found = fetched(fetch)
    assert found["status"] == "ok"
    assert not found["ggufs"][0]["contents"]["chat_template"]


def test_a_file_of_no_special_kind_is_taken(fetch: Fetcher, tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(tiny_gguf())
    got = fetch(path=str(tmp_path / "tiny.gguf"))
    assert (got.status, got.log.count("chat template")) == (0, 0)
