"""A record that is not what it should be: named by file and field, and all others are reported."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_records as made
import made_study
import pytest

from llmpi import layout
from llmpi.summary.flat import flat_rows, write_csv
from llmpi.summary.llama_bench import write_llama_bench
from llmpi.summary.parquet import write_parquet
from llmpi.summary.read import read_records
from llmpi.summary.records import Row, Summary
from llmpi.summary.study import summarize

VARIANT = {"model": "llama-1b", "quant": "Q4_0"}
STUDY = made_study.study(runtimes={"default": {}, "tuned": {"tune": True}}, quants=["F16", "Q4_0"])
WHERE = {
    **{"study": "made", "device": "nvme", "runtime": "tuned", "task": "qa", "computation": "f16"},
    **VARIANT,
}

BENCH, MANIFEST, QUALITY = layout.BENCH, layout.GGUF_MANIFEST, layout.QUALITY
MODEL, QUESTIONS, MACHINE = layout.MODEL_MANIFEST, layout.QUESTIONS, layout.PROVISIONED
PARITY, TUNED = layout.PARITY, layout.TUNED

Damage = Callable[[Any], Any]
"""A record -> what lies in its place: a record, or bytes."""


def without(*path: str | int) -> Damage:
    def damage(record: Any) -> Any:
        part = at(record, path[:-1])
        del part[path[-1]]
        return record

    return damage


def with_value(value: object, *path: str | int) -> Damage:
    def damage(record: Any) -> Any:
        at(record, path[:-1])[path[-1]] = value
        return record

    return damage


def at(record: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        record = record[key]
    return record


def instead(content: bytes) -> Damage:
    return lambda _: content


def cut(record: Any) -> bytes:
    return json.dumps(record).encode()[:-100]


CHAT = ("workloads", "chat")
FIRST = (*CHAT, "repetitions", 0)
NAN, INFINITY = float("nan"), float("inf")
DAMAGED = [
    (BENCH, without(*FIRST, "itl_s"), "itl_s"),
    (BENCH, without("load", "cold_s"), "load.cold_s"),
    (BENCH, without("environment", "engine"), "environment.engine"),
    (BENCH, with_value(NAN, *FIRST, "pp_s"), "pp_s"),
    (BENCH, with_value([NAN] * 4, *FIRST, "itl_s"), "itl_s.0"),
    (BENCH, with_value(INFINITY, "bandwidth", "memory_read_bytes_per_s"), "bandwidth"),
    (BENCH, with_value(0.0, "bandwidth", "memory_read_bytes_per_s"), "bandwidth"),
    (BENCH, with_value("5.0", *FIRST, "pp_s"), "pp_s"),
    (BENCH, with_value([], *CHAT, "repetitions"), "repetitions"),
    (BENCH, with_value([], *FIRST, "itl_s"), "repetitions"),
    (BENCH, with_value(0.0, *FIRST, "pp_s"), "repetitions"),
    (BENCH, with_value("fine", "status"), "status"),
    (BENCH, with_value("yesterday", "started"), "started"),
    (BENCH, instead(b"[]"), "as a whole"),
    (BENCH, instead(b"{}"), "Field required"),
    (BENCH, instead(b"null"), "as a whole"),
    (BENCH, instead(b""), "as a whole"),
    (BENCH, instead(b'{"status": "ok", "load": "\xff\xfe"}'), "as a whole"),
    (BENCH, cut, "as a whole"),
    (MANIFEST, without("bytes"), "bytes"),
    (MANIFEST, with_value(None, "tensors_by_type"), "tensors_by_type"),
    (MANIFEST, cut, "as a whole"),
    (QUALITY, without("summary", "metrics", "f1", "pct"), "summary.metrics.f1.pct"),
    (QUALITY, with_value(NAN, "items", 3, "f1"), "items.3.f1"),
    (QUALITY, instead(b"[]"), "as a whole"),
    (MODEL, without("files"), "files"),
    (QUESTIONS, with_value("400", "questions"), "questions"),
    (MACHINE, without("machine", "processors"), "machine.processors"),
    (MACHINE, instead(b"\x00"), "as a whole"),
    (PARITY, with_value(NAN, "kl_nats"), "kl_nats"),
    (PARITY, cut, "as a whole"),
    (TUNED, without("gain"), "gain"),
    (TUNED, with_value([], "agreement"), "agreement"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every record of a finished study, and what is made of them."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("HF_HUB_OFFLINE", "1")
        made_study.write_records(STUDY)
        for device in STUDY.devices:
            for quant in STUDY.quants:
                made.write(TUNED, made.tuned(), **{**WHERE, "device": device, "quant": quant})
        summarized()
        yield folder


@pytest.fixture
def records(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same records, in a folder of their own."""
    shutil.copytree(whole / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)


