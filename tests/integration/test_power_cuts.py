"""A board whose power is cut, again and again, each time at a moment of its work that is held.

One whole virtual Pi with one disk, as a shelf has it. The next plain `snakemake` heals it, without
a hand on the board, and what it then measures is what an undisturbed one does.
"""

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import stand_ins
from cut_proxy import CutProxy
from full_pi import made, moments
from full_pi.board import Board
from full_pi.moments import cut_power, engine_starts, waiting
from support import free_port, needed, until
from tiny_llama import SIZE, write_tokenizer
from virtual_pi import share_engines

from llmpi.errors import LlmpiError
from llmpi.operate import device_releases, host
from llmpi.records import sha256_of
from llmpi.remote.connection import connected
from llmpi.remote.deploy import deployed_parts
from llmpi.remote.machine import Device
from llmpi.study.devices import SshDevice
from llmpi.train.small import Small, write_start

pytestmark = pytest.mark.long

STORE = ".llmpi"
MODELS = f"{STORE}/models/small"
CHAT = {"prompt_tokens": 8, "output_tokens": 4, "repetitions": 2, "warmup": 1, "warmup_limit": 1}
SAME = "the record is an undisturbed run's"


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for tool in made.TOOLS:
        needed(tool)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with made.board(tmp_path_factory.mktemp("board")) as found:
        found.boot()
        moments.prepare(found)
        yield found


@pytest.fixture
def board(shelf: Board) -> Board:
    """It is on, whatever became of it before."""
    if not shelf.is_on:
        shelf.boot()
    return shelf


@pytest.fixture(scope="module")
def prepared(new, tmp_path_factory: pytest.TempPathFactory):
    """A study of a small model of which all is there but what a device does."""
    folder = tmp_path_factory.mktemp("cuts")
    work = new(folder / "work", "cuts")
    write_tokenizer(folder / "tokenizer.gguf")
    size = Small(layers=4, width=512, heads=8, kv_heads=4, ffn_width=1024, merges=SIZE.merges)
    write_start(folder / "tokenizer.gguf", work.folder / "small.gguf", size, seed=1)
    work.config |= {"models": {"small": {"source": {"path": "small.gguf"}}}, "quality": {}}
    work.config["workloads"] = {"chat": CHAT}
    share_engines(work.folder)
    work.write().snakemake("--", "gguf")
    return work


@pytest.fixture(scope="module")
def undisturbed(prepared, shelf: Board, tmp_path_factory: pytest.TempPathFactory):
    """What a study comes to on the board whose power stays."""

    @functools.cache
    def found() -> dict[str, Any]:
        work = study(prepared, tmp_path_factory.mktemp("undisturbed") / "work", shelf)
        work.snakemake("--", "measured")
        return facts(work)

    return found


def study(prepared, folder: Path, board: Board, **device: object):
    """Of one variant; where it loses the board it gives up at once."""
    work = prepared.clone(folder)
    work.config["quants"] = ["Q4_0"]
    work.config["devices"] = {"pi": board.device(reconnect_s=1, **device)}
    return work.write()


def record(work) -> dict[str, Any]:
    """Of its one session."""
    return work.json("bench/cuts/pi/small/Q4_0/default.json")


def facts(work) -> dict[str, Any]:
    """What must be the same in every record of a study, however it came about."""
    found = record(work)
    machine = found["environment"]["machine"]
    del machine["memory_bytes"]  # a page more or less from boot to boot
    chat = found["workloads"]["chat"]
    return {
        **{name: found[name] for name in ("status", "gguf_sha256", "settings", "limits", "order")},
        **{name: chat[name] for name in ("status", "workload", "context_tokens", "output")},
        "repetitions": [len(one["itl_s"]) for one in chat["repetitions"]],
        "engine": found["environment"]["engine"],
        "machine": machine,
    }


