"""Budgets of time: how they are spelled, what a board's rates make of them, and that the choice is
the best."""

import itertools
import json
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import made_records as made
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tiny_llama import tiny_llama

from llmpi import layout
from llmpi.device.measure import rates as timing
from llmpi.device.measure.products import Products, types
from llmpi.engine import info
from llmpi.engine.llama import EngineError
from llmpi.engine.records import MeasuredRates, Rate, Rates
from llmpi.gguf.contents import stored
from llmpi.gguf.mix.groups import UNIFORM, BudgetError, Group, grouped
from llmpi.gguf.mix.search import search
from llmpi.gguf.mix.seconds import NS, Shape, Times, timed, wanted
from llmpi.gguf.mix.solver import chosen
from llmpi.gguf.quantize import quantize
from llmpi.gguf.records import Gguf, Mix
from llmpi.quant_types import (
    RATED_WITH,
    TENSOR_TYPES,
    Budget,
    budget_of,
    is_mix,
    least_bytes,
    rated_on,
    type_of,
    width_order,
)
from llmpi.records import check, failed, sha256_of, sha256_of_json
from llmpi.remote import rates as remote
from llmpi.remote import requests
from llmpi.remote.connection import connected
from llmpi.remote.deploy import put_model
from llmpi.study.devices import LocalDevice
from llmpi.study.fields import SLUG
from llmpi.study.measuring import Runtime

DEVICES = st.from_regex(rf"{SLUG}(\.{SLUG})?", fullmatch=True).filter(
    lambda name: not name.endswith("-qat")
)
RATES_PER_S = st.decimals("0.01", 9999, allow_nan=False, allow_infinity=False, places=2)

# --- names ----------------------------------------------------------------------------------------


@given(RATES_PER_S, DEVICES, st.booleans())
def test_a_budget_of_time_is_spelled_in_one_way(number: object, device: str, matrix: bool) -> None:
    text = f"{number:f}".rstrip("0").rstrip(".")
    name = f"MIX-{text}tps-{device}" + "+imatrix" * matrix
    assert budget_of(name) == Budget(tokens_per_s=float(text), device=device)
    assert is_mix(name) and rated_on(name) == device
    assert type_of(name) == name.removesuffix("+imatrix")
    path = layout.at(layout.GGUF, model="m", quant=name)
    assert re.fullmatch(f"results/gguf/m/({re.escape(name)}).gguf", path)
    assert Path(path).with_suffix(".json").name == f"{name}.json"


@pytest.mark.parametrize(
    "name",
    [
        *("MIX-12tps", "MIX-12tps-", "MIX-0tps-pi5", "MIX-12.0tps-pi5", "MIX-12tps-Pi5"),
        *("MIX-12tps-pi5/x", "MIX-12tps_pi5", "MIX-12TPS-pi5", "MIX-12tps-pi5.", "MIX-12bpw-pi5"),
    ],
)
def test_what_is_no_budget_of_time(name: str) -> None:
    assert budget_of(name) is None and rated_on(name) is None


def test_those_for_boards_stand_last_the_slowest_first() -> None:
    names = ["MIX-9tps-b", "MIX-1M", "MIX-12tps-a", "MIX-5tps-z", "Q1_0", "MIX-2bpw"]
    assert sorted(names, key=width_order) == [
        *("Q1_0", "MIX-2bpw", "MIX-1M", "MIX-5tps-z", "MIX-9tps-b", "MIX-12tps-a")
    ]


def test_room_is_made_for_its_narrowest() -> None:
    assert least_bytes("MIX-12tps-pi5", 1000) == 250


# --- what rates make of it ------------------------------------------------------------------------

SHAPES = [Shape(64 * (i + 1), 576) for i in range(4)]
KINDS: Any = ["Q8_0", "Q5_0", "Q4_0"]
TENSORS = {f"blk.0.w{i}.weight": tuple(shape) for i, shape in enumerate(SHAPES)}
PROMPT_TOKENS = 8
TIMES = {name: Times(Shape(*shape), 1) for name, shape in TENSORS.items()}


