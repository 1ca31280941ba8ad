"""Which type each group of a model's tensors gets, so that a budget costs the least divergence, or
so much divergence takes the least bytes or time (`llmpi.gguf.mix.goals`).

What is computed of the probes is `llmpi.gguf.mix.best`. Before, groups that lose much are divided
further where their layers differ (`llmpi.gguf.mix.splits`), and what is probed of the parts stands
for them; behind it what no probe sees, the rounding in the kernels of quantized types, is measured
once.

The engine runs in a child process (`python -m llmpi.gguf.mix.search JOB OUT`): it may die of a
signal. What was probed is kept, so that an interrupted search goes on where it stopped.
"""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np

from llmpi import needs
from llmpi.accidents import check_room, supervise
from llmpi.engine import info as engine_info
from llmpi.engine.llama import EngineError
from llmpi.engine.records import Failed, Rates
from llmpi.engine.supervise import Death
from llmpi.errors import LlmpiError
from llmpi.gguf import quantizers
from llmpi.gguf.contents import Stored, stored
from llmpi.gguf.imatrix import read as read_matrix
from llmpi.gguf.mix.best import best, worth
from llmpi.gguf.mix.errors import Importance, errors
from llmpi.gguf.mix.goals import Goal
from llmpi.gguf.mix.groups import BudgetError, Group, choice_of
from llmpi.gguf.mix.probe import Probed, Probes, remove_written
from llmpi.gguf.mix.seconds import NS, Timed, products, timed, told
from llmpi.gguf.mix.solver import Losses, as_expected
from llmpi.gguf.mix.splits import divided
from llmpi.gguf.records import (
    Imatrix,
    MatrixUsed,
    Mix,
    MixFound,
    MixGroup,
    MixTime,
    Start,
)
from llmpi.quant_types import TensorType, budget_of
from llmpi.records import failed, now, sha256_of_json, sha256_of_text
from llmpi.script import tell

OF_F16 = 1 + 8.5 / 16
"""What is written beside an F16 file, of its size: a copy, and a Q8_0 of 8.5 bits a weight."""


class Job(TypedDict):
    """What the child is to do."""

    base: str
    base_sha256: str
    quant: str
    text: str
    windows: int
    types: list[TensorType]
    imatrix: str | None
    imatrix_sha256: str | None
    rates: Rates | None
    """Where its choice is about time."""
    folder: str
    threads: int


class Outcome(TypedDict):
    """What the child writes: what it found, why there is no such mix, or why it did not look."""

    found: MixFound | None
    impossible: str | None
    refused: str | None


def search(
    base: Path,
    base_manifest: Start | Failed,
    quant: str,
    text: str,
    imatrix: Path | None = None,
    imatrix_manifest: Imatrix | Failed | None = None,
    rates: Rates | Failed | None = None,
    *,
    windows: int,
    types: Sequence[TensorType],
    partial: Path,
    threads: int,
) -> Mix | Failed:
    """Find the types of a mix.

    Args:
        base: unquantized GGUF file of the model.
        base_manifest: of `base`; a failed one is passed on.
        quant: a mix, see `llmpi.quant_types.budget_of`.
        text: the calibration corpus.
        imatrix, imatrix_manifest: the importance matrix that the quantizer will be given; a failed
            manifest is passed on.
        rates: of the board that its budget of time is for; failed ones are passed on.
        windows: how many of the text, spread evenly, each probe reads.
        types: to choose from.
        partial: a folder for what is probed so far, and a copy of `base`; removed at the end.

    Returns:
        What was found; a failure where the model cannot be so small, or is without a choice, or
            the engine died.

    Raises:
        LlmpiError: the text is too short, or no type suits a tensor.
        AccidentError: the memory or the disk did not suffice; what was probed is kept.
    """
    for needed in (base_manifest, imatrix_manifest, rates):
        if needed and needed["status"] != "ok":
            return needed
    assert base_manifest["status"] == "ok" and not (rates and rates["status"] != "ok")
    remove_written(partial)
    room = OF_F16 * base.stat().st_size
    check_room(partial, room, f"a copy of {base.name} to be tried on, and a Q8_0 of it,")
    matrix = _used(imatrix_manifest)
    job: Job = {
        "base": str(base),
        "base_sha256": base_manifest["sha256"],
        "quant": quant,
        "text": text,
        "windows": windows,
        "types": list(types),
        "imatrix": str(imatrix) if imatrix else None,
        "imatrix_sha256": matrix and matrix["sha256"],
        "rates": rates,
        "folder": str(partial),
        "threads": threads,
    }
    try:
        ended = supervise(__name__, job, writes=Outcome, log=tell)
    finally:
        remove_written(partial)
    shutil.rmtree(partial, ignore_errors=True)
    if isinstance(ended, Death):
        return ended.failed("search_mix")
    if ended["refused"]:
        raise LlmpiError(ended["refused"])
    if not ended["found"]:
        return failed("search_mix", ended["impossible"] or "")
    return {
        "status": "ok",
        "quant": quant,
        **ended["found"],
        "source": {"sha256": base_manifest["sha256"]},
        "corpus_sha256": sha256_of_text(text),
        "imatrix": matrix,
        "threads": threads,
        "made": now(),
    }