@contextlib.contextmanager
def running(work, target: str = "measured") -> Iterator[subprocess.Popen[bytes]]:
    """`snakemake`, beside the block."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(work.folder / "Snakefile")]
    command += ["--cores", "2", "--configfile", "config/study.yaml", "--", target]
    process = subprocess.Popen(command, cwd=work.folder, start_new_session=True)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cut_at(board: Board, work, **moment: str) -> None:
    """Run a study until something on the board comes to a moment, and cut the power there."""
    with waiting(board, **moment) as wait, running(work) as first:
        wait(lambda: first.poll() is None)
        cut_power(board)
        assert first.wait() != 0
    board.boot()


def forget_models(board: Board) -> None:
    board.run("rm", "-rf", MODELS)


def jobs(board: Board) -> list[str]:
    return board.run("ls", f"{STORE}/jobs").split()


@pytest.mark.fault("power cut during provisioning", by=f"{SAME}; the installation is whole")
def test_during_provisioning(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    """The first of its packages is unpacked."""
    board.run("rm", "-rf", STORE)
    work = study(prepared, tmp_path / "work", board)
    cut_at(board, work, named="/INSTALLER")
    work.snakemake("--", "measured")
    assert facts(work) == undisturbed()


@pytest.mark.fault("power cut just after provisioning", by=f"{SAME}; installed once")
def test_just_after_provisioning(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    board.run("rm", "-rf", STORE)
    work = study(prepared, tmp_path / "work", board)
    assert "installing" in work.snakemake("--", "results/devices/pi.json").stdout
    cut_power(board)
    board.boot()
    said = work.snakemake("--", "measured").stdout
    assert "installing" not in said
    assert facts(work) == undisturbed()


@pytest.mark.fault("power cut during an upload", by=f"{SAME}; hash of the file there")
def test_during_an_upload(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    work = study(prepared, tmp_path / "work", board)
    work.snakemake("--", "results/devices/pi.json")
    forget_models(board)
    gguf = work.folder / "results/gguf/small/Q4_0.gguf"
    with CutProxy(board.port) as link:
        hosts = board.known_hosts.read_text().replace(f":{board.port} ", f":{link.port} ")
        (tmp_path / "hosts").write_text(hosts)
        device = work.config["devices"]["pi"]
        device |= {"port": link.port, "known_hosts": str(tmp_path / "hosts")}
        link.stall_after = gguf.stat().st_size * 6 // 10
        with running(work.write()) as first:
            until(lambda: link.stalled.is_set() or first.poll() is not None)
            assert first.poll() is None, "it ended before that moment"
            cut_power(board)
            link.go_on()
            assert first.wait() != 0
        board.boot()
        work.snakemake("--", "measured")
    assert facts(work) == undisturbed()
    assert sent(board) == {"Q4_0.gguf": sha256_of(gguf)}


def sent(board: Board) -> dict[str, str]:
    """Hashes of all that lies where the model files do, without their records."""
    names = [name for name in board.run("ls", "-A", MODELS).split() if not name.endswith(".json")]
    return {name: board.run("sha256sum", f"{MODELS}/{name}").split()[0] for name in names}


@pytest.mark.fault("power cut after the receipt", by=f"{SAME}; hash of the file there; sent once")
def test_after_the_receipt(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    work = study(prepared, tmp_path / "work", board)
    work.snakemake("--", "results/devices/pi.json")
    forget_models(board)
    work.snakemake("--", "deployed")
    gguf = work.folder / "results/gguf/small/Q4_0.gguf"
    cut_power(board)
    [kept] = board.look(f"/home/pi/{MODELS}", tmp_path).glob("*.gguf")
    assert sha256_of(kept) == sha256_of(gguf)
    board.boot()
    assert "sending it again" not in work.snakemake("--", "measured").stdout
    assert facts(work) == undisturbed()


NO_JOB = f"{SAME}; engine starts: two; no job is left"


@pytest.mark.fault("power cut", by=NO_JOB)
@pytest.mark.parametrize(
    "said", ["loaded in", "[1/2] chat"], ids=["after start", "in mid-measurement"]
)
def test_while_it_measures(board: Board, prepared, undisturbed, tmp_path: Path, said: str) -> None:
    """That a job runs is known, and on no disk."""
    work, before = study(prepared, tmp_path / "work", board), engine_starts(board)
    cut_at(board, work, said=said)
    work.snakemake("--", "measured")
    assert engine_starts(board) - before == 2
    assert facts(work) == undisturbed()
    assert jobs(board) == []


@pytest.mark.fault("power cut after out.json", by=f"{SAME}; engine starts: one; no job is left")
def test_after_the_record_is_written(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    """The workstation sleeps when it is written: it is collected, not measured again."""
    work, before = study(prepared, tmp_path / "work", board), engine_starts(board)
    with waiting(board, said="[1/2] chat") as wait, running(work) as first:
        wait(lambda: first.poll() is None)
        os.killpg(first.pid, signal.SIGSTOP)
        moments.go_on(board)
        board.run("sh", "-c", f"until [ -s ~/{STORE}/jobs/*/out.json ]; do sleep 0.2; done")
        cut_power(board)
        os.killpg(first.pid, signal.SIGCONT)
        assert first.wait() != 0
    board.boot()
    work.snakemake("--", "measured")
    assert engine_starts(board) - before == 1
    assert facts(work) == undisturbed()
    assert jobs(board) == []


@pytest.mark.fault("power cut during a release's switch", by="hashes of the release that is served")
def test_during_a_releases_switch(board: Board, prepared, tmp_path: Path) -> None:
    """Both links name the old release then; the service's own processes are not there."""
    work = study(prepared, tmp_path / "work", board)
    work.snakemake("--", "deployed")
    receipt: Any = work.json("deploy/pi/small/Q4_0.json")
    reached = SshDevice.model_validate(work.config["devices"]["pi"])
    with connected("pi", reached) as device, ThreadPoolExecutor() as pool:
        device.run(["rm", "-rf", "--", f"{device.store}/service"])
        device.make_folder(f"{device.store}/service/runtimes/code")
        for release in ("one", "two"):
            put(device, release)
            device_releases.add(device, release, models=deployed_parts(receipt), runtime="code")
        device_releases.switch(device, "one")
        with waiting(board, named="service/current") as wait:
            switched = pool.submit(device_releases.switch, device, "two")
            wait(lambda: not switched.done())
            cut_power(board)
            with pytest.raises(LlmpiError):
                switched.result()
    board.boot()
    with connected("pi", reached) as device:
        assert device_releases.state(device) == {
            "current": "one",
            "previous": "one",
            "releases": ["one", "two"],
        }
        assert served(device) == "one"
        device_releases.switch(device, "two")
        assert served(device) == "two"
        assert device_releases.state(device)["previous"] == "one"


