"""Config files of others, as `llmpi check` reads them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from benchmarks.hostile import spoiled
from llmpi.engine.shown import UNSEEN, shown
from llmpi.errors import LlmpiError
from llmpi.study.file import load_study

SOUND = {
    "study": "demo",
    "models": {
        "m": {"source": {"hub": "acme/tiny", "file": "tiny.gguf"}, "quants": ["F16"]},
        "n": {"source": {"pypi": "tiny", "version": "1", "file": "a.gguf", "sha256": "a" * 64}},
    },
    "quants": ["F16", "Q4_0"],
    "devices": {
        "here": {"transport": "local", "limits": {"memory": "4G", "cpus": 1.5}},
        "pi": {"transport": "ssh", "host": "pi.local", "meter": {"kind": "pmic"}},
        "shelf": {"transport": "ssh-group", "boards": {"a": "a.local", "b": {"host": "b.local"}}},
    },
    "workloads": {
        "chat": {"prompt_tokens": 128, "output_tokens": 64},
        "users": {"kind": "concurrent", "conversations": [1, 2], "prompt_tokens": 8,
                  "output_tokens": 8},
    },
    "runtimes": {"default": {}, "lean": {"kv_cache": "q8_0"}},
    "quality": {
        "qa": {"task": "squad", "hub": "acme/qa"},
        "text": {"task": "divergence", "python_topics": True},
    },
    "constraints": {"tps_at_least": 5, "memory_at_most": "4G"},
    "cost": {"currency": "EUR", "hardware": {"pi": {"board": 90}}, "price_per_kwh": 0.3,
             "lifespan_years": 4, "duty_pct": 15},
    "service": {"devices": ["pi"], "variant": {"model": "m", "quant": "F16"}},
    "exclude": [{"model": "m", "device": "pi"}],
}  # fmt: skip
ALIASES = "a0: &a0 [x,x,x]\n" + "\n".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
)
LINES = (
    *(ALIASES, "a: &a [*a]", "a: &a {<<: *a}", "<<: 5", "? [a]\n: b", "x: 010"),
    "a: !!python/name:os.system x",
    *("a: " + "[" * 5000, "a: " + "{b: " * 5000, "x: 1:30", "x: 2024-13-45", "x: !!int x"),
    *('x: "\\ud800"', "x: " + "9" * 9000, "__use_yte__: true", "- x", "%YAML 9", "---\n---", "\0"),
    *("study: x", "models: *nothing", "x: !!binary x", "x: !<!> y", "=: =", "a: |\n b\n  c\n d: e"),
)  # fmt: skip


def inputs(draw: random.Random) -> Iterator[bytes]:
    while True:
        text = yaml.safe_dump(spoiled.data(draw, SOUND), allow_unicode=True)
        how = draw.randrange(4)
        if how == 0:
            yield f"{text}\n{draw.choice(LINES)}\n".encode("utf-8", "surrogatepass")
        elif how == 1:
            yield spoiled.bytes_(draw, text.encode("utf-8", "surrogatepass"))
        else:
            yield text.encode("utf-8", "surrogatepass")


@contextmanager
def receiver(folder: Path) -> Iterator[Callable[[bytes], None]]:
    def receive(text: bytes) -> None:
        path = folder / "config.yaml"
        path.write_bytes(text)
        try:
            load_study(path)
        except LlmpiError as error:
            assert not UNSEEN.search(shown(str(error)))
            raise

    yield receive
