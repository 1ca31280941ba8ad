"""How a model will run on a board: does it fit, how fast, at what energy.

What of a model is stored, kept and read the engine itself says (`llmpi.plan.model`). Decoding a
token reads the weights that it computes with once. Two things bound it, type by type: memory, at
the rate that decoding reaches with all threads; and the cores, which first load a block and then
unpack it, so that both times add. What does not fit in memory is read again from storage, for every
token.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import Context
from llmpi.plan.model import Model, Sizes
from llmpi.plan.presets import BLOCK_BYTES, Board, Kernels, Range, Seen, kernels
from llmpi.study.measuring import Runtime

PROCESS_BYTES = 150_000_000
"""The measuring process beside the model: Python, numpy, the engine's libraries."""

STALL = Range(1.5, 1.0, 0.5)
"""Times the cycles of static analysis that unpacking takes beside loading: it knows no cache miss,
and not that a core which issues out of order loads the next block meanwhile."""

LAZY_BYTES = 4 << 30
"""Of a table that `lazy: auto` reads on demand, at least (llama-model-loader.cpp)."""

REAL_TIME_TPS, NEAR_REAL_TIME_TPS = 3.0, 1.95
"""Bands of the LLMPi paper (arXiv 2504.02118)."""


Fit = Literal["fits", "tight", "overflow", "dies"]


class Prediction(NamedTuple):
    """Of one variant on one board, with one runtime. Ranges are (least, likely, most)."""

    file_bytes: int
    bits_per_weight: float
    fallbacks: int
    read_per_token_bytes: int
    kv_cache_bytes: int
    """Keys and values, and the state of recurrent layers."""
    working_bytes: int
    """The engine's compute buffer, and its process."""
    needed_bytes: int
    """Memory for all of it to run at full speed."""
    room_bytes: float
    """What is likely free for it."""
    fit: Fit
    """`fits`, `tight` (it depends on what else runs), `overflow` (weights are read from storage
    again and again) or `dies` (memory that cannot be taken back is not there)."""
    reread_bytes: float
    """Of the weights, what is likely read from storage for each token."""
    tg_tps: Range
    pp_tps: Range | None
    """Of the prompt asked for; None where nothing is known of the cores."""
    tg_j_per_token: Range | None
    band: str
    """`real-time`, `near real-time`, `not real-time`, by the likely tg."""


class Draft(NamedTuple):
    """Who drafts tokens, in memory beside the model."""

    model: Model
    quant: str


def predict(
    model: Model,
    quant: str,
    board: Board,
    runtime: Runtime,
    *,
    context_tokens: int,
    prompt_tokens: int,
    seen: Seen = "wall",
    draft: Draft | None = None,
) -> Prediction:
    """How a quantization of `model` will run on `board`.

    Args:
        draft: takes memory, too. Speeds are without it: what it gains hangs on the text.
        seen: what sees its power.
        context_tokens: that the engine reserves.
        prompt_tokens: of the context, what is filled when tokens are generated; pp is that of this
            prompt.

    Raises:
        LlmpiError: the engine does not take the model, its type or this context; or the draft model
            has another vocabulary.
    """
    size = model.sizes(quant)
    asked = context(runtime, context_tokens, prompt_tokens)
    reserved = model.reserved(asked)
    kept = reserved["kv_bytes"] + reserved["state_bytes"]
    working = PROCESS_BYTES + reserved["touched_bytes"]
    read, resident = size.read_per_token_bytes, sum(size.resident_bytes.values())
    in_memory, unmapped = held(size, runtime), copied(size, runtime, board)
    if draft:
        _check_fits(draft.model, model)
        other, beside = draft.model.sizes(draft.quant), draft.model.reserved(asked)
        kept += beside["kv_bytes"] + beside["state_bytes"]
        working += beside["touched_bytes"]
        resident += sum(other.resident_bytes.values())
        in_memory += held(other, runtime)
        unmapped += copied(other, runtime, board)
    filled = reserved["kv_bytes"] * min(1.0, prompt_tokens / context_tokens)
    filled += reserved["state_bytes"]
    # Of a mixture of experts each token reads a share of what is read again and again.
    again = [
        reread_bytes(resident, free - kept - working) * read / resident for free in board.free_bytes
    ]
    steps = [
        decode_s(size.read_bytes, board, decode, stall) + filled / decode + bytes_ / storage
        for decode, stall, bytes_, storage in zip(
            board.decode_bytes_per_s, STALL, again, board.storage_bytes_per_s, strict=True
        )
    ]
    tps = Range(*(1 / seconds for seconds in steps))
    fit = fit_of(in_memory + kept + working, unmapped + kept + working, board.free_bytes)
    power = board.decode_power_w.get(seen)
    return Prediction(
        size.file_bytes,
        size.bits_per_weight,
        size.fallbacks,
        read,
        kept,
        working,
        in_memory + kept + working,
        board.free_bytes.likely,
        fit,
        again[1],
        tps,
        _pp(size, board, runtime, steps, prompt_tokens),
        Range(power.low / tps.high, power.likely / tps.likely, power.high / tps.low)
        if power
        else None,
        band(tps.likely) if fit != "dies" else "not real-time",
    )


