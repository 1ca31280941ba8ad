"""`llmpi service bench` over a real sshd, of a service that serves a tiny model for real."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import stand_ins
import yaml
from gguf_edit import edited
from made_records import questions, write
from made_service import bench, settings
from served_release import released
from support import ROOT, free_port, heed_ctrl_c
from tiny_llama import tiny_llama

from benchmarks.service.servers import KEY, served
from llmpi import cli, layout
from llmpi.device.service import releases
from llmpi.device.service.records import ServiceBench
from llmpi.gguf.records import Gguf
from llmpi.quality.squad.records import AskedParagraph, SquadDocument
from llmpi.records import read, write_json
from llmpi.summary.service_loads import carried_loads

pytestmark = pytest.mark.long
"""They need llama-server, which takes minutes to build where it was not built before."""

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
TEXTS = ("--prompt-tokens", "24", "--output-tokens", "8")
PASSAGES: list[AskedParagraph] = [
    {
        "context": f"passage {p}",
        "qas": [
            {"id": f"{p}-{q}", "question": f"{q}?", "is_impossible": True, "answers": []}
            for q in range(2)
        ],
    }
    for p in range(3)
]
RECORD = Path(layout.at(layout.SERVICE, study="s", device="pi"))


class Shelf:
    """A device behind SSH, and a study that serves on it."""

    def __init__(self, folder: Path, device: dict[str, Any], port: int) -> None:
        self.folder, self.server = folder, None
        (folder / "my-key").write_text(KEY)
        self.study: dict[str, Any] = {
            "study": "s",
            "models": {"m": {"source": {"path": "."}}},
            "quants": ["F16"],
            "devices": {"pi": {**device, "meter": {"kind": "constant", "power_w": 5.0}}},
            "workloads": {"chat": {"prompt_tokens": 24, "output_tokens": 8}},
            "service": {
                "variant": {"model": "m", "quant": "F16"},
                "port": port,
                "key_file": str(folder / "my-key"),
                "context_tokens": 512,
            },
        }

    def bench(self, *arguments: str) -> int:
        return cli.main(["service", "bench", "--configfile", str(self.config), *arguments])

    @property
    def config(self) -> Path:
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump(self.study))
        return path


@pytest.fixture
def shelf(
    sshd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AbstractContextManager[Shelf]]:
    """A shelf whose service has the settings that are given."""
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def serving(**settings: Any) -> Iterator[Shelf]:
        store, port = tmp_path / "store", free_port()
        chat = {"tokenizer.chat_template": TEMPLATE, "llama.context_length": 512}
        edited(tiny_llama(tmp_path), tmp_path / "chat.gguf", chat)
        how = {"model": "m", "quant": "F16", "context_tokens": 512, **settings}
        release = released(tmp_path / "chat.gguf", store, port=port, **how)
        releases.switch(store, release.name)
        program = release / "runtime/bin/llmpi-device"
        program.write_text(
            f'#!/bin/sh\nPYTHONPATH={ROOT}/src exec {sys.executable} -m llmpi.device.cli "$@"\n'
        )
        program.chmod(0o755)
        (store / "service/key").write_text(KEY)
        with served(release, port, tmp_path):
            yield Shelf(tmp_path, sshd.device(store), port)

    return serving


def test_each_load_is_measured_there_and_kept_with_its_conditions(shelf, capsys) -> None:
    with shelf(slots=2) as there:
        assert there.bench("--clients", "1,3", "--requests", "20", *TEXTS) == 0
        record = read(RECORD, ServiceBench)
        assert there.bench("--rate", "20", "--requests", "10", *TEXTS) == 0
        assert there.bench("--clients", "3", "--requests", "5", *TEXTS) == 0
    assert (record["release"], record["settings"]["slots"]) == ("one", 2)
    assert record["seen"]["release"] == "one"
    assert record["where"]["engine"]["llama_cpp_commit"]
    one, three = carried_loads(record)
    for found in (one, three):
        assert (found.asked, found.answered, found.failed, found.refused) == (20, 20, 0, {})
        assert found.carried["others"] == 0
        assert found.cached_pct == pytest.approx(0, abs=8), "no two prompts begin alike"
        assert found.tier == "estimated"
        assert found.j_per_answer == pytest.approx(5 * found.span_s / 20)
        ttft, whole = found.ttft_s, found.whole_s
        assert 0 < ttft.p50 <= whole.p50 <= whole.p95
        assert ttft.p99 is whole.p99 is None, "20 answers have no 99th percentile"
    assert all(r["prompt_tokens"] and r["output_tokens"] for r in one.carried["requests_made"])
    said = capsys.readouterr().out
    assert "m F16, release one, 2 slots of 512 tokens" in said
    assert KEY not in said + RECORD.read_text()
    again = carried_loads(read(RECORD, ServiceBench))
    assert [found.asked for found in again] == [20, 5, 10], "of each kind the last one"


@pytest.mark.parametrize("kind", ["hwmon", "shelly"])
def test_joules_are_the_meters_from_the_first_request_to_the_last_end(shelf, kind, tmp_path):
    """A sensor is read on the device, a plug from here, by a clock set against the device's."""
    with (
        shelf(slots=2) as there,
        stand_ins.hwmon(tmp_path / "sys") as shown,
        stand_ins.plugs() as plug,
    ):
        source = str(tmp_path / "sys" / stand_ins.HWMON_FILE)
        meter = {"kind": kind, "interval_s": 0.2}
        meter |= {"path": source} if kind == "hwmon" else {"url": plug}
        there.study["devices"]["pi"]["meter"] = meter
        assert there.bench("--clients", "2", "--requests", "300", *TEXTS) == 0
    [found] = carried_loads(read(RECORD, ServiceBench))
    energy, made = found.carried["energy"], found.carried["requests_made"]
    assert energy["status"] == "ok", energy
    assert (energy["tier"], energy["meter"]) == ("metered", kind)
    begin = min(one["start_s"] for one in made)
    end = max(one["start_s"] + one["whole_s"] for one in made)
    off = stand_ins.off_j(end - begin, late_s=0.2 + shown.late_s)
    truth = stand_ins.truth_j(begin, end)
    assert energy["energy_j"] == pytest.approx(truth, rel=0.02, abs=off)
    assert found.j_per_answer == pytest.approx(energy["energy_j"] / found.answered)


