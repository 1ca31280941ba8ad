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


def test_a_mix_is_searched_once_and_then_made_as_any_variant(workdir: Path) -> None:
    models = yaml.safe_load((ROOT / "config" / "qat.yaml").read_text())["models"]
    models.pop("small-llama")
    names = ["F16", "Q4_0", "MIX-4.5bpw", "MIX-4.5bpw+imatrix", "MIX-100M"]
    jobs = edited(workdir, models=models, quants=names)
    assert jobs["search_mix"] == 3 and jobs["calibrate"] == 1
    assert jobs["quantize_gguf"] == 4
    assert jobs["deploy_gguf"] == jobs["evaluate_divergence"] == 5
    assert jobs["prepare_corpus"] == 2
    without = edited(workdir, models=models, quants=["F16", "Q4_0", "MIX-100M"])
    assert without["search_mix"] == 1 and "calibrate" not in without


def test_a_mix_is_no_step_of_a_descent(workdir: Path) -> None:
    descent = {"task": "field", "margin_pct": 20}
    quants = ["F16", "Q8_0", "MIX-4.5bpw", "Q4_0"]
    jobs = edited(workdir, descent=descent, quants=quants)
    assert jobs["evaluate_quality"] == 4 + 3


def test_a_type_is_tried_where_a_variant_of_the_next_wider_holds(workdir: Path) -> None:
    descent = {"task": "field", "margin_pct": 20}
    jobs = edited(workdir, descent=descent, quants=["F16", "Q8_0", "Q4_0", "Q4_0-qat", "Q2_K"])
    assert jobs["evaluate_quality"] == 5 + 3


def test_a_rounding_is_learned_on_the_calibration_text(workdir: Path) -> None:
    models = yaml.safe_load((ROOT / "config" / "qat.yaml").read_text())["models"]
    models.pop("small-llama")
    names = ["F16", "Q4_0", "Q4_0+round", "Q2_0+round", "Q4_0+round+imatrix"]
    jobs = edited(workdir, models=models, quants=names)
    assert jobs["learn_rounding"] == 3 and jobs["calibrate"] == 1
    assert jobs["quantize_gguf"] == 1
    assert jobs["deploy_gguf"] == jobs["evaluate_divergence"] == 5
    without = edited(workdir, models=models, quants=names[:3])
    assert without["learn_rounding"] == 1 and "calibrate" not in without
    assert without["prepare_corpus"] == 2


def test_a_mix_for_a_board_is_made_by_its_rates(workdir: Path) -> None:
    models = yaml.safe_load((ROOT / "config" / "qat.yaml").read_text())["models"]
    models.pop("small-llama")
    devices = {
        "here": {"transport": "local"},
        "pi5": {"transport": "ssh", "host": "pi5.local"},
        "shelf": {"transport": "ssh-group", "boards": {"a": "pi-a.local"}},
    }
    names = ["F16", "MIX-12tps-pi5", "MIX-0.02nats-pi5", "MIX-12tps-shelf.a"]
    jobs = edited(workdir, models=models, devices=devices, quants=names)
    assert jobs["measure_rates"] == 2 and jobs["search_mix"] == 3
    assert jobs["quantize_gguf"] == 3 + 1  # and the Q4_0 that the rates are measured beside
    assert jobs["deploy_gguf"] == 4 * 3 + 2  # which goes to those two boards alone
    assert jobs["benchmark_device"] == 4 * 3
    assert jobs["evaluate_divergence"] == 4
    with_plain = edited(workdir, models=models, devices=devices, quants=[*names, "Q4_0"])
    assert with_plain["measure_rates"] == 2 and with_plain["quantize_gguf"] == 4
    assert "measure_rates" not in edited(workdir, models=models, devices=devices, quants=["Q4_0"])
