"""What a service takes of a board's memory, as the engine itself says, before it is installed."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from llmpi.aligned import aligned
from llmpi.device.service.records import CHECKPOINTS
from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import Context
from llmpi.plan.model import Model, Sizes, ask_all
from llmpi.plan.predict import PROCESS_BYTES, Fit, copied, fit_of, held
from llmpi.plan.presets import Board, Range
from llmpi.study.measuring import Runtime
from llmpi.study.runs import Variant, sessions
from llmpi.study.service import MEMORY_SHARE, ServedVariant, Service
from llmpi.study.study import Study

LEAST_TOKENS = 256
"""The engine rounds a slot's context up to a multiple of it (llama-context.cpp)."""


class Serving(NamedTuple):
    """A variant that is served on a device. All in bytes of memory; a service keeps nothing of a
    conversation on disk."""

    device: str
    model: str
    quant: str
    runtime: str
    weights_bytes: int
    context_bytes: int
    """Keys, values and states of all slots."""
    checkpoint_bytes: int
    """Copies of what cannot be cut back to a prefix."""
    prefix_cache_bytes: int
    """At most."""
    working_bytes: int
    """The engine's compute buffer; the processes of engine and front."""
    needed_bytes: int
    room_bytes: float
    """Likely free, and within the service's limit."""
    fit: Fit
    problem: str | None
    """Why the device does not hold it, and what of it would fit; for a person."""


def serving(
    name: str,
    asked: Service,
    served: ServedVariant,
    model: Model,
    size: Sizes,
    board: Board,
    runtime: Runtime,
) -> Serving:
    """What a variant takes as it is asked to be served on a device.

    Args:
        name: of the device.
        model: whose context is asked for.
        size: of the variant.
        board: the device.
        runtime: the settings of `served.runtime`, a search's result in place of a search.

    Raises:
        LlmpiError: the engine does not take the model, its type or this context.
    """
    said = model.reserved(_context(asked, runtime))
    weights, unmapped = held(size, runtime), copied(size, runtime, board)
    context = said["kv_bytes"] + said["state_bytes"]
    rewound = said["window_bytes"] + said["state_bytes"]
    cache = (asked.prefix_cache or 0) >> 20 << 20
    working = PROCESS_BYTES + said["touched_bytes"]
    others = context + CHECKPOINTS * rewound + cache + working
    limit = asked.memory_limit or MEMORY_SHARE * board.memory_bytes
    room = Range(*(min(free, limit) for free in board.free_bytes))
    fit = fit_of(weights + others, unmapped + others, room)
    a_slot = (context + CHECKPOINTS * rewound) / asked.slots
    a_token = (said["kv_bytes"] - said["window_bytes"]) / (asked.slots * _cells(asked))
    found = Serving(
        *(name, served.model, served.quant, served.runtime),
        *(weights, context, CHECKPOINTS * rewound, cache, working),
        *(weights + others, room.likely, fit, None),
    )
    if fit not in ("overflow", "dies"):
        return found
    lacking = found.needed_bytes - room.likely
    fits = [*_limits(asked, found, board), *_less(asked, cache, a_slot, a_token, lacking)]
    return found._replace(problem=_problem(found, asked, fits))


def _context(asked: Service, runtime: Runtime) -> Context:
    """The engine's context in a service, as `llmpi.device.service.engine` starts it."""
    tokens = asked.slots * asked.context_tokens
    at_once = min(tokens, runtime.ubatch_tokens)
    return Context(
        *(tokens, runtime.kv_cache, runtime.flash_attention),
        *(runtime.ubatch_tokens, runtime.batch_tokens, at_once, asked.slots),
    )


