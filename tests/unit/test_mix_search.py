"""A mix of a tiny model by the real engine: probed without a trace, made as it was searched."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import ROOT
from tiny_llama import SIZE, tiny_llama, write_tokenizer

from llmpi.accidents import AccidentError
from llmpi.errors import LlmpiError
from llmpi.gguf import quantizers
from llmpi.gguf.calibrate import calibrate
from llmpi.gguf.contents import stored
from llmpi.gguf.mix.groups import grouped
from llmpi.gguf.mix.made import types_of
from llmpi.gguf.mix.probe import Probed, Probes, spread
from llmpi.gguf.mix.search import find, search
from llmpi.gguf.mix.splits import halves
from llmpi.gguf.quantize import quantize
from llmpi.gguf.quantizers import dequantized, quantized
from llmpi.gguf.records import Gguf, Mix
from llmpi.records import check, sha256_of
from llmpi.train.small import write_start

TYPES: Any = ["Q8_0", "Q5_K", "Q4_K", "Q4_0", "Q3_K"]
TEXT = "the engine maps the file and reads in it what was written there. " * 40
BUDGETS = ["MIX-4.6bpw", "MIX-5bpw+imatrix", "MIX-0.4M"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"), whole=True)


@pytest.fixture(scope="module")
def matrix(base: Path) -> tuple[Path, Any]:
    out = base.with_name("imatrix.gguf")
    return out, calibrate(base, of(base), TEXT, out, chunks=4, threads=1)


def of(gguf: Path) -> Any:
    return {"status": "ok", "sha256": sha256_of(gguf), "lineage": ["F16"]}


def searched(base: Path, quant: str, folder: Path, given: tuple[Path, Any] | tuple[()] = ()) -> Any:
    how: Any = {"windows": 3, "types": TYPES, "partial": folder / "parts", "threads": 1}
    return search(base, of(base), quant, TEXT, *given, **how)


@pytest.mark.parametrize("quant", BUDGETS)
def test_a_mix_is_made_as_it_was_searched(base: Path, matrix: Any, quant: str, tmp_path) -> None:
    given = matrix if quant.endswith("+imatrix") else ()
    before = sha256_of(base)
    mix = searched(base, quant, tmp_path, given)
    assert mix["status"] == "ok", mix
    assert sha256_of(base) == before and [*tmp_path.iterdir()] == []
    made = quantize(base, of(base), tmp_path / "mix.gguf", quant, *(given or (None, None)), mix)
    assert made["status"] == "ok", made
    whole, here, types = stored(base), stored(tmp_path / "mix.gguf"), types_of(mix)
    assert len({*types.values()}) > 1
    for name, one in whole.items():
        assert here[name].kind == types.get(name, one.kind)
    for name, kind in types.items():
        if not given:
            columns = whole[name].shape[-1]
            rows = dequantized(whole[name].data.reshape(-1, 2 * columns), "F16", columns)
            assert np.array_equal(here[name].data, quantized(rows, kind).reshape(-1)), name
    assert sum(group["bytes"] for group in mix["groups"]) == mix["taken_bytes"]
    assert mix["taken_bytes"] <= mix["limit_bytes"] and mix["window_tokens"] == 64
    if quant == "MIX-0.4M":
        assert 0.95 * 0.4 * 1024**2 < made["bytes"] <= 0.4 * 1024**2
    else:
        bits = float(quant[4:].partition("bpw")[0])
        assert bits - 0.3 < made["bits_per_weight"] <= bits
    assert made["file_type"] is None and made["fallbacks"] == []
    assert abs(mix["rounding_nats"]) < mix["rounds"][0]["kld_nats"]
    told = {group["name"]: group for group in made["mix"]["groups"]}
    for group in mix["groups"]:
        wider, narrower = told[group["name"]]["wider"], told[group["name"]]["narrower"]
        assert (wider is None) == (group["type"] == "Q8_0")
        assert wider is None or wider["bytes"] > group["bytes"]
        assert narrower is None or narrower["bytes"] < group["bytes"]
    for record, kind in ((mix, Mix), (made, Gguf)):
        assert check(json.dumps(record), kind, "here") == record


def test_what_was_searched_for_another_budget_or_file_is_refused(base, matrix, tmp_path) -> None:
    mix = searched(base, "MIX-5bpw", tmp_path)
    out = tmp_path / "out.gguf"
    for args in (
        ("MIX-4.6bpw", None, None, mix),
        ("MIX-5bpw", None, None, None),
        ("Q4_0", None, None, mix),
        ("MIX-5bpw+imatrix", *matrix, mix),
    ):
        with pytest.raises(LlmpiError, match="search"):
            quantize(base, of(base), out, *args)
    with pytest.raises(LlmpiError, match="search"):
        quantize(base, {**of(base), "sha256": "0" * 64}, out, "MIX-5bpw", mix=mix)
    assert not out.exists()


def test_a_budget_that_cannot_be_is_a_result_that_is_passed_on(base: Path, tmp_path) -> None:
    found = searched(base, "MIX-2bpw", tmp_path)
    assert found["status"] == "failed"
    words = r"MIX-2bpw: its weights take [\d,]+ bytes at least, and the budget leaves [\d,]+ "
    assert re.fullmatch(words + "bytes for them; ask for more", found["reason"])
    assert quantize(base, of(base), tmp_path / "out.gguf", "MIX-2bpw", mix=found) == found


@pytest.mark.parametrize("quant", ["MIX-6bpw", "MIX-1M", "MIX-0.1nats"])
def test_a_model_of_which_nothing_can_be_quantized_has_no_mix(quant: str, tmp_path: Path) -> None:
    """Whatever the budget is of."""
    write_tokenizer(tmp_path / "tokenizer.gguf")
    narrow, size = tmp_path / "narrow.gguf", {"width": 40, "heads": 2, "ffn_width": 72}
    write_start(tmp_path / "tokenizer.gguf", narrow, replace(SIZE, **size), seed=1)
    found = searched(narrow, quant, tmp_path)
    assert found["status"] == "failed" and found["reason"] == (
        f"{quant}: no tensor can be quantized: no type has blocks that divide its rows"
    )


def test_a_text_that_is_too_short_is_told_where_it_stands(base: Path, tmp_path: Path) -> None:
    """A mix has no windows that somebody could make smaller."""
    how: Any = {"windows": 3, "types": TYPES, "partial": tmp_path / "parts", "threads": 1}
    with pytest.raises(LlmpiError) as error:
        search(base, of(base), "MIX-4.6bpw", "the engine maps the file", **how)
    assert re.fullmatch(
        r"the calibration text has \d+ tokens, and the search of a mix needs at least 128: take a "
        "longer text under 'calibration'",
        str(error.value),
    )
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("quant", ["MIX-12bpw", "MIX-1G"])
def test_a_budget_that_leaves_no_choice_is_no_search(base: Path, quant: str, tmp_path) -> None:
    """All of it in the widest type takes less: that is what to ask for."""
    found = searched(base, quant, tmp_path)
    assert found["status"] == "failed"
    assert re.search(r"take [\d,]+ bytes in their widest types, .*; ask for less", found["reason"])


def test_a_mix_that_may_lose_so_much_takes_the_least_bytes(base: Path, tmp_path: Path) -> None:
    """Between what two mixes by bytes lose there is one that takes less than the wider of them."""
    wide, narrow = (searched(base, quant, tmp_path) for quant in ("MIX-6bpw", "MIX-4.6bpw"))
    [lost, more] = (
        mix["rounds"][mix["taken_round"]]["kld_nats"] + max(0.0, mix["rounding_nats"])
        for mix in (wide, narrow)
    )
    nats = f"{(lost + more) / 2:.12f}".rstrip("0")
    mix = searched(base, f"MIX-{nats}nats", tmp_path)
    assert mix["status"] == "ok", mix
    assert check(json.dumps(mix), Mix, "here") == mix
    made = quantize(base, of(base), tmp_path / "mix.gguf", f"MIX-{nats}nats", mix=mix)
    assert made["status"] == "ok" and made["mix"], made
    assert made["mix"]["kld_nats"] + max(0.0, mix["rounding_nats"]) <= float(nats)
    assert mix["limit_bytes"] is None and mix["taken_bytes"] < wide["taken_bytes"]


def test_weights_are_quantized_on_the_threads_of_their_job(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = []

    def pool(threads: int) -> ThreadPoolExecutor:
        pools.append(threads)
        return ThreadPoolExecutor(threads)

    monkeypatch.setattr(quantizers, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(quantizers.capacity, "processors", lambda: 5)
    weights = np.ones((16, 32), np.float32)
    for most in (None, 3):
        monkeypatch.setattr(quantizers, "most", most)
        quantized(weights, "Q8_0")
    assert pools == [5, 3]


def test_a_search_that_is_killed_leaves_what_it_probed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not its copies of the model, and what another one left does not stand in the way."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/short_process"), prepend=os.pathsep)
    monkeypatch.setenv("LLMPI_SHORT", "llmpi.gguf.mix.search killed in best")
    with pytest.raises(AccidentError, match="memory did not suffice"):
        searched(base, "MIX-6bpw", tmp_path)
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["probes.jsonl"]
    kept = (tmp_path / "parts/copy.gguf", tmp_path / "parts/q8_0.gguf")
    for path in kept:
        path.write_bytes(b"of one that was killed with its job")

    def no_room(*_: object) -> None:
        assert not any(path.exists() for path in kept)
        raise AccidentError("no room")

    monkeypatch.setattr("llmpi.gguf.mix.search.check_room", no_room)
    with pytest.raises(AccidentError, match="no room"):
        searched(base, "MIX-6bpw", tmp_path)


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of nine layers, so that each third of them can be divided."""
    folder = tmp_path_factory.mktemp("deep")
    write_tokenizer(folder / "tokenizer.gguf")
    path = folder / "deep.gguf"
    write_start(folder / "tokenizer.gguf", path, replace(SIZE, layers=9), seed=1)
    return path


