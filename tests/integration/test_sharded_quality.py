"""A real model's answers, by one job and by several."""

from pathlib import Path

RECORD = "quality/small/smollm2-135m/Q4_0/f16/field.json"


def test_sharded_quality_is_the_same_bytes(finished, tmp_path: Path) -> None:
    """Two copies that share no answer, one block after the other here and by three jobs there."""
    found = {}
    for name, shards in (("whole", 1), ("sharded", 3)):
        work = finished.clone(tmp_path / name)
        task = work.config["quality"]["field"]
        task |= {"questions": 16, "block_questions": 5, "shards": shards}
        work.write().snakemake("--", f"results/{RECORD}")
        parts = list((work.folder / "results/shards").rglob("*-of-3.json"))
        assert len(parts) == (3 if shards == 3 else 0)
        assert len(work.json(RECORD)["batching"]) > 3, "blocks"
        found[name] = (work.folder / "results" / RECORD).read_bytes()
    assert found["sharded"] == found["whole"]
