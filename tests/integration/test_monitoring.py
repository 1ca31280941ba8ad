"""All real: a served model, its monitor, Debian's Prometheus; a slowed and a corrupted model."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from gguf_damage import swap_halves
from prometheus_text import objections, value
from served_release import SETTINGS, released
from support import ROOT, free_port, needed, until

from llmpi import records
from llmpi.device.monitor.config import Canary, Config
from llmpi.operate.alerts import rules
from llmpi.operate.records import Expectation
from llmpi.records import write_json

pytestmark = pytest.mark.long
"""They need llama-server, which takes minutes to build where it was not built before."""

GGUF = "results/gguf/smollm2-135m/F16.gguf"
ENGINE = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The small study with enough questions for a canary."""
    work = finished.clone(tmp_path_factory.mktemp("monitoring") / "work")
    work.config |= {"study": "watched", "quants": ["F16"]}
    work.config["quality"]["field"] |= {"questions": 60, "max_new_tokens": 16}
    work.write().snakemake("--", "measured", "scored")
    return work


@pytest.fixture(scope="module")
def expected(study: Any) -> Expectation:
    """What `llmpi monitor expect` writes, cut to what a slowed model can answer in a test."""
    out = study.folder / "expect.json"
    command = [sys.executable, "-m", "llmpi.cli", "monitor", "expect", "--configfile"]
    command += ["config/study.yaml", "--device", "here", "--model", "smollm2-135m"]
    command += ["--quant", "F16", "--out", str(out)]
    subprocess.run(command, cwd=study.folder, env=ENGINE, check=True)
    whole = records.read(out, Expectation)
    assert len(whole["questions"]) >= 8
    assert len(whole["prefixes"]) == 32
    return cut(whole)


def cut(whole: Expectation) -> Expectation:
    """Four questions with an answer, which the file gives word by word, and eight prefixes."""
    known = [q for q in whole["questions"] if q["answer"].strip() in q["golds"]]
    return {
        **whole,
        "questions": known[:4],
        "prefixes": whole["prefixes"][:8],
        "speed": {**whole["speed"], "output_tokens": 16},
    }