def _used(matrix: Imatrix | Failed | None) -> MatrixUsed | None:
    if matrix is None or matrix["status"] != "ok":
        return None
    return {
        "sha256": matrix["sha256"],
        "corpus_sha256": matrix["corpus_sha256"],
        "chunks": matrix["chunks"],
    }


# --- in the child ---------------------------------------------------------------------------------


def main(job: str, out: str) -> None:
    """Do one job; progress goes to stderr."""
    engine_info.log_to(sys.stderr.write)
    asked: Job = json.loads(Path(job).read_text(encoding="utf-8"))
    quantizers.most = asked["threads"]
    outcome: Outcome = {"found": None, "impossible": None, "refused": None}
    try:
        outcome["found"] = find(asked)
    except BudgetError as error:
        outcome["impossible"] = f"{asked['quant']}: {error}"
    except EngineError as error:
        sys.exit(str(error))
    except LlmpiError as error:
        outcome["refused"] = str(error)
    Path(out).write_text(json.dumps(outcome), encoding="utf-8")


def find(job: Job) -> MixFound:
    """
    Raises:
        BudgetError: the model cannot be so small, or is.
        LlmpiError, EngineError: as `search`, `Probes` and `_choice` say.
    """
    base, folder = Path(job["base"]), Path(job["folder"])
    held, importance = stored(base), _importance(job["imatrix"])
    groups, limit, time, retimed = _choice(base, held, job, importance)
    if limit is not None:
        as_expected(groups, limit)  # whether there is any, before hours of probes
    own = {
        name: errors(held[name], group.bytes, importance.get(name))
        for group in groups
        for name in group.tensors
    }
    shapes = {name: held[name].shape for name in own}
    with Probes(base, folder, job["text"], job["windows"], groups, importance, job["threads"]) as p:
        identity = _identity(job, groups)
        goal = Goal(groups, limit)
        most = 2 * len(groups) + 3 * needs.MIX_SPLITS + 1 + goal.choices
        probed = Probed(p, folder / "probes.jsonl", identity, total=most)
        rounding = float(probed.rounding().mean())
        goal = replace(goal, nats=_left(job, rounding))
        found = _summed(groups, own)
        groups, splits = divided(groups, *worth(goal, found, probed), shapes, probed, p.offer)
        if splits and retimed:
            time = retimed(groups)
            groups = time.groups
        goal = replace(goal, groups=groups)
        searched = best(goal, _summed(groups, own), probed)
        return {
            **searched,
            "splits": splits,
            "time": _time(time, searched["groups"], job),
            "rounding_nats": rounding,
            "probes": probed.count,
            "windows": p.windows,
            "window_tokens": p.window_tokens,
            "engine": engine_info.describe(),
            "scipy": metadata.version("scipy"),
        }


