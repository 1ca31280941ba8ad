"""The service on two devices with Debian's real systemd, over a real sshd, rolled out for real."""

import json
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import systemd_device
from engine_wheel import engine_wheel
from expected_answers import expectation, right_answer, spoil
from service_command import llmpi_service
from support import PATIENCE_S, ROOT, needed, only_root, until

from benchmarks import peer
from llmpi import layout
from llmpi.device.service.records import ServiceBench
from llmpi.operate.bench import record_of
from llmpi.records import read, sha256_of, write_json
from llmpi.remote.server_wheel import own_server
from llmpi.summary.service_loads import carried_loads

pytestmark = pytest.mark.long

MODEL, GOOD, BAD = "smollm2-135m", "Q4_0", "Q8_0"
KEY = "0123456789abcdef-only-for-this-test"
SLOW = "another-key-of-a-client-that-asks-too-often"
SECRET = "pomegranate"
PORT = 8080
MEMORY = 600 * 1024**2
WAITING = 16
UNIT = "llmpi-serve.service"
PROMPT, TOKENS = "The capital of France is", 4


@dataclass
class Fleet:
    """Two devices, and a working copy whose study serves on them."""

    work: Any
    """Of conftest.py."""
    devices: dict[str, systemd_device.SystemdDevice]
    right: str
    """What the good release answers to `PROMPT`."""

    def llmpi(self, action: str, *more: str, check: bool = True) -> str:
        said = llmpi_service(self.work.folder, action, *more, check=check)
        assert KEY not in said
        return said

    def configure(self, **service: Any) -> None:
        self.work.config["service"] |= service
        self.work.write()

    def releases(self, name: str) -> tuple[str, str | None, list[str]]:
        folder = f"/home/{systemd_device.USER}/.llmpi/service"
        device = self.devices[name]
        links = [
            device.run("readlink", f"{folder}/{link}", check=False).strip().rpartition("/")[2]
            for link in ("current", "previous")
        ]
        return links[0], links[1] or None, device.run("ls", f"{folder}/releases").split()


def gguf(work: Any, quant: str) -> Path:
    return work.folder / layout.at(layout.GGUF, model=MODEL, quant=quant)