@contextlib.contextmanager
def process(command: list[str], log: Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, **options)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGCONT)
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def serving(gguf: Path, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    runtime = {**SETTINGS["runtime"], "batch_tokens": 512, "ubatch_tokens": 512}
    asked = {"model": "smollm2-135m", "quant": "F16", "context_tokens": 1024, "port": port}
    store = Path(tempfile.mkdtemp(dir=log.parent))
    release = released(gguf, store, runtime=runtime, **asked)
    command = [sys.executable, "-m", "llmpi.device.cli", "serve", "--release", str(release)]
    with process(command, log, env=ENGINE, start_new_session=True) as child:
        until(lambda: child.poll() is not None or "llmpi_build_info" in read(port), log.read_text)
        assert child.poll() is None, log.read_text()
        yield child


def read(port: int, path: str = "/metrics") -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def complete(port: int, **body: Any) -> Any:
    data = json.dumps({"temperature": 0, **body}).encode()
    headers = {"Content-Type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/completions"
    with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
        return answer.read().decode()


def sung(url: str, expect: Path, log: Path) -> tuple[int, dict[str, Any]]:
    """A canary by the command line."""
    command = [sys.executable, "-m", "llmpi.device.cli", "canary", "--url", url]
    command += ["--expect", str(expect), "--timeout", "300"]
    done = subprocess.run(command, env=ENGINE, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr + log.read_text()
    return done.returncode, json.loads(done.stdout)


def test_tokens_and_first_token_are_what_the_server_says(study: Any, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with serving(study.folder / GGUF, port, log):
        usage = json.loads(complete(port, prompt="The ferry leaves at", max_tokens=6))["usage"]
        text = read(port)
        assert objections(text) == []
        assert value(text, "llmpi_prompt_tokens_total") == usage["prompt_tokens"]
        # The last token is sent, and not computed on.
        assert value(text, "llmpi_generated_tokens_total") == usage["completion_tokens"] - 1
        assert value(text, "llmpi_time_to_first_token_seconds_count") == 0
        streamed = complete(port, prompt="Once upon a time", max_tokens=6, stream=True)
        assert streamed.count("data:") >= 6
        assert value(read(port), "llmpi_time_to_first_token_seconds_count") == 1
        # A stream's request ends a moment after its last byte.
        requests = {"endpoint": "/v1/completions", "code": "200", "release": "one"}
        until(lambda: value(read(port), "llmpi_requests_total", **requests) == 2, log.read_text)
        assert value(read(port), "llmpi_requests_in_progress") == 0


@contextlib.contextmanager
def slowed(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Nine tenths of the time stopped, as by a board that throttles hard."""
    end = threading.Event()

    def loop() -> None:
        while not end.wait(0.02):
            os.killpg(child.pid, signal.SIGSTOP)
            end.wait(0.18)
            os.killpg(child.pid, signal.SIGCONT)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
        os.killpg(child.pid, signal.SIGCONT)


def test_a_slowed_and_a_corrupted_model_raise_their_alerts(
    study: Any, expected: Expectation, tmp_path: Path
) -> None:
    service, monitor, prometheus = (free_port() for _ in range(3))
    url, log, expect = f"http://127.0.0.1:{service}", tmp_path / "log", tmp_path / "expect.json"
    sound, corrupted = study.folder / GGUF, tmp_path / "corrupted.gguf"
    shutil.copyfile(sound, corrupted)
    for layer in range(4, 14):
        swap_halves(corrupted, f"blk.{layer}.ffn_down.weight")

    def firing() -> set[str]:
        answer = read(prometheus, "/api/v1/alerts")
        found = json.loads(answer)["data"]["alerts"] if answer else []
        return {alert["labels"]["alertname"] for alert in found if alert["state"] == "firing"}

    with contextlib.ExitStack() as running:
        server = running.enter_context(serving(sound, service, log))
        write_json(expect, expected)
        _, healthy = sung(url, expect, log)
        assert healthy["f1_pct"] >= expected["limits"]["f1_at_least_pct"]
        assert healthy["top1_agreement_pct"] == 100
        # This machine's speed swings with its neighbours: a third of it is slow by any measure.
        expected["limits"]["tg_at_least_tps"] = healthy["tg_tps"] / 3
        write_json(expect, expected)
        start_watching(running, expected, expect, (service, monitor, prometheus), tmp_path)
        until(lambda: value_of(read(monitor), "llmpi_canary_passed") == 1, log.read_text)
        assert objections(read(monitor)) == []
        until(lambda: up(prometheus) == {"llmpi-service", "llmpi-monitor"}, log.read_text)
        quiet = {"LlmpiSlow", "LlmpiWorseAnswers", "LlmpiOtherModel", "LlmpiDown", "LlmpiErrors"}
        assert not firing() & quiet
        with slowed(server):
            until(lambda: "LlmpiSlow" in firing(), log.read_text)
            assert not firing() & {"LlmpiWorseAnswers", "LlmpiOtherModel"}, "slow is not wrong"
        until(lambda: "LlmpiSlow" not in firing(), log.read_text)
        server.terminate()
        server.wait()
        running.enter_context(serving(corrupted, service, log))
        until(lambda: {"LlmpiWorseAnswers", "LlmpiOtherModel"} <= firing(), log.read_text)
        code, record = sung(url, expect, log)
    assert (code, record["status"]) == (1, "failed")
    assert record["f1_pct"] < expected["limits"]["f1_at_least_pct"]
    assert record["top1_agreement_pct"] < expected["limits"]["top1_at_least_pct"]


def start_watching(
    running: contextlib.ExitStack,
    expected: Expectation,
    expect: Path,
    ports: tuple[int, int, int],
    folder: Path,
) -> None:
    """The monitor and Prometheus, every second."""
    service, monitor, prometheus = ports
    config = Config(
        device=expected["device"],
        model=expected["model"],
        quant=expected["quant"],
        release="one",
        store=str(folder),
        canary=Canary(f"http://127.0.0.1:{service}", expect=str(expect), interval_s=1),
        listen=f"127.0.0.1:{monitor}",
    )
    write_json(folder / "monitor.json", asdict(config))
    command = [sys.executable, "-m", "llmpi.device.cli", "monitor", "--config"]
    command.append(str(folder / "monitor.json"))
    running.enter_context(process(command, folder / "monitor.log", env=ENGINE))
    (folder / "rules.yml").write_text(rules([expected], canary_interval_s=1))
    targets = {"llmpi-service": service, "llmpi-monitor": monitor}
    jobs = [
        {"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        for job, port in targets.items()
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    settings = {"global": every, "rule_files": ["rules.yml"], "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    subprocess.run(
        [needed("promtool"), "check", "config", str(folder / "prometheus.yml")], check=True
    )
    command = [needed("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{prometheus}"]
    running.enter_context(process(command, folder / "prometheus.log"))


def value_of(text: str, name: str) -> float | None:
    return value(text, name) if text else None


def up(prometheus: int) -> set[str]:
    """Jobs that Prometheus could scrape."""
    answer = read(prometheus, "/api/v1/query?query=up==1")
    found = json.loads(answer)["data"]["result"] if answer else []
    return {series["metric"]["job"] for series in found}
