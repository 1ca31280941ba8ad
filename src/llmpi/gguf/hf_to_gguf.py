"""In a child process: llmpi's bounds around llama.cpp's converter, then the converter itself.

`python -m llmpi.gguf.hf_to_gguf JOB OUT`, in an environment that has torch and transformers. JOB
names the converter's folder, the checkpoint's, the file to write and its type; OUT gets the
versions of what did it, or the error that ended it.
"""

import importlib.metadata
import json
import sys
import traceback
from pathlib import Path
from typing import Any


class RemoteCodeError(Exception):
    """A checkpoint wants Python code of its own to be run."""


def forbid_remote_code() -> None:
    """No code that comes with a model: some of the converter's classes would trust it."""
    from transformers import dynamic_module_utils

    def refuse(*_: Any, **__: Any) -> None:
        raise RemoteCodeError

    dynamic_module_utils.get_class_in_module = refuse


def convert(converter: str, model: str, out: str, outtype: str) -> None:
    """Run llama.cpp's convert_hf_to_gguf.py, as it lies in `converter`."""
    sys.path.insert(0, converter)
    import convert_hf_to_gguf  # type: ignore[import-not-found]

    forbid_remote_code()
    sys.argv = ["convert_hf_to_gguf.py", model, "--outfile", out, "--outtype", outtype]
    convert_hf_to_gguf.main()


def main(job: str, out: str) -> None:
    record: dict[str, Any]
    try:
        convert(**json.loads(Path(job).read_text()))
    except (Exception, SystemExit) as error:
        traceback.print_exc()  # to the log
        record = {"error": type(error).__name__, "message": str(error)}
    else:
        versions = ("torch", "transformers", "sentencepiece")
        record = {name: importlib.metadata.version(name) for name in versions}
    Path(out).write_text(json.dumps(record))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
