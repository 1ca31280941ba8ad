"""Whether the engine that Python finds can be run as llmpi runs it: asked of itself.

`python -m llmpi.engine.binding JOB OUT`, in a process of its own, as each engine is; its arguments
are JSON files: the job says in which folder the engine should be, if in any.
"""

import inspect
import json
import re
import sys
from pathlib import Path

from llmpi.engine import info, llama
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.records import Binding

MAY_LACK = {"llama_model_params.lazy_mode"}
"""Set only where it is asked for."""
OF_A_BATCH = ("token", "pos", "n_seq_id", "seq_id", "logits")


def binding() -> Binding:
    """What it has of all that llmpi sets and calls."""
    settings = llama.Settings(threads=1)
    wanted = {
        "llama_model_params": [*llama.model_fields(settings), "lazy_mode"],
        "llama_context_params": [*llama.context_fields(settings, context_tokens=1)],
        "llama_batch": [*OF_A_BATCH],
    }
    fields = {
        f"{structure}.{name}": kind.__name__
        for structure, names in wanted.items()
        for name, kind, *_ in getattr(getattr(llama_cpp, structure, None), "_fields_", ())
        if name in names
    }
    every = {f"{structure}.{name}" for structure, names in wanted.items() for name in names}
    called = set(re.findall(r"\bllama_cpp\.(\w+)", inspect.getsource(llama)))
    missing = {name for name in called if not hasattr(llama_cpp, name)}
    lacks = sorted((every - fields.keys() - MAY_LACK) | missing)
    return {
        "status": "ok",
        "fields": fields,
        "lacks": lacks,
        "engine": None if lacks else info.describe(),
    }


def main(job: str, out: str) -> None:
    info.log_to(sys.stderr.write)
    folder = json.loads(Path(job).read_text(encoding="utf-8"))["engine"]
    if folder and Path(folder).absolute() not in Path(llama_cpp.__file__).parents:
        sys.exit(f"there is no engine in {folder}")
    Path(out).write_text(json.dumps(binding()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
