"""Mixes: how they are spelled, what there is to choose, and that the choice is the best."""

import itertools
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmpi import layout, needs
from llmpi.errors import LlmpiError
from llmpi.gguf.contents import Stored
from llmpi.gguf.mix.best import best
from llmpi.gguf.mix.errors import errors, write_as_if
from llmpi.gguf.mix.goals import Goal
from llmpi.gguf.mix.groups import BudgetError, Group, aligned, bytes_of, choice_of, grouped
from llmpi.gguf.mix.made import called, file_type, tensor_types
from llmpi.gguf.mix.solver import Option, as_expected, cheapest, choose
from llmpi.gguf.mix.splits import divided
from llmpi.gguf.quantizers import dequantized, kinds, quantized
from llmpi.quant_types import (
    FTYPES,
    TENSOR_TYPES,
    Budget,
    TensorType,
    budget_of,
    is_mix,
    is_trained,
    least_bytes,
    rated_on,
    type_of,
    wants_imatrix,
    width_order,
)

NUMBERS = st.decimals("0.01", 9999, allow_nan=False, allow_infinity=False, places=2)
UNITS = st.sampled_from(["bpw", "M", "G"])


def spelled(number: object, unit: str) -> str:
    text = str(number)
    return f"MIX-{text.rstrip('0').rstrip('.') if '.' in text else text}{unit}"


# --- names ----------------------------------------------------------------------------------------


@given(NUMBERS, UNITS, st.booleans())
def test_a_budget_is_spelled_in_one_way(number: object, unit: str, matrix: bool) -> None:
    name = spelled(number, unit) + "+imatrix" * matrix
    budget = budget_of(name)
    assert budget and is_mix(name) and wants_imatrix(name) is matrix
    if unit == "bpw":
        assert budget == Budget(bits_per_weight=float(str(number)))
    else:
        factor = {"M": 1024**2, "G": 1024**3}[unit]
        assert budget == Budget(file_bytes=int(float(str(number)) * factor))
    path = layout.at(layout.GGUF, model="m", quant=name)
    assert re.fullmatch(f"results/gguf/m/({re.escape(name)}).gguf", path)
    assert type_of(name) == name.removesuffix("+imatrix")


@pytest.mark.parametrize(
    "name",
    [
        *("MIX-", "MIX-0bpw", "MIX-4.50bpw", "MIX-04bpw", "MIX-4.bpw", "MIX-4.5BPW", "MIX-4.5"),
        *("MIX-0nats", "MIX-0.02nats-", "MIX-0.020nats", "MIX-0.02nats-Pi5", "MIX-0.02nat"),
        *("MIX-M", "MIX-٤bpw", "MIX-0.0G", "MIX--1M", "MIX-1e9M", "MIX-4.5bpw\n"),
        *("MIX-0.0000001M", "MIX-0.0000000009G"),
        *(f"MIX-{'9' * 400}{unit}" for unit in ("M", "G", "bpw", "tps-pi")),
        *(f"MIX-{'9' * 307}M", f"MIX-0.{'0' * 400}1nats"),
    ],
)
def test_what_is_no_budget(name: str) -> None:
    assert budget_of(name) is None and is_mix(name)


@pytest.mark.parametrize("device", [None, "pi5", "shelf.a"])
@pytest.mark.parametrize("matrix", ["", "+imatrix"])
def test_a_budget_of_loss_may_be_for_a_device(device: str | None, matrix: str) -> None:
    name = "MIX-0.02nats" + (f"-{device}" if device else "") + matrix
    assert budget_of(name) == Budget(loss_nats=0.02, device=device)
    assert rated_on(name) == device and is_mix(name) and least_bytes(name, 1000) == 250
    more_and_less = sorted(["MIX-0.5nats", name, "MIX-9tps-b", "MIX-0.001nats"], key=width_order)
    assert more_and_less == ["MIX-9tps-b", "MIX-0.001nats", name, "MIX-0.5nats"]
    path = layout.at(layout.GGUF, model="m", quant=name)
    assert re.fullmatch(f"results/gguf/m/({re.escape(name)}).gguf", path)


