"""Parity with a real model: over SSH it agrees, and one scrambled tensor of thirty layers shows."""

import shutil
from pathlib import Path

import pytest
from gguf_damage import swap_halves

from llmpi.quality.parity import compare, predict_here
from llmpi.records import sha256_of

QUANTS = ("F16", "Q4_0")


@pytest.mark.parametrize("quant", QUANTS)
def test_device_behind_ssh_agrees(over_ssh, quant: str) -> None:
    record = over_ssh.json(f"parity/over-ssh/pi/smollm2-135m/{quant}.json")
    assert (record["agrees"], record["top1_pct"]) == (True, 100), "the same machine, after all"
    assert record["kl_max_nats"] == pytest.approx(0, abs=1e-9)
    assert len(record["positions"]) == 64 * 3 + 32
    assert record["device"]["gguf_sha256"] == record["workstation"]["gguf_sha256"]
    row = next(row for row in over_ssh.summary() if row["quant"] == quant)
    assert (row["parity_top1_pct"], row["parity_reason"], row["gates_failed"]) == (100, None, [])


def test_local_device_is_not_checked(finished) -> None:
    assert not (finished.folder / "results/parity").exists()
    assert {row["parity_top1_pct"] for row in finished.summary()} == {None}


@pytest.mark.parametrize("quant", QUANTS)
def test_scrambled_tensor_is_another_model(over_ssh, tmp_path: Path, quant: str) -> None:
    """Halves swapped: each weight is sound, but not where it belongs."""
    copy = tmp_path / "scrambled.gguf"
    shutil.copyfile(over_ssh.folder / f"results/gguf/smollm2-135m/{quant}.gguf", copy)
    swap_halves(copy, "blk.5.ffn_down.weight")
    sound = over_ssh.json(f"predictions/smollm2-135m/{quant}.json")
    manifest = {"status": "ok", "sha256": sha256_of(copy)}
    verdict = compare(sound, predict_here(copy, manifest, threads=2))
    assert not verdict["agrees"]
    assert verdict["kl_nats"] > 3 * verdict["tolerance"]["kl_nats"]
    assert "computes another model" in verdict["reason"]


def test_another_quantization_is_another_model(over_ssh) -> None:
    f16, q4_0 = (over_ssh.json(f"predictions/smollm2-135m/{quant}.json") for quant in QUANTS)
    assert not compare(f16, q4_0)["agrees"]
    assert not compare(q4_0, f16)["agrees"]
