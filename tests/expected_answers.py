"""What a model file answers, as a canary and a test expect it of a service."""

import subprocess
import sys
from pathlib import Path

import canary_service

from llmpi.engine.llama import Engine, Settings
from llmpi.gguf.records import Gguf
from llmpi.operate.expectation import choose_prefixes
from llmpi.operate.records import Expectation, ReferenceAnswers, ReferenceJob
from llmpi.records import read, sha256_of, write_json

THREADS = 2
NEW_TOKENS = 8
QUESTIONS = ("What is the capital of France?", "Name a colour.", "What is 2+2?", "Who is Hamlet?")
PREFIXES, PREFIX_CHARACTERS = 12, 400


def expectation(gguf: Path, folder: Path) -> Expectation:
    """Of a file, wherever it is served. Files for that are left in `folder`."""
    job: ReferenceJob = {
        "gguf": str(gguf.absolute()),
        "threads": THREADS,
        "conversations": [[{"role": "user", "content": question}] for question in QUESTIONS],
        "max_new_tokens": NEW_TOKENS,
        "speed_tokens": 16,
    }
    write_json(folder / "job.json", job)
    command = [sys.executable, "-m", "llmpi.operate.reference", "job.json", "answers.json"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    found = read(folder / "answers.json", ReferenceAnswers)
    prefixes = [one for one in found["prefixes"] if len(one["prompt"]) <= PREFIX_CHARACTERS]
    return {
        **canary_service.expectation(gguf_sha256=sha256_of(gguf)),
        "study": "served",
        "max_new_tokens": NEW_TOKENS,
        "questions": [
            {
                "id": f"q{i}",
                "prompt": answer["prompt"],
                "answer": answer["answer"],
                "golds": [answer["answer"]],
                "margin_nats": answer["margin_nats"],
            }
            for i, answer in enumerate(found["answers"])
        ],
        "prefixes": choose_prefixes(prefixes)[:PREFIXES],
        "speed": {**found["speed"], "output_tokens": NEW_TOKENS},
        "limits": {"f1_at_least_pct": 50, "top1_at_least_pct": 75, "tg_at_least_tps": 0.01},
    }


def right_answer(gguf: Path, prompt: str, tokens: int) -> str:
    """Greedily decoded by the project's own engine, without a server."""
    with Engine(gguf, Settings(threads=THREADS), context_tokens=64) as engine:
        engine.decode(engine.tokenize(prompt))
        said = [engine.greedy()]
        while len(said) < tokens:
            engine.decode(said[-1:])
            said.append(engine.greedy())
        return engine.text(said)


def spoil(good: Path, bad: Path) -> None:
    """A variant whose weights are in the wrong order: its hash is right, and it talks nonsense.

    Args:
        good: Q4_0.
        bad: takes its place among the files of a study, with its manifest.
    """
    data = bytearray(good.read_bytes())
    middle, shift = len(data) // 2, 18 * 4096  # of whole Q4_0 blocks, so that scales stay scales
    data[middle:] = data[middle + shift :] + data[middle : middle + shift]
    bad.write_bytes(data)
    manifest = read(good.with_suffix(".json"), Gguf)
    write_json(bad.with_suffix(".json"), {**manifest, "quant": bad.stem, "sha256": sha256_of(bad)})
