"""What is not the same in the paper's method and in the one of a cell that corresponds to it.

What is said of the paper is from arXiv 2504.02118 and from the data that its authors published.
"""

from llmpi.engine.records import Failed
from llmpi.remote.records import Provisioned
from llmpi.results import NotRun
from llmpi.study.study import Study
from llmpi.summary.records import Differs, PaperPoint, Row

BOARD_BYTES = range(7_500_000_000, 9_000_000_000)
"""MemTotal of its 8 GB board."""
IDLE_POWER_W = 3.31
"""What it subtracts from the power; fits all 27 points."""


def differences(
    study: Study, point: PaperPoint, row: Row, machine: Provisioned | Failed | NotRun
) -> list[Differs]:
    """What to know before the numbers of a point and of a cell are compared.

    Returns:
        Of each `key` (`engine`, `protocol`, `sampling`, `energy`, `quality`, and where they apply
        `memory`, `overflow`, `broken`, `source`, `parity`) a phrase of the paper and one of ours.
    """
    found = {
        "engine": (_their_engine(point), _our_engine(study, row, machine)),
        "protocol": (
            "mean of 10 runs, 5 s apart, without warm-up or spread; one short prompt whose length "
            "is not told, 50 new tokens, context 4096",
            _our_protocol(study, row),
        ),
        "sampling": (
            "llama.cpp's default, which draws at random",
            study.workloads[row["workload"]].sampling,
        ),
        "energy": (
            f"tokens per joule above a fixed idle power of {IDLE_POWER_W} W, words per battery of "
            "the whole board's power",
            _our_energy(row),
        ),
        "quality": (
            "NUBIA on 100 SQuAD v2 questions that all have an answer; no chat template, first line "
            "of the answer, empty answers left out; not scored on the Pi",
            _our_quality(row),
        ),
    }
    memory = machine["machine"]["memory_bytes"] if machine["status"] == "ok" else None
    if memory and memory not in BOARD_BYTES:
        found["memory"] = ("the 8 GB board", f"{memory / 1e9:.1f} GB")
    if point["overflow"]:
        found["overflow"] = (
            "does not fit in 8 GB: each token reads weights from the NVMe again",
            "; ".join(row["marks"]) or ("fits" if row["tg_tps"] else "not measured"),
        )
    if point["broken"]:
        found["broken"] = (
            f"the file was broken: {point['gold_in_answer_pct']:g} % of its answers hold the right "
            "words",
            "see its scores",
        )
    if row["lineage"] and not row["lineage"][0].startswith(("F16", "BF16", "F32", "TERNARY")):
        made = " > ".join(row["lineage"])
        found["source"] = ("quantized from the released weights", f"made as {made}")
    if row["parity_reason"]:
        found["parity"] = ("not checked", row["parity_reason"])
    return [{"key": key, "paper": paper, "ours": ours} for key, (paper, ours) in found.items()]


def _their_engine(point: PaperPoint) -> str:
    if point["quant"] == "TERNARY":
        return "bitnet.cpp on 2 threads"
    return "llama.cpp of early 2025 on 4 threads, weights left in the mapped file"


def _our_engine(study: Study, row: Row, machine: Provisioned | Failed | NotRun) -> str:
    commit = "of an unknown commit"
    if machine["status"] == "ok":
        commit = machine["engine"]["llama_cpp_commit"]
    threads = f" on {row['threads']} threads" if row["threads"] else ""
    repacked = study.runtimes[row["runtime"]].repack
    kept = "weights repacked where it can" if repacked else "weights left in the mapped file"
    return f"llama.cpp {commit}{threads}, {kept}"


def _our_protocol(study: Study, row: Row) -> str:
    w = study.workloads[row["workload"]]
    runs = row["repetitions"] or w.repetitions
    context = row["context_tokens"] or "not known"
    return (
        f"median of {runs} after a warm-up, with least and greatest; {w.prompt_tokens} prompt "
        f"tokens, {w.output_tokens} new tokens, context {context}"
    )


def _our_energy(row: Row) -> str:
    if row["tg_power_w"] is None:
        return row["energy_reason"] or "not measured"
    if row["idle_power_w"] is None:
        return f"{row['energy_tier']}; the power at rest was not measured"
    return f"{row['energy_tier']}, above {row['idle_power_w']:.2f} W measured at rest"


def _our_quality(row: Row) -> str:
    squads = [scored for scored in row["quality"].values() if "has_ans_f1_pct" in scored]
    scored = [f"{squad['items']} questions" for squad in squads if squad["items"]]
    if not scored:
        return "not scored"
    return (
        f"F1 of SQuAD v2 ({', '.join(scored)}, with and without an answer); the model's chat "
        "template, the whole answer, on the workstation"
    )