def test_parts_of_a_group_are_probed_as_the_whole(deep: Path, tmp_path: Path) -> None:
    shapes = {n: held.shape for n, held in stored(deep).items() if len(held.shape) > 1}
    groups = grouped(shapes, TYPES, weighted=[])
    whole = next(group for group in groups if group.name == "ffn_down, middle")
    two = halves(whole, shapes)
    assert two and [half.name for half in two] == ["ffn_down, 3", "ffn_down, 4-5"]
    with Probes(deep, tmp_path, TEXT, 3, groups, {}, 1) as probes:
        probes.offer(two)
        at_once = probes.divergences({whole.name: "Q4_0"})
        one = probes.divergences({two[0].name: "Q4_0"})
        both = probes.divergences({half.name: "Q4_0" for half in two})
        assert (at_once > 0).all() and (one > 0).all()
        assert np.array_equal(both, at_once) and not np.array_equal(one, at_once)
        assert np.array_equal(probes.divergences({whole.name: "Q4_0"}), at_once)
        assert np.abs(probes.divergences({})).max() < 1e-6, "and leave no trace"


def test_a_search_that_divides_groups_goes_on_to_the_same_choice(
    deep: Path, tmp_path: Path
) -> None:
    job: Any = {
        **{"base": str(deep), "base_sha256": "0", "quant": "MIX-4.6bpw", "text": TEXT},
        **{"windows": 4, "types": TYPES, "imatrix": None, "imatrix_sha256": None, "rates": None},
        **{"folder": str(tmp_path / "parts"), "threads": 1},
    }
    wanted = find(job)
    assert wanted["splits"], "some were tried"
    names = {group["name"] for group in wanted["groups"]}
    for one in wanted["splits"]:
        assert one["kept"] == (one["group"] not in names)
    tensors = [tensor for group in wanted["groups"] for tensor in group["tensors"]]
    assert len(tensors) == len({*tensors})
    journal = tmp_path / "parts/probes.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    for kept in (len(lines) // 4, 2 * len(lines) // 3):  # killed in the middle of each phase
        journal.write_text("".join(lines[:kept]))
        assert find(job) == wanted


