"""What a judge of a blind sheet saved, and the key to it."""

import json
from pathlib import Path
from typing import Any

KEY = {
    "sheet": "f" * 64,
    "a": "smol Q8_0",
    "b": "smol Q2_K",
    "prompts": {
        **{
            f"p{n}": {"left": "ab"[n % 2], "tags": ["t", "u"] if n < 8 else ["u"]}
            for n in range(12)
        },
        "same": {"left": None, "tags": ["u"]},
    },
}


def saved(folder: Path, verdicts: dict[str, str], **more: Any) -> Path:
    judgements = [{"id": i, "verdict": verdict} for i, verdict in verdicts.items()]
    path = folder / "judgements.json"
    content = {"sheet": KEY["sheet"], "judge": None, "judgements": judgements, **more}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
