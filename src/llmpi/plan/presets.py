"""What a board can do: constants with their sources, or a device's own measured profile.

None of these numbers was computed from the table of the LLMPi paper, which the benchmark `planner`
holds them against. Most are ranges: (least, likely, most).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple


class Range(NamedTuple):
    """Between which numbers something lies, and the likely one."""

    low: float
    likely: float
    high: float

    def scaled(self, factor: float) -> "Range":
        return Range(*(value * factor for value in self))


@dataclass(frozen=True)
class Board:
    """What of a board decides how fast a model runs on it. Sizes in bytes, rates per second."""

    name: str
    memory_bytes: int
    """As the kernel counts it (MemTotal)."""
    free_bytes: Range
    """Of that, what the system leaves to a model when nothing else runs (MemAvailable)."""
    decode_bytes_per_s: Range
    """Weights that llama.cpp reads while decoding, by all threads, where memory is the limit."""
    read_bytes_per_s: float
    """Plain sequential reads: what memory delivers while a core does nothing but load."""
    storage_bytes_per_s: Range
    """Sequential reads of a file that is not in memory."""
    receive_bytes_per_s: Range
    """Files arriving over the network."""
    matmul_ops_per_s: Range
    """Of a long prompt: operations (two per weight and token) per second, by all cores."""
    decode_power_w: Range
    """The whole board while it decodes."""
    unpack_cycles: Mapping[str, float]
    """Cycles of one core to unpack and multiply a block, by type; a type without takes none."""
    cores_hz: float
    """Cores times their frequency."""
    repacks: frozenset[str]
    """Types whose weights llama.cpp copies, interleaved, into memory of its own (repack.cpp)."""
    sources: Mapping[str, str]
    """Where the numbers come from, by field."""


BLOCK_BYTES = {
    "Q8_0": 34,
    "Q4_0": 18,
    "IQ4_NL": 18,
    "Q4_1": 20,
    "Q5_0": 22,
    "Q2_0": 18,
    "Q2_K": 84,
    "Q3_K": 110,
    "Q4_K": 144,
    "Q5_K": 176,
    "Q6_K": 210,
    "IQ4_XS": 136,
    "TQ2_0": 66,
    "TQ1_0": 54,
}
"""ggml-common.h, the block_* structures, of the types that cycles are known of."""

# Cycles of a block in the dot products of ggml (arch/arm/quants.c at the pinned engine, gcc 12,
# -O3 -mcpu=cortex-a76), by static analysis with llvm-mca 19 on its model of the Neoverse N1, the
# server version of the Cortex-A76. Per block, whatever the loop's unrolling.
A76_CYCLES = {
    "Q8_0": 5.1,
    "Q4_0": 7.1,
    "IQ4_NL": 6.8,
    "Q4_1": 7.8,
    "Q5_0": 8.1,
    "Q2_0": 19.2,
    "Q2_K": 64.2,
    "Q3_K": 71.2,
    "Q4_K": 35.3,
    "Q5_K": 62.8,
    "Q6_K": 79.8,
    "IQ4_XS": 38.3,
    "TQ2_0": 27.7,
    "TQ1_0": 48.2,
}
# The same with -mcpu=cortex-a72, which has no dot-product instructions.
A72_CYCLES = {
    "Q8_0": 10.7,
    "Q4_0": 11.9,
    "IQ4_NL": 14.2,
    "Q4_1": 12.7,
    "Q5_0": 18.2,
    "Q2_0": 35.4,
    "Q2_K": 96.4,
    "Q3_K": 96.5,
    "Q4_K": 90.4,
    "Q5_K": 112.4,
    "Q6_K": 125.5,
    "IQ4_XS": 109.4,
    "TQ2_0": 39.3,
    "TQ1_0": 61.4,
}
# repack.cpp, ggml_repack_get_optimal_repack_type: what it has for dot-product NEON without i8mm.
DOTPROD_REPACKS = frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_NL", "MXFP4", "Q1_0"})

_LLAMA_CPP = "github.com/ggml-org/llama.cpp"
_GEERLING = "github.com/geerlingguy/ai-benchmarks"

PI5 = Board(
    "pi5-8gb",
    8_450_000_000,
    Range(6.9e9, 7.3e9, 7.8e9),
    Range(7.7e9, 9.8e9, 10.6e9),
    14.9e9,
    Range(0.38e9, 0.43e9, 0.45e9),
    Range(30e6, 100e6, 117e6),
    Range(70e9, 95e9, 150e9),
    Range(5.5, 7.5, 11.9),
    A76_CYCLES,
    4 * 2.4e9,
    DOTPROD_REPACKS,
    {
        "free_bytes": "an estimate: MemTotal of an 8 GB board less 0.6 to 1.5 GB. Raspberry Pi OS "
        "Lite takes 0.23 (github.com/geerlingguy/sbc-reviews/issues/110), its desktop about 0.8, "
        "and the kernel keeps a reserve",
        "decode_bytes_per_s": "14 measurements times bytes read per token: median 9.8, from 8.6 to "
        f"10.6 GB/s ({_GEERLING}/issues/7, 2025: Llama 3B, 8B and 13B, three firmwares; "
        f"{_LLAMA_CPP}/issues/26484, 2026: five types of one model); firmware of mid-2024: 7.7 "
        "(github.com/aidatatools/ollama-benchmark/pull/9)",
        "read_bytes_per_s": "one-thread NEON loads (tinymembench)",
        "storage_bytes_per_s": "NVMe on one PCIe 2.0 lane: 0.42 and 0.44 GB/s "
        "(github.com/geerlingguy/raspberry-pi-pcie-devices/issues/565 and /664)",
        "receive_bytes_per_s": "gigabit Ethernet carries 117 MB/s; Wi-Fi, by estimate, 30",
        "matmul_ops_per_s": "TinyLlama Q8_0 at 35 to 45 tokens/s (justine.lol/matmul, 2024), "
        f"Llama 2 7B Q4_0 at 8.1 ({_LLAMA_CPP}/pull/6928), Qwen3 30B-A3B at 10.9 "
        f"({_GEERLING}/issues/47); up to half as much again for kernels on repacked weights",
        "decode_power_w": f"5.6 to 6.7 W by the Pi's own chip ({_LLAMA_CPP}/issues/26484), which "
        f"leaves out some rails; at most 11.9 W at the wall ({_GEERLING}/issues/7)",
        "unpack_cycles": "llvm-mca on ggml's dot products, Neoverse N1",
    },
)
PI4 = Board(
    "pi4-4gb",
    3_980_000_000,
    Range(2.9e9, 3.3e9, 3.6e9),
    Range(2.9e9, 3.3e9, 3.8e9),
    5.5e9,
    Range(0.04e9, 0.045e9, 0.35e9),
    Range(20e6, 80e6, 117e6),
    Range(15e9, 25e9, 35e9),
    Range(5.0, 6.0, 7.0),
    A72_CYCLES,
    4 * 1.8e9,
    frozenset(),
    {
        "free_bytes": "MemTotal of a 4 GB board less 0.4 to 1.1 GB, an estimate as for the Pi 5",
        "decode_bytes_per_s": "Qwen 1.8B, Gemma 2B (github.com/aidatatools/ollama-benchmark/pull/9)"
        " and seven models of github.com/dambergn/ollama-benchmarks: 3.0 to 3.5 GB/s",
        "read_bytes_per_s": "STREAM Copy of one thread (sci-pi.org.uk/bench/stream.html)",
        "storage_bytes_per_s": "microSD 0.04 to 0.045 GB/s; an SSD on USB 3 up to 0.35",
        "receive_bytes_per_s": "gigabit Ethernet carries 117 MB/s; Wi-Fi, by estimate, 20",
        "matmul_ops_per_s": "TinyLlama Q8_0 at 10 tokens/s (justine.lol/matmul, 2024)",
        "decode_power_w": "all cores busy: 6.4 W (pidramble.com/wiki/benchmarks/power-consumption)",
        "unpack_cycles": "llvm-mca on ggml's dot products, Cortex-A72",
    },
)
PRESETS = {
    "pi5-8gb": PI5,
    "pi5-16gb": replace(
        PI5,
        name="pi5-16gb",
        memory_bytes=16_900_000_000,
        free_bytes=Range(15.3e9, 15.7e9, 16.2e9),
    ),
    "pi4-4gb": PI4,
}

DECODE_SHARE = Range(0.55, 0.7, 0.95)
"""Of the bandwidth that a device's profile measured (all threads, plain reads), what decoding
reaches. Pi 5: 9.8 of 14.9 GB/s; this project's demo on two x86 cores: 0.7 to 0.8."""


