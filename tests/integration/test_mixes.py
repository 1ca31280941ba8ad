"""Mixes of a real model: what is probed is what is written, within the budget, and worth having."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Work
from gguf_edit import first_layers

from llmpi.gguf.contents import stored
from llmpi.gguf.mix.made import types_of
from llmpi.gguf.mix.search import search
from llmpi.gguf.quantize import quantize
from llmpi.gguf.quantizers import dequantized, quantized
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.records import sha256_of, sha256_of_json, sha256_of_text
from llmpi.study.fields import TextSource

MODEL = "results/gguf/smollm2-135m/F16.gguf"
TYPES = ["Q6_K", "Q5_0", "Q4_0", "IQ4_NL"]
"""Not Q4_1 and Q8_0, which the model's weights were once: those cost nothing."""
MIX = "MIX-5.4bpw"


@pytest.fixture(scope="module")
def halves() -> tuple[str, str]:
    """A text to search on and one to be scored on."""
    text = load_corpus(TextSource(python_topics=True), Path())["text"]
    return text[: len(text) // 2], text[len(text) // 2 :]


@pytest.fixture(scope="module")
def one_layer(finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's model without its upper layers: a search takes seconds."""
    return first_layers(finished.folder / MODEL, tmp_path_factory.mktemp("one") / "F16.gguf", 1)


def of(gguf: Path) -> dict[str, Any]:
    return {"status": "ok", "sha256": sha256_of(gguf), "lineage": ["F16"]}


def searched(
    base: Path, text: str, folder: Path, quant: str = MIX, windows: int = 1
) -> dict[str, Any]:
    how = {"windows": windows, "types": TYPES, "partial": folder, "threads": 2}
    return dict(search(base, of(base), quant, text, **how))


class Scored:
    """The divergence of files from `base` on the beginning of a text."""

    def __init__(self, base: Path, text: str, folder: Path) -> None:
        corpus = {"source": {"text_file": "half"}, "sha256": sha256_of_text(text), "text": text}
        settings = {"window_tokens": 512, "chunks": 4, "max_bytes": 1 << 40}
        self.rows, self.partial = folder / "rows", folder / "partial"
        where = {"out": self.rows, "partial": self.partial}
        self.told = reference(base, of(base), corpus, settings, **where, threads=2)

    def __call__(self, gguf: Path, manifest: Any) -> float:
        how = {"partial": self.partial, "threads": 2}
        found = divergence(gguf, manifest, self.rows, self.told, **how)
        return float(found["summary"]["kld_mean_nats"]["value"])


@pytest.mark.long  # a whole model, four minutes of probes
def test_a_mix_is_what_was_searched_and_better_than_one_type(finished, halves, tmp_path) -> None:
    base = finished.folder / MODEL
    mix = searched(base, halves[0], tmp_path / "parts", windows=2)
    assert mix["status"] == "ok" and not (tmp_path / "parts").exists()
    gguf = tmp_path / "mix.gguf"
    made = quantize(base, of(base), gguf, MIX, mix=mix)
    assert made["status"] == "ok" and made["fallbacks"] == []
    assert 5.3 < made["bits_per_weight"] <= 5.4

    whole, here, types = stored(base), stored(gguf), types_of(mix)
    assert len({*types.values()}) > 1
    for name, one in whole.items():
        assert here[name].kind == types.get(name, one.kind)
    for name in ("token_embd.weight", "blk.3.attn_v.weight", "blk.29.ffn_down.weight"):
        rows = dequantized(
            whole[name].data.reshape(whole[name].shape[0], -1), "F16", whole[name].shape[1]
        )
        assert np.array_equal(here[name].data, quantized(rows, types[name]).reshape(-1))

    used = made["mix"]
    assert used["taken_bytes"] <= used["limit_bytes"]
    assert {group["name"] for group in used["groups"]} == {g["name"] for g in mix["groups"]}
    plain = quantize(base, of(base), tmp_path / "Q4_0.gguf", "Q4_0")
    assert made["bytes"] < 1.02 * plain["bytes"]
    scored = Scored(base, halves[1], tmp_path)
    assert scored(gguf, made) < 0.7 * scored(tmp_path / "Q4_0.gguf", plain)


KILLED = """
import sys, json
from pathlib import Path
from llmpi.gguf.mix.search import search
base, text, folder, quant, types, manifest = json.loads(Path(sys.argv[1]).read_text())
search(Path(base), manifest, quant, text, windows=1, types=types, partial=Path(folder), threads=2)
"""


def test_an_interrupted_search_goes_on_to_the_same_choice(one_layer, halves, tmp_path) -> None:
    asked = [str(one_layer), halves[0], str(tmp_path / "parts"), MIX, TYPES, of(one_layer)]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "asked.json")]
    child = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    probes = tmp_path / "parts" / "probes.jsonl"
    while not probes.exists() or probes.read_text().count("\n") < 5:
        assert child.poll() is None
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = probes.read_text()
    probes.write_text(before + '["half a li')

    gone_on = searched(one_layer, halves[0], tmp_path / "parts")
    whole = searched(one_layer, halves[0], tmp_path / "others")
    for record in (gone_on, whole):
        record.pop("made")
    assert gone_on == whole
    for name, record in (("a", gone_on), ("b", whole)):
        quantize(one_layer, of(one_layer), tmp_path / f"{name}.gguf", MIX, mix=record)
    assert sha256_of(tmp_path / "a.gguf") == sha256_of(tmp_path / "b.gguf")


