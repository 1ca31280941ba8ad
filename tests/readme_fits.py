"""README's table of what fits on which Raspberry Pi, as `llmpi plan` says it of the presets.

`python tests/readme_fits.py` writes it into README.md. No network is needed.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from readme_demo import README

from llmpi.plan.plan import SessionPlan, plan
from llmpi.study.study import Study

BEGIN, END = "<!-- What fits: tests/readme_fits.py writes from here -->\n", "<!-- to here. -->\n"
MODELS = {
    "Llama-3.2-1B": "meta-llama/Llama-3.2-1B-Instruct",
    "Qwen2.5-1.5B": "Qwen/Qwen2.5-1.5B-Instruct",
    "Llama-3.2-3B": "meta-llama/Llama-3.2-3B-Instruct",
    "Phi-3.5-mini, 3.8B": "microsoft/Phi-3.5-mini-instruct",
    "Llama-3.1-8B": "meta-llama/Llama-3.1-8B-Instruct",
}
BOARDS = {
    "Pi 5, 8 GB": "pi5-8gb",
    "Pi 5, 4 GB": "pi5-4gb",
    "Pi 5, 2 GB": "pi5-2gb",
    "Pi 4, 4 GB": "pi4-4gb",
    "Pi 3, Zero 2 W": "pi3-1gb",
}


def main() -> None:
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")


def written(readme: str) -> str:
    """README with the table between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join([*table(), ""]) + END + after


def table() -> Iterator[str]:
    found = {(p.session.model, p.session.device): p for p in _plans()}
    yield f"| Q4_0, tokens/s | {' | '.join(BOARDS)} |"
    yield "| --- |" + " --- |" * len(BOARDS)
    for at, model in enumerate(MODELS):
        boxes = [_box(found[f"m{at}", preset]) for preset in BOARDS.values()]
        yield f"| {model} | {' | '.join(boxes)} |"


def _plans() -> list[SessionPlan]:
    """Of this study, in a folder where nothing was measured."""
    asked = {
        "study": "fits",
        "models": {f"m{at}": {"source": {"hub": hub}} for at, hub in enumerate(MODELS.values())},
        "quants": ["Q4_0"],
        "devices": {
            preset: {"transport": "ssh", "host": preset, "preset": preset}
            for preset in BOARDS.values()
        },
        "workloads": {"chat": {"prompt_tokens": 32, "output_tokens": 50, "context_tokens": 4096}},
    }
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return plan(Study.model_validate(asked), ask_hub=False)
        finally:
            os.chdir(here)


def _box(planned: SessionPlan) -> str:
    assert planned.prediction, planned.unknown
    if planned.does_not_fit:
        return "–"
    low, likely, high = (f"{tps:.2g}" for tps in planned.prediction.tg_tps)
    return f"{likely} ({low}–{high})" + ("*" if planned.prediction.fit == "tight" else "")


if __name__ == "__main__":
    main()
