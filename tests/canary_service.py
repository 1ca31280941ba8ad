"""A service for a canary: it says what the test wants, over real HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from made_records import HASH, STARTED, engine

from llmpi.device.monitor.records import Expected
from llmpi.operate.records import Expectation

EXPECTED: Expected = {
    "max_new_tokens": 8,
    "language": "en",
    "prefixes": [
        {"prompt": "One two", "next": "three", "margin_nats": 2.5},
        {"prompt": "One", "next": " two", "margin_nats": 1.5},
    ],
    "questions": [
        {
            "id": "q1",
            "prompt": "Who?",
            "golds": ["Ilse Brandt"],
            "answer": "Ilse Brandt",
            "margin_nats": 3.0,
        },
        {
            "id": "q2",
            "prompt": "When?",
            "golds": [],
            "answer": "unanswerable",
            "margin_nats": 0.5,
        },
    ],
    "speed": {"prompt": "Once upon", "prompt_tokens": 2, "output_tokens": 4},
    "limits": {"f1_at_least_pct": 80.0, "top1_at_least_pct": 85.0, "tg_at_least_tps": 8.5},
}


def expectation(
    device: str = "pi5",
    model: str = "m",
    quant: str = "Q4_0",
    *,
    runtime: str = "default",
    gguf_sha256: str = HASH,
    gguf_bytes: int = 90_000_000,
) -> Expectation:
    """`EXPECTED` of a variant on a device."""
    return {
        **EXPECTED,
        "study": "s",
        "device": device,
        "model": model,
        "quant": quant,
        "runtime": runtime,
        "workload": "chat",
        "gguf_sha256": gguf_sha256,
        "gguf_bytes": gguf_bytes,
        "made": STARTED,
        "reference": {
            "em_pct": 100.0,
            "f1_pct": 100.0,
            "pp_tps": 50.0,
            "tg_tps": 10.0,
            "engine": engine(),
        },
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
