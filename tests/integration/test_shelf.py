"""Two boards of a group, behind a real OpenSSH server on loopback."""

from pathlib import Path

import pytest
from conftest import have
from support import planned_jobs


@pytest.fixture(scope="module")
def shelf(over_ssh, sshd, shared: Path, tmp_path_factory: pytest.TempPathFactory):
    """The study on a group of two: one device that it was run on already, and one that it was not,
    but the study of someone else."""
    folder = tmp_path_factory.mktemp("shelf")
    have(folder / "store", shared / "ready")
    work = over_ssh.clone(folder / "work")
    alike = dict(work.config["devices"]["pi"])
    host = alike.pop("host")
    boards = {"a": host, "b": {"host": host, "store": str(folder / "store")}}
    work.config["devices"] = {"shelf": {**alike, "transport": "ssh-group", "boards": boards}}
    work.config["study"] = "shelf"
    work.shown()
    return work


def test_speed_is_measured_on_every_board(shelf) -> None:
    rows = shelf.summary()
    assert [(row["device"], row["group"], row["quant"], row["status"]) for row in rows] == [
        (board, "shelf", quant, "ok")
        for board in ("shelf.a", "shelf.b")
        for quant in ("F16", "Q4_0")
    ]


def test_parity_is_checked_once_and_speaks_for_both(shelf) -> None:
    checked = list((shelf.folder / "results/parity/shelf").rglob("*.json"))
    assert sorted(path.name for path in checked) == ["F16.json", "Q4_0.json"]
    assert all(row["parity_reason"] is None for row in shelf.summary())
    assert all(row["parity_top1_pct"] >= 85 for row in shelf.summary())


def test_the_spread_between_boards_is_shown(shelf) -> None:
    summary = shelf.json("report/shelf/summary.json")
    assert summary["unlike"] == []
    for cell in summary["groups"]:
        assert [board["device"] for board in cell["boards"]] == ["shelf.a", "shelf.b"]
        assert cell["between_pct"] >= 0
    page = (shelf.folder / "results/report/shelf/index.html").read_text()
    assert "Between boards" in page
    assert "<b>shelf: chat</b>" in page


def test_the_group_is_one_choice(shelf) -> None:
    decisions = shelf.json("report/shelf/recommendation.json")["decisions"]
    assert [decision["where"] for decision in decisions] == ["overall", "shelf"]


def test_another_board_leaves_the_measurements_of_the_others(shelf, tmp_path: Path) -> None:
    work = shelf.clone(tmp_path / "work")
    work.config["devices"]["shelf"]["boards"]["c"] = "127.0.0.1"
    jobs = planned_jobs("--configfile", "config/study.yaml", cwd=work.write().folder)
    assert jobs["benchmark_device"] == jobs["deploy_gguf"] == 2
    assert jobs["provision_device"] == 1
