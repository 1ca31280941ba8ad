"""Records of a study on Raspberry Pis as the rules would leave them, where there is no Pi.

Only the numbers are made up: speeds by the memory's bandwidth, powers by the paper's, scores by a
seed. Everything that follows from them (summary, comparisons, descent, choice, money) is computed
by the project's own code.
"""

import random

import made_records as made
from made_questions import questions_of
from made_records import write

from llmpi import layout
from llmpi.decide.choice import recommend
from llmpi.decide.cost import costs
from llmpi.decide.records import Recommendation
from llmpi.engine.records import Cell, Machine, SessionRecord, SingleCell
from llmpi.gguf.records import Gguf
from llmpi.quality.ab.compare import compare
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.ab.records import AbAnswered, ComparedPair, JudgedAnswer, Outcome
from llmpi.quality.divergence.records import (
    DivergenceScored,
    DivergenceSummary,
    DivergenceSums,
    Estimate,
)
from llmpi.quality.evidence import Requirements
from llmpi.quality.records import Parity
from llmpi.quality.squad.descent import Step
from llmpi.quality.squad.records import SquadScored
from llmpi.study.measuring import Workload
from llmpi.study.runs import Session, Variant, pairs_of, sessions, variants
from llmpi.study.study import Study
from llmpi.study.tasks.ab import AbTask
from llmpi.study.tasks.squad import SquadTask
from llmpi.summary.read import read_records
from llmpi.summary.records import Summary
from llmpi.summary.study import summarize

PARAMETERS = {"llama-3.2-1b": 1.236e9, "gemma-2-2b": 2.614e9, "llama-3.2-3b": 3.213e9}
HUB = {
    "llama-3.2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "gemma-2-2b": "google/gemma-2-2b-it",
    "llama-3.2-3b": "meta-llama/Llama-3.2-3B-Instruct",
}
BITS = {"F16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q4_0": 4.55, "Q2_K": 3.35}
MEMORY_RATE, UNPACKING_RATE = 9.4e9, 5.6e9
STORAGE_RATE = {"pi5": 0.45e9, "pi5-sd": 0.08e9}
IDLE_W, BUSY_W = 3.3, 6.4
SCORE = {"F16": 0.62, "Q8_0": 0.62, "Q6_K": 0.61, "Q4_0": 0.57, "Q2_K": 0.06}
PARAGRAPHS, PER_PARAGRAPH = 160, 5
WINDOWS, PROMPTS = 64, 1800
TAGS = ("units", "format", "safety")


def study(**more: object) -> Study:
    """With everything a page can show."""
    ssh = {"transport": "ssh", "host": "pi.local", "preset": "pi5-8gb"}
    config = {
        "study": "pis",
        "models": {m: {"source": {"hub": HUB[m], "revision": "0" * 40}} for m in PARAMETERS},
        "quants": list(BITS),
        "devices": {
            "pi5": {**ssh, "store": "/mnt/nvme/llmpi", "meter": {"kind": "hwmon"}, "idle_s": 15},
            "pi5-sd": {**ssh, "meter": {"kind": "pmic"}, "idle_s": 15},
        },
        "workloads": {
            "chat": {"prompt_tokens": 128, "output_tokens": 64, "sustained_s": 300},
            "long": {"prompt_tokens": 1024, "output_tokens": 64},
        },
        "quality": {
            "squad": {"task": "squad", "squad_file": "squad.json"},
            "wiki": {"task": "divergence", "text_file": "wiki.txt"},
            "own": {
                "task": "ab",
                "prompts": "own.jsonl",
                "pairs": [["llama-3.2-3b/F16", "llama-3.2-3b/Q4_0"]],
            },
        },
        "gates": [{"task": "squad", "metric": "f1", "at_least_pct": 30}],
        "descent": {"task": "squad", "margin_pct": 10},
        "constraints": {"tps_at_least": 4, "memory_at_most": "6G"},
        "cost": {
            "currency": "EUR",
            "hardware": {
                "pi5": {"board": 85, "m2_hat": 15, "ssd": 35, "supply": 13, "cooling": 6},
                "pi5-sd": {"board": 85, "ssd": 12, "supply": 13, "cooling": 6},
            },
            "boards": 20,
            "lifespan_years": 4,
            "duty_pct": 25,
            "price_per_kwh": {"value": 0.3, "source": "the supplier's invoice"},
            "grid_co2_g_per_kwh": 380,
            "engineering": {
                "price_per_day": 600,
                "setup_days": 5,
                "maintenance_days_per_year": 2,
            },
            "alternatives": {
                "cloud-api": {
                    "kind": "api",
                    "price_per_million_input_tokens": 0.15,
                    "price_per_million_output_tokens": 0.6,
                },
                "without-hat": {"kind": "device", "device": "pi5-sd"},
            },
            "hat": {"with_hat": "pi5", "without_hat": "pi5-sd"},
        },
    }
    return Study.model_validate({**config, **more})