def groups_of(tensors: dict[str, tuple[int, ...]]) -> list[Group]:
    return grouped(tensors, KINDS, weighted=[])


def rates(each: dict[tuple[str, Shape], float], token_s: float) -> Rates:
    found: list[Rate] = [
        {
            "type": kind,
            "rows": shape.rows,
            "columns": shape.columns,
            "repacked": False,
            "product_s": [seconds, 0.0, 9.0],
            "prompt_product_s": [PROMPT_TOKENS * seconds / 2, 0.0, 99.0],
        }
        for (kind, shape), seconds in each.items()
    ]
    record: Rates = {
        "status": "ok",
        "token_s": [token_s, token_s, 9.0],
        "prompt_tokens": PROMPT_TOKENS,
        "prompt_s": [PROMPT_TOKENS * token_s / 2, 99.0, 0.0],
        "rates": found,
        "contention": [None],
        "settings": {
            "threads": 1,
            "batch_tokens": 1,
            "ubatch_tokens": 1,
            "kv_cache": "f16",
            "flash_attention": "auto",
            "mmap": True,
            "mlock": False,
            "lazy": "auto",
            "repack": True,
        },
        "engine": made.engine(),
        "machine": made.machine(),
        "before": made.conditions(),
        "after": made.conditions(),
        "took_s": 1.0,
        "device": "pi5",
        "quant": RATED_WITH,
        "gguf_sha256": "0" * 64,
        "started": "2026-01-01T00:00:00+00:00",
        "ended": "2026-01-01T00:00:01+00:00",
    }
    return record


SECONDS = st.lists(st.floats(1e-5, 1e-1), min_size=12, max_size=12)


@settings(max_examples=40)
@given(SECONDS, st.floats(0.05, 0.95), st.floats(0, 0.1))
def test_the_choice_is_the_best_within_the_time(
    each: list[float], share: float, rest_s: float
) -> None:
    """However slow a narrow type is."""
    seconds = dict(zip(itertools.product(KINDS, SHAPES), each, strict=True))
    uniform = sum(seconds["Q4_0", shape] for shape in SHAPES)
    narrow = sum(min(seconds[kind, shape] for kind in KINDS) for shape in SHAPES)
    widest = sum(seconds["Q8_0", shape] for shape in SHAPES)
    assume(widest > 1.01 * narrow)
    tokens_per_s = 1 / (rest_s + narrow + share * (widest - narrow))
    record = check(str.encode(made_json(rates(seconds, uniform + rest_s))), Rates, "rates")
    found = timed(groups_of(TENSORS), TIMES, dict.fromkeys(TENSORS, "Q4_0"), record, tokens_per_s)
    assert found.rest == pytest.approx((rest_s, rest_s / 2), abs=1e-9)
    assert all(
        found.prompts[g.name][kind] == pytest.approx(cost / NS / 2, abs=1e-9)
        for g in found.groups
        for kind, cost in g.costs.items()
    )
    losses: Any = {
        g.name: {kind: 4.0 ** -[*KINDS[::-1]].index(kind) * g.parameters for kind in g.costs}
        for g in found.groups
    }
    types_of = chosen(found.groups, losses, found.limit)
    spent = sum(g.costs[types_of[g.name]] for g in found.groups)
    assert rest_s + spent / NS <= 1 / tokens_per_s + 1e-7
    every = itertools.product(*([(g, kind) for kind in g.costs] for g in found.groups))
    fitting = [p for p in every if sum(g.costs[kind] for g, kind in p) <= found.limit]
    best = min(sum(losses[g.name][kind] for g, kind in picks) for picks in fitting)
    assert sum(losses[name][kind] for name, kind in types_of.items()) == pytest.approx(best)


def made_json(record: object) -> str:
    return json.dumps(record)


FLAT = {(kind, shape): 0.01 * (KINDS.index(kind) + 1) for kind in KINDS for shape in SHAPES}
"""Wide types are the fastest: 40 ms in the widest, 120 ms in the narrowest."""


