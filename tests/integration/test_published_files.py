"""Published files through the whole DAG: one in three parts, and ours made of it."""

from pathlib import Path

import pytest
from gguf_split import split

from llmpi.records import sha256_of

MODEL = "smollm2-135m"


@pytest.fixture(scope="module")
def work(finished, new, tmp_path_factory: pytest.TempPathFactory):
    """The demo's file cut in three, as a study of its own."""
    folder = tmp_path_factory.mktemp("published")
    [whole] = (finished.folder / "results/models" / MODEL).glob("*.gguf")
    (folder / "hub").mkdir()
    parts = split(whole, folder / "hub", "SmolLM2-Q4_1", 3)
    work = new(folder / "work", "parts")
    work.config["models"] = {MODEL: {"source": {"path": str(parts[0])}}}
    work.config["quants"] = ["as-published", "Q4_0"]
    work.rows = work.summarized()
    return work


def test_both_are_measured_and_scored(work) -> None:
    assert [row["quant"] for row in work.rows] == ["as-published", "Q4_0"]
    assert [row["status"] for row in work.rows] == ["ok", "ok"]
    assert all(row["tg_tps"] > 0 for row in work.rows)
    assert [row["quality"]["field"]["items"] for row in work.rows] == [6, 6]


def test_every_part_is_in_the_store_as_it_was(work) -> None:
    receipt = work.json(f"deploy/here/{MODEL}/as-published.json")
    manifest = work.json(f"gguf/{MODEL}/as-published.json")
    published = sorted((work.folder.parent / "hub").iterdir())
    there = [work.folder / part["path"] for part in receipt["parts"]]
    assert [path.name for path in there] == [
        f"as-published-0000{i}-of-00003.gguf" for i in (1, 2, 3)
    ]
    assert [path.read_bytes() for path in there] == [path.read_bytes() for path in published]
    assert [part["sha256"] for part in manifest["parts"]] == [*map(sha256_of, published)]
    bench = work.json(f"bench/parts/here/{MODEL}/as-published/default.json")
    assert bench["gguf_sha256"] == receipt["sha256"] == manifest["sha256"]
    assert (manifest["main_type"], manifest["lineage"][0][:4]) == ("Q4_1", "Q4_1")


def test_ours_are_what_they_would_be_of_the_whole_file(work, finished) -> None:
    ours = work.json(f"gguf/{MODEL}/Q4_0.json")
    of_whole = finished.json(f"gguf/{MODEL}/Q4_0.json")
    assert ours["tensors_by_type"] == of_whole["tensors_by_type"]
    assert ours["lineage"] == of_whole["lineage"]


def test_a_part_that_is_gone_from_the_store_is_sent_again(work) -> None:
    receipt = work.json(f"deploy/here/{MODEL}/as-published.json")
    gone = work.folder / receipt["parts"][1]["path"]
    gone.unlink()
    Path(work.folder / f"results/bench/parts/here/{MODEL}/as-published/default.json").unlink()
    work.snakemake("--", "measured")
    assert work.json(f"bench/parts/here/{MODEL}/as-published/default.json")["status"] == "ok"
    assert gone.is_file()
