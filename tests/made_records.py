"""Records made up for tests, whole and of the product's types: what a test is about it replaces.

`test_made_records.py` reads them back by their types; real ones pass the same types in the
integration tests.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from llmpi import layout
from llmpi.engine.records import (
    AnsweredQuestion,
    AnswersCell,
    AnswersWorkload,
    Cell,
    Circumstances,
    ConcurrentCell,
    ConcurrentRepetition,
    ConcurrentWorkload,
    Conditions,
    ConversationCell,
    ConversationRepetition,
    ConversationTurn,
    ConversationWorkload,
    Depth,
    Energy,
    Engine,
    Environment,
    Failed,
    LostPrefix,
    Machine,
    MeasuredPrefix,
    Memory,
    MeteredEnergy,
    PhaseEnergy,
    Prefix,
    Repetition,
    Runtime,
    SentPrompt,
    Session,
    SingleCell,
    SingleWorkload,
    Tier,
)
from llmpi.gguf.records import Gguf
from llmpi.models.records import Model
from llmpi.quality.ab.records import AbAnswered
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.divergence.records import DivergenceScored, DivergenceSummary
from llmpi.quality.kind import Row as TaskRow
from llmpi.quality.records import Answer, Parity, ParitySide
from llmpi.quality.squad.items import summarize
from llmpi.quality.squad.kind import COLUMNS, COMPARED
from llmpi.quality.squad.records import Item, Questions, SquadScored, Verdict
from llmpi.records import write_json
from llmpi.remote.records import Provisioned
from llmpi.study.computation import DEFAULT
from llmpi.summary.records import ClassRow
from llmpi.tune.records import (
    Block,
    BlockTurn,
    ComparedEngines,
    EngineFigure,
    Finalist,
    Ratio,
    Refusal,
    Trial,
    Tuned,
)

PI5 = "Raspberry Pi 5 Model B Rev 1.0"
NO_METER = "the device has no meter"
HASH = "ab" * 32
STARTED, ENDED = "2026-11-24T10:00:00+00:00", "2026-11-24T10:05:00+00:00"


def write(pattern: str, record: Mapping[str, object], **wildcards: str) -> Path:
    """Write a record where the rules leave it, below the working directory; scores by default as
    llama.cpp computes by default."""
    path = Path(layout.at(pattern, **{"computation": DEFAULT, **wildcards}))
    write_json(path, record)
    return path


def failed(reason: str, stage: str = "benchmark") -> Failed:
    return {"status": "failed", "stage": stage, "reason": reason, "log_tail": ""}


# --- where it ran ---------------------------------------------------------------------------------


def machine(board: str | None = PI5, memory_bytes: int = 8_450_000_000) -> Machine:
    return {
        "arch": "aarch64",
        "userland_bits": 64,
        "page_bytes": 16384,
        "board": board,
        "cpu": "Cortex-A76",
        "cpu_features": ["asimd", "asimddp"],
        "processors": 4,
        "memory_bytes": memory_bytes,
        "swap_bytes": 0,
        "kernel": "Linux 6.12.25+rpt-rpi-2712",
        "os": "Debian GNU/Linux 12 (bookworm)",
        "python": "3.11.2",
        "glibc": "2.36",
        "hwcap": (0, 0),
    }


def engine() -> Engine:
    return {
        "name": "llama-cpp-python",
        "version": "0.3.36",
        "llama_cpp_commit": "0c1e570",
        "features": ["NEON", "DOTPROD", "REPACK"],
        "build_flags": {"CFLAGS": "", "CXXFLAGS": "", "CMAKE_ARGS": ""},
        "library_sha256": "ef" * 32,
    }


def conditions(available_bytes: int = 7_600_000_000) -> Conditions:
    return {
        "at": STARTED,
        "governor": "ondemand",
        "frequency_hz": [2_400_000_000] * 4,
        "temperature_c": 51.0,
        "throttled": {"now": [], "since_boot": []},
        "load_1min": 0.1,
        "memory_available_bytes": available_bytes,
        "swap_free_bytes": 0,
    }


def environment(where: Machine | None = None, available_bytes: int = 7_600_000_000) -> Environment:
    now = conditions(available_bytes)
    return {"machine": where or machine(), "engine": engine(), "before": now, "after": now}


# --- a session ------------------------------------------------------------------------------------


def workload(
    prompt_tokens: int = 100, output_tokens: int = 4, repetitions: int = 3, sustained_s: float = 0
) -> SingleWorkload:
    return {
        "kind": "single",
        "repetitions": repetitions,
        "warmup": 1,
        "warmup_limit": 4,
        "sampling": "greedy",
        "timeout_s": 3600.0,
        "prompt_tokens": prompt_tokens,
        "output_tokens": output_tokens,
        "prompt": "random",
        "depths": [],
        "sustained_s": sustained_s,
        "context_tokens": None,
    }


def repetition(
    pp_s: float, itl_s: Sequence[float], start_s: float = 100.0, first_s: float = 0.1
) -> Repetition:
    """
    Args:
        first_s: between the prompt and the first token.
    """
    return {"start_s": start_s, "pp_s": pp_s, "ttft_s": pp_s + first_s, "itl_s": [*itl_s]}


def memory(peak_rss_bytes: int = 5_000_000) -> Memory:
    return {
        "peak_rss_bytes": peak_rss_bytes,
        "anonymous_bytes": None,
        "file_bytes": None,
        "swap_bytes": 0,
        "major_faults": 7,
        "fetched_bytes": 28_672,
    }


def cell(
    repetitions: Sequence[Repetition],
    asked: SingleWorkload | None = None,
    *,
    depths: Sequence[Depth] = (),
    sustained: Sequence[tuple[float, float]] = (),
    energy: Energy | None = None,
    peak_rss_bytes: int = 5_000_000,
) -> SingleCell:
    asked = asked or workload()
    return {
        "status": "ok",
        "kind": "single",
        "workload": asked,
        "apart": None,
        "context_tokens": 128,
        "warmup": [*repetitions[:1]],
        "steady": True,
        "shortened": None,
        "repetitions": [*repetitions],
        "set_aside": [],
        "depths": [*depths],
        "sustained": [*sustained],
        "memory": memory(peak_rss_bytes),
        "marks": [],
        "output": [1, 2, 3, 4],
        "energy": energy or {"status": "none", "tier": None, "reason": NO_METER},
    }


def metered(
    tg_power_w: float,
    j_per_token: float,
    *,
    idle_power_w: float | None = None,
    uncertainty: float = 0.01,
    pp_j_per_token: float | None = None,
    tier: Tier = "metered",
) -> MeteredEnergy:
    tg: PhaseEnergy = {
        "by": "power",
        "energy_j": [1.0],
        "power_w": tg_power_w,
        "j_per_token": j_per_token,
        "uncertainty_j_per_token": uncertainty,
    }
    return {
        "status": "ok",
        "tier": tier,
        "meter": "hwmon",
        "idle_power_w": idle_power_w,
        "samples": 100,
        "sample_interval_s": 0.5,
        "longest_gap_s": 1.0,
        "pp": {**tg, "j_per_token": j_per_token if pp_j_per_token is None else pp_j_per_token},
        "tg": tg,
    }


def side_by_side(conversations: Sequence[int] = (1, 2)) -> ConcurrentWorkload:
    return {
        "kind": "concurrent",
        "repetitions": 1,
        "warmup": 1,
        "warmup_limit": 1,
        "sampling": "greedy",
        "timeout_s": 3600.0,
        "prompt_tokens": 10,
        "output_tokens": 4,
        "conversations": [*conversations],
        "system_tokens": 0,
        "per_user_tps_at_least": None,
    }


def concurrent_cell(
    asked: ConcurrentWorkload, repetitions: Mapping[int, ConcurrentRepetition], lost: str = ""
) -> ConcurrentCell:
    """
    Args:
        repetitions: one of each number of conversations that worked.
        lost: why the others did not.
    """
    made: ConcurrentCell = {
        "status": "ok",
        "kind": "concurrent",
        "workload": asked,
        "apart": None,
        "levels": [
            {
                "conversations": count,
                "status": "ok",
                "reason": None,
                "context_tokens": 256,
                "steady": True,
                "shortened": None,
                "kv_bytes": 1_000_000,
                "warmup": [],
                "repetitions": [done],
                "set_aside": [],
                "memory": memory(),
                "marks": [],
                "energy": None,
            }
            for count, done in repetitions.items()
        ],
    }
    for count in asked["conversations"]:
        if count not in repetitions:
            made["levels"].append({"conversations": count, "status": "failed", "reason": lost})
    return made


def conversation(prefix: Sequence[Prefix] = ("kept",), turns: int = 2) -> ConversationWorkload:
    return {
        "kind": "conversation",
        "repetitions": 1,
        "warmup": 1,
        "warmup_limit": 1,
        "sampling": "greedy",
        "timeout_s": 3600.0,
        "prompt_tokens": 10,
        "output_tokens": 4,
        "system_tokens": 20,
        "turns": turns,
        "pause_s": 0.0,
        "prefix": [*prefix],
    }


def talk(
    ttft_s: Sequence[float], start_s: float = 100.0, state_bytes: int | None = None
) -> ConversationRepetition:
    """A conversation whose turns had their first tokens after so long, and each a second later the
    next one's question; with a state it is half of later turns' time."""
    turns: list[ConversationTurn] = []
    for number, seconds in enumerate(ttft_s):
        turns.append(
            {
                "start_s": start_s,
                "pp_s": seconds,
                "ttft_s": seconds,
                "itl_s": [0.1] * 4,
                "prompt_tokens": 11 if number else 30,
                "restore_s": seconds / 2 if state_bytes and number else None,
                "save_s": 0.25 if state_bytes and number + 1 < len(ttft_s) else None,
            }
        )
        start_s += seconds + 1.4
    return {"start_s": turns[0]["start_s"], "turns": turns, "state_bytes": state_bytes or 4_000_000}


def conversation_cell(
    asked: ConversationWorkload,
    repetitions: Mapping[Prefix, Sequence[ConversationRepetition]],
    lost: str = "",
) -> ConversationCell:
    """
    Args:
        repetitions: of each that worked.
        lost: why the others did not.
    """
    measured: list[MeasuredPrefix | LostPrefix] = [
        {
            "prefix": prefix,
            "status": "ok",
            "reason": None,
            "context_tokens": 256,
            "steady": True,
            "shortened": None,
            "warmup": [],
            "repetitions": [*done],
            "set_aside": [],
            "memory": memory(),
            "marks": [],
            "energy": None,
        }
        for prefix, done in repetitions.items()
    ]
    failed: list[MeasuredPrefix | LostPrefix] = [
        {"prefix": prefix, "status": "failed", "reason": lost}
        for prefix in asked["prefix"]
        if prefix not in repetitions
    ]
    return {
        "status": "ok",
        "kind": "conversation",
        "workload": asked,
        "apart": None,
        "can_cut_back": True,
        "prefixes": measured + failed,
    }


def answers_asked(task: str = "qa", questions: int = 3) -> AnswersWorkload:
    return {
        "kind": "answers",
        "task": task,
        "questions": questions,
        "seed": 0,
        "repetitions": 1,
        "timeout_s": 60.0,
    }


def answered_question(number: int, seconds: float, start_s: float = 100.0) -> AnsweredQuestion:
    """90 tokens of prompt and 10 of answer, each half of the time."""
    return {
        "start_s": start_s,
        "pp_s": seconds / 2,
        "ttft_s": seconds / 2,
        "itl_s": [seconds / 20] * 10,
        "number": number,
        "prompt_tokens": 90,
        "thought_tokens": 0,
        "answer_tokens": 10,
        "stopped": True,
    }


def answers_cell(
    done: Sequence[AnsweredQuestion], asked: AnswersWorkload | None = None
) -> AnswersCell:
    return {
        "status": "ok",
        "kind": "answers",
        "workload": asked or answers_asked(),
        "apart": None,
        "of": 9,
        "left_out": 0,
        "late": 0,
        "context_tokens": 128,
        "warmup": [],
        "repetitions": [*done],
        "set_aside": [],
        "memory": memory(),
        "marks": [],
        "energy": None,
    }


def circumstances(
    *,
    threads: int = 2,
    cold_s: float = 0.5,
    warm_s: float = 0.25,
    where: Machine | None = None,
    available_bytes: int = 7_600_000_000,
) -> Circumstances:
    return {
        "settings": {
            "threads": threads,
            "batch_tokens": 2048,
            "ubatch_tokens": 512,
            "kv_cache": "f16",
            "flash_attention": "auto",
            "mmap": True,
            "mlock": False,
            "lazy": "auto",
            "repack": True,
            "omp_wait_policy": None,
            "prompt_lookup": None,
            "draft": None,
        },
        "load": {"cold_s": cold_s, "warm_s": warm_s, "locked_bytes": None, "on_demand": []},
        "order": [],
        "idle": (80.0, 95.0),
        "cooled": None,
        "environment": environment(where, available_bytes),
    }


def session(
    cells: Mapping[str, Cell],
    how: Circumstances | None = None,
    *,
    memory_read_bytes_per_s: float = 1e8,
    storage_read_bytes_per_s: float = 1e6,
    heat: Sequence[tuple[float, float]] = ((0.0, 41.0), (1.0, 55.5)),
    throttled: Sequence[tuple[float, list[str]]] = (),
) -> Session:
    return {
        "status": "ok",
        **(how or circumstances()),
        "workloads": dict(cells),
        "samples": {
            "power_w": [],
            "energy_j": [],
            "temperature_c": [*heat],
            "frequency_hz": [],
            "throttled": [*throttled],
        },
        "bandwidth": {
            "memory_read_bytes_per_s": memory_read_bytes_per_s,
            "storage_read_bytes_per_s": storage_read_bytes_per_s,
        },
        "others_at_most_pct": 5.0,
        "limits": None,
        "clock": {"monotonic_s": 200.0, "wall_s": 1.8e9, "ahead_s": 0.0},
        "gguf_sha256": HASH,
        "draft_sha256": None,
        "started": STARTED,
        "ended": ENDED,
    }


# --- files ----------------------------------------------------------------------------------------


def gguf(
    quant: str,
    *,
    size_bytes: int = 2_000_000,
    parameters: int = 1_000_000,
    bits_per_weight: float = 16.0,
    lineage: Sequence[str] = ("F16",),
    fallbacks: int = 0,
) -> Gguf:
    """
    Args:
        lineage: up to the F16, which any other is made from.
        fallbacks: so many tensors that should be Q4_K are Q5_0.
    """
    return {
        "status": "ok",
        "quant": quant,
        "sha256": HASH,
        "bytes": size_bytes,
        "architecture": "llama",
        "parameters": parameters,
        "bits_per_weight": bits_per_weight,
        "main_type": quant.partition("+")[0],
        "file_type": quant.partition("+")[0],
        "read_per_token_bytes": size_bytes,
        "chat_template": True,
        "parts": [],
        "tensors_by_type": {
            "F16": {"tensors": 3, "parameters": parameters, "bytes": size_bytes},
            "F32": {"tensors": 2, "parameters": 0, "bytes": 0},
        },
        "fallbacks": [
            {"tensor": f"blk.{i}.ffn", "wanted": "Q4_K", "got": "Q5_0"} for i in range(fallbacks)
        ],
        "lineage": [*lineage, *([] if quant == "F16" else [quant])],
        "source": {"sha256": HASH, "manifest_sha256": None},
        "imatrix": None,
        "engine": engine(),
        "converter": None,
        "training": None,
        "mix": None,
        "rounding": None,
        "lattice_tensors": None,
        "made": STARTED,
    }


def model(path: str = "m.gguf") -> Model:
    return {
        "status": "ok",
        "source": {"path": path, "files": None, "checkpoint": None, "sha256": None},
        "origin": {"kind": "path", "path": path},
        "checkpoint": None,
        "licence": None,
        "format": "safetensors",
        "files": {"model.safetensors": {"sha256": HASH, "bytes": 2_000_000}},
        "fetched": STARTED,
        "ggufs": [],
    }


def provisioned(device: str, where: Machine | None = None) -> Provisioned:
    return {
        "status": "ok",
        "device": device,
        "store": "/home/pi/llmpi",
        "interpreter": "/home/pi/llmpi/venv/bin/python",
        "preparation": None,
        "machine": where or machine(),
        "engine": engine(),
        "provisioned": STARTED,
    }


def parity(reason: str | None, top1_pct: float = 97.5, kl_nats: float = 0.0031) -> Parity:
    side: ParitySide = {
        "gguf_sha256": HASH,
        "tokens_sha256": HASH,
        "settings": {
            "threads": 2,
            "batch_tokens": 2048,
            "ubatch_tokens": 512,
            "kv_cache": "f16",
            "flash_attention": "auto",
            "mmap": True,
            "mlock": False,
            "lazy": "auto",
            "repack": True,
        },
        "engine": engine(),
        "machine": machine(),
    }
    return {
        "status": "ok",
        "agrees": reason is None,
        "reason": reason,
        "top1_pct": top1_pct,
        "kl_nats": kl_nats,
        "kl_max_nats": kl_nats,
        "kl_batched_nats": kl_nats,
        "kl_single_nats": kl_nats,
        "tolerance": {"kl_nats": 0.02, "top1_pct": 85.0},
        "positions": [{"kl_nats": kl_nats, "same_top1": True}],
        "workstation": side,
        "device": side,
    }


def tuned(finalists: Sequence[Finalist] = (), trials: Sequence[Trial] = ()) -> Tuned:
    """A search that found three threads 12 % faster."""
    gain: Ratio = {"ratio": 1.12, "low": 1.05, "high": 1.2}
    base: Runtime = {
        "threads": None,
        "batch_tokens": 2048,
        "ubatch_tokens": 512,
        "kv_cache": "f16",
        "flash_attention": "auto",
        "mmap": True,
        "mlock": False,
        "lazy": "auto",
        "repack": True,
        "omp_wait_policy": None,
        "prompt_lookup": None,
        "draft": None,
    }
    won: Finalist = {
        "words": "threads: 3",
        "gain": gain,
        "refused": None,
        "changes_output": False,
        "won": True,
    }
    return {
        "status": "ok",
        "tuned": True,
        "runtime": {**base, "threads": 3},
        "changes": {"threads": (None, 3)},
        "words": "threads: 3",
        "changes_output": False,
        "agreement": {"top1_pct": 100.0, "kl_nats": 0.0, "identical": True, "positions": 96},
        "peak_rss_bytes": {"base": 2_000_000, "tuned": 3_000_000},
        "gain": gain,
        "metrics": [{"workload": "chat", "metric": "pp", **gain}],
        "confidence_pct": 97.5,
        "confirm_blocks": 10,
        "finalists": [won, *finalists],
        "stopped": {"kind": "nothing to gain", "budget": None},
        "remaining_pct": 0.4,
        "noise_pct": 1.0,
        "searched": {"threads": [None, 3]},
        "trials": [*trials],
        "took_s": 60.0,
        "blocks": [],
        "machine": machine(),
        "engine": engine(),
        "base": base,
        "gguf_sha256": HASH,
        "started": STARTED,
        "ended": ENDED,
    }


def block(**settings: tuple[float, float] | None) -> Block:
    """Of a search for joules: what each setting took for the chat, s and J; None where it died."""
    turns: list[BlockTurn] = [
        {
            "changes": words.replace("_", " "),
            "costs": costs and {"chat": {"total": costs[0], "energy": costs[1]}},
            "peak_rss_bytes": None,
            "reason": None if costs else "it died",
            "cooled": None,
        }
        for words, costs in settings.items()
    ]
    return {
        "phase": "search",
        "turns": turns,
        "before": conditions(),
        "after": conditions(),
        "took_s": 1.0,
    }


def compared_engines(died: str) -> ComparedEngines:
    """One that is slower in one of two figures, and one that died of what is said."""
    slower: EngineFigure = {
        "workload": "chat",
        "metric": "tg",
        "change_pct": -2.1,
        "low_pct": -3.0,
        "high_pct": -1.1,
        "verdict": "slower",
    }
    told: EngineFigure = {
        **slower,
        "metric": "pp",
        "high_pct": 1.0,
        "verdict": "not told apart",
    }
    versions = ("0.3.34", "0.3.35", "0.3.36")
    return {
        "status": "ok",
        "first": "0.3.34",
        "held": [
            {
                "engine": "0.3.35",
                "reason": None,
                "figures": [told, slower],
                "agreement": {
                    "top1_pct": 97.9,
                    "kl_nats": 0.003,
                    "identical": False,
                    "positions": 96,
                },
                "same_model": True,
            },
            {
                "engine": "0.3.36",
                "reason": died,
                "figures": [],
                "agreement": None,
                "same_model": None,
            },
        ],
        "confidence_pct": 95.0,
        "marks": ["disturbed"],
        "blocks": [
            {
                "turns": [
                    {
                        "engine": name,
                        "costs": {"chat": {"pp": 1.0, "tg": 2.0, "ttft": 1.1, "total": 3.1}},
                        "peak_rss_bytes": None,
                        "reason": None,
                        "cooled": None,
                    }
                    for name in versions
                ],
                "before": conditions(),
                "after": conditions(),
                "took_s": 9.0,
            }
        ],
        "engines": {name: {**engine(), "version": name} for name in versions},
        "runtime": tuned()["runtime"],
        "machine": machine(),
        "gguf_sha256": HASH,
        "started": STARTED,
        "ended": ENDED,
    }


def trial(words: str, gain_pct: float | None, refused: Refusal | None = None) -> Trial:
    return {
        "changes": {},
        "words": words,
        "gain_pct": gain_pct,
        "blocks": int(gain_pct is not None),
        "refused": refused,
        "agreement": None,
        "peak_rss_bytes": None,
    }


# --- quality --------------------------------------------------------------------------------------


def questions(asked: int = 9, unanswerable: int = 3, paragraphs: int = 3) -> Questions:
    """A text says `secret`: no summary may hold it."""
    return {
        "status": "ok",
        "source": {"file": "qa.json", "sha256": HASH},
        "questions": asked,
        "unanswerable": unanswerable,
        "paragraphs": paragraphs,
        "sha256": HASH,
        "squad": {
            "version": "v2.0",
            "data": [{"title": "", "paragraphs": [{"context": "secret", "qas": []}]}],
        },
    }


def item(number: int, paragraph: int, f1: float, *, answerable: bool = True) -> Item:
    says = "yes" if bool(f1) == answerable else ""
    return {
        "id": str(number),
        "paragraph": paragraph,
        "golds": ["yes"] if answerable else [],
        "answer": says,
        "prediction": says,
        "normalized": says,
        "exact": int(f1),
        "f1": f1,
        "thought": None,
        "prompt_tokens": 100,
        "new_tokens": 2,
        "thought_tokens": 0,
        "stopped": True,
        "no_answer": -1.0,
        "error": None,
    }


def answer(
    text: str,
    *,
    error: str | None = None,
    stopped: bool = True,
    log_likelihood: float | None = None,
) -> Answer:
    return {
        "text": text,
        "thought": None,
        "prompt_tokens": 9,
        "new_tokens": 2,
        "thought_tokens": 0,
        "stopped": stopped,
        "error": error,
        "log_likelihood": log_likelihood,
    }


def sent() -> SentPrompt:
    return {"tokens": 1, "begin": [{"text": "a", "special": False}], "end": [], "folded": False}


def squad(items: Sequence[Item], descent: Verdict | None = None) -> SquadScored:
    return {
        "status": "ok",
        "summary": summarize(items),
        "descent": descent,
        "settings": {
            "computation": BY_DEFAULT,
            "max_new_tokens": 32,
            "context_tokens": 4096,
            "thinking_tokens": None,
            "examples": 4,
            "prompt": 1,
            "language": "en",
            "block_questions": None,
        },
        "questions_sha256": HASH,
        "prompt_sha256": HASH,
        "has_chat_template": True,
        "sent": sent(),
        "gguf_sha256": HASH,
        "engine": engine(),
        "batching": [],
        "items": [*items],
    }


def divergence(summary: DivergenceSummary) -> DivergenceScored:
    return {
        "task": "divergence",
        "status": "ok",
        "summary": summary,
        "resampling": {"resamples": 1000, "seed": 0},
        "window_tokens": 512,
        "chunks": 64,
        "available_chunks": 64,
        "wanted_chunks": 64,
        "positions_per_chunk": 255,
        "corpus": {"source": {"text_file": "wiki.txt"}, "sha256": HASH},
        "vocabulary": {"tokens": 128_256, "sha256": HASH},
        "gguf_sha256": HASH,
        "reference": {"gguf_sha256": HASH, "engine": engine(), "threads": 2},
        "engine": engine(),
        "threads": 2,
        "computation": BY_DEFAULT,
        "batching": "4 windows of 512, n_ubatch 512",
        "chunk_sums": [],
        "positions": {"nll": [], "reference_nll": [], "kld": []},
        "started": STARTED,
        "ended": ENDED,
    }


def answered(passed_pct: float | None) -> AbAnswered:
    return {
        "status": "ok",
        "summary": {"items": 60, "judged": 60, "passed_pct": passed_pct},
        "outcomes": [],
        "answers": [],
        "prompts_sha256": HASH,
        "settings": {
            "computation": BY_DEFAULT,
            "max_new_tokens": 160,
            "context_tokens": 4096,
            "thinking_tokens": None,
            "grammar": False,
        },
        "gguf_sha256": HASH,
        "chat_template_sha256": HASH,
        "sent": sent(),
        "engine": engine(),
        "batching": {
            "shape": {
                "context_tokens": 4096,
                "prompt_rows": (1, 512),
                "answer_rows": (1, 8),
                "sequences": 8,
            },
            "cells": 4096,
            "parts": 1,
            "batches": 1,
            "rows": 1,
            "padded_rows": 0,
            "one_at_a_time": None,
        },
        "threads": 2,
        "started": STARTED,
        "ended": ENDED,
    }


def squad_row(
    f1_pct: float | None,
    *,
    spread: float = 1.0,
    items: int = 100,
    loss: float | None = None,
    verdict: str | None = None,
    **more: float | str | None,
) -> TaskRow:
    """
    Args:
        spread: between the score and the ends of its interval.
        loss: against the widest; None of the widest itself.
    """
    ends = {"": 0.0, "_low": -spread, "_high": spread}
    scores = {
        f"{name}{end}_pct": None if f1_pct is None else f1_pct + by
        for name in ("f1", "em", "has_ans_f1", "has_ans_em")
        for end, by in ends.items()
    }
    against = {"": 0.0, "_low": -3.0, "_high": 3.0}
    row: TaskRow = dict.fromkeys((*COLUMNS, *COMPARED))
    row |= {"status": "ok", "items": items, **scores, "f1_verdict": verdict}
    if loss is not None:
        row |= {f"f1_difference{end}_pct": by - loss for end, by in against.items()}
        row |= {"f1_minimum_detectable_pct": 4.2}
    return {**row, **more}


# --- a row of the summary -------------------------------------------------------------------------


def row(
    device: str = "pi", quant: str = "F16", tg_tps: float = 10.0, **quality: TaskRow
) -> ClassRow:
    """A good cell: least 9/10 and greatest 12/10 of its speed.

    Args:
        quality: by task.
    """
    return {
        "study": "s",
        "device": device,
        "model": "m",
        "quant": quant,
        "runtime": "default",
        "workload": "chat",
        "group": None,
        "computation": DEFAULT,
        "status": "ok",
        "stage": None,
        "reason": None,
        "pp_tps": 9 * tg_tps,
        "pp_min_tps": 8 * tg_tps,
        "pp_max_tps": 10 * tg_tps,
        "tg_tps": tg_tps,
        "tg_min_tps": 0.9 * tg_tps,
        "tg_max_tps": 1.2 * tg_tps,
        "tg_sd_tps": 0.1 * tg_tps,
        "repetitions": 5,
        "set_aside": 0,
        "others_pct": 0.0,
        "shortened_to_tokens": None,
        "ttft_s": 1 / tg_tps,
        "itl_p50_s": 1 / tg_tps,
        "itl_p95_s": 1 / tg_tps,
        "itl_max_s": 1 / tg_tps,
        "cold_load_s": 1 / tg_tps,
        "warm_load_s": 1 / tg_tps,
        "memory_bytes": 1_000_000,
        "anonymous_bytes": None,
        "file_read_bytes": None,
        "peak_rss_bytes": 1_000_000,
        "major_faults": 0,
        "threads": 4,
        "context_tokens": 128,
        "tg_at_depths_tps": [],
        "sustained_first_last_tps": [],
        "hottest_c": None,
        "marks": [],
        "memory_read_bytes_per_s": None,
        "storage_read_bytes_per_s": None,
        "tg_memory_share": None,
        "energy_tier": None,
        "energy_reason": NO_METER,
        "idle_power_w": None,
        "pp_power_w": None,
        "tg_power_w": None,
        "pp_mean_tps": None,
        "tg_mean_tps": None,
        "pp_j_per_token": None,
        "tg_j_per_token": None,
        "tg_uncertainty_j_per_token": None,
        "pp_uncertainty_j_per_token": None,
        "tpj_board": None,
        "tpj_above_idle": None,
        "words_per_battery": None,
        "file_bytes": 900_000,
        "parameters": 1_000_000,
        "bits_per_weight": 7.2,
        "tensors": 5,
        "fallback_tensors": 0,
        "lineage": ["F16", quant],
        "quality": quality,
        "answers": {},
        "parity_top1_pct": None,
        "parity_kl_nats": None,
        "parity_reason": None,
        "gates_failed": [],
        "parity_misses": [],
        "unscored": None,
        "endpoint": None,
        "endpoint_place": None,
        "endpoint_pp_tps": None,
        "endpoint_tg_tps": None,
        "claimed_file": None,
        "claimed_type": None,
        "claimed_template": None,
        "output_agreement_pct": None,
        "boards": [device],
    }