def _left(job: Job, rounding_nats: float) -> float:
    """What the weights may lose, by a budget of loss.

    Raises:
        BudgetError: what kernels round is more than the mix may lose.
    """
    budget = budget_of(job["quant"])
    if not budget or not budget.loss_nats:
        return 0
    if rounding_nats >= budget.loss_nats:
        raise BudgetError(
            f"what the kernels of quantized types round costs {rounding_nats:.2g} nats by itself; "
            "ask for more"
        )
    return budget.loss_nats - max(0.0, rounding_nats)


class _Choice(NamedTuple):
    groups: Sequence[Group]
    limit: int | None
    """Bytes or nanoseconds, if they are limited."""
    time: Timed | None = None
    retimed: Callable[[Sequence[Group]], Timed] | None = None
    """Of the same tensors in other groups."""


def _choice(
    base: Path, held: Mapping[str, Stored], job: Job, importance: Mapping[str, Importance]
) -> _Choice:
    """What there is to choose.

    Raises:
        BudgetError: nothing is as fast as the budget wants it, or all is.
        EngineError: the engine does not know the model.
    """
    said, budget = told(base), budget_of(job["quant"])
    assert budget
    groups, limit = choice_of(
        held,
        said.uniform["kinds"],
        budget,
        header_bytes=said.whole["header_bytes"],
        asked=job["types"],
        weighted=importance,
    )
    if not budget.device:
        return _Choice(groups, None if budget.loss_nats else limit)
    rates, tokens_per_s = job["rates"], budget.tokens_per_s
    assert rates
    uniform = dict(zip(held, said.uniform["kinds"], strict=True))
    times = products(base, said.whole)

    def retimed(groups: Sequence[Group]) -> Timed:
        return timed(groups, times, uniform, rates, tokens_per_s)

    found = retimed(groups)
    return _Choice(found.groups, found.limit, found, retimed)


def _time(found: Timed | None, chosen: Sequence[MixGroup], job: Job) -> MixTime | None:
    return spent(found, chosen, job["rates"]) if found and job["rates"] else None


def spent(time: Timed, chosen: Sequence[MixGroup], rates: Rates) -> MixTime:
    """What a choice makes of a budget of time."""
    types = {group["name"]: group["type"] for group in chosen}
    costs = (cost for g in time.groups for kind, cost in g.costs.items() if kind == types[g.name])
    taken_s = sum(costs) / NS
    prompt_s = sum(time.prompts[name][kind] for name, kind in types.items())
    return {
        "device": rates["device"],
        "rates_sha256": sha256_of_json(rates),
        "rest_s": time.rest.token_s,
        "limit_s": None if time.limit is None else time.limit / NS,
        "taken_s": taken_s,
        "token_s": time.rest.token_s + taken_s,
        "prompt_token_s": time.rest.prompt_token_s + prompt_s,
    }


def _importance(imatrix: str | None) -> dict[str, Importance]:
    held = read_matrix(Path(imatrix)) if imatrix else {}
    return {name: found.means.astype(np.float32) for name, found in held.items()}


def _summed(groups: Sequence[Group], own: Mapping[str, Losses]) -> dict[str, Losses]:
    """Of each group the error of each type, of those of its tensors."""
    return {
        group.name: {kind: sum(own[name][kind] for name in group.tensors) for kind in group.bytes}
        for group in groups
    }


def _identity(job: Job, groups: Sequence[Group]) -> str:
    """What makes the divergences others."""
    return sha256_of_json(
        [
            *(job["base_sha256"], job["imatrix_sha256"], sha256_of_text(job["text"])),
            *(job["windows"], job["threads"], engine_info.describe()),
            {group.name: group.tensors for group in groups},
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
