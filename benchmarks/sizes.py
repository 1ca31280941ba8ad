"""What a plan says of a model, from its header alone, against the engine with the real file.

Of each architecture a small model with random weights is made and quantized in earnest. The plan
gets the header of its F16 file, whose weights are cut away. The peer is a normal load of each real
file: what the engine prints of its buffers, to 0.01 MiB, and the bytes of weights that an
evaluation callback counts while one token is decoded (`benchmarks.loaded`).
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.loaded import Loaded, loaded
from benchmarks.random_models import ARCHITECTURES, make
from llmpi.engine import info
from llmpi.engine.low_level import llama_cpp
from llmpi.engine.params import fill
from llmpi.gguf.footprint import Context
from llmpi.plan.hub_head import header_end
from llmpi.plan.model import Head, Model, ask_all
from llmpi.quant_types import FTYPES

QUANTS = ("F16", "Q4_K_M", "Q4_0")
CONTEXTS = (Context(4096), Context(1000, "q8_0", "on", 128))
HALF_A_DIGIT = 0.005 * 1024**2
"""Of what the engine prints."""


class Real(NamedTuple):
    """A file as it was: its header, its size, and a load of it with each context."""

    header: Model
    bytes: int
    loads: list[Loaded]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sizes", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    only = parser.parse_args().only
    info.log_to(str)  # nothing of it is printed
    real = {}
    with tempfile.TemporaryDirectory(prefix="llmpi-") as folder:
        for name in only:
            real[name] = dict(_real(name, Path(folder)))
            print(f"{name}: loaded", flush=True)
    headers = [found.header for files in real.values() for found in files.values()]
    ask_all((header, QUANTS, CONTEXTS) for header in headers)
    unequal = bytes_unequal = compared = 0
    for name, files in real.items():
        for what, said, seen in _compared(files):
            compared += 1
            if what.endswith("read"):
                bytes_unequal += said != seen
            else:
                unequal += abs(said - seen) > HALF_A_DIGIT
            if said != seen and (what.endswith("read") or abs(said - seen) > HALF_A_DIGIT):
                print(f"{name}, {what}: {said:,.0f} from the header, really {seen:,.0f}")
    print(f"architectures: {len(real)}")
    print(f"compared: {compared}")
    print(f"unequal: {unequal}")
    print(f"bytes_unequal: {bytes_unequal}")


def _real(name: str, folder: Path) -> Iterator[tuple[str, Real]]:
    source = make(name, folder / "source.gguf")
    for quant in QUANTS:
        file = folder / f"{name}-{quant}.gguf"
        params = llama_cpp.llama_model_quantize_default_params()
        fill(params, ftype=FTYPES[quant], nthread=1)
        assert llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(file), params) == 0
        loads = [loaded(file, context) for context in CONTEXTS]
        yield quant, Real(_header_of(file), file.stat().st_size, loads)
        file.unlink()
    source.unlink()


def _header_of(file: Path) -> Model:
    """Of the file nothing is left but its header and its size."""
    data = file.read_bytes()
    end = header_end(data)
    assert end is not None
    return Model(Head(((file.name, data[:end], len(data)),)), file.name)


def _compared(files: dict[str, Real]) -> Iterator[tuple[str, float, float]]:
    """What is compared, as the header says it, as it is."""
    for quant, real in files.items():
        size = files[QUANTS[0]].header.sizes(quant)  # all from the F16's header
        yield f"{quant} file", size.file_bytes, real.bytes
        for context, seen in zip(CONTEXTS, real.loads, strict=True):
            said = real.header.reserved(context)
            yield f"{quant} weights", size.loaded_bytes, seen.model
            yield f"{quant} keys and values", said["kv_bytes"], seen.kv
            yield f"{quant} state", said["state_bytes"], seen.state
            yield f"{quant} compute", said["compute_bytes"], seen.compute
            yield f"{quant} read", size.read_per_token_bytes, seen.read


if __name__ == "__main__":
    main()
