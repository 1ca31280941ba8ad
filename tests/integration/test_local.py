"""The whole DAG on this machine, and what reruns after which edit."""

import csv
import json
import re
import subprocess
import sys

import pytest
from support import planned_jobs

from llmpi.gguf.records import Gguf
from llmpi.models.records import ModelRecord
from llmpi.quality.squad.records import Questions, SquadScored
from llmpi.records import read, sha256_of
from llmpi.remote.records import Provisioned, ReceiptRecord
from llmpi.summary.records import Summary


def planned(work) -> dict[str, int]:
    return planned_jobs("--configfile", "config/study.yaml", cwd=work.write().folder)


def test_summary_has_a_row_for_each_cell(finished) -> None:
    path = finished.folder / "results/report/small/summary.csv"
    with path.open(newline="") as file:
        rows = {row["quant"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["F16", "Q4_0"]
    for row in rows.values():
        assert row["status"] == row["field_status"] == "ok"
        for column in ("pp_tps", "tg_tps", "ttft_s", "bits_per_weight", "peak_rss_bytes"):
            assert float(row[column]) > 0
        for column in ("field_em_pct", "field_f1_pct"):
            assert 0 <= float(row[column]) <= 100
        assert int(row["field_items"]) == 6
    assert float(rows["F16"]["bits_per_weight"]) > 2 * float(rows["Q4_0"]["bits_per_weight"])


def test_manifest_shows_fallback_and_lineage(finished) -> None:
    manifest = finished.json("gguf/smollm2-135m/Q4_0.json")
    assert manifest["lineage"] == ["Q4_1 (Q4_1+Q8_0)", "F16", "Q4_0"]
    assert [f["tensor"] for f in manifest["fallbacks"]] == ["token_embd.weight"]
    assert manifest["parameters"] == 134_515_008
    gguf = finished.folder / "results/gguf/smollm2-135m/Q4_0.gguf"
    assert manifest["sha256"] == sha256_of(gguf)
    assert manifest["bytes"] == gguf.stat().st_size
    assert sum(kind["tensors"] for kind in manifest["tensors_by_type"].values()) == 272


def test_every_record_is_of_its_type(finished) -> None:
    """What the product writes passes the types that made-up records are held against; what a
    device measures does so in `tests/unit/test_real_records.py`, in all its kinds."""
    results = finished.folder / "results"
    kinds = {
        "devices/here.json": Provisioned,
        "deploy/*/*/*.json": ReceiptRecord,
        "gguf/*/*.json": Gguf,
        "models/*/manifest.json": ModelRecord,
        "quality/small/*/*/f16/field.json": SquadScored,
        "questions/small/*.json": Questions,
        "report/small/summary.json": Summary,
    }
    for pattern, kind in kinds.items():
        found = list(results.glob(pattern))
        assert found, pattern
        for path in found:
            assert read(path, kind)


def test_raw_repetitions_and_conditions_are_kept(finished) -> None:
    bench = finished.json("bench/small/here/smollm2-135m/Q4_0/default.json")
    chat = bench["workloads"]["chat"]
    assert [len(r["itl_s"]) for r in chat["repetitions"]] == [8, 8]
    assert 1 <= len(chat["warmup"]) <= 4
    assert all(0 < r["pp_s"] <= r["ttft_s"] for r in chat["repetitions"])
    assert set(bench["environment"]) == {"machine", "engine", "before", "after"}
    assert bench["environment"]["engine"]["features"]
    assert bench["gguf_sha256"] == finished.json("gguf/smollm2-135m/Q4_0.json")["sha256"]


def test_depths_and_a_sustained_phase(copy) -> None:
    copy.config["workloads"]["chat"] |= {"depths": [8, 64], "sustained_s": 2.5}
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    copy.write().snakemake("--", "measured")
    session = copy.json("bench/small/here/smollm2-135m/Q4_0/default.json")
    record = session["workloads"]["chat"]
    assert [depth["depth_tokens"] for depth in record["depths"]] == [8, 64]
    assert [len(r["itl_s"]) for r in record["depths"][1]["repetitions"]] == [8, 8]
    assert record["context_tokens"] == 64 + 8
    assert sorted(session["order"], key=str) == [["chat", d] for d in (64, 64, 8, 8, None, None)]
    starts = [start for start, _ in record["sustained"]]
    assert starts == sorted(starts)
    assert len(starts) >= 2
    assert all(tps > 0 for _, tps in record["sustained"])


def test_workloads_take_turns_in_one_session_and_runtimes_have_their_own(copy) -> None:
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    copy.config["workloads"] = {
        "chat": {"prompt_tokens": 16, "output_tokens": 8, "repetitions": 6, "warmup": 0},
        "long": {"prompt_tokens": 300, "output_tokens": 4, "repetitions": 6, "warmup": 0},
    }
    copy.config["runtimes"] = {
        "default": {},
        "lean": {
            "threads": 1,
            "batch_tokens": 256,
            "ubatch_tokens": 64,
            "kv_cache": "q8_0",
            "flash_attention": "on",
            "mmap": False,
            "lazy": "on",
            "repack": False,
            "omp_wait_policy": "passive",
        },
    }
    rows = {(row["runtime"], row["workload"]): row for row in copy.summarized()}
    assert len(rows) == 4
    assert {row["status"] for row in rows.values()} == {"ok"}
    # A context of its own size for each: the keys and values of 304 tokens are in its memory only.
    default = copy.json("bench/small/here/smollm2-135m/Q4_0/default.json")
    assert [default["workloads"][w]["context_tokens"] for w in ("chat", "long")] == [24, 304]
    names = [name for name, _ in default["order"]]
    assert sorted(names) == ["chat"] * 6 + ["long"] * 6
    assert names != sorted(names), "in turns"
    starts = {
        w: [r["start_s"] for r in default["workloads"][w]["repetitions"]] for w in ("chat", "long")
    }
    by_time = sorted((start, w) for w, times in starts.items() for start in times)
    assert [w for _, w in by_time] == names
    lean = copy.json("bench/small/here/smollm2-135m/Q4_0/lean.json")
    rest = {"mlock": False, "prompt_lookup": None, "draft": None}
    assert lean["settings"] == copy.config["runtimes"]["lean"] | rest
    lines = (copy.folder / "results/report/small/speed.jsonl").read_text().splitlines()
    modes = {json.loads(line)["llmpi"]["runtime"]: json.loads(line)["lazy_mode"] for line in lines}
    assert modes == {"default": "auto", "lean": "on"}


LOCKED = {"mlock": True, "repack": False}


def test_weights_are_locked_or_the_cell_says_why_not(copy) -> None:
    copy.config |= {"quants": ["Q4_0"], "quality": {}, "runtimes": {"locked": LOCKED}}
    [row] = copy.summarized()
    if may_lock(200_000_000):
        record = copy.json("bench/small/here/smollm2-135m/Q4_0/locked.json")
        assert record["load"]["locked_bytes"] > 50e6
    else:
        assert row["status"] == "failed"
        assert re.search(r"mlock: .* MB could be locked in memory; raise `memlock`", row["reason"])


def may_lock(size: int) -> bool:
    """Whether a process of this user may lock so many bytes of memory."""
    code = (
        f"import ctypes, mmap; m = mmap.mmap(-1, {size}); "
        f"a = ctypes.addressof((ctypes.c_char * {size}).from_buffer(m)); "
        "lock = ctypes.CDLL(None).mlock; "
        f"raise SystemExit(lock(ctypes.c_void_p(a), ctypes.c_size_t({size})) != 0)"
    )
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.fault("out of memory in a workload", by="the other workload's record; the reason")
def test_a_workload_that_kills_the_engine_leaves_the_others(copy) -> None:
    """Keys and values of a million tokens of context find no memory."""
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    copy.config["workloads"]["huge"] = {
        **copy.config["workloads"]["chat"],
        "context_tokens": 1_000_000,
    }
    copy.config["devices"] = {"here": {"transport": "local", "limits": {"memory": "2G"}}}
    rows = {row["workload"]: row for row in copy.summarized()}
    assert rows["chat"]["status"] == "ok"
    assert rows["huge"]["status"] == "failed"
    assert rows["huge"]["reason"]


@pytest.mark.fault(
    "out of memory of many conversations", by="the record of those that fit; the reason"
)
def test_conversations_side_by_side_up_to_what_fits(copy) -> None:
    """Keys and values of 256 conversations of 240 tokens are 1.4 GB: they find no memory."""
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    short = {"prompt_tokens": 168, "output_tokens": 8, "repetitions": 2, "warmup_limit": 1}
    asked = {"kind": "concurrent", "conversations": [1, 2, 256], "per_user_tps_at_least": 0.01}
    copy.config["workloads"]["users"] = {**asked, **short, "system_tokens": 64}
    here = {"transport": "local", "others_at_most_pct": 100, "limits": {"memory": "1G"}}
    copy.config["devices"] = {"here": here}
    page = copy.shown()
    assert [row["status"] for row in copy.summary()] == ["ok"]
    [cell] = copy.json("report/small/summary.json")["concurrency"]
    one, two, most = cell["levels"]
    assert one["status"] == two["status"] == "ok"
    assert two["tg_tps"] > two["per_user_tps"] > 0
    assert two["kv_bytes"] > one["kv_bytes"] > 232 * 20_000
    assert (most["status"], cell["largest"]) == ("failed", 2)
    assert most["reason"]
    assert "Up to <b>2</b> at once, each conversation" in page


@pytest.mark.long
def test_a_tasks_own_questions_on_the_clock(copy) -> None:
    """Each variant is asked the same ones, with the prompts that were scored."""
    copy.config["workloads"]["real"] = {"kind": "answers", "task": "field", "questions": 4}
    page = copy.shown()
    cells = copy.json("report/small/summary.json")["samples"]
    assert [(cell["quant"], cell["answers"], cell["of"]) for cell in cells] == [
        ("F16", 4, 6),
        ("Q4_0", 4, 6),
    ]
    asked = []
    for cell in cells:
        assert [beside["workload"] for beside in cell["against"]] == ["chat"]
        assert cell["scored"] == 4
        where = f"smollm2-135m/{cell['quant']}"
        timed = copy.json(f"bench/small/here/{where}/default.json")["workloads"]["real"]
        items = copy.json(f"quality/small/{where}/f16/field.json")["items"]
        for one in timed["repetitions"]:
            assert one["prompt_tokens"] == items[one["number"]]["prompt_tokens"]
        asked.append({one["number"] for one in timed["repetitions"]})
    assert asked[0] == asked[1]
    assert len(asked[0]) == 4
    assert "Answers on the clock" in page


def test_prompt_lookup_beside_greedy_decoding(copy) -> None:
    """A text is copied, by two threads and at length, where kernels could differ."""
    copy.config |= {"quants": ["Q4_0"], "quality": {}}
    lookup = {"kv_cache": "q8_0", "prompt_lookup": {"draft_tokens": 4}}
    copy.config["runtimes"] = {"default": {"kv_cache": "q8_0"}, "lookup": lookup}
    copy.config["workloads"] = {
        "copy": {
            **{"prompt": "passage", "prompt_tokens": 512, "output_tokens": 48},
            **{"repetitions": 2, "warmup_limit": 1},
        }
    }
    page = copy.shown()
    [cell] = copy.json("report/small/summary.json")["speculation"]
    assert (cell["runtime"], cell["against"], cell["tokens"]) == ("lookup", "default", 49)
    assert cell["accepted_pct"] > 50
    assert cell["tokens_per_step"] > 1.5
    assert cell["same_tokens"] == cell["tokens"]
    record = copy.json("bench/small/here/smollm2-135m/Q4_0/lookup.json")
    assert record["settings"]["prompt_lookup"] == {"ngram": 3, "draft_tokens": 4}
    assert "Drafted tokens" in page


@pytest.mark.long
def test_a_smaller_quantization_drafts_and_the_text_stays(copy) -> None:
    """The F16's own Q4_0 drafts; it drafts for no cell of its own."""
    drafted = {"kv_cache": "q8_0", "draft": {"quant": "Q4_0", "draft_tokens": 3}}
    copy.config |= {"quants": ["F16", "Q4_0"], "quality": {}}
    copy.config["runtimes"] = {"default": {"kv_cache": "q8_0"}, "drafted": drafted}
    copy.config["workloads"] = {
        "code": {
            **{"prompt": "code", "prompt_tokens": 96, "output_tokens": 24},
            **{"repetitions": 2, "warmup_limit": 1},
        }
    }
    page = copy.shown()
    summary = copy.json("report/small/summary.json")
    assert {(row["quant"], row["runtime"]) for row in summary["rows"]} == {
        ("F16", "default"),
        ("F16", "drafted"),
        ("Q4_0", "default"),
    }
    [cell] = summary["speculation"]
    assert (cell["quant"], cell["kind"], cell["against"]) == ("F16", "draft model", "default")
    assert (cell["same_tokens"], cell["tokens"]) == (25, 25)
    assert cell["accepted_pct"] > 20
    assert cell["tokens_per_step"] > 1
    assert cell["memory_bytes"] > cell["against_memory_bytes"] + 50e6
    record = copy.json("bench/small/here/smollm2-135m/F16/drafted.json")
    drafting = copy.json("gguf/smollm2-135m/Q4_0.json")
    assert record["draft_sha256"] == drafting["sha256"] != record["gguf_sha256"]
    [planned] = [c for c in summary["predictions"] if c["runtime"] == "drafted"]
    [plain] = [
        c for c in summary["predictions"] if (c["quant"], c["runtime"]) == ("F16", "default")
    ]
    more = [c["predicted"]["memory_bytes"]["value"] for c in (planned, plain)]
    assert more[0] - more[1] == pytest.approx(drafting["bytes"], rel=0.4)
    assert "smollm2-135m Q4_0" in page


def test_every_answer_is_kept(finished) -> None:
    quality = finished.json("quality/small/smollm2-135m/F16/f16/field.json")
    assert len(quality["items"]) == 6
    assert {"id", "answer", "normalized", "exact", "f1", "new_tokens"} <= set(quality["items"][0])
    assert quality["has_chat_template"]
    other = finished.json("quality/small/smollm2-135m/Q4_0/f16/field.json")
    assert quality["prompt_sha256"] == other["prompt_sha256"]
    assert [i["id"] for i in quality["items"]] == [i["id"] for i in other["items"]]


def test_page_tells_what_must_be_known(finished) -> None:
    page = (finished.folder / "results/report/small/index.html").read_text()
    assert "dequantized Q4_1" in page
    assert "Q4_0" in page
    assert 'data-figure="tg"' in page


def test_second_run_does_nothing(copy) -> None:
    assert planned(copy) == {}


# What every new record leads to.
TO_THE_REPORT = {"summarize": 1, "recommend": 1, "memo": 1, "report": 1}


def test_more_repetitions_rerun_the_benchmarks_and_the_report(copy) -> None:
    copy.config["workloads"]["chat"]["repetitions"] = 3
    assert planned(copy) == {"benchmark_device": 2, **TO_THE_REPORT}


def test_one_more_quantization_runs_its_own_chain(copy) -> None:
    copy.config["quants"].append("Q8_0")
    assert planned(copy) == {
        "quantize_gguf": 1,
        "deploy_gguf": 1,
        "benchmark_device": 1,
        "evaluate_quality": 1,
        **TO_THE_REPORT,
    }


def test_one_more_device_leaves_the_first_ones_measurements(copy) -> None:
    copy.config["devices"]["there"] = {"transport": "local", "threads": 1}
    jobs = planned(copy)
    assert jobs["benchmark_device"] == jobs["deploy_gguf"] == 2
    assert "quantize_gguf" not in jobs
    assert "evaluate_quality" not in jobs


def test_another_answer_length_rescores_but_draws_no_new_questions(copy) -> None:
    copy.config["quality"]["field"]["max_new_tokens"] = 9
    assert planned(copy) == {"evaluate_quality": 2, **TO_THE_REPORT}
