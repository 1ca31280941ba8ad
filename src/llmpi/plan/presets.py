"""What a board can do: constants with their sources, or a device's own measured profile.

None of these numbers was computed from the table of the LLMPi paper, which the benchmark `planner`
holds them against. Most are ranges: (least, likely, most).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple


class Range(NamedTuple):
    """Between which numbers something lies, and the likely one."""

    low: float
    likely: float
    high: float

    def scaled(self, factor: float) -> "Range":
        return Range(*(value * factor for value in self))


Kernels = Literal["float", "rows", "repacked", "repacked K"]
"""Which multiply a long prompt: floats; quantized weights row by row, as they lie in the file;
types of 4 and 8 bits in blocks of 32, interleaved; K-quants, interleaved."""


Storage = Literal["microsd", "usb", "nvme"]
"""What the files of models lie on."""
Seen = Literal["pmic", "wall"]
"""What sees a board's power: its own chip, which leaves out some rails; or a meter before it."""


def kernels(kind: str, *, repacked: bool) -> Kernels:
    """Of weights of a type."""
    if kind in ("F32", "F16", "BF16"):
        return "float"
    if not repacked:
        return "rows"
    return "repacked K" if kind.endswith("_K") else "repacked"


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
    storages: Mapping[Storage, Range]
    """The same, by what the file lies on."""
    receive_bytes_per_s: Range
    """Files arriving over the network."""
    matmul_ops_per_s: Mapping[Kernels, Range]
    """Of a long prompt: operations (two per weight and token) per second, by all cores."""
    decode_power_w: Mapping[Seen, Range]
    """While it decodes, by what sees it."""
    unpack_cycles: Mapping[str, float]
    """Cycles of one core to unpack and multiply a block, by type; a type without takes none."""
    cores_hz: float
    """Cores times their frequency."""
    repacks: frozenset[str]
    """Types whose weights llama.cpp copies, interleaved, into memory of its own (repack.cpp)."""
    published: bool
    """Whether a speed of llama.cpp on such a board is published; else all is estimated."""
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

_SD_4, _SD_5 = Range(0.035e9, 0.042e9, 0.045e9), Range(0.045e9, 0.085e9, 0.092e9)
_USB_3, _NVME = Range(0.28e9, 0.33e9, 0.38e9), Range(0.38e9, 0.43e9, 0.45e9)