def test_what_is_refused_is_counted_apart_from_what_fails(shelf, capsys) -> None:
    with shelf(slots=1, waiting=0) as there:
        assert there.bench("--rate", "400", "--requests", "60", *TEXTS) == 0
    [found] = carried_loads(read(RECORD, ServiceBench))
    assert found.asked == 60
    assert found.refused[503] >= 1
    assert found.failed == 0
    assert found.answered + found.refused[503] == 60
    assert "(503)" in capsys.readouterr().out


def test_the_studys_own_questions_are_asked_as_chats(shelf) -> None:
    with shelf() as there:
        there.study["quality"] = {"qa": {"task": "squad", "squad_file": "qa.json", "examples": 0}}
        document: SquadDocument = {
            "version": "v2.0",
            "data": [{"title": "", "paragraphs": PASSAGES}],
        }
        (there.folder / "qa.json").write_text("{}")
        write(layout.QUESTIONS, {**questions(), "squad": document}, study="s", task="qa")
        assert there.bench("--clients", "2", "--requests", "8", "--output-tokens", "4") == 0
    [found] = carried_loads(read(RECORD, ServiceBench))
    assert found.carried["prompts"] == {"kind": "questions", "task": "qa", "questions": 6}
    assert (found.answered, found.reasons) == (8, [])


def test_ctrl_c_keeps_what_was_measured(shelf, tmp_path) -> None:
    with shelf() as there:
        arguments = ("--clients", "1,2", "--requests", "10000", *TEXTS)
        command = [sys.executable, "-m", "llmpi.cli", "service", "bench", "--configfile"]
        process = subprocess.Popen(
            [*command, str(there.config), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
        assert process.stdout
        try:
            next(line for line in process.stdout if "10000 1 client" in line)  # how far it is
            process.send_signal(2)
            rest = process.stdout.read()
            assert process.wait(60) == 130, rest
        finally:
            process.kill()
    assert "stopped; what was measured is kept" in rest
    [found] = carried_loads(read(RECORD, ServiceBench))
    assert found.carried["stopped"]
    assert 0 < found.answered < 10000


def test_a_device_that_serves_nothing_says_so(shelf, capsys) -> None:
    with shelf() as there:
        pass
    assert there.bench(*TEXTS) == 1
    assert "device pi: http://127.0.0.1" in capsys.readouterr().err
    assert not RECORD.exists()


def test_what_is_no_record_is_told_before_anything_is_measured(shelf, capsys) -> None:
    with shelf() as there:
        RECORD.parent.mkdir(parents=True)
        RECORD.write_text('{"status": "ok"}')
        assert there.bench(*TEXTS) == 1
    said = capsys.readouterr().err
    assert f"{RECORD}: study: Field required" in said
    assert "remove it, and measure again" in said


def test_the_next_snakemake_shows_it(copy) -> None:
    served = {"model": "smollm2-135m", "quant": "Q4_0"}
    copy.config["devices"]["pi"] = {"transport": "ssh", "host": "pi.local"}
    copy.config |= {"exclude": [{"device": "pi"}], "service": {"variant": served}}
    assert "What the shelf carries" not in copy.shown()
    name = layout.at(layout.SERVICE, study="small", device="pi")
    gguf = read(copy.folder / layout.at(layout.GGUF_MANIFEST, **served), Gguf)
    found = bench(device="pi", settings=settings(**served), gguf_sha256=[gguf["sha256"]])
    write_json(copy.folder / name, found)
    page = copy.shown()
    assert "Up to <b>60.0</b> answers a minute without a refusal" in page
    assert "Not what it carries now" not in page
    copy.config["service"]["slots"] = 3
    page = copy.shown()
    assert "the config asks for other settings now: slots" in page
    assert "answers a minute without a refusal" not in page
    (copy.folder / name).unlink()
    assert "What the shelf carries" not in copy.shown()