@pytest.fixture(scope="module")
def fleet(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two devices on which the good release is served."""
    for tool in systemd_device.TOOLS:
        needed(tool)
    only_root("a namespace with systemd in it")
    folder = tmp_path_factory.mktemp("service")
    work = finished.clone(folder / "work")
    files = {quant: gguf(work, quant) for quant in (GOOD, BAD)}
    spoil(files[GOOD], files[BAD])
    (work.folder / "config/key").write_text(f"{KEY}\n{SLOW} 2\n")
    wheel = engine_wheel(folder / "wheels")
    server = own_server(ROOT / "envs/device.lock", peer.cache_folder())
    with (
        systemd_device.running(folder / "pi1", "pi1", 1) as one,
        systemd_device.running(folder / "pi2", "pi2", 2) as two,
    ):
        devices = {"pi1": one, "pi2": two}
        expected = expectation(files[GOOD], work.folder)
        for quant, file in files.items():
            for name in devices:
                cell = {"device": name, "model": MODEL, "quant": quant}
                where = {"study": "served", "runtime": "default", **cell}
                path = work.folder / layout.at(layout.EXPECTATION, **where)
                write_json(path, {**expected, **cell, "gguf_sha256": sha256_of(file)})
        made = {"engine": {"wheel": str(wheel)}, "server_wheel": str(server)}
        work.config |= {
            "study": "served",
            "quants": [GOOD, BAD],
            "devices": {n: d.spec(**made) for n, d in devices.items()},
            "runtimes": {"default": {"omp_wait_policy": "passive"}},
            "quality": {},
            "service": {
                "variant": {"model": MODEL, "quant": GOOD},
                "host": "0.0.0.0",
                "port": PORT,
                "key_file": "config/key",
                "context_tokens": 512,
                "memory_limit": MEMORY,
                "waiting": WAITING,
            },
        }
        work.write()
        fleet = Fleet(work, devices, right_answer(files[GOOD], PROMPT, TOKENS))
        said = fleet.llmpi("install")
        assert said.splitlines()[:4] == [
            "stage 1 of 2: pi1",
            "pi1: passed",
            "stage 2 of 2: pi2",
            "pi2: passed",
        ]
        yield fleet


@dataclass
class Answer:
    status: int
    headers: Message
    body: str


def ask(
    device: systemd_device.SystemdDevice,
    prompt: str = PROMPT,
    *,
    path: str = "/v1/completions",
    key: str | None = KEY,
    tokens: int = TOKENS,
    **more: Any,
) -> Answer:
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, **more}
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {key}"} if key else {}
    url = f"http://{device.address}:{PORT}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read().decode())


def text(answer: Answer) -> str:
    assert answer.status == 200, answer
    return json.loads(answer.body)["choices"][0]["text"]


def test_it_answers_who_brings_the_key_and_nobody_else(fleet: Fleet) -> None:
    device = fleet.devices["pi1"]
    assert text(ask(device)) == fleet.right
    for key in (None, "", KEY[:-1], KEY.upper()):
        assert ask(device, key=key).status == 401
        assert ask(device, path="/v1/models", key=key).status == 401
    assert [ask(device, key=SLOW).status for _ in range(3)] == [200, 200, 429]
    for name in ("key", "keys"):
        key_file = f"/home/{systemd_device.USER}/.llmpi/service/{name}"
        assert device.run("stat", "-c", "%a %U", key_file).split() == ["600", systemd_device.USER]


def test_it_has_no_privileges(fleet: Fleet) -> None:
    device = fleet.devices["pi1"]
    pid = device.show(UNIT, "MainPID")
    status = device.run("cat", f"/proc/{pid}/status")
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert re.search(rf"^Cap{kind}:\t0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    user = device.run("stat", "-c", "%U", f"/proc/{pid}").strip()
    assert user == systemd_device.USER
    # It sees the service's folder alone, and no network but the socket it was given.
    inside = ["nsenter", "--target", pid, "--mount", "--net"]
    assert device.run(*inside, "ls", "-A", f"/home/{systemd_device.USER}/.llmpi").split() == [
        "service"
    ]
    assert "eth0" not in device.run(*inside, "ip", "link")


@pytest.mark.parametrize("stream", [False, True])
def test_an_oversized_prompt_is_refused(fleet: Fleet, stream: bool) -> None:
    device = fleet.devices["pi1"]
    answer = ask(device, f"{SECRET} " * 600, stream=stream)
    assert answer.status == 400
    assert json.loads(answer.body)["error"]["code"] == "context_length_exceeded"
    assert ask(device, "word " * 2_000_000, stream=stream).status == 413
    messages = [{"role": "user", "content": f"{SECRET} " * 600}]
    chat = ask(device, path="/v1/chat/completions", messages=messages, stream=stream)
    assert chat.status == 400
    assert ask(device, path="/v1/chat/completions", messages=7).status == 400
    assert text(ask(device)) == fleet.right


def test_fifty_clients_at_once_are_served_or_told_when_to_come_back(fleet: Fleet) -> None:
    device = fleet.devices["pi1"]
    restarts = device.show(UNIT, "NRestarts")
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: ask(device, f"{SECRET} is", stream=False), range(50)))
    assert {answer.status for answer in answers} <= {200, 503}
    assert sum(answer.status == 200 for answer in answers) >= WAITING + 1
    for answer in answers:
        if answer.status == 503:
            assert int(answer.headers["retry-after"]) >= 1
    assert text(ask(device)) == fleet.right
    assert device.show(UNIT, "NRestarts") == restarts


@pytest.mark.fault("the service killed", by="the answer of who asked meanwhile")
def test_killed_it_comes_back_and_who_asks_meanwhile_waits(fleet: Fleet) -> None:
    device = fleet.devices["pi1"]
    before = device.show(UNIT, "MainPID")
    device.run("kill", "-9", before)
    assert text(ask(device)) == fleet.right  # sent while no process was there
    assert device.show(UNIT, "MainPID") not in ("0", before)


def test_it_stays_within_its_memory(fleet: Fleet) -> None:
    device = fleet.devices["pi1"]
    group = device.show(UNIT, "ControlGroup")
    for place in (f"memory{group}/memory.max_usage_in_bytes", f"{group[1:]}/memory.peak"):
        peak = device.run("cat", f"/sys/fs/cgroup/{place}", check=False)
        if peak:
            assert 50_000_000 < int(peak) <= MEMORY
            return
    pytest.fail("the kernel tells no peak of memory")


def test_what_it_carries_is_measured_there_and_what_it_serves_is_noted(fleet: Fleet) -> None:
    """By the code of the release; both devices, the same questions."""
    loads = ("--clients", "1,3", "--requests", "6", "--prompt-tokens", "24", "--output-tokens", "4")
    said = fleet.llmpi("bench", *loads)
    for name in fleet.devices:
        record = read(fleet.work.folder / record_of("served", name), ServiceBench)
        assert record["release"] == record["seen"]["release"] == fleet.releases(name)[0]
        for found in carried_loads(record):
            assert (found.answered, found.refused, found.reasons) == (6, {}, [])
            assert found.no_energy == "the device has no meter"
        assert f"{name}: {MODEL} {GOOD} default, release {record['release']}" in said


def test_its_log_holds_neither_prompt_nor_key(fleet: Fleet) -> None:
    assert ask(fleet.devices["pi1"], f"{SECRET} is").status == 200
    log = fleet.llmpi("logs", "--lines", "2000", "--device", "pi1")
    assert "POST /v1/completions 200" in log
    assert SECRET not in log
    assert KEY not in log


class Client(threading.Thread):
    """Asks one question after the other until told to stop."""

    def __init__(self, device: systemd_device.SystemdDevice) -> None:
        super().__init__(daemon=True)
        self.device, self.end = device, threading.Event()
        self.answers: list[Answer] = []
        self.lost: list[str] = []

    def run(self) -> None:
        while not self.end.is_set():
            try:
                self.answers.append(ask(self.device, tokens=2))
            except OSError as error:
                self.lost.append(repr(error))
            time.sleep(0.05)


@pytest.mark.fault(
    "a release that answers nonsense", by="links of the releases: as before; no request is lost"
)
def test_a_bad_release_is_rolled_back_and_the_second_device_never_sees_it(fleet: Fleet) -> None:
    before = {name: fleet.releases(name) for name in fleet.devices}
    second = fleet.devices["pi2"].show(UNIT, "ActiveEnterTimestampMonotonic")
    fleet.configure(variant={"model": MODEL, "quant": BAD})
    clients = [Client(fleet.devices["pi1"]) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        said = fleet.llmpi("install", check=False)
    finally:
        for client in clients:
            client.end.set()
        for client in clients:
            client.join()
        fleet.configure(variant={"model": MODEL, "quant": GOOD})
    assert re.search(r"^pi1: failed: .*(F1|top-1)", said, re.MULTILINE)
    assert "pi1: rolled back" in said
    assert "rolled back: pi1; never touched: pi2" in said
    assert "stage 2" not in said
    assert fleet.releases("pi1")[:2] == before["pi1"][:2]
    assert fleet.releases("pi2") == before["pi2"]
    assert fleet.devices["pi2"].show(UNIT, "ActiveEnterTimestampMonotonic") == second
    assert text(ask(fleet.devices["pi1"])) == fleet.right
    # Who asked during both switches was answered, by the one release or by the other.
    answers = [answer for client in clients for answer in client.answers]
    assert [lost for client in clients for lost in client.lost] == []
    assert {answer.status for answer in answers} == {200}
    assert len(answers) > len(clients)


def test_an_update_is_kept_until_it_is_rolled_back(fleet: Fleet) -> None:
    first, _, _ = fleet.releases("pi1")
    fleet.configure(context_tokens=256)
    fleet.llmpi("install", "--device", "pi1")
    second, previous, there = fleet.releases("pi1")
    assert previous == first != second
    assert sorted(there) == sorted([first, second]), "nothing of the bad one is left"
    assert f"release {second}, before it {first}" in fleet.llmpi("status", "--device", "pi1")
    assert ask(fleet.devices["pi1"], "word " * 300).status == 400
    fleet.llmpi("rollback", "--device", "pi1")
    assert fleet.releases("pi1")[:2] == (first, None)
    assert ask(fleet.devices["pi1"], "word " * 300).status == 200
    assert "no previous release" in fleet.llmpi("rollback", "--device", "pi1", check=False)


def answers(device: systemd_device.SystemdDevice) -> str | None:
    """What the service says; None where nobody listens yet."""
    try:
        return text(ask(device))
    except urllib.error.URLError:
        return None


@pytest.mark.fault("the board of a service is started again", by="the answer")
@pytest.mark.parametrize("by", ["its own command", "a power cut"])
def test_started_again_it_serves_by_itself(fleet: Fleet, by: str) -> None:
    device = fleet.devices["pi1"]
    if by == "a power cut":
        device.cut_power()
    else:
        device.run("systemctl", "reboot", check=False)
        device.off()
    device.boot()
    assert until(lambda: answers(device)) == fleet.right
    until(lambda: device.show("llmpi-monitor.service", "ActiveState") == "active")


@pytest.mark.fault("power cut in an update of the service", by="the answer, before and after it")
@pytest.mark.parametrize("moment", ["service/previous", "service/current", "behind the switch"])
def test_power_cut_in_an_update_it_serves_by_itself(fleet: Fleet, moment: str) -> None:
    """By the one release or by the other; installing goes on from there."""
    device = fleet.devices["pi1"]
    old, *_ = fleet.releases("pi1")
    behind = moment == "behind the switch"
    fleet.configure(context_tokens=256)
    held = None if behind else device.hold(named=moment)
    with ThreadPoolExecutor() as pool:
        installed = pool.submit(fleet.llmpi, "install", "--device", "pi1", check=False)
        if held:
            held(lambda: not installed.done())
        else:
            until(lambda: installed.done() or fleet.releases("pi1")[0] != old)
        device.cut_power()
        assert "pi1: failed" in installed.result()
    device.boot()
    assert (fleet.releases("pi1")[0] != old) == behind
    assert until(lambda: answers(device)) == fleet.right
    fleet.llmpi("install", "--device", "pi1")
    assert fleet.releases("pi1")[1] == old
    assert ask(device, "word " * 300).status == 400
    fleet.configure(context_tokens=512)
    fleet.llmpi("install", "--device", "pi1")
    assert fleet.releases("pi1")[0] == old


def test_it_is_monitored(fleet: Fleet) -> None:
    device = fleet.devices["pi2"]
    assert device.show("llmpi-monitor.service", "ActiveState") == "active"
    assert device.show("llmpi-monitor.service", "User") == systemd_device.USER


def test_removed_it_leaves_the_models_and_nothing_else(fleet: Fleet) -> None:
    fleet.llmpi("remove", "--device", "pi2")
    device = fleet.devices["pi2"]
    assert device.run("systemctl", "list-unit-files", "llmpi-*", check=False).count("llmpi-") == 0
    store = f"/home/{systemd_device.USER}/.llmpi"
    assert "service" not in device.run("ls", store).split()
    assert device.run("ls", f"{store}/models/{MODEL}").split()
    assert "pi2: not installed" in fleet.llmpi("status", "--device", "pi2")