PI5 = Board(
    name="pi5-8gb",
    memory_bytes=8_450_000_000,
    free_bytes=Range(6.9e9, 7.3e9, 7.8e9),
    decode_bytes_per_s=Range(7.7e9, 9.8e9, 12.2e9),
    read_bytes_per_s=14.9e9,
    storage_bytes_per_s=Range(_SD_5.low, _SD_5.likely, _NVME.high),
    storages={"microsd": _SD_5, "usb": _USB_3, "nvme": _NVME},
    receive_bytes_per_s=Range(30e6, 100e6, 117e6),
    matmul_ops_per_s={
        "float": Range(30e9, 70e9, 140e9),
        "rows": Range(45e9, 58e9, 112e9),
        "repacked": Range(130e9, 170e9, 215e9),
        "repacked K": Range(95e9, 118e9, 145e9),
    },
    decode_power_w={"pmic": Range(5.0, 6.1, 7.5), "wall": Range(8.5, 10.9, 13.0)},
    unpack_cycles=A76_CYCLES,
    cores_hz=4 * 2.4e9,
    repacks=DOTPROD_REPACKS,
    published=True,
    sources={
        "free_bytes": "an estimate: MemTotal of an 8 GB board less 0.6 to 1.5 GB. Raspberry Pi OS "
        "Lite takes 0.23 (github.com/geerlingguy/sbc-reviews/issues/110), its desktop about 0.8, "
        "and the kernel keeps a reserve",
        "decode_bytes_per_s": "14 measurements times bytes read per token: median 9.8, from 8.6 to "
        f"10.6 GB/s ({_GEERLING}/issues/7, 2025: Llama 3B, 8B and 13B, three firmwares; "
        f"{_LLAMA_CPP}/issues/26484, 2026: five types of one model); firmware of mid-2024: 7.7 "
        "(github.com/aidatatools/ollama-benchmark/pull/9); boards of the D0 stepping: 11.2 "
        f"({_GEERLING}/issues/24, the Pi 500+) and about 12 ({_LLAMA_CPP}/discussions/30069)",
        "read_bytes_per_s": "one-thread NEON loads (tinymembench)",
        "storage_bytes_per_s": "microSD at SDR104 up to 0.092 GB/s, at SDR50 0.045; NVMe on one "
        "PCIe 2.0 lane: 0.42 and 0.44 (github.com/geerlingguy/raspberry-pi-pcie-devices/issues/565 "
        "and /664); USB 3, by estimate, 0.28 to 0.38. Where the device's `storage` is not stated "
        "the range is over all of them, and a microSD card the likely one",
        "receive_bytes_per_s": "gigabit Ethernet carries 117 MB/s; Wi-Fi, by estimate, 30",
        "matmul_ops_per_s": "two operations a weight and token. Row by row: 50 to 60 GOPS of LFM2 "
        f"Q5_K and Q6_K ({_LLAMA_CPP}/pull/19356 and /19360, repack off), 109 by llamafile's "
        f"kernels for Q4_0 (/pull/6928). Repacked K-quants: 108 to 136 (the same, repack on). "
        "Repacked Q4_0: 147 to 208 (nyunai's edge-llm-leaderboard; "
        "the discussion above). Floats, by estimate: between 18 "
        "(TinyLlama F16 at 8 tokens/s, llamafile 0.6, justine.lol/matmul, 2024) and twice the rows",
        "decode_power_w": f"5.6 to 6.7 W by the Pi's own chip ({_LLAMA_CPP}/issues/26484), which "
        f"leaves out some rails; 10.5 to 11.9 W at the wall at most ({_GEERLING}/issues/7), the "
        f"Pi 500+ 13 ({_GEERLING}/issues/24)",
        "unpack_cycles": "llvm-mca on ggml's dot products, Neoverse N1",
    },
)
PI4 = Board(
    name="pi4-4gb",
    memory_bytes=3_980_000_000,
    free_bytes=Range(2.9e9, 3.3e9, 3.6e9),
    decode_bytes_per_s=Range(2.9e9, 3.3e9, 3.8e9),
    read_bytes_per_s=5.5e9,
    storage_bytes_per_s=Range(_SD_4.low, _SD_4.likely, 0.35e9),
    storages={"microsd": _SD_4, "usb": Range(0.28e9, 0.32e9, 0.36e9)},
    receive_bytes_per_s=Range(20e6, 80e6, 117e6),
    matmul_ops_per_s={"float": Range(4e9, 7e9, 15e9), "rows": Range(15e9, 22e9, 35e9)},
    decode_power_w={"wall": Range(5.0, 6.0, 7.5)},
    unpack_cycles=A72_CYCLES,
    cores_hz=4 * 1.8e9,
    repacks=frozenset(),
    published=True,
    sources={
        "free_bytes": "MemTotal of a 4 GB board less 0.4 to 1.1 GB, an estimate as for the Pi 5",
        "decode_bytes_per_s": "Qwen 1.8B, Gemma 2B (github.com/aidatatools/ollama-benchmark/pull/9)"
        " and seven models of github.com/dambergn/ollama-benchmarks: 3.0 to 3.5 GB/s",
        "read_bytes_per_s": "STREAM Copy of one thread (sci-pi.org.uk/bench/stream.html)",
        "storage_bytes_per_s": "microSD 0.04 to 0.045 GB/s; an SSD on USB 3 up to 0.35",
        "receive_bytes_per_s": "gigabit Ethernet carries 117 MB/s; Wi-Fi, by estimate, 20",
        "matmul_ops_per_s": "TinyLlama at 10 tokens/s as Q8_0 and 3 as F16 (justine.lol/matmul, "
        "2024)",
        "decode_power_w": "all cores busy: 6.4 W (pidramble.com/wiki/benchmarks/power-consumption)",
        "unpack_cycles": "llvm-mca on ggml's dot products, Cortex-A72",
    },
)
# No llama.cpp figure of these is published: estimates, and ranges twice as wide.
PI3 = Board(
    name="pi3-1gb",
    memory_bytes=950_000_000,
    free_bytes=Range(0.55e9, 0.7e9, 0.8e9),
    decode_bytes_per_s=Range(0.5e9, 1.1e9, 2.2e9),
    read_bytes_per_s=2.2e9,
    storage_bytes_per_s=Range(0.015e9, 0.021e9, 0.035e9),
    storages={
        "microsd": Range(0.015e9, 0.021e9, 0.023e9),
        "usb": Range(0.02e9, 0.03e9, 0.035e9),
    },
    receive_bytes_per_s=Range(3e6, 9e6, 25e6),
    matmul_ops_per_s={"float": Range(0.8e9, 2e9, 5e9), "rows": Range(2.5e9, 6e9, 14e9)},
    decode_power_w={"wall": Range(2.5, 4.0, 6.5)},
    unpack_cycles={kind: 2 * cycles for kind, cycles in A72_CYCLES.items()},
    cores_hz=4 * 1.2e9,
    repacks=frozenset(),
    published=False,
    sources={
        "free_bytes": "MemTotal of a 1 GB board less 0.15 to 0.4 GB, an estimate",
        "decode_bytes_per_s": "an estimate from its LPDDR2, 32 bits wide at 900 MT/s, of which a "
        "core reaches 2.2 GB/s at most; a Zero 2 W, of the same core, was seen at 0.55 GB/s with "
        "another engine (llm-inference.com, SmolLM on a Smol Machine)",
        "read_bytes_per_s": "an estimate",
        "storage_bytes_per_s": "microSD at 0.023 GB/s at most (SDR25); USB 2",
        "receive_bytes_per_s": "100 Mbit/s Ethernet, or gigabit behind USB 2",
        "matmul_ops_per_s": "an estimate: a quarter of the Pi 4's",
        "decode_power_w": "an estimate",
        "unpack_cycles": "twice the Cortex-A72's: the Cortex-A53 issues in order",
    },
)