def test_a_board_may_be_called_as_what_is_trained() -> None:
    """The longest name that is a budget is meant; of another board no word is said."""
    for name in ("MIX-12tps-pi-qat", "MIX-0.02nats-pi-qat"):
        for quant in (name, f"{name}+imatrix"):
            assert rated_on(quant) == "pi-qat" and type_of(quant) == name and not is_trained(quant)
    assert is_trained("MIX-4.5bpw-qat") and is_trained("Q4_0-qat")
    assert not is_trained("as-published.q4_0-qat")


def test_types_and_published_files_are_no_mixes() -> None:
    assert not any(map(is_mix, [*FTYPES, "as-published.MIX-4bpw", "Q4_0+imatrix"]))


@given(st.lists(st.tuples(NUMBERS, UNITS), unique=True, min_size=1))
def test_mixes_stand_behind_all_types_the_widest_first(of: list[tuple[object, str]]) -> None:
    names = sorted({spelled(*one) for one in of}, key=width_order)
    assert sorted([*names, "Q1_0", "F32"], key=width_order) == ["F32", "Q1_0", *names]
    by_bits = [b.bits_per_weight for b in map(budget_of, names) if b and b.bits_per_weight]
    by_bytes = [b.file_bytes for b in map(budget_of, names) if b and b.file_bytes]
    assert by_bits == sorted(by_bits, reverse=True)
    assert by_bytes == sorted(by_bytes, reverse=True)


def test_the_room_that_a_mix_needs_is_its_budget() -> None:
    assert least_bytes("MIX-4.5bpw+imatrix", 1000) == 4500 / 8
    assert least_bytes("MIX-1M", 1000) == 1024**2
    assert least_bytes("Q4_K_M", 1000) == 500


# --- the solver -----------------------------------------------------------------------------------

LOSSES = st.floats(-1e-3, 1, allow_nan=False) | st.floats(0, 1e-5)
OPTIONS = st.lists(st.builds(Option, st.integers(1, 10**9), LOSSES), min_size=1, max_size=4)
GROUPS = st.lists(OPTIONS, min_size=1, max_size=5)


@given(GROUPS, st.floats(0, 1.2))
def test_the_choice_is_the_best_within_the_budget(groups: list[list[Option]], share: float) -> None:
    least = sum(min(o.cost for o in group) for group in groups)
    most = sum(max(o.cost for o in group) for group in groups)
    limit = int(least + share * (most - least))
    every = [picks for picks in itertools.product(*groups) if sum(o.cost for o in picks) <= limit]
    best = min(sum(o.loss for o in picks) for picks in every)
    found = [group[at] for group, at in zip(groups, choose(groups, limit), strict=True)]
    assert sum(option.cost for option in found) <= limit
    largest = max(o.loss for g in groups for o in g) - min(o.loss for g in groups for o in g)
    assert sum(option.loss for option in found) <= best + 1e-8 * largest + 1e-15


@given(GROUPS)
def test_what_nothing_keeps_to_is_refused(groups: list[list[Option]]) -> None:
    least = sum(min(o.cost for o in group) for group in groups)
    with pytest.raises(BudgetError, match=f"take {least:,} bytes at least"):
        choose(groups, least - 1)
    choose(groups, least)