def spend(each: dict[tuple[str, Shape], float], tokens_per_s: float) -> Any:
    uniform = sum(each["Q4_0", shape] for shape in SHAPES)
    made_of = dict.fromkeys(TENSORS, "Q4_0")
    return timed(groups_of(TENSORS), TIMES, made_of, rates(each, uniform + 0.01), tokens_per_s)


def test_a_board_that_is_never_so_fast_says_what_it_can_do() -> None:
    narrow_is_fast = {(kind, shape): 0.03 / (KINDS.index(kind) + 1) for kind, shape in FLAT}
    message = r"^the fastest that its types allow on pi5 are 20 tokens/s; ask for fewer$"
    with pytest.raises(BudgetError, match=message):
        spend(narrow_is_fast, 20.5)
    assert spend(narrow_is_fast, 19.9).limit > 0


def test_a_board_that_is_so_fast_in_the_widest_types() -> None:
    message = r"^in its widest types it has 20 tokens/s on pi5; ask for more$"
    with pytest.raises(BudgetError, match=message):
        spend(FLAT, 19.9)


def test_types_that_were_not_timed_are_no_choice_and_tables_cost_nothing() -> None:
    each = {key: seconds for key, seconds in FLAT.items() if key[0] != "Q5_0"}
    tensors = {**TENSORS, "token_embd.weight": (1024, 576)}
    times = {**TIMES, "token_embd.weight": Times(Shape(1024, 576), 0)}
    narrow_is_fast = {(k, s): 0.1 / (KINDS.index(k) + 1) for k, s in each}
    uniform = dict.fromkeys(tensors, "Q4_0")
    token_s = sum(narrow_is_fast["Q4_0", shape] for shape in SHAPES)
    found = timed(groups_of(tensors), times, uniform, rates(narrow_is_fast, token_s), 4)
    of = {group.name: group.costs for group in found.groups}
    assert set(of["token_embd"].values()) == {0}
    assert all({*costs} == {"Q8_0", "Q4_0"} for name, costs in of.items() if name != "token_embd")


def test_of_a_prompt_the_last_token_alone_meets_the_output_matrix() -> None:
    tensors = {**TENSORS, "output.weight": tuple(SHAPES[0])}
    times = {**TIMES, "output.weight": Times(SHAPES[0], 1)}
    found = timed(
        groups_of(tensors), times, dict.fromkeys(tensors, "Q4_0"), rates(FLAT, 0.16), None
    )
    alike = f"{next(iter(TENSORS)).removesuffix('.weight').removeprefix('blk.0.')}, first"
    assert found.prompts[alike]["Q4_0"] == pytest.approx(FLAT["Q4_0", SHAPES[0]] / 2)
    assert found.prompts["output"]["Q4_0"] == pytest.approx(FLAT["Q4_0", SHAPES[0]] / PROMPT_TOKENS)


# --- by the real engine ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"), whole=True)


@pytest.fixture(scope="module")
def plain(base: Path) -> Path:
    out = base.with_name("Q4_0.gguf")
    assert quantize(base, of(base), out, UNIFORM)["status"] == "ok"
    return out


def of(gguf: Path) -> Any:
    return {"status": "ok", "sha256": sha256_of(gguf), "lineage": ["F16"]}


def test_the_file_that_is_decoded_is_what_a_mix_is_asked_for() -> None:
    assert RATED_WITH == UNIFORM


def test_every_type_of_a_mix_is_the_engines() -> None:
    assert {*TENSOR_TYPES, "F32"} <= types().keys()


def test_what_is_to_be_timed_is_what_a_token_is_multiplied_with(base: Path) -> None:
    asked, elements = wanted(base)
    held = stored(base)
    shapes = {one.shape for name, one in held.items() if len(one.shape) > 1}
    assert {tuple(shape) for _, shape in asked} == shapes  # the output matrix is as the table
    assert {kind for kind, _ in asked} == {*TENSOR_TYPES}
    assert len(asked) == len({*asked}) and elements > 0