def test_a_loss_that_cannot_be_kept_to_is_a_result(base: Path, tmp_path: Path) -> None:
    found = searched(base, "MIX-0.0000000000001nats", tmp_path)
    assert found["status"] == "failed"
    assert re.match(r"MIX-0\.0+1nats: .*ask for more$", found["reason"]), found["reason"]


SPOILED = ['["cut', '["a", [NaN]]\n', "\0" * 4096, "\0\n", '["a", "b"]\n{}\n', "null\n", "\u2028\n"]


@pytest.mark.parametrize("spoiled", [*SPOILED, b"\xff\xfe\n"])
def test_a_journal_that_was_spoiled_is_kept_as_far_as_it_is_sound(spoiled, tmp_path) -> None:
    path = tmp_path / "probes.jsonl"
    more = spoiled if isinstance(spoiled, bytes) else spoiled.encode()
    path.write_bytes(b'search\n["a", [0.5, 0.25]]\n' + more + b'["b", [1.0, 2.0]]\n')
    again = Probed(None, path, "search", total=3)  # type: ignore[arg-type]  # none is asked for
    assert again.count == 1
    assert path.read_bytes() == b'search\n["a", [0.5, 0.25]]\n'
    assert Probed(None, path, "search", total=3).count == 1  # type: ignore[arg-type]  # nor here


def test_probes_leave_no_trace_and_none_is_made_twice(base: Path, tmp_path) -> None:
    shapes = {n: one.shape for n, one in stored(base).items() if one.kind == "F16"}
    groups = grouped(shapes, TYPES, weighted=[])
    first, second = groups[0].name, groups[-1].name
    path = tmp_path / "probes.jsonl"
    with Probes(base, tmp_path, TEXT, 3, groups, {}, threads=1) as probes:
        assert probes.windows == 3
        nothing = probes.divergences({})
        assert np.abs(nothing).max() < 1e-4
        probed = Probed(probes, path, "search", total=3)
        one = probed({first: "Q3_K"})
        both = probed({first: "Q3_K", second: "Q4_0"})
        assert (one > nothing).all() and (both != one).all()
        assert np.array_equal(probes.divergences({first: "Q3_K"}), one)
        assert np.array_equal(probes.divergences({}), nothing)
        copy = stored(tmp_path / "copy.gguf")
        assert all(np.array_equal(copy[n].data, held.data) for n, held in stored(base).items())

        path.write_text(path.read_text() + '["cut')
        again = Probed(probes, path, "search", total=3)
        assert again.count == 2 and np.array_equal(again({first: "Q3_K"}), one)
        again({second: "Q4_0"})
        assert Probed(probes, path, "search", total=3).count == 3
        assert Probed(probes, path, "another", total=3).count == 0


def test_windows_are_from_all_over_the_text() -> None:
    windows = np.arange(100, dtype=np.int32).reshape(10, 10)
    assert spread(windows, 3)[:, 0].tolist() == [0, 30, 60]
    assert spread(windows, 10) is windows and spread(windows, 99) is windows