class Profile(NamedTuple):
    """What was read on a device before something was measured there."""

    memory_bytes: int
    """Its own, or as much of it as may be used."""
    available_bytes: int
    """Of that, what was free."""
    memory_read_bytes_per_s: float
    storage_read_bytes_per_s: float


def measured(profile: Profile, board: Board | None, name: str) -> Board:
    """The board that a device's own profile shows it to be; where it is silent, `board`.

    Args:
        board: the preset that the study names for the device, if any.
    """
    free, read = profile.available_bytes, profile.memory_read_bytes_per_s
    free_bytes = Range(free * 0.95, free, free)
    decode_bytes_per_s = DECODE_SHARE.scaled(read)
    storage_bytes_per_s = Range(0.7, 0.9, 1).scaled(profile.storage_read_bytes_per_s)
    read_here = ("memory_bytes", "free_bytes", "decode_bytes_per_s", "read_bytes_per_s")
    told = dict.fromkeys(("name", *read_here, "storage_bytes_per_s"), "measured on the device")
    if board:
        return replace(
            board,
            name=name,
            memory_bytes=profile.memory_bytes,
            free_bytes=free_bytes,
            decode_bytes_per_s=decode_bytes_per_s,
            read_bytes_per_s=read,
            storage_bytes_per_s=storage_bytes_per_s,
            sources={**board.sources, **told},
        )
    # Nothing is known of its cores: memory is taken for the only limit.
    unknown = Range(0.0, 0.0, 0.0)
    return Board(
        name=name,
        memory_bytes=profile.memory_bytes,
        free_bytes=free_bytes,
        decode_bytes_per_s=decode_bytes_per_s,
        read_bytes_per_s=read,
        storage_bytes_per_s=storage_bytes_per_s,
        receive_bytes_per_s=Range(30e6, 100e6, 117e6),
        matmul_ops_per_s=unknown,
        decode_power_w=unknown,
        unpack_cycles={},
        cores_hz=0.0,
        repacks=DOTPROD_REPACKS,
        sources=told,
    )
