"""Variants made with a matrix or by training: their jobs, and what an edit redoes."""

from pathlib import Path

import yaml
from support import ROOT, planned_jobs


def edited(workdir: Path, **changes: object) -> dict[str, int]:
    config = yaml.safe_load((ROOT / "config" / "qat.yaml").read_text())
    (workdir / "config" / "mine.yaml").write_text(yaml.safe_dump({**config, **changes}))
    return planned_jobs("--configfile", "config/mine.yaml", cwd=workdir)


def test_each_way_to_fewer_bits_has_its_jobs(workdir: Path) -> None:
    jobs = planned_jobs("--configfile", "config/qat.yaml", cwd=workdir)
    assert jobs["fetch_model"] == jobs["convert_to_gguf"] == 1
    assert jobs["calibrate"] == 1
    assert jobs["quantize_gguf"] == 3  # Q4_0, Q4_0+imatrix, and the small model's TQ2_0
    assert jobs["train_qat"] == 2
    assert jobs["start_model"] == jobs["train_base"] == 1
    assert jobs["prepare_corpus"] == 3  # to score, to calibrate, to train on
    assert jobs["deploy_gguf"] == jobs["evaluate_divergence"] == 7


def test_nothing_is_calibrated_or_trained_unasked(workdir: Path) -> None:
    models = yaml.safe_load((ROOT / "config" / "qat.yaml").read_text())["models"]
    models.pop("small-llama")
    jobs = edited(workdir, models=models, quants=["F16", "Q4_0"])
    assert not {"calibrate", "train_qat", "train_base", "start_model"} & jobs.keys()
    assert jobs["prepare_corpus"] == 1


def test_a_type_is_tried_where_a_variant_of_the_next_wider_holds(workdir: Path) -> None:
    descent = {"task": "field", "margin_pct": 20}
    jobs = edited(workdir, descent=descent, quants=["F16", "Q8_0", "Q4_0", "Q4_0-qat", "Q2_K"])
    assert jobs["evaluate_quality"] == 5 + 3