def summarized() -> Summary:
    """In every form it is written in."""
    found = read_records(STUDY)
    summary, _ = summarize(STUDY, found)
    write_csv(Path("summary.csv"), flat_rows(STUDY, summary["rows"]))
    write_parquet(Path("summary.parquet"), STUDY, summary, flat_rows(STUDY, summary["rows"]))
    write_llama_bench(Path("speed.jsonl"), STUDY, found)
    return summary


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize(("pattern", "damage", "field"), DAMAGED)
def test_a_damaged_record_is_named_and_the_others_are_reported(
    whole: Path, pattern: str, damage: Damage, field: str
) -> None:
    path = Path(layout.at(pattern, **WHERE))
    content = damage(json.loads(path.read_text()))
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    told = reasons(summarized())
    assert any(why.startswith(f"{path}: ") and field in why for why in told), told
    before, after = table(whole / "summary.csv"), table(Path("summary.csv"))
    changed = [row for row, old in zip(after, before, strict=True) if row != old]
    assert all(is_about(row, pattern) for row in changed), "another cell has changed"


def reasons(summary: Summary) -> list[str]:
    """Every reason that is told."""
    found: list[str | None] = []
    for row in summary["rows"]:
        found += [row["reason"], row["parity_reason"], *map(reason_of, row["quality"].values())]
    for parts in ("models", "questions", "machines"):
        found += [part.get("reason") for part in summary[parts].values()]
    found += [search["reason"] for search in summary["tuned"]]
    return [why for why in found if why]


def reason_of(scored: dict[str, Any]) -> str | None:
    return scored["reason"]


def is_about(row: dict[str, str], pattern: str) -> bool:
    """Whether a row of the table rests on the damaged record."""
    named = [name for name in ("device", "model", "quant", "runtime") if f"{{{name}}}" in pattern]
    return all(row[name] == WHERE[name] for name in named)


def test_a_whole_study_has_nothing_to_object_to(whole: Path) -> None:
    told = [row for row in table(whole / "summary.csv") if row["status"] != "ok"]
    assert {(row["device"], row["quant"], row["reason"]) for row in told} == {
        ("sd", "F16", "the engine died")
    }


@pytest.mark.usefixtures("records")
def test_a_damaged_cell_has_failed_and_says_so_in_its_row() -> None:
    path = Path(layout.at(BENCH, **WHERE))
    path.write_text("[]")
    row = cell(summarized())
    assert (row["status"], row["stage"]) == ("failed", "record")
    assert row["reason"] and row["reason"].startswith(f"{path}: as a whole: ")
    assert row["file_bytes"], "what is known of its file stays"


@pytest.mark.usefixtures("records")
def test_a_cell_of_an_unknown_file_has_failed() -> None:
    path = Path(layout.at(MANIFEST, **WHERE))
    path.write_text("[]")
    row = cell(summarized())
    assert (row["status"], row["tg_tps"], row["file_bytes"]) == ("failed", None, None)
    assert row["reason"] and str(path) in row["reason"]


def cell(summary: Summary) -> Row:
    keys = ("device", "model", "quant", "runtime")
    return next(row for row in summary["rows"] if all(row[key] == WHERE[key] for key in keys))
