"""A task that several jobs share: which jobs there are."""

from pathlib import Path

import yaml
from support import planned_jobs


def edited(workdir: Path, **task: object) -> dict[str, int]:
    path = workdir / "config" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["quality"]["field"] |= task
    path.write_text(yaml.safe_dump(config))
    return planned_jobs("scored", cwd=workdir)


def test_each_variant_has_its_shards_and_a_merge(workdir: Path) -> None:
    jobs = edited(workdir, shards=4)
    assert (jobs["answer_shard"], jobs["merge_shards"]) == (6 * 4, 6)
    assert "evaluate_quality" not in jobs


def test_one_shard_is_no_shard(workdir: Path) -> None:
    jobs = edited(workdir, shards=1)
    assert jobs["evaluate_quality"] == 6
    assert not {"answer_shard", "merge_shards"} & jobs.keys()