def many(*, models: int, quants: int, devices: int) -> Study:
    """A sweep with two workloads, without what is only ever shown for one variant."""
    widths = [*BITS, "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_1", "Q3_K_M"]
    return study(
        models={f"model-{i}": {"source": {"path": f"model-{i}.gguf"}} for i in range(models)},
        quants=widths[:quants],
        devices={f"pi-{i}": {"transport": "local", "meter": {"kind": "hwmon"}}
                 for i in range(devices)},
        quality={"squad": {"task": "squad", "squad_file": "squad.json"}},
        descent=None,
        constraints={},
        cost=None,
    )  # fmt: skip


def write_records(asked: Study) -> None:
    """Every record of the study, into `results/` of the working directory.

    llama-3.2-3b dies as F16 on the card; pi5-sd computes gemma's Q6_K otherwise.
    """
    for model in asked.models:
        write(layout.MODEL_MANIFEST, made.model(model), model=model)
    for variant in variants(asked):
        write(layout.GGUF_MANIFEST, _gguf(variant), **variant._asdict())
    for task, quality in asked.quality.items():
        where = {"study": asked.study, "task": task}
        if isinstance(quality, SquadTask):
            scores = _squads(asked)
            drawn = questions_of(next(iter(scores.values()))["items"])
            write(layout.QUESTIONS, drawn, **where)
            for variant, scored in scores.items():
                write(layout.QUALITY, scored, **where, **variant._asdict())
        elif isinstance(quality, AbTask):
            for variant in variants(asked):
                write(layout.QUALITY, _answered(variant), **where, **variant._asdict())
            for pair, (a, b) in pairs_of(asked, task).items():
                write(layout.AB, _ab("/".join(a), "/".join(b)), **where, pair=pair)
        else:
            for variant in variants(asked):
                write(layout.QUALITY, _divergence(variant.quant), **where, **variant._asdict())
    for session in sessions(asked):
        where = {"study": asked.study, **session._asdict()}
        write(layout.PARITY, _parity(session), **where)
        write(layout.BENCH, _bench(asked, session), **where)
    for device in asked.devices:
        write(layout.PROVISIONED, made.provisioned(device, _machine()), device=device)


def summarized(asked: Study) -> tuple[Summary, Requirements]:
    """Of the records that were written."""
    return summarize(asked, read_records(asked))


def decided(asked: Study) -> tuple[Summary, Recommendation]:
    """Summary and recommendation of the records that were written."""
    summary, requirements = summarized(asked)
    return summary, decision(asked, summary, requirements)


def decision(asked: Study, summary: Summary, requirements: Requirements) -> Recommendation:
    assert asked.constraints
    chosen = recommend(summary, requirements, asked.constraints)
    money = costs(summary, asked.cost, chosen) if asked.cost else None
    return {**chosen, "money": money}


def _parameters(model: str) -> int:
    return int(PARAMETERS.get(model, 1.5e9))


def _bits(quant: str) -> float:
    return BITS.get(quant, 5.0)


def _gguf(variant: Variant) -> Gguf:
    parameters = _parameters(variant.model)
    return made.gguf(
        variant.quant,
        size_bytes=int(parameters * _bits(variant.quant) / 8),
        parameters=parameters,
        bits_per_weight=_bits(variant.quant),
    )


def _machine() -> Machine:
    return made.machine(memory_bytes=8_258_000_000)


def _bench(asked: Study, session: Session) -> SessionRecord:
    model, quant, device = session.model, session.quant, session.device
    if (model, quant, device) == ("llama-3.2-3b", "F16", "pi5-sd"):
        return made.failed("the engine was killed: no memory")
    draw = random.Random("/".join((asked.study, device, model, quant, session.runtime)))
    size = _parameters(model) * _bits(quant) / 8
    tg = (UNPACKING_RATE if quant == "Q2_K" else MEMORY_RATE) / size
    if session.runtime != "default":
        tg *= 0.95
    rate = STORAGE_RATE.get(device, 0.3e9)
    cells: dict[str, Cell] = {
        name: _workload(workload, tg, size, draw, device)
        for name, workload in asked.workloads.items()
        if isinstance(workload, Workload)
    }
    how = made.circumstances(
        threads=4,
        cold_s=size / rate * 1.08 + 0.4,
        warm_s=size / 4e9 + 0.3,
        where=_machine(),
        available_bytes=7_400_000_000,
    )
    return made.session(
        cells,
        how,
        memory_read_bytes_per_s=11.2e9,
        storage_read_bytes_per_s=rate,
        heat=[(float(s), min(82.0, 48 + s * 0.22)) for s in range(320)],
        throttled=[(170.0, ["throttled"])] if quant == "F16" else [],
    )