@pytest.mark.parametrize("repack", [True, False])
def test_products_take_time_and_lie_where_the_engine_has_them(repack: bool) -> None:
    timing_ = Products(1, repack=repack, elements=200_000)
    small, large = (timing_.time("Q4_0", rows, 256) for rows in (64, 4096))
    prompt = timing_.time("Q4_0", 64, 256, 33)
    timing_.close()
    assert prompt.seconds > 0 and prompt.repacked == small.repacked
    assert small.seconds > 0 and large.seconds > 0
    assert repack or not small.repacked


@pytest.fixture(scope="module")
def measured(base: Path, plain: Path) -> Rates:
    asked, elements = wanted(base)
    matrices: Any = [
        {"type": kind, "rows": shape.rows, "columns": shape.columns}
        for kind, shape in [*asked, ("Q9_9", Shape(8, 256))]
    ]
    answer = timing.measure(
        {
            "what": "a test",
            "gguf": str(plain),
            "threads": 1,
            "runtime": requests.runtime(Runtime()),
            "matrices": matrices,
            "elements": elements,
            "limits": None,
        }
    )
    checked = check(made_json(answer), MeasuredRates, "the answer")
    assert {rate["type"] for rate in checked["rates"]} == {*TENSOR_TYPES}
    assert all(len(rate["product_s"]) == timing.ROUNDS for rate in checked["rates"])
    assert all(len(rate["prompt_product_s"]) == timing.ROUNDS for rate in checked["rates"])
    assert len(checked["token_s"]) == len(checked["prompt_s"]) == timing.ROUNDS
    assert checked["prompt_tokens"] == timing.PROMPT_TOKENS
    about = {"device": "here", "quant": RATED_WITH, "gguf_sha256": sha256_of(plain)}
    whole = {**answer, **about, "started": "", "ended": ""}
    return check(made_json(whole), Rates, "the record")


def test_a_mix_for_a_board_tells_by_which_rates_it_was_made(
    base: Path, measured: Rates, tmp_path: Path
) -> None:
    """Rates as they are here, but for a type that is slow and a token that is all products."""
    slow = "Q4_0"
    each = {"Q8_0": 8e-3, "Q5_K": 5e-3, slow: 6e-3, "Q3_K": 3e-3, "Q6_K": 6e-3}
    found: list[Rate] = [
        {**rate, "product_s": [each[rate["type"]]]}
        for rate in measured["rates"]
        if rate["type"] in each
    ]
    products = sum(len(one.shape) > 1 for one in stored(base).values()) - 1  # the table is none
    record: Rates = {**measured, "rates": found, "token_s": [products * each[slow] + 1e-3]}
    quant = f"MIX-{1000 / (products * 4 + 1):.1f}tps-here"
    how: Any = {"windows": 3, "types": [*each][:4], "partial": tmp_path / "parts", "threads": 1}
    text = "the engine maps the file and reads in it what was written there. " * 40
    mix = search(base, of(base), quant, text, rates=record, **how)
    assert mix["status"] == "ok", mix
    check(made_json(mix), Mix, "the search")
    time = mix["time"]
    assert time and time["device"] == "here" and time["rates_sha256"] == sha256_of_json(record)
    assert time["rest_s"] == pytest.approx(1e-3, abs=1e-6)
    assert time["taken_s"] <= time["limit_s"] and mix["limit_bytes"] is None
    assert time["token_s"] == pytest.approx(time["rest_s"] + time["taken_s"])
    assert time["prompt_token_s"] > 0
    taken = {group["name"]: group["type"] for group in mix["groups"]}
    assert taken.pop("token_embd") == "Q8_0"  # it costs no time
    assert {"Q5_K", "Q3_K"} <= {*taken.values()} and slow not in taken.values()
    gguf = tmp_path / "mix.gguf"
    manifest = quantize(base, of(base), gguf, quant, mix=mix)
    assert manifest["status"] == "ok", manifest
    used = check(made_json(manifest), Gguf, "the manifest")["mix"]
    assert used and used["time"] == time