@settings(max_examples=25)
@given(st.lists(st.integers(10**6, 10**9), min_size=30, max_size=60), st.floats(0.1, 0.9))
def test_many_groups_of_large_tensors_never_take_more(sizes: list[int], share: float) -> None:
    groups = [[Option(n, 0.0), Option(n // 2, 1 / n), Option(n // 3, 2 / n)] for n in sizes]
    limit = int(sum(n // 3 for n in sizes) * (1 - share) + sum(sizes) * share)
    assert sum(groups[g][at].cost for g, at in enumerate(choose(groups, limit))) <= limit


LOSING = st.lists(
    st.lists(
        st.builds(Option, st.integers(1, 10**9), st.floats(0, 1) | st.floats(0, 1e-5)),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=5,
)


@given(LOSING, st.floats(0, 1))
def test_the_cheapest_within_a_loss_is_found(groups: list[list[Option]], share: float) -> None:
    least = sum(min(o.loss for o in group) for group in groups)
    most = least + share * (sum(max(o.loss for o in group) for group in groups) - least)
    found = [group[at] for group, at in zip(groups, cheapest(groups, most), strict=True)]
    assert sum(option.loss for option in found) <= most * (1 + 1e-12)
    # Of what is at the bound but for a rounding, either may be taken.
    within = most * (1 - 1e-9)
    every = [picks for picks in itertools.product(*groups) if sum(o.loss for o in picks) <= within]
    if every:
        costs = [option.cost for group in groups for option in group]
        best = min(sum(o.cost for o in picks) for picks in every)
        assert sum(option.cost for option in found) <= best + 1e-8 * (max(costs) - min(costs)) + 1


@given(LOSING)
def test_a_loss_that_nothing_keeps_to_is_refused(groups: list[list[Option]]) -> None:
    least = sum(min(o.loss for o in group) for group in groups)
    with pytest.raises(BudgetError, match="nats at least"):
        cheapest(groups, least - 1e-9)
    cheapest(groups, least)


def test_of_equals_the_smaller_is_taken() -> None:
    assert choose([[Option(9, 1.0), Option(5, 1.0), Option(7, 1.0)]], 10) == [1]


# --- what there is to choose ----------------------------------------------------------------------


def model(width: int, layers: int) -> dict[str, Stored]:
    nothing = np.empty(0, np.uint8)
    shapes = {"token_embd.weight": (1024, width), "output_norm.weight": (width,)}
    for i in range(layers):
        shapes[f"blk.{i}.attn_v.weight"] = (width // 4, width)
        shapes[f"blk.{i}.ffn_down.weight"] = (width, 2 * width)
        shapes[f"blk.{i}.ffn_norm.weight"] = (width,)
        shapes[f"blk.{i}.ffn_up_exps.weight"] = (4, width, width)
    return {n: Stored("F16" if len(s) > 1 else "F32", s, nothing) for n, s in shapes.items()}


def uniform(held: dict[str, Stored]) -> list[str]:
    return ["Q4_0" if len(one.shape) > 1 else "F32" for one in held.values()]


def test_groups_are_what_tensors_do_in_thirds_of_the_layers() -> None:
    held = model(256, 7)
    groups, _ = choice_of(
        held,
        uniform(held),
        Budget(bits_per_weight=5),
        header_bytes=0,
        asked=TENSOR_TYPES,
        weighted=[],
    )
    names = [group.name for group in groups]
    assert names[:3] == ["token_embd", "attn_v, first", "ffn_down, first"] and len(names) == 10
    members = [tensor for group in groups for tensor in group.tensors]
    assert sorted(members) == sorted(n for n in held if not n.endswith("norm.weight"))
    [middle] = [group for group in groups if group.name == "attn_v, middle"]
    assert middle.tensors == ("blk.3.attn_v.weight", "blk.4.attn_v.weight")


def test_only_types_that_suit_the_width_and_the_matrix() -> None:
    tensors = {"blk.0.attn_v.weight": (64, 576), "blk.0.ffn_down.weight": (576, 1536)}
    v, down = grouped(tensors, TENSOR_TYPES, weighted=["blk.0.ffn_down.weight"])
    assert [kinds()[kind].block for kind in v.bytes if kind != "F16"] == [32] * (len(v.bytes) - 1)
    assert {"Q4_0", "IQ4_NL", "Q8_0"} < v.bytes.keys()
    assert {"Q4_K", "IQ2_XXS", "IQ3_XXS"} < down.bytes.keys()
    [without] = grouped({"blk.0.ffn_down.weight": (576, 1536)}, TENSOR_TYPES, weighted=[])
    assert not {"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS"} & without.bytes.keys()
    assert [*down.bytes.values()] == sorted(down.bytes.values(), reverse=True)


def test_no_type_for_a_width_is_said() -> None:
    with pytest.raises(LlmpiError, match=r"none of the types Q4_K suits blk\.0\.attn_v"):
        grouped({"blk.0.attn_v.weight": (64, 576)}, ["Q4_K"], weighted=[])


@settings(max_examples=25)
@given(st.sampled_from([128, 256, 288, 576, 640]), st.integers(1, 9), st.floats(4.8, 15))
def test_what_is_expected_of_a_mix_keeps_to_its_budget(
    width: int, layers: int, bits: float
) -> None:
    held = model(width, layers)
    parameters = sum(math.prod(one.shape) for one in held.values())
    header = 1024
    for budget in (
        Budget(bits_per_weight=bits),
        Budget(file_bytes=header + int(bits * parameters / 8) + 64 * len(held)),
    ):
        groups, limit = choice_of(
            held, uniform(held), budget, header_bytes=header, asked=TENSOR_TYPES, weighted=[]
        )
        types = as_expected(groups, limit)
        of = {name: types[group.name] for group in groups for name in group.tensors}
        sizes = [bytes_of(of.get(n, one.kind), math.prod(one.shape)) for n, one in held.items()]
        if budget.bits_per_weight:
            assert 8 * sum(sizes) / parameters <= bits
        else:
            assert header + sum(map(aligned, sizes)) <= (budget.file_bytes or 0)


# --- what a type does -----------------------------------------------------------------------------


def made(weights: np.ndarray, kind: str = "F16") -> Stored:
    rows = weights.reshape(-1, weights.shape[-1])
    return Stored(kind, weights.shape, quantized(rows, kind).reshape(-1))


@pytest.mark.parametrize("kind", [k for k in TENSOR_TYPES if k not in ("IQ2_XXS", "IQ2_XS")])
@pytest.mark.parametrize("matrices", [1, 3])
def test_a_tensor_becomes_what_the_quantizer_would_have_kept(kind: str, matrices: int) -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(matrices, 8, 512)).astype(np.float16).astype(np.float32)
    importance = random.uniform(0.1, 4, (matrices, 512)).astype(np.float32)
    tensor = made(weights, "F32")
    for moments in (None, importance):
        out = np.empty_like(tensor.data)
        write_as_if(tensor, kind, moments, out)
        found = out.view(np.float32).reshape(weights.shape)
        for matrix, rows in enumerate(weights):
            by = None if moments is None else moments[matrix]
            kept = dequantized(quantized(rows, kind, by), kind, 512)
            assert np.array_equal(found[matrix], kept)
        off = ((found - weights) ** 2 * (1 if moments is None else moments[:, None])).sum()
        assert errors(tensor, [kind], moments)[kind] == pytest.approx(off, rel=1e-5)


def test_more_bits_err_less_and_a_types_own_weights_not_at_all() -> None:
    weights = np.random.default_rng(1).normal(size=(1000, 256)).astype(np.float32)
    found = errors(made(weights), ["Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K"], None)
    assert [*found.values()] == sorted(found.values())
    own = dequantized(quantized(weights, "Q8_0"), "Q8_0", 256)
    found = errors(made(own, "F32"), ["Q8_0", "Q4_0"], None)
    assert found["Q8_0"] < 1e-6 * found["Q4_0"]


# --- the search -----------------------------------------------------------------------------------


class Landscape:
    """A model whose divergence is known: of each group in proportion to the error, and of every two
    beside that to the product of theirs."""

    def __init__(self, groups: list[Group], seed: int, together: float) -> None:
        random = np.random.default_rng(seed)
        self.errors = {
            g.name: {k: 4.0 ** (-8 * n / g.parameters) for k, n in g.bytes.items()} for g in groups
        }
        self.slopes = {g.name: float(random.lognormal(0, 2)) for g in groups}
        self.together, self.asked = together, 0

    def __call__(self, types: Mapping[str, TensorType]) -> np.ndarray:
        self.asked += 1
        alone = [self.slopes[name] * self.errors[name][kind] for name, kind in types.items()]
        both = sum(a * b for a, b in itertools.combinations(alone, 2))
        return (sum(alone) + self.together * both) * np.array([0.9, 1.1])


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(4.6, 8), st.sampled_from([0.0, 0.5]))
def test_a_search_finds_the_least_divergence(seed: int, bits: float, together: float) -> None:
    tensors = {f"blk.0.w{i}.weight": (64 * (i + 1), 576) for i in range(4)}
    groups = grouped(tensors, ["Q8_0", "Q5_0", "Q4_0"], weighted=[])
    limit = int(bits * sum(group.parameters for group in groups) / 8)
    of = Landscape(groups, seed, together)
    found = best(Goal(groups, limit), of.errors, of)
    assert of.asked <= 2 * len(groups) + 2
    taken = {group["name"]: group["type"] for group in found["groups"]}
    assert found["taken_bytes"] == sum(g.bytes[taken[g.name]] for g in groups) <= limit
    rounds = [one["kld_nats"] for one in found["rounds"]]
    assert found["rounds"][found["taken_round"]]["types"] == taken
    assert rounds[found["taken_round"]] == min(rounds) == pytest.approx(of(taken).mean())
    every = [
        dict(zip((g.name for g in groups), kinds_of, strict=True))
        for kinds_of in itertools.product(*(g.bytes for g in groups))
    ]
    fitting = [t for t in every if sum(g.bytes[t[g.name]] for g in groups) <= limit]
    least = min(of(types).mean() for types in fitting)
    if not together:  # then the first round is exact, and its expectation what is measured
        assert (
            rounds[0] == pytest.approx(least) == pytest.approx(found["rounds"][0]["predicted_nats"])
        )
        assert found["proxy"] and found["proxy"]["ratio_median"] == pytest.approx(1)
    assert min(rounds) <= 1.25 * least


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(0.02, 0.9), st.sampled_from([0.0, 0.5, -0.02]))
def test_a_search_finds_the_least_bytes_within_a_loss(
    seed: int, part: float, together: float
) -> None:
    tensors = {f"blk.0.w{i}.weight": (64 * (i + 1), 576) for i in range(4)}
    groups = grouped(tensors, ["Q8_0", "Q5_0", "Q4_0"], weighted=[])
    of = Landscape(groups, seed, together)
    every = [
        dict(zip((g.name for g in groups), kinds_of, strict=True))
        for kinds_of in itertools.product(*(g.bytes for g in groups))
    ]
    measured = [float(of(types).mean()) for types in every]
    nats = min(measured) + part * (max(measured) - min(measured))
    of.asked = 0
    found = best(Goal(groups, nats=nats), of.errors, of)
    assert of.asked <= 2 * len(groups) + 8
    taken = {group["name"]: group["type"] for group in found["groups"]}
    assert found["limit_bytes"] is None
    assert of(taken).mean() <= nats * (1 + 1e-9)
    keeping = zip(every, measured, strict=True)
    sizes = [sum(g.bytes[t[g.name]] for g in groups) for t, loss in keeping if loss <= nats]
    if not together:
        assert found["taken_bytes"] == min(sizes)
    assert found["taken_bytes"] <= 1.3 * min(sizes)


def test_what_is_below_the_noise_is_not_given_away() -> None:
    """A group whose divergence is not seen, where there is room for all in the widest type."""
    tensors = {f"blk.0.w{i}.weight": (64, 576) for i in range(2)}
    groups = grouped(tensors, ["Q8_0", "Q5_0", "Q4_0"], weighted=[])
    quiet, loud = (group.name for group in groups)

    def probed(types: Mapping[str, TensorType]) -> np.ndarray:
        seen = {"Q8_0": 0.01, "Q5_0": 0.1, "Q4_0": 0.4}[types[loud]] if loud in types else 0.0
        return np.array([seen + 1e-6, seen - 2e-6])

    of = Landscape(groups, 0, 0.0)
    limit = sum(group.bytes["Q8_0"] for group in groups)
    found = best(Goal(groups, limit), of.errors, probed)
    assert {group["name"]: group["type"] for group in found["groups"]} == {
        quiet: "Q8_0",
        loud: "Q8_0",
    }


# --- groups that are divided further --------------------------------------------------------------

NINE = {f"blk.{i}.ffn_down.weight": (64, 576) for i in range(9)}
SHAPES = {**NINE, "token_embd.weight": (640, 576)}


def worth_of(layers: Mapping[int, float], noise: float) -> Callable[..., np.ndarray]:
    """Probes of a model in which a layer costs what it is worth, in each of eight windows."""
    groups = {g.name: g for g in grouped(SHAPES, ["Q8_0", "Q4_0"], weighted=[])}

    def probed(types: Mapping[str, TensorType]) -> np.ndarray:
        names = [name for one in types for name in groups[one].tensors]
        costs = (layers.get(int(name.split(".")[1]), 1.0) for name in names if name in NINE)
        random = np.random.default_rng([int(name.split(".")[1]) for name in names])
        return 0.01 * sum(costs) + noise * random.normal(size=8)

    probed.offer = lambda more: groups.update({g.name: g for g in more})  # type: ignore[attr-defined]
    return probed


def split(layers: Mapping[int, float], noise: float, **worth: float) -> Any:
    groups = grouped(SHAPES, ["Q8_0", "Q4_0"], weighted=[])
    held = {g.name: worth.get(g.name.partition(", ")[2], 0.0) for g in groups}
    probed = worth_of(layers, noise)
    anchors: dict[str, TensorType] = {g.name: "Q4_0" for g in groups}
    return divided(groups, held, anchors, SHAPES, probed, probed.offer)  # type: ignore[attr-defined]


def test_a_group_is_divided_where_its_layers_differ_down_to_one() -> None:
    found = split({0: 20.0}, noise=1e-4, first=1.0)
    names = [group.name for group in found.groups]
    ends = ["ffn_down, middle", "ffn_down, last", "token_embd"]
    assert names == ["ffn_down, 0", "ffn_down, 1-2", *ends]
    first, second = found.splits
    assert (first["group"], first["kept"]) == ("ffn_down, first", True)
    assert first["into"] == ["ffn_down, 0", "ffn_down, 1-2"]
    assert first["nats_per_mb"][0] > 5 * first["nats_per_mb"][1]
    assert (second["group"], second["kept"]) == ("ffn_down, 1-2", False), "these are alike"
    whole = {tensor for group in found.groups for tensor in group.tensors}
    assert whole == {*SHAPES} and sum(len(g.tensors) for g in found.groups) == len(SHAPES)
    before = grouped(SHAPES, ["Q8_0", "Q4_0"], weighted=[])
    for kind in ("Q8_0", "Q4_0"):
        assert sum(g.bytes[kind] for g in found.groups) == sum(g.bytes[kind] for g in before)


def test_none_is_divided_by_noise_nor_where_it_does_not_pay() -> None:
    noisy = split({0: 1.2}, noise=0.02, first=1.0, middle=1.0)
    assert noisy.splits and not any(one["kept"] for one in noisy.splits)
    assert noisy.groups == grouped(SHAPES, ["Q8_0", "Q4_0"], weighted=[])
    small = split({0: 20.0}, noise=1e-4, first=0.04, middle=1.0)
    assert [one["group"] for one in small.splits] == ["ffn_down, middle"]


def test_so_many_groups_are_tried_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "MIX_SPLITS", 3)
    every = split({i: 3.0**i for i in range(9)}, noise=1e-5, first=1.0, middle=1.0, last=1.0)
    assert len(every.splits) == 3 and all(one["kept"] for one in every.splits)


# --- as the quantizer is asked --------------------------------------------------------------------


def test_every_type_has_a_name_for_a_file_that_is_mostly_of_it() -> None:
    for kind in TENSOR_TYPES:
        group = {"type": kind, "parameters": 2, "tensors": []}
        other = {"type": "F16", "parameters": 1, "tensors": []}
        number = file_type({"groups": [other, group]})  # type: ignore[typeddict-item]
        assert number - 1024 in FTYPES.values() and number > 1024


def test_a_pattern_means_its_tensor_alone_and_the_arrays_end() -> None:
    array = tensor_types({"blk.1.attn_v.weight": "Q4_0", "output.weight": "Q6_K"})
    assert [one.type for one in array[:2]] == [kinds()["Q4_0"].id, kinds()["Q6_K"].id]
    assert array[2].pattern is None
    first = array[0].pattern.decode()
    assert re.search(first, "blk.1.attn_v.weight")
    for other in ("blk.11.attn_v.weight", "blk.1.attn_v.weight_scale", "blk_1.attn_v.weight"):
        assert not re.search(first, other)
    assert (called(1039)[0].key, called(1039)[1].key) == (b"general.file_type", b"")
