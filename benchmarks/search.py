"""What the search of a mix takes, and how it grows with a model.

Of the demo's model, smeared (see `benchmarks.smeared`), and of one of a 1B's shape with random
weights (16 layers 2048 wide, `--layers` takes others) the parts of a search are measured: the
squared errors of all types, the reference that probes are held against, what the kernels of
quantized types add, and of the probes some (`--probes`), each of another group. The whole is these,
and as many probes as a search asks for at most. With `--whole` the demo's model is searched to the
end as well, and held against that.

Of each model `groups_`, `probes_`, `probe_s_` (mean), `errors_s_` and `search_s_`, its whole;
`growth`: search_s of the large model over the small one's, by parameters likewise: 1 is in
proportion.
"""

import argparse
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.mix import say
from benchmarks.peer import cache_folder
from benchmarks.qat import BLOCK_OF_1B, LAYERS_OF_1B
from benchmarks.smeared import smeared_demo
from benchmarks.speed import demo_files
from benchmarks.whole import whole
from llmpi import needs
from llmpi.engine import info
from llmpi.gguf.contents import stored
from llmpi.gguf.mix.errors import errors
from llmpi.gguf.mix.goals import Goal
from llmpi.gguf.mix.groups import Group, choice_of
from llmpi.gguf.mix.probe import Probes
from llmpi.gguf.mix.search import search
from llmpi.gguf.mix.seconds import told
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Start
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quant_types import TENSOR_TYPES, budget_of
from llmpi.records import sha256_of
from llmpi.study.fields import TextSource
from llmpi.train.small import write_start

MIX = "MIX-4.5bpw"
BITS = 4.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--layers", type=int, default=LAYERS_OF_1B, help="default: %(default)s")
    parser.add_argument("--probes", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--windows", type=int, default=8, help="of a probe (default: %(default)s)")
    parser.add_argument("--whole", action="store_true", help="search the small one to the end, too")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    info.log_to(lambda _: None)
    text = load_corpus(TextSource(python_topics=True), Path())["text"]
    with smeared_demo() as base:
        small = in_parts("demo", base, text, args)
        if args.whole:
            taken = searched(base, text, args)
            say("whole_s_demo", taken)
            say("whole_ratio_demo", taken / small["search_s"])
    with of_1b(args.layers) as base:
        large = in_parts("1b", base, text, args)
    times = large["parameters"] / small["parameters"]
    say("growth", large["search_s"] / small["search_s"] / times)


@contextmanager
def of_1b(layers: int) -> Iterator[Path]:
    """An F16 of its shape, in a folder for the block."""
    [demo] = (path for path in demo_files() if path.stem == "F16")
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        start, base = Path(name) / "F32.gguf", Path(name) / "F16.gguf"
        write_start(demo, start, replace(BLOCK_OF_1B, layers=layers), seed=0)
        manifest: Start = {"status": "ok", "sha256": sha256_of(start), "lineage": ["scratch"]}
        whole(quantize(start, manifest, base, "F16"))
        start.unlink()
        yield base


def in_parts(model: str, base: Path, text: str, args: argparse.Namespace) -> dict[str, float]:
    held, groups = stored(base), groups_of(base)
    errors_s = timed(
        lambda: [errors(held[t], group.bytes, None) for group in groups for t in group.tensors]
    )
    most = 2 * len(groups) + 3 * needs.MIX_SPLITS + Goal(groups, 1).choices
    step = max(1, len(groups) // args.probes)
    tried = groups[::step][: args.probes]
    with tempfile.TemporaryDirectory(dir=cache_folder()) as name:
        asked: Any = (base, Path(name), text, args.windows, groups, {}, args.threads)
        begun = time.monotonic()
        with Probes(*asked) as probes:
            reference_s = time.monotonic() - begun
            rounding_s = timed(probes.rounding)
            each = [timed(partial(probes.divergences, {one.name: near(one)})) for one in tried]
    probe_s = sum(each) / len(each)
    found = {
        "parameters": float(sum(math.prod(one.shape) for one in held.values())),
        "groups": float(len(groups)),
        "probes": float(most),
        "probe_s": probe_s,
        "errors_s": errors_s,
        "search_s": errors_s + reference_s + rounding_s + most * probe_s,
    }
    for metric, value in found.items():
        say(f"{metric}_{model}", value)
    return found


def timed(does: Callable[[], Any]) -> float:
    begun = time.monotonic()
    does()
    return time.monotonic() - begun


def groups_of(base: Path) -> list[Group]:
    said, budget = told(base), budget_of(MIX)
    assert budget
    groups, _ = choice_of(
        *(stored(base), said.uniform["kinds"], budget),
        header_bytes=said.whole["header_bytes"],
        asked=TENSOR_TYPES,
        weighted=[],
    )
    return [*groups]


def near(group: Group) -> Any:
    """The type of about as many bits as the mix."""
    sizes = group.bytes
    return min(sizes, key=lambda kind: abs(8 * sizes[kind] / group.parameters - BITS))


def searched(base: Path, text: str, args: argparse.Namespace) -> float:
    """Seconds of a whole search."""
    manifest: Start = {"status": "ok", "sha256": sha256_of(base), "lineage": ["F16"]}
    how: dict[str, Any] = {"windows": args.windows, "threads": args.threads}
    folder = base.with_name("parts")
    return timed(
        lambda: whole(search(base, manifest, MIX, text, **how, types=TENSOR_TYPES, partial=folder))
    )


if __name__ == "__main__":
    main()