def _workload(
    asked: Workload, tg: float, size: float, draw: random.Random, device: str
) -> SingleCell:
    prompt, repetitions = asked.prompt_tokens, []
    tg *= 1 - prompt / 40_000
    for _ in range(asked.repetitions):
        noise = draw.gauss(1, 0.012)
        pp_s = prompt / (tg * 7.5 * noise)
        itl_s = [1 / (tg * noise * draw.gauss(1, 0.02)) for _ in range(asked.output_tokens)]
        repetitions.append(made.repetition(pp_s, itl_s, first_s=0.01))
    energy = made.metered(
        BUSY_W,
        BUSY_W / tg,
        idle_power_w=IDLE_W,
        uncertainty=0.02 / tg,
        pp_j_per_token=BUSY_W / tg / 7.5,
        tier="pmic" if device == "pi5-sd" else "metered",
    )
    sustained = [
        (10.0 + s, tg * (1 if s < 150 else 0.8) * draw.gauss(1, 0.01))
        for s in range(int(asked.sustained_s))
    ]
    cell = made.cell(
        repetitions,
        made.workload(prompt, asked.output_tokens, asked.repetitions, asked.sustained_s),
        sustained=sustained,
        energy=energy,
        peak_rss_bytes=int(size * 1.1 + 2e8),
    )
    return {**cell, "context_tokens": prompt + asked.output_tokens}


def _squads(asked: Study) -> dict[Variant, SquadScored]:
    """The widest of each model first, which the others descend from."""
    found: dict[Variant, SquadScored] = {}
    widest: dict[str, SquadScored] = {}
    for variant in variants(asked):
        scored = _squad(variant)
        if asked.descent and variant.model in widest:
            settings = {
                "task": asked.descent.task,
                "metric": asked.descent.metric,
                "margin_pct": asked.descent.margin_pct,
                "alpha": asked.descent.alpha,
            }
            step = Step(settings, widest[variant.model], {})
            scored = {**scored, "descent": step.verdict(scored["items"])}
        widest.setdefault(variant.model, scored)
        found[variant] = scored
    return found


def _squad(variant: Variant) -> SquadScored:
    draw = random.Random(variant.model)  # the same questions are hard for every quantization
    share = SCORE.get(variant.quant, 0.5)
    items = []
    for i in range(PARAGRAPHS * PER_PARAGRAPH):
        answerable, luck = i % PER_PARAGRAPH > 1, draw.random()
        right = float(luck < (share if answerable else 0.5))
        items.append(made.item(i, i // PER_PARAGRAPH, right, answerable=answerable))
    return made.squad(items)


def _divergence(quant: str) -> DivergenceScored:
    kld = {"F16": 0.0, "Q8_0": 0.002, "Q6_K": 0.006, "Q4_0": 0.06, "Q2_K": 1.1}.get(quant, 0.1)

    def estimate(value: float) -> Estimate:
        return {"value": value, "standard_error": value * 0.02}

    summary: DivergenceSummary = {
        "perplexity": estimate(9.1 * (1 + kld)),
        "reference_perplexity": estimate(9.1),
        "ln_perplexity_ratio": estimate(kld),
        "perplexity_ratio": estimate(1 + kld),
        "kld_mean_nats": estimate(kld),
        "kld_median_nats": estimate(kld * 0.7),
        "kld_p99_nats": estimate(kld * 6),
        "top1_agreement_pct": estimate(100 - 30 * kld),
    }
    chunks = [_window(kld, random.Random(f"window {at}")) for at in range(WINDOWS)]
    return {**made.divergence(summary), "chunks": WINDOWS, "chunk_sums": chunks}


def _window(kld: float, draw: random.Random) -> DivergenceSums:
    """A window of 255 tokens; what a variant loses of it goes with how hard the window is."""
    hard = draw.gauss(1, 0.3)
    reference = 255 * 2.2 * hard
    return {
        "nll": reference + 255 * kld * hard,
        "reference_nll": reference,
        "kld": 255 * kld,
        "same_top1": 255 * (1 - 0.3 * kld),
    }


def _parity(session: Session) -> Parity:
    differs = session[:3] == ("pi5-sd", "gemma-2-2b", "Q6_K")
    if differs:
        said = "the device computes another model: KL divergence 0.06 nats > 0.02"
        return made.parity(said, 82.0, 0.06)
    return made.parity(None, 96.5, 0.0001 if session.quant == "F16" else 0.004)


def _answered(variant: Variant) -> AbAnswered:
    """The same prompts are hard for every quantization."""
    draw, share = random.Random(f"own {variant.model}"), SCORE.get(variant.quant, 0.5) + 0.2
    outcomes: list[Outcome] = [
        {"id": f"{i:03}", "tags": [TAGS[i % 3]], "passed": draw.random() < share}
        for i in range(PROMPTS)
    ]
    passed_pct = 100 * sum(outcome["passed"] for outcome in outcomes) / PROMPTS
    return {**made.answered(passed_pct), "outcomes": outcomes}


def _ab(a: str, b: str) -> ComparedPair:
    draw = random.Random(5)
    prompts = [Prompt(id=str(i), prompt="?", tags=[TAGS[i % 3]]) for i in range(60)]

    def judged(prompt: Prompt, share: float) -> JudgedAnswer:
        return {
            "id": prompt.id,
            "passed": draw.random() < share,
            "checks": [],
            "f1": None,
            "text": "",
            "cut_off": False,
            "error": None,
        }

    sides = [[judged(prompt, share) for prompt in prompts] for share in (0.8, 0.6)]
    return {"status": "ok", "a": a, "b": b, "judged": [], **compare(prompts, *sides)}
