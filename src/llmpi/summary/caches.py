"""What another KV cache costs: a section of the page, of the study's own scores if it has such."""

from collections.abc import Iterator, Mapping, Sequence

from llmpi.quality import kind
from llmpi.quality.kind import Part, Section, Shown, Table, Value, plain
from llmpi.quality.kinds import task_kinds
from llmpi.study.computation import DEFAULT
from llmpi.study.runs import Scored
from llmpi.study.study import Study

Rows = Mapping[str, Mapping[Scored, kind.Row]]

MEASURED: Sequence[tuple[str, float, float, float, float]] = (
    ("KV cache f32", 0.0, 0.0, 100, 100),
    ("KV cache bf16", 0.00004, 0.0070, 94, 100),
    ("KV cache f16-noflash", 0.000003, 0.0066, 94, 100),
    ("KV cache q8_0", 0.0002, 0.0070, 93, 100),
    ("KV cache q5_1", 0.0092, 0.0189, 89, 97),
    ("KV cache q5_0", 0.0092, 0.0253, 87, 96),
    ("KV cache q4_1", 0.0394, 0.0484, 81, 92),
    ("KV cache q4_0", 0.0422, 0.0677, 81, 88),
    ("KV cache iq4_nl", 0.0409, 0.0523, 83, 88),
    ("Q8_0 in F16's place", 0.0039, 0.0039, 96, 96),
    ("Q4_K_M in F16's place", 0.0542, 0.0542, 82, 82),
    ("Q4_0 in F16's place", 0.3114, 0.3114, 71, 71),
)
"""Of SmolLM2-135M, as docs/methodology.md (*Whose score*) has it: what was changed; the least and
the greatest KL divergence, nats; the least and the greatest top-1 agreement, %."""


def caches(study: Study, rows: Rows) -> list[Section]:
    """None without quality tasks.

    Args:
        rows: task -> what was scored -> its row.
    """
    if not rows:
        return []
    own = list(_own(study, rows))
    part: Part = {
        "name": "",
        "facts": [{"key": "caches.own" if own else "caches.elsewhere", "values": {}}],
        "chart": None,
        "table": {"columns": OWN, "rows": own} if own else _elsewhere(),
        "remarks": [],
    }
    return [{"id": "caches", "key": "caches", "values": {}, "parts": [part]}]


def _text(key: str, title: str) -> Shown:
    return {"key": key, "title": title, "digits": None}


OWN: list[Shown] = [
    _text("model", "model"),
    _text("quant", "quantization"),
    _text("computation", "KV cache"),
    _text("task", "task"),
    _text("figure", "number"),
    {"key": "by_default", "title": "default", "digits": 1},
    {"key": "own", "title": "with this cache", "digits": 1},
    {"key": "difference", "title": "difference", "digits": 1},
]


def _own(study: Study, rows: Rows) -> Iterator[dict[str, Value]]:
    """Every number with another cache, beside the same file's by default."""
    known = task_kinds()
    for task, scored in rows.items():
        for one, row in scored.items():
            default = scored[Scored(*one.variant)]
            if one.computation == DEFAULT or {row["status"], default["status"]} != {"ok"}:
                continue
            for column, figure in known[study.quality[task].task].figures.items():
                was, now = plain(default, column), plain(row, column)
                if isinstance(was, int | float) and isinstance(now, int | float):
                    yield {
                        **one._asdict(),
                        "task": task,
                        "figure": figure.title,
                        "by_default": was,
                        "own": now,
                        "difference": now - was,
                        "digits": figure.digits,
                    }


def _elsewhere() -> Table:
    return {
        "columns": [
            _text("what", "changed"),
            {"key": "kl_low", "title": "KL divergence\nnats", "digits": 4, "high": "kl_high"},
            {"key": "top1_low", "title": "same top-1\n%", "digits": 0, "high": "top1_high"},
        ],
        "rows": [
            {"what": what, "kl_low": low, "kl_high": high, "top1_low": least, "top1_high": most}
            for what, low, high, least, most in MEASURED
        ],
    }
