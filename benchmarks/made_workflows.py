"""Made-up workflows of so many jobs: a study of ours, and a Snakefile with nothing in it."""

import json
from pathlib import Path

MODELS = 10
QUANTS = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_0", "Q3_K_M", "Q3_K_S", "Q2_K"]
OF_A_BOARD = 1 + 3 * MODELS * len(QUANTS)
"""It is made ready, and each variant is sent, measured and checked for parity there."""
OF_ALL_BOARDS = MODELS + 3 * MODELS * len(QUANTS) + 7
"""Fetched, converted or quantized, scored, predicted; questions and report."""


def study(folder: Path, jobs: int) -> Path:
    """The config of a study of 10 models x 10 types on as many boards as make about `jobs` jobs."""
    model, questions = folder / "model.gguf", folder / "questions.json"
    model.touch()
    questions.touch()
    boards = max(1, round((jobs - OF_ALL_BOARDS) / OF_A_BOARD))
    config = folder / "study.json"
    config.write_text(
        json.dumps(
            {
                "study": "large",
                "models": {f"m{at}": {"source": {"path": str(model)}} for at in range(MODELS)},
                "quants": QUANTS,
                "devices": {
                    f"pi{at}": {"transport": "ssh", "host": f"pi{at}.local", "store": "/mnt/llmpi"}
                    for at in range(boards)
                },
                "workloads": {"chat": {"prompt_tokens": 128, "output_tokens": 64}},
                "quality": {"qa": {"task": "squad", "squad_file": str(questions)}},
            }
        )
    )
    return config


def empty(folder: Path, jobs: int) -> Path:
    """A Snakefile of `jobs` jobs: one that asks for all files, and one for each file."""
    snakefile = folder / "Snakefile"
    snakefile.write_text(
        f"rule all:\n    input:\n        expand('made/{{at}}.txt', at=range({jobs - 1})),\n\n\n"
        "rule one:\n    output:\n        'made/{at}.txt',\n    shell:\n        'touch {output}'\n"
    )
    return snakefile