def test_a_mix_for_a_board_that_may_lose_so_much_takes_the_least_time(
    base: Path, measured: Rates, tmp_path: Path
) -> None:
    """A narrow type that is slow there is not taken, though it is the least in bytes."""
    each = {"Q8_0": 3e-3, "Q5_K": 5e-3, "Q3_K": 6e-3, "Q4_0": 6e-3, "Q6_K": 6e-3}
    found: list[Rate] = [
        {**rate, "product_s": [each[rate["type"]]]}
        for rate in measured["rates"]
        if rate["type"] in each
    ]
    record: Rates = {**measured, "rates": found, "token_s": [1.0]}
    how: Any = {"windows": 3, "types": [*each][:4], "partial": tmp_path / "parts", "threads": 1}
    text = "the engine maps the file and reads in it what was written there. " * 40
    mix = search(base, of(base), "MIX-5nats-here", text, rates=record, **how)
    assert mix["status"] == "ok", mix
    time = check(made_json(mix), Mix, "the search").get("time")
    assert time and time["limit_s"] is None
    multiplied = {g["name"]: g["type"] for g in mix["groups"] if g["name"] != "token_embd"}
    assert {*multiplied.values()} == {"Q8_0"}


def test_what_failed_on_the_board_fails_here_and_says_so(base: Path, tmp_path: Path) -> None:
    how: Any = {"windows": 3, "types": KINDS, "partial": tmp_path / "parts", "threads": 1}
    why = failed("rates", "the engine died of SIGILL")
    assert search(base, of(base), "MIX-12tps-here", "text", rates=why, **how) == why


def test_what_is_multiplied_has_as_many_scales_as_weights_do() -> None:
    """Of a matrix of SmolLM2-135M there are 500 to 1100."""
    timing_ = Products(1, repack=False, elements=1)
    blocks = timing_._rows(types()["Q8_0"], 576).reshape(-1, 34)
    timing_.close()
    assert 500 < len(np.unique(blocks[:, :2].copy().view(np.float16))) < 2000


def test_no_room_for_the_matrices_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    timing_ = Products(1, repack=False, elements=1)
    monkeypatch.setattr(timing_._base, "ggml_backend_alloc_ctx_tensors_from_buft", lambda *_: None)
    with pytest.raises(EngineError, match="no memory for the matrices"):
        timing_.time("Q4_0", 64, 256)
    monkeypatch.undo()
    timing_.close()


def test_a_device_is_asked_and_a_time_that_cannot_be_is_a_failure(
    base: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = LocalDevice(transport="local", threads=1, store=str(tmp_path / "store"))
    with connected("here", device) as reached:
        receipt = put_model(reached, plain, "tiny/Q4_0.gguf", sha256_of(plain), None)
    asked, elements = wanted(base)
    how: Any = {
        "what": "a test",
        "runtime": requests.runtime(Runtime()),
        "matrices": [{"type": k, "rows": s.rows, "columns": s.columns} for k, s in asked[:2]],
        "elements": elements,
        "quant": RATED_WITH,
        "provisioned": {"preparation": None, "engine": info.describe()},
        "receipt": receipt,
        "gguf": plain,
    }
    with remote.measure_rates("here", device, **how) as record:
        found = check(made_json(record), Rates, "the record")
    assert found["device"] == "here" and found["gguf_sha256"] == sha256_of(plain)
    assert len(found["rates"]) == 2 and found["settings"]["threads"] == 1

    [rate, _] = found["rates"]
    for wrong in (
        {"token_s": []},
        {"prompt_s": [-1.0]},
        {"prompt_tokens": 0},
        {"rates": [{**rate, "product_s": [0.0]}]},
        {"rates": [{**rate, "prompt_product_s": []}]},
    ):
        answer = {key: found[key] for key in MeasuredRates.__annotations__} | wrong  # type: ignore[literal-required]
        monkeypatch.setattr(remote, "_asked", lambda *_, said=answer: nullcontext(said))
        with remote.measure_rates("here", device, **how) as record:
            assert record == failed("rates", "the device answered with a time that cannot be")