def _check_fits(draft: Model, model: Model) -> None:
    own, other = draft.footprint["vocabulary"], model.footprint["vocabulary"]
    if own != other:
        raise LlmpiError(
            f"the draft model {draft.named} has a vocabulary of {own} tokens, and {model.named} "
            f"one of {other}: it cannot draft for it; choose one of the same family as `draft`, or "
            "leave the combination out (exclude)"
        )


def context(runtime: Runtime, tokens: int, prompt_tokens: int) -> Context:
    """What a measurement with this runtime asks of the engine."""
    return Context(
        tokens,
        runtime.kv_cache,
        runtime.flash_attention,
        runtime.ubatch_tokens,
        runtime.batch_tokens,
        min(prompt_tokens, runtime.ubatch_tokens),
    )


def held(size: Sizes, runtime: Runtime) -> int:
    """Of the weights, what is in memory at full speed."""
    if runtime.mlock or not runtime.mmap:
        return _taken_in(size, runtime)
    return sum(size.resident_bytes.values())


def copied(size: Sizes, runtime: Runtime, board: Board) -> int:
    """Of the weights, what cannot be dropped from memory and read again, as mapped ones can: the
    engine's own copies."""
    if runtime.mlock or not runtime.mmap:
        return _taken_in(size, runtime)
    repacked = (
        held
        for kind, held in size.resident_bytes.items()
        if runtime.repack and kind in board.repacks
    )
    return sum(repacked)


def _taken_in(size: Sizes, runtime: Runtime) -> int:
    """Of the weights, what is in memory where the file is not mapped, or is locked there: nothing
    of a table that is read on demand."""
    lazy = "off" if runtime.mlock else runtime.lazy
    least = {"on": 0, "auto": LAZY_BYTES, "off": math.inf}[lazy]
    return size.loaded_bytes - sum(table for table in size.on_demand_bytes if table > least)


def decode_s(
    read_bytes: Mapping[str, int], board: Board, decode_bytes_per_s: float, stall: float = 1.0
) -> float:
    """Seconds to decode a token whose weights are in memory.

    Args:
        read_bytes: weights read per token, by type.
        stall: times the cycles of `board.unpack_cycles` that unpacking takes.
    """
    seconds = 0.0
    for kind, count in read_bytes.items():
        cycles = board.unpack_cycles.get(kind)
        unpack = stall * count / BLOCK_BYTES[kind] * cycles / board.cores_hz if cycles else 0.0
        seconds += max(count / decode_bytes_per_s, count / board.read_bytes_per_s + unpack)
    return seconds


def reread_bytes(weights: float, room: float) -> float:
    """Of `weights` that are scanned once per token through `room` bytes of page cache, what is
    read from storage each time.

    Under random replacement a page survives a scan with probability exp(-m N / C), where m N bytes
    of N are read anew into a cache of C; so m solves 1 - m = exp(-m N / C). The kernel's two lists
    keep more than strict LRU would, which keeps nothing of a cyclic scan.
    """
    if weights <= room:
        return 0.0
    if room <= 0:
        return weights
    low, high = 0.0, 1.0
    for _ in range(60):
        share = (low + high) / 2
        low, high = (share, high) if 1 - share > math.exp(-share * weights / room) else (low, share)
    return high * weights


def band(tps: float) -> str:
    """Whether one can talk with it."""
    if tps > REAL_TIME_TPS:
        return "real-time"
    return "near real-time" if tps >= NEAR_REAL_TIME_TPS else "not real-time"


def fit_of(needed: float, unswappable: float, free: Range) -> Fit:
    """
    Args:
        needed: bytes, for all of it to run at full speed.
        unswappable: of these, what cannot be dropped from memory and read again.
    """
    if unswappable > free.likely:
        return "dies"
    if needed > free.likely:
        return "overflow"
    return "fits" if needed <= free.low else "tight"


def by_kernels(size: Sizes, board: Board, runtime: Runtime) -> Counter[Kernels]:
    """Weights that a token of a prompt is multiplied with, by what multiplies them. The few of a
    model in floats, such as norms, are multiplied in no matrix product."""
    found: Counter[Kernels] = Counter()
    for kind, weights in size.multiplied.items():
        found[kernels(kind, repacked=runtime.repack and kind in board.repacks)] += weights
    return found


def _pp(
    size: Sizes, board: Board, runtime: Runtime, steps: Sequence[float], prompt_tokens: int
) -> Range | None:
    """Tokens per second of a prompt.

    A long prompt is bound by arithmetic, two operations per weight and token, as fast as the
    kernels of each type are; no ubatch takes less than one scan of the weights.
    """
    multiplied = by_kernels(size, board, runtime)
    if not multiplied or multiplied.keys() - board.matmul_ops_per_s.keys():
        return None
    scans = math.ceil(prompt_tokens / min(prompt_tokens, runtime.ubatch_tokens))
    rates = board.matmul_ops_per_s
    token_s = [
        sum(2 * weights / rates[of][end] for of, weights in multiplied.items()) for end in range(3)
    ]
    return Range(
        *(
            prompt_tokens / max(prompt_tokens * once, scans * step)
            for once, step in zip(token_s, steps, strict=True)
        )
    )
