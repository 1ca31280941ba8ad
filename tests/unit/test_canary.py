"""The canary against a service that says what the test wants, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from llmpi.device import cli
from llmpi.device.monitor.canary import counters, objections

EXPECTED: dict[str, Any] = {
    "max_new_tokens": 8,
    "prefixes": [{"prompt": "One two", "next": "three"}, {"prompt": "One", "next": " two"}],
    "questions": [
        {"prompt": "Who?", "golds": ["Ilse Brandt"]},
        {"prompt": "When?", "golds": []},
    ],
    "speed": {"prompt": "Once upon", "output_tokens": 4},
    "limits": {"f1_at_least_pct": 80.0, "top1_at_least_pct": 85.0, "tg_at_least_tps": 8.5},
}
SAYS = {
    "One two": " three",
    "One": " two",
    "Who?": "The Ilse Brandt.",
    "When?": " Unanswerable",
    "Once upon": " a time",
}


@contextmanager
def serving(says: dict[str, str], *, tg_tps: float = 10.0, key: str = "") -> Iterator[str]:
    """A service with engine counters that answers these prompts; its address."""
    done = {"tokens": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            tokens = done["tokens"]
            self.reply(
                "# HELP llmpi_generated_tokens_total x\n"
                f'llmpi_generated_tokens_total{{model="m"}} {tokens}\n'
                f'llmpi_token_generation_seconds_total{{model="m"}} {tokens / tg_tps}\n'
                f'llmpi_prompt_tokens_total{{model="m"}} {10 * tokens}.0\n'
                f'llmpi_prompt_processing_seconds_total{{model="m"}} {tokens / 50}\n'
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if key and self.headers["Authorization"] != f"Bearer {key}":
                self.send_error(401)
                return
            assert body["temperature"] == 0
            done["tokens"] += body["max_tokens"]
            self.reply(json.dumps({"choices": [{"text": says[body["prompt"]]}]}))

        def reply(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def expect(tmp_path: Path) -> str:
    path = tmp_path / "expect.json"
    path.write_text(json.dumps(EXPECTED))
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = cli.main(["canary", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_a_service_as_expected_passes(expect: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(SAYS) as url:
        code, record = run(capsys, "--url", url + "/", "--expect", expect)
    assert code == 0
    assert record.pop("latency_s") > 0
    assert record == {
        "status": "passed",
        "reasons": [],
        "em_pct": 100.0,
        "f1_pct": 100.0,
        "top1_agreement_pct": 100.0,
        "tg_tps": pytest.approx(10.0),
        "pp_tps": pytest.approx(500.0),
    }


def test_each_drift_has_its_reason(expect: str, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {**SAYS, "Who?": "unanswerable", "One": " one"}
    with serving(wrong, tg_tps=8.0) as url:
        code, record = run(capsys, "--url", url, "--expect", expect)
    assert (code, record["status"]) == (1, "failed")
    assert (record["em_pct"], record["f1_pct"], record["top1_agreement_pct"]) == (50, 50, 50)
    assert record["reasons"] == [
        "F1 50.0 % < 80.0 %",
        "top-1 agreement 50.0 % < 85.0 %",
        "tg 8.00 < 8.50 tokens/s",
    ]


def test_the_key_comes_from_a_file_and_is_never_said(
    expect: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "key"
    path.write_text("right-key\n")
    with serving(SAYS, key="right-key") as url:
        assert run(capsys, "--url", url, "--expect", expect, "--key-file", str(path))[0] == 0
        path.write_text("wrong-key\n")
        code, record = run(capsys, "--url", url, "--expect", expect, "--key-file", str(path))
    assert code == 1
    assert "401" in record["reasons"][0]
    assert "wrong-key" not in json.dumps(record)
    assert record["tg_tps"] is None


def test_nobody_there_is_a_failure_with_a_reason(
    expect: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(SAYS) as url:
        pass
    code, record = run(capsys, "--url", url, "--expect", expect, "--timeout", "5")
    assert code == 1
    assert "cannot reach the service" in record["reasons"][0]


def test_what_was_not_measured_does_not_pass() -> None:
    measured = {"f1_pct": 90.0, "top1_agreement_pct": 90.0, "tg_tps": None}
    [reason] = objections(measured, EXPECTED["limits"])
    assert reason.startswith("tg_tps was not measured")


@pytest.mark.parametrize("text", ["{}", "[]", "no json", '{"prefixes": [], "questions": []}'])
def test_another_file_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    assert cli.main(["canary", "--url", "http://127.0.0.1:1", "--expect", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_no_address_but_http(expect: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["canary", "--url", "file:///etc/passwd", "--expect", expect])


def test_counters_are_summed_over_labels() -> None:
    text = '# TYPE a counter\na{x="1"} 2.0\na{x="2 }"} 3e1\nb 1\nb_created NaN\n'
    assert counters(text) == {"a": 32.0, "b": 1.0}
