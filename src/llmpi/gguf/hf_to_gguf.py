"""In a child process: llmpi's bounds around llama.cpp's converter, then the converter itself.

`python -m llmpi.gguf.hf_to_gguf JOB OUT`, in an environment that has torch and transformers. JOB
names the converter's folder, the checkpoint's, the model, the file to write and its type; OUT gets
the versions of what did it, or the error that ended it.
"""

import importlib.metadata
import json
import sys
import traceback
from pathlib import Path
from typing import Any, TypedDict

from llmpi.accidents import accident


class Job(TypedDict):
    """What is to be converted."""

    converter: str
    """Folder of llama.cpp's."""
    model: str
    """Folder of the checkpoint."""
    name: str
    out: str
    outtype: str


class Versions(TypedDict):
    """What did it."""

    torch: str
    transformers: str
    sentencepiece: str


class Outcome(TypedDict):
    """Versions, or the error that ended it: its type and its message."""

    made_by: Versions | None
    error: str
    message: str


class RemoteCodeError(Exception):
    """A checkpoint wants Python code of its own to be run."""


def forbid_remote_code() -> None:
    """No code that comes with a model: some of the converter's classes would trust it."""
    from transformers import dynamic_module_utils

    def refuse(*_: Any, **__: Any) -> None:
        raise RemoteCodeError

    dynamic_module_utils.get_class_in_module = refuse


def unpacked(weight: Any, scale: Any) -> Any:
    """The float weights of a packed BitNet tensor.

    Args:
        weight: uint8, shape (rows / 4, columns): two bits each of rows i, i + rows / 4, ...
        scale: one number, which divides -1, 0 and 1.

    Source: BitLinear and pack_weights of transformers (integrations/bitnet.py).
    """
    import torch

    ternary = torch.cat([(weight >> shift & 3).float() - 1 for shift in (0, 2, 4, 6)])
    return ternary / scale.float()


def unpack_bitnet(model_base: Any) -> None:
    """Have the converter unpack BitNet's weights with `unpacked`.

    Its own function (conversion/base.py, dequant_bitnet) does the same, but dies at this commit:
    it shifts a lazy tensor by an eager one.
    """
    others = model_base.dequant_model

    def dequant_model(self: Any) -> None:
        quantization = self.hparams.get("quantization_config") or {}
        if quantization.get("quant_method") != "bitnet":
            others(self)
            return
        for name in [name for name in self.model_tensors if name.endswith(".weight_scale")]:
            scale, weight_name = self.model_tensors.pop(name), name.removesuffix("_scale")
            weight = self.model_tensors[weight_name]
            self.model_tensors[weight_name] = lambda w=weight, s=scale: unpacked(w(), s())

    model_base.dequant_model = dequant_model


def convert(converter: str, model: str, name: str, out: str, outtype: str) -> None:
    """Run llama.cpp's convert_hf_to_gguf.py, as it lies in `converter`."""
    sys.path.insert(0, converter)
    import convert_hf_to_gguf
    import numpy as np

    forbid_remote_code()
    unpack_bitnet(convert_hf_to_gguf.ModelBase)
    np.seterr(over="raise")  # a weight beyond F16's range would become infinite, with a warning
    options = [f"--outfile={out}", f"--outtype={outtype}", f"--model-name={name}"]
    sys.argv = ["convert_hf_to_gguf.py", model, *options]
    convert_hf_to_gguf.main()


def main(job: str, out: str) -> None:
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    outcome: Outcome
    try:
        convert(**asked)
    except (Exception, SystemExit) as error:
        if accident(error):
            raise
        traceback.print_exc()  # to the log
        outcome = {"made_by": None, "error": type(error).__name__, "message": str(error)}
    else:
        version = importlib.metadata.version
        made_by: Versions = {
            "torch": version("torch"),
            "transformers": version("transformers"),
            "sentencepiece": version("sentencepiece"),
        }
        outcome = {"made_by": made_by, "error": "", "message": ""}
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