def put(device: Device, release: str) -> None:
    """What a release consists of."""
    for name in ("settings", "expectation", "monitor"):
        new = f"{device.store}/service/releases/.{release}.new"
        host.put_text(device, json.dumps({"model": release}), f"{new}/{name}.json")


def served(device: Device) -> str:
    """The model of the release that is served, checked by its hashes there."""
    code = (
        "import sys; from pathlib import Path; from llmpi.device.service.releases import check\n"
        "print(check(Path(sys.argv[1]).resolve())['model'])"
    )
    current = f"{device.store}/service/current"
    return device.run([device.interpreter, "-c", code, current]).stdout.strip()


@pytest.mark.fault("power cut during an eviction", by=f"{SAME}; files that are left: the one")
def test_during_an_eviction(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    """The file that makes room is gone, what says of it that it is there is not."""
    work = study(prepared, tmp_path / "work", board)
    work.snakemake("--", "results/devices/pi.json")
    forget_models(board)
    large = work.clone(tmp_path / "large")
    large.config["quants"] = ["F16"]
    large.write().snakemake("--", "deployed")
    size = (large.folder / "results/gguf/small/F16.gguf").stat().st_size
    work.config["devices"]["pi"]["quota"] = size + 1000
    with waiting(board, removed="F16.gguf.json") as wait, running(work.write()) as first:
        wait(lambda: first.poll() is None)
        board.run("sync")
        cut_power(board)
        assert first.wait() != 0
    board.boot()
    work.snakemake("--", "measured")
    assert facts(work) == undisturbed()
    assert board.run("ls", "-A", MODELS).split() == ["Q4_0.gguf", "Q4_0.gguf.json"]


@pytest.mark.fault(
    "power cut during a plug's session",
    by=f"{SAME}; joules of its own session; no readings are left here",
)
def test_during_a_plugs_session(board: Board, prepared, undisturbed, tmp_path: Path) -> None:
    """The plug goes with it, and comes back with another load: the lost session's joules, which
    were kept here, are told from this one's."""
    port, load = free_port(), 3
    with stand_ins.plugs(port=port) as url:
        meter = {"kind": "shelly", "url": url, "interval_s": 0.5}
        work = study(prepared, tmp_path / "work", board, meter=meter, idle_s=3)
        cut_at(board, work, said="[1/2] chat")
    assert readings(work)
    with stand_ins.plugs(port=port, load=load):
        work.snakemake("--", "measured")
    assert facts(work) == undisturbed()
    energy = record(work)["workloads"]["chat"]["energy"]
    assert (energy["status"], energy["tier"]) == ("ok", "metered"), energy
    least, most = stand_ins.RANGE_W
    assert all(load * least <= energy[of]["power_w"] <= load * most for of in ("pp", "tg")), energy
    assert readings(work) == []
    assert jobs(board) == []


def readings(work) -> list[str]:
    """What a plug said that is kept here."""
    kept = (work.folder / "results/bench").rglob("*.meter")
    return [line for file in kept for line in file.read_text().splitlines()]
