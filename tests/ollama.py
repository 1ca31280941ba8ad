"""A stand-in for Ollama: its API for one model, over the engine that is installed.

`python ollama.py GGUF PORT`. Lines and counters are as https://docs.ollama.com/api has them.
"""

import json
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from llama_cpp import Llama

NS = 1_000_000_000


class Answering(BaseHTTPRequestHandler):
    """One request at a time."""

    llama: Llama

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"Ollama is running")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.llama.reset()  # no prompt out of a cache
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson")
        self.end_headers()
        begin = time.monotonic_ns()
        stamps = []
        for text in self._pieces(asked):
            stamps.append(time.monotonic_ns())
            self._line(self._text(text), done=False)
        counters = {
            "done_reason": "length" if len(stamps) >= asked["options"]["num_predict"] else "stop",
            "prompt_eval_count": self.llama.n_tokens - len(stamps) + 1,
            "prompt_eval_duration": stamps[0] - begin,
            "eval_count": len(stamps),
            "eval_duration": stamps[-1] - begin - (stamps[0] - begin) or 1,
        }
        self._line({**self._text(""), **counters}, done=True)

    def _pieces(self, asked: dict[str, Any]) -> Iterator[str]:
        how: dict[str, Any] = {"max_tokens": asked["options"]["num_predict"], "temperature": 0}
        if self.path == "/api/generate":
            for one in self.llama.create_completion(asked["prompt"], stream=True, **how):
                yield one["choices"][0]["text"]
            return
        for one in self.llama.create_chat_completion(asked["messages"], stream=True, **how):
            if text := one["choices"][0]["delta"].get("content"):
                yield text

    def _text(self, text: str) -> dict[str, object]:
        if self.path == "/api/generate":
            return {"response": text}
        return {"message": {"role": "assistant", "content": text}}

    def _line(self, told: dict[str, object], *, done: bool) -> None:
        self.wfile.write(json.dumps({"model": "it", **told, "done": done}).encode() + b"\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    Answering.llama = Llama(sys.argv[1], n_ctx=2048, n_threads=1, n_threads_batch=1, verbose=False)
    HTTPServer(("127.0.0.1", int(sys.argv[2])), Answering).serve_forever()