def _cells(asked: Service) -> int:
    """Tokens of a slot as the engine makes room for them."""
    return -(-asked.context_tokens // LEAST_TOKENS) * LEAST_TOKENS


def _limits(asked: Service, found: Serving, board: Board) -> Iterator[str]:
    if asked.memory_limit and found.needed_bytes <= board.free_bytes.likely:
        yield f"`memory_limit: {math.ceil(found.needed_bytes / 2**20)}M`"


def _less(
    asked: Service, cache: int, a_slot: float, a_token: float, lacking: float
) -> Iterator[str]:
    """The most of each key that fits, the others being as they are."""
    if 0 < lacking <= cache:
        left = int(cache - lacking) >> 20
        yield f"`prefix_cache: {left}M`" if left else "no `prefix_cache`"
    if a_slot and (slots := asked.slots - math.ceil(lacking / a_slot)) >= 1:
        yield f"`slots: {slots}`"
    if a_token:
        fewer = lacking / a_token / asked.slots
        tokens = int(_cells(asked) - fewer) // LEAST_TOKENS * LEAST_TOKENS
        if tokens >= LEAST_TOKENS:
            yield f"`context_tokens: {tokens}`"


LESS = (
    "None of these keys alone makes it fit: serve fewer bits or a smaller model, or take less of "
    "`slots`, `context_tokens` and `prefix_cache` together."
)


def _problem(found: Serving, asked: Service, fits: Sequence[str]) -> str:
    parts = {
        "of weights": found.weights_bytes,
        f"of context (`slots` {asked.slots} x `context_tokens` {asked.context_tokens})": (
            found.context_bytes
        ),
        "of copies to go back to": found.checkpoint_bytes,
        "of `prefix_cache`": found.prefix_cache_bytes,
        "to work with": found.working_bytes,
    }
    listed = ", ".join(f"{gb(size)} {what}" for what, size in parts.items() if size)
    what = "weights would be read from storage again for every token"
    if found.fit == "dies":
        what = "the kernel would end it"
    advice = f"It fits with {' or '.join(fits)}." if fits else LESS
    return (
        f"service: {found.model} {found.quant} on {found.device} needs {found.needed_bytes:,} "
        f"bytes of memory ({listed}), and {int(found.room_bytes):,} are likely free for it: "
        f"{what}. {advice}"
    )


def gb(count: float) -> str:
    """For a person."""
    return f"{count / 1e9:.2f} GB" if count < 10e9 else f"{count / 1e9:.1f} GB"


# --- of a study -----------------------------------------------------------------------------------


def servings(
    study: Study, known: Mapping[Variant, Model | str], boards: Mapping[str, Board | None]
) -> list[Serving]:
    """What the study's service takes on each of its devices; of a variant that is not chosen yet,
    all that may be. What nothing is known of is left out: the sessions' plans say it.

    Args:
        known: what `llmpi.plan.model_facts.variants_of` says.
    """
    asked = study.service
    if asked is None:
        return []
    may_be = [
        (name, served, model, board)
        for name in study.served_on
        for served in _may_be(study, asked, name)
        if isinstance(model := known.get(Variant(served.model, served.quant)), Model)
        and (board := boards[name])
    ]
    runtimes = study.runtimes
    ask_all(
        (model, (served.quant,), (_context(asked, runtimes[served.runtime]),))
        for _, served, model, _ in may_be
    )
    found: list[Serving] = []
    for name, served, model, board in may_be:
        try:
            size = model.sizes(served.quant)
            found.append(serving(name, asked, served, model, size, board, runtimes[served.runtime]))
        except LlmpiError:  # which the plan of the session tells
            continue
    return found


def _may_be(study: Study, asked: Service, name: str) -> list[ServedVariant]:
    if isinstance(asked.variant, ServedVariant):
        return [asked.variant]
    return [
        ServedVariant(model=one.model, quant=one.quant, runtime=one.runtime)
        for one in sessions(study)
        if one.device == name and not study.runtimes[one.runtime].endpoint
    ]


def unfit(found: Sequence[Serving]) -> list[str]:
    """Problems of devices that hold nothing that may be served there."""
    told = []
    for name in dict.fromkeys(one.device for one in found):
        own = [one for one in found if one.device == name]
        if all(one.problem for one in own):
            told.append(min(own, key=lambda one: one.needed_bytes).problem or "")
    return told


HEAD = ("device", "model", "quant", "weights", "context", "prefix cache", "memory", "free", "fit")


def lines(found: Sequence[Serving]) -> Iterator[str]:
    """The service for a terminal; nothing where the study has none."""
    if not found:
        return
    rows = [
        (
            *(one.device, one.model, f"{one.quant}"),
            *map(gb, (one.weights_bytes, one.context_bytes + one.checkpoint_bytes)),
            *map(gb, (one.prefix_cache_bytes, one.needed_bytes, one.room_bytes)),
            one.fit,
        )
        for one in found
    ]
    yield "service: memory of each board; nothing of a conversation is kept on disk"
    yield from (f"  {line}" for line in aligned([HEAD, *rows], texts=(0, 1, 2)))
    yield from (f"! {text}" for text in unfit(found))