def _with_memory(board: Board, name: str, memory_bytes: int, free_bytes: Range) -> Board:
    return replace(board, name=name, memory_bytes=memory_bytes, free_bytes=free_bytes)


_PI5_16GB = _with_memory(PI5, "pi5-16gb", 16_900_000_000, Range(15.3e9, 15.7e9, 16.2e9))
PRESETS = {
    board.name: board
    for board in (
        _with_memory(PI5, "pi5-2gb", 2_040_000_000, Range(1.1e9, 1.5e9, 1.75e9)),
        _with_memory(PI5, "pi5-4gb", 4_160_000_000, Range(2.9e9, 3.4e9, 3.8e9)),
        PI5,
        _PI5_16GB,
        replace(_PI5_16GB, name="pi500-plus", storage_bytes_per_s=_NVME),
        PI4,
        _with_memory(PI4, "pi4-8gb", 8_200_000_000, Range(6.7e9, 7.2e9, 7.7e9)),
        replace(
            _with_memory(PI3, "pi-zero2w", 430_000_000, Range(0.22e9, 0.3e9, 0.34e9)),
            decode_bytes_per_s=Range(0.4e9, 0.8e9, 1.7e9),
            cores_hz=4 * 1.0e9,
            matmul_ops_per_s={"float": Range(0.6e9, 1.6e9, 4e9), "rows": Range(2e9, 5e9, 11e9)},
            decode_power_w={"wall": Range(1.5, 2.5, 4.0)},
        ),
        PI3,
    )
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
    return Board(
        name=name,
        memory_bytes=profile.memory_bytes,
        free_bytes=free_bytes,
        decode_bytes_per_s=decode_bytes_per_s,
        read_bytes_per_s=read,
        storage_bytes_per_s=storage_bytes_per_s,
        storages={},
        receive_bytes_per_s=Range(30e6, 100e6, 117e6),
        matmul_ops_per_s={},
        decode_power_w={},
        unpack_cycles={},
        cores_hz=0.0,
        repacks=DOTPROD_REPACKS,
        published=True,
        sources=told,
    )


def lying_on(board: Board, storage: Storage | None) -> Board:
    """With its files on this; a board that cannot have such a storage, or of which nothing is
    known, stays as it is."""
    rates = board.storages.get(storage) if storage else None
    return replace(board, storage_bytes_per_s=rates) if rates else board