def test_a_model_that_cannot_be_so_small_is_a_result(one_layer, halves, tmp_path) -> None:
    found = searched(one_layer, halves[0], tmp_path / "parts", "MIX-3bpw")
    assert found["status"] == "failed" and "its weights take" in found["reason"]
    made = quantize(one_layer, of(one_layer), tmp_path / "m.gguf", "MIX-3bpw", mix=found)
    assert made == found and (tmp_path / "m.gguf").stat().st_size == 0


def test_a_mix_goes_through_a_study_as_any_variant(
    new: Callable[[Path, str], Work], one_layer, tmp_path
) -> None:
    work = new(tmp_path / "work", "mixed")
    work.config |= {
        "models": {"one": {"source": {"path": str(one_layer)}}},
        "quants": ["F16", "MIX-20M+imatrix"],
        "calibration": {"text": {"python_topics": True, "to_pct": 40}, "chunks": 2},
        "mix": {"windows": 2, "types": TYPES},
        "quality": {
            "text": {"task": "divergence", "python_topics": True, "from_pct": 60, "chunks": 1}
        },
    }
    rows = work.summarized()
    [row] = [row for row in rows if row["quant"] == "MIX-20M+imatrix"]
    manifest = work.json("gguf/one/MIX-20M+imatrix.json")
    assert row["status"] == "ok" and row["file_bytes"] == manifest["bytes"] <= 20 * 1024**2
    assert manifest["imatrix"] and manifest["mix"]["probes"] >= 8
    assert work.snakemake("-n").stdout.count("search_mix") == 0


@pytest.mark.long
def test_a_mix_for_this_machine_is_made_by_its_own_rates(
    new: Callable[[Path, str], Work], one_layer, tmp_path
) -> None:
    work = new(tmp_path / "work", "timed")
    work.config |= {
        "models": {"one": {"source": {"path": str(one_layer)}}},
        "quants": ["F16", "MIX-999999tps-here"],
        "calibration": {"text": {"python_topics": True, "to_pct": 40}, "chunks": 2},
        "mix": {"windows": 2, "types": TYPES},
        "quality": {
            "text": {"task": "divergence", "python_topics": True, "from_pct": 60, "chunks": 2}
        },
    }
    summary = {row["quant"]: row for row in work.summarized()}
    assert summary["MIX-999999tps-here"]["status"] == "failed"
    rates = work.json("rates/here/one.json")
    assert rates["status"] == "ok" and rates["quant"] == "Q4_0"
    assert {rate["type"] for rate in rates["rates"]} >= {*TYPES, "Q8_0"}
    refused = work.json("gguf/one/MIX-999999tps-here.json")
    found = re.fullmatch(
        r"MIX-999999tps-here: the fastest that its types allow on here are ([\d.]+) tokens/s; ask "
        r"for fewer",
        refused["reason"],
    )
    assert found

    quant = f"MIX-{int(0.999 * float(found[1]))}tps-here"
    work.config["quants"] = ["F16", quant]
    [row] = [row for row in work.summarized() if row["quant"] == quant]
    assert row["status"] == "ok", row
    manifest = work.json(f"gguf/one/{quant}.json")
    time = manifest["mix"]["time"]
    assert time["device"] == "here" and time["taken_s"] <= time["limit_s"]
    assert time["rates_sha256"] == sha256_of_json(rates)
    assert work.json("rates/here/one.json") == rates
    assert work.snakemake("-n").stdout.count("measure_rates") == 0
