"""A study through profiles/slurm: what computes is a Slurm job, what reaches a device is not."""

import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import slurm

from llmpi import needs

MODEL = "results/gguf/smollm2-135m"
# Watched closely, as the jobs are short; and there is no accounting here to ask.
PROFILE = (
    *("--profile", "profiles/slurm", "--latency-wait", "10"),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"),
    *("--seconds-between-status-checks", "1"),
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory):
    # As many as there are: two engines on one processor wait for each other.
    cpus = max(2, len(os.sched_getaffinity(0)))
    with slurm.running(tmp_path_factory.mktemp("slurm"), cpus) as running:
        yield running


@pytest.fixture(scope="module")
def study(over_ssh, cluster, tmp_path_factory: pytest.TempPathFactory):
    """The study on a device behind SSH, made anew from the fetched model."""
    work = over_ssh.clone(tmp_path_factory.mktemp("cluster") / "work")
    for part in ("gguf", "deploy", "predictions", "blocks"):
        shutil.rmtree(work.folder / "results" / part)
    shutil.rmtree(work.folder / "logs")
    work.config |= {"study": "cluster", "quants": ["Q4_0"]}
    work.config["quality"]["field"] |= {"questions": 8, "block_questions": 2, "shards": 2}
    # Stands for what profiles/slurm says of training, which would take too long here.
    graphics = ("--set-resources", "predict_on_workstation:gpu=1")
    summary = "results/report/cluster/summary.json"
    work.write().snakemake(*PROFILE, *graphics, "--", summary, **cluster.env)
    return work


def rule_of(job: dict[str, str]) -> str:
    return re.sub(r"_wildcards_.*", "", job["comment"]).removeprefix("rule_")


def test_what_computes_ran_as_slurm_jobs(study, cluster) -> None:
    jobs = cluster.jobs()
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    assert Counter(map(rule_of, jobs)) == {
        "convert_to_gguf": 1,
        "quantize_gguf": 1,
        "answer_shard": 2,
        "predict_on_workstation": 1,
    }
    log = study.folder / "logs/quantize_gguf/smollm2-135m/Q4_0.log"
    assert re.search(r"on \S+, Slurm job \d+", log.read_text())


def test_what_reaches_the_device_ran_on_the_submitting_host(study) -> None:
    assert [row["status"] for row in study.summary()] == ["ok"]
    for rule in ("deploy_gguf", "benchmark_device", "check_parity"):
        logs = list((study.folder / "logs" / rule).rglob("*.log"))
        assert len(logs) == 1, rule
        for log in logs:
            assert re.search(r" on \S+$", log.read_text(), re.MULTILINE)
            assert "Slurm job" not in log.read_text()


def test_a_job_asks_for_what_its_model_needs(study, cluster) -> None:
    asked = {rule_of(job): job for job in cluster.jobs()}
    bytes_ = (study.folder / MODEL / "F16.gguf").stat().st_size
    shard, quantize = asked["answer_shard"], asked["quantize_gguf"]
    assert int(shard["memory"].rstrip("M")) > needs.PROGRAM_MB + 2 * 80 + 70, (
        "weights twice, context"
    )
    largest_mb = 49_152 * 576 / 2**20  # its table of embeddings, in float32 and as it becomes
    held_mb = int(quantize["memory"].rstrip("M")) - needs.PROGRAM_MB
    assert 5.5 * largest_mb <= held_mb < 6 * bytes_ / 2**20
    assert {shard["cpus"], quantize["cpus"]} == {"2"}
    assert {job["limit"] for job in asked.values()} != {"30:00"}


def test_a_graphics_card_is_asked_for_where_the_profile_says_so(study, cluster) -> None:
    with_card = [job for job in cluster.shown() if "TresPerJob=gres:gpu:1" in job]
    assert len(with_card) == 1
    assert "Comment=rule_predict_on_workstation" in with_card[0]


def test_sharded_on_the_cluster_equals_unsharded_here(study, tmp_path: Path) -> None:
    here = study.clone(tmp_path / "here")
    shutil.rmtree(here.folder / "results/blocks")
    del here.config["quality"]["field"]["shards"]
    record = "results/quality/cluster/smollm2-135m/Q4_0/f16/field.json"
    here.write().snakemake("--forcerun", "evaluate_quality", "--", record)
    assert (here.folder / record).read_bytes() == (study.folder / record).read_bytes()
