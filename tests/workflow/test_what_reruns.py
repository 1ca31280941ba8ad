"""One edit reruns exactly the jobs it concerns, on a study that is done: every file is there.

The files are made by `--touch`, so that the workflow's own bookkeeping is Snakemake's; what they
hold does not matter to it.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from support import ROOT, planned_jobs, run_snakemake

from llmpi.engine.version import BUILD

PROJECT = ("Snakefile", "config", "envs", "profiles", "rules", "src", "workflow")
PI = {"transport": "ssh", "host": "pi.example.org", "store": "/mnt/nvme/llmpi"}
TO_THE_REPORT = {"summarize": 1, "recommend": 1, "memo": 2, "report": 1}
MISSING = re.compile(r"not touched because they don't exist: (.+)")
"""As Snakemake says it."""
SUMMED_UP = {*TO_THE_REPORT}
PREDICTED = {"predict_on_workstation", "check_parity"}
ON_DEVICES = {"provision_device", "deploy_gguf", "benchmark_device", "check_parity"}


def small_study() -> dict[str, Any]:
    """One model, one type, here and on a Pi, with a task of questions and one of a text."""
    demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return {
        "study": "small",
        "models": demo["models"],
        "quants": ["Q4_0"],
        "devices": {"here": {"transport": "local"}, "pi": PI},
        "workloads": {"chat": {"prompt_tokens": 16, "output_tokens": 4}},
        "quality": {
            "field": demo["quality"]["field"],
            "text": {"task": "divergence", "python_topics": True},
        },
    }


class Done:
    """A project of its own whose study is done."""

    def __init__(self, folder: Path, study: dict[str, Any]) -> None:
        self.folder, self.study = folder, study

    def copied(self, folder: Path) -> "Done":
        shutil.copytree(self.folder, folder, symlinks=True)
        return Done(folder, json.loads(json.dumps(self.study)))

    def planned(self, *arguments: str) -> dict[str, int]:
        self.write()
        return planned_jobs("--configfile", "config/small.yaml", *arguments, cwd=self.folder)

    def write(self) -> None:
        path = self.folder / "config/small.yaml"
        path.write_text(yaml.safe_dump(self.study, sort_keys=False))

    def edit(self, file: str) -> None:
        path = self.folder / file
        path.write_text(path.read_text() + "\n# edited\n")

    def finish(self) -> None:
        """Have every file there, newer than what it is made of."""
        self.write()
        if missing := self._touched():
            for file in missing:
                path = self.folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({"questions": 1}))
            assert not self._touched()

    def _touched(self) -> list[str]:
        """The files that were not there to be touched."""
        arguments = ("--configfile", "config/small.yaml", "--cores", "2", "--touch", "--forceall")
        said = run_snakemake(*arguments, cwd=self.folder).stdout
        return [file for line in MISSING.findall(said) for file in line.split(", ")]


Made = Callable[[str, dict[str, Any]], Done]
"""A copy to edit of a study of that name."""


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Made:
    """Each study is done once, for the tests of all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def of(name: str, study: dict[str, Any]) -> Done:
        done, is_made = Done(shared / f"done-{name}", study), shared / f"done-{name}.made"
        with FileLock(f"{done.folder}.lock"):
            if not is_made.exists():
                shutil.rmtree(done.folder, ignore_errors=True)
                done.folder.mkdir()
                for part in PROJECT:
                    if (ROOT / part).is_dir():
                        no_bytecode = shutil.ignore_patterns("*.pyc")
                        shutil.copytree(ROOT / part, done.folder / part, ignore=no_bytecode)
                    else:
                        shutil.copy2(ROOT / part, done.folder / part)
                done.finish()
                assert done.planned() == {}
                is_made.touch()
        return done.copied(tmp_path / "project")

    return of


@pytest.fixture
def done(made: Made) -> Done:
    return made("small", small_study())


def test_touched_files_and_a_moved_clone(done: Done, tmp_path: Path) -> None:
    for path in done.folder.rglob("*"):
        if ".snakemake" not in path.parts:
            os.utime(path)
    done.folder = done.folder.rename(tmp_path / "moved")
    assert done.planned() == {}


@pytest.mark.parametrize(
    ("device", "edit", "jobs"),
    [
        ("pi", {"idle_s": 20}, {"benchmark_device": 1, **TO_THE_REPORT}),
        ("pi", {"meter": {"kind": "pmic"}}, {"benchmark_device": 1, **TO_THE_REPORT}),
        ("pi", {"preset": "pi5-8gb"}, TO_THE_REPORT),
        ("pi", {"server_wheel": "server.whl"}, TO_THE_REPORT),
        (
            "pi",
            {"quota": "9G"},
            {"deploy_gguf": 1, "benchmark_device": 1, "check_parity": 1, **TO_THE_REPORT},
        ),
        (
            "pi",
            {"store": "/mnt/usb/llmpi"},
            {
                "provision_device": 1,
                "deploy_gguf": 1,
                "benchmark_device": 1,
                "check_parity": 1,
                **TO_THE_REPORT,
            },
        ),
        ("here", {"idle_s": 20}, {"benchmark_device": 1, **TO_THE_REPORT}),
    ],
)
def test_an_edit_of_a_device_reruns_once(
    done: Done, device: str, edit: dict[str, Any], jobs: dict[str, int]
) -> None:
    done.study["devices"] = {**done.study["devices"]}
    done.study["devices"][device] = {**done.study["devices"][device], **edit}
    assert done.planned() == jobs
    done.finish()
    assert done.planned() == {}


@pytest.mark.parametrize("edit", [{"prompt": 2}, {"language": "ja"}])
def test_another_prompt_or_language_asks_the_same_questions(
    done: Done, edit: dict[str, Any]
) -> None:
    done.study["quality"]["field"] = {**done.study["quality"]["field"], **edit}
    assert {*done.planned()} == {"evaluate_quality", *SUMMED_UP}


@pytest.mark.parametrize(
    ("task", "margin"),
    [("field", "no_ans_drop_at_most"), ("text", "perplexity_rise_at_most_pct")],
)
def test_what_is_put_up_with_scores_nothing_anew(done: Done, task: str, margin: str) -> None:
    quality = {**done.study["quality"]}
    done.study["quality"] = {**quality, task: {**quality[task], margin: 3}}
    assert done.planned() == TO_THE_REPORT


def test_another_draft_model_reruns_the_cells_that_it_drafts_for(done: Done) -> None:
    drafted: dict[str, Any] = {"kv_cache": "q8_0", "draft": {"quant": "Q4_0"}}
    done.study["quants"] = ["F16", "Q8_0", "Q4_0"]
    done.study["runtimes"] = {"default": {"kv_cache": "q8_0"}, "drafted": drafted}
    done.finish()
    assert done.planned() == {}
    drafted["draft"] = {"quant": "Q8_0"}
    # Of F16 anew and of Q4_0, for which it drafts now, on both devices; Q8_0 has no cell more.
    assert done.planned() == {"benchmark_device": 4, **TO_THE_REPORT}


@pytest.mark.parametrize(
    ("runtimes", "jobs"),
    [
        ({"default": {"threads": 2}}, {"benchmark_device": 2}),
        ({"default": {"repack": False, "mlock": True}}, {"benchmark_device": 2}),
        ({"default": {}, "slim": {"threads": 1}}, {"benchmark_device": 2}),
        (
            {"default": {"kv_cache": "q8_0"}},
            {"benchmark_device": 2, "evaluate_quality": 1, "evaluate_divergence": 1},
        ),
        (
            {"default": {}, "a": {"kv_cache": "q8_0"}, "b": {"kv_cache": "q8_0", "threads": 1}},
            {"benchmark_device": 4, "evaluate_quality": 1, "evaluate_divergence": 1},
        ),
    ],
)
def test_an_edit_of_a_runtime_scores_what_it_computes_and_no_more(
    done: Done, runtimes: dict[str, Any], jobs: dict[str, int]
) -> None:
    done.study["runtimes"] = runtimes
    assert done.planned() == {**jobs, **TO_THE_REPORT}


def test_an_edit_of_the_engines_compares_them_anew_and_no_more(done: Done) -> None:
    every = {"install_engines": 2, "compare_engines": 2}
    for engines in (
        ["0.3.35", "0.3.36"],
        ["0.3.36", "0.3.35"],
        {"a": {"version": "0.3.36"}, "b": {"version": "0.3.36"}},
        {"a": {"version": "0.3.36"}, "b": {"version": "0.3.36", "cmake_args": ["-DA=1"]}},
    ):
        done.study["engines"] = engines
        assert done.planned() == {**every, **TO_THE_REPORT}
        done.finish()
        assert done.planned() == {}
    done.edit("src/llmpi/tune/engines.py")
    assert done.planned() == {"compare_engines": 2, **TO_THE_REPORT}
    done.finish()
    del done.study["engines"]
    assert done.planned() == TO_THE_REPORT


@pytest.mark.parametrize(
    ("file", "jobs"),
    [
        ("src/llmpi/study/runs.py", SUMMED_UP),
        ("src/llmpi/summary/paper.csv", SUMMED_UP),
        ("src/llmpi/summary/records.py", SUMMED_UP),  # the table's columns are derived from it
        ("src/llmpi/summary/study.py", SUMMED_UP),
        ("src/llmpi/decide/choice.py", {"recommend", "memo", "report"}),
        ("src/llmpi/report/page/write.py", {"report"}),
        ("src/llmpi/report/page/templates/page.js", {"report"}),
        ("src/llmpi/report/page/charts/measured.py", {"report"}),
        ("src/llmpi/report/words/ja.yaml", {"memo", "report"}),
        ("src/llmpi/report/memo/sheet.typ", {"memo"}),
        ("src/llmpi/device/service/serve.py", set()),
        ("src/llmpi/device/service/front.py", set()),
        ("src/llmpi/device/service/bench.py", set()),
        ("src/llmpi/device/service/load.py", set()),
        ("src/llmpi/device/service/records.py", set()),
        ("src/llmpi/operate/bench.py", set()),
        ("src/llmpi/summary/service_loads.py", {"report"}),
        ("src/llmpi/report/page/service_section.py", {"report"}),
        ("src/llmpi/device/monitor/process.py", set()),
        ("src/llmpi/device/store.py", set()),
        ("src/llmpi/device/cli.py", set()),
        ("src/llmpi/device/measure/turns.py", set()),
        ("src/llmpi/tune/search.py", set()),
        ("src/llmpi/errors.py", set()),
        ("src/llmpi/script.py", set()),
        ("rules/common.smk", set()),
        ("src/llmpi/device/measure/parity.py", PREDICTED | SUMMED_UP),
        ("src/llmpi/device/measure/process.py", {"benchmark_device"} | SUMMED_UP),
        ("src/llmpi/device/measure/over_http.py", set()),
        ("src/llmpi/device/measure/http_stream.py", set()),
        ("src/llmpi/models/hub.py", set()),
        ("src/llmpi/models/local.py", set()),
        ("src/llmpi/remote/provision.py", ON_DEVICES | SUMMED_UP),
        ("src/llmpi/quality/squad/prompt.py", {"evaluate_quality"} | SUMMED_UP),
        (
            "src/llmpi/quality/divergence/corpus.py",
            {"prepare_corpus", "score_reference", "evaluate_divergence"} | SUMMED_UP,
        ),
        ("src/llmpi/quality/divergence/seen.py", {"evaluate_divergence"} | SUMMED_UP),
    ],
)
def test_an_edit_of_code_reruns_what_it_concerns(done: Done, file: str, jobs: set[str]) -> None:
    done.edit(file)
    assert {*done.planned()} == jobs


def test_what_a_service_carries_redraws_the_page_and_no_more(done: Done) -> None:
    done.study["service"] = {"variant": {"model": "smollm2-135m", "quant": "Q4_0"}}
    done.finish()
    assert done.planned() == {}
    record = done.folder / "results/service/small/pi.json"
    record.parent.mkdir(parents=True)
    for content in ("{}", '{"of": "another run"}'):
        record.write_text(content)
        assert done.planned() == {"report": 1}
        done.finish()
        assert done.planned() == {}
    record.unlink()
    assert done.planned() == {"report": 1}


MEASURE = "src/llmpi/device/measure"


@pytest.mark.parametrize(
    ("file", "jobs"),
    [
        (f"{MEASURE}/over_http.py", {"benchmark_device": 1}),
        (f"{MEASURE}/http_stream.py", {"benchmark_device": 1, "ask_endpoint": 1}),
        (f"{MEASURE}/questions.py", {"ask_endpoint": 1}),
        ("src/llmpi/quality/batching/engine.py", {"evaluate_quality": 1}),
        (f"{MEASURE}/process.py", {"benchmark_device": 3}),
        (f"{MEASURE}/conversation.py", {"benchmark_device": 3}),
        (f"{MEASURE}/session.py", {"benchmark_device": 4}),
        (f"{MEASURE}/turns.py", {"tune_runtime": 1, "benchmark_device": 1}),
        (f"{MEASURE}/single.py", {"tune_runtime": 1, "benchmark_device": 3}),
    ],
)
def test_an_edit_measures_anew_what_it_measures(
    made: Made, file: str, jobs: dict[str, int]
) -> None:
    """Three sessions of llmpi's engine, the settings of one searched before; one of an endpoint's,
    which is asked a task's questions."""
    served = [{"model": "smollm2-135m", "quant": "Q4_0", "name": "m"}]
    endpoint = {"url": "http://127.0.0.1:8080/v1", "api": "chat", "serves": served}
    study = small_study()
    study["runtimes"] = {
        "default": {},
        "tuned": {"tune": True},
        "server": {"endpoint": endpoint},
    }
    study["exclude"] = [{"device": "here", "runtime": r} for r in ("tuned", "server")]
    done = made("measured", study)
    done.edit(file)
    assert done.planned() == {**jobs, **TO_THE_REPORT}


def test_an_edit_of_prompts_asks_them_anew_and_nothing_else(done: Done) -> None:
    """In process and over HTTP, and the pair that names both."""
    served = [{"model": "smollm2-135m", "quant": "Q4_0", "name": "m"}]
    endpoint = {"url": "http://127.0.0.1:8080/v1", "serves": served}
    done.study["runtimes"] = {"default": {}, "server": {"endpoint": endpoint}}
    done.study["exclude"] = [{"device": "here", "runtime": "server"}]
    pair = ["smollm2-135m/Q4_0", "pi/smollm2-135m/Q4_0/server"]
    done.study["quality"]["own"] = {"task": "ab", "prompts": "own.jsonl", "pairs": [pair]}
    prompts = done.folder / "own.jsonl"
    prompts.write_text('{"prompt": "Why?"}')
    done.finish()
    assert done.planned() == {}
    prompts.write_text('{"prompt": "When?"}')
    asked = {"answer_prompts": 1, "ask_prompts": 1, "compare_pair": 1}
    assert done.planned() == {**asked, **TO_THE_REPORT}


def test_another_engine_makes_measures_and_scores_anew(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "newer/llama_cpp_python-99.9.9.dist-info"
    newer.mkdir(parents=True)
    (newer / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 99.9\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(newer.parent), prepend=os.pathsep)
    planned = done.planned()
    assert {
        "fetch_model",
        "convert_to_gguf",
        "quantize_gguf",
        "benchmark_device",
        "evaluate_quality",
        "score_reference",
        "evaluate_divergence",
        "predict_on_workstation",
    } <= {*planned}


def test_another_engine_of_the_devices_makes_them_ready_anew(done: Done) -> None:
    lock = done.folder / "envs/device.lock"
    lock.write_text(lock.read_text().replace("llama-cpp-python==0.3", "llama-cpp-python==99.9"))
    planned = done.planned()
    assert planned["provision_device"] == planned["benchmark_device"] == 2
    assert "evaluate_quality" not in planned


def test_the_flags_of_the_build_are_part_of_the_engine() -> None:
    from llmpi.engine.version import engine_version

    assert engine_version()["llama-cpp-python"]
    assert set(json.loads(BUILD.read_text())) < set(engine_version())


FOR_THE_PI = "MIX-12tps-pi"
OF_ITS_FILE = {
    **{"search_mix": 1, "quantize_gguf": 1, "deploy_gguf": 2, "benchmark_device": 2},
    **{"evaluate_quality": 1, "evaluate_divergence": 1},
    **{"predict_on_workstation": 1, "check_parity": 1},
}
"""What a mix that was searched anew redoes, on two devices."""


@pytest.fixture
def rated(made: Made) -> Done:
    """The study with a mix for the Pi."""
    study = small_study()
    study["quants"] = ["Q4_0", FOR_THE_PI]
    study["calibration"] = {"text": {"text_file": "config/data/field_qa.json"}}
    return made("rated", study)


def test_another_text_to_calibrate_on_scores_anew_what_is_made_with_it(rated: Done) -> None:
    rated.study["calibration"] = {"text": {"text_file": "config/config.yaml"}}
    assert rated.planned() == {"prepare_corpus": 1, **OF_ITS_FILE, **TO_THE_REPORT}


def test_rates_that_are_forced_solve_anew(rated: Done) -> None:
    assert rated.planned("--forcerun", "measure_rates") == {
        "measure_rates": 1,
        **OF_ITS_FILE,
        **TO_THE_REPORT,
    }


@pytest.mark.parametrize("again", ["provision_device", "deploy_gguf"])
def test_a_board_that_is_made_ready_anew_keeps_its_rates_and_the_files_for_it(
    rated: Done, again: str
) -> None:
    """Measured anew they would be others by their noise, and so would the files."""
    jobs = rated.planned("--forcerun", again)
    assert jobs[again] and jobs["benchmark_device"] >= 2
    assert not {"measure_rates", "search_mix", "quantize_gguf"} & {*jobs}


def test_another_study_with_another_board_of_that_name_shares_no_file_with_it(
    rated: Done,
) -> None:
    """Where both are in one folder; and its own board, that is asked again, neither."""
    other = rated.copied(rated.folder.with_name("other"))
    other.study["study"] = "other"
    assert "measure_rates" not in other.planned(), "the same board"
    other.study["devices"] = {**other.study["devices"], "pi": {**PI, "port": 2222}}
    assert {"measure_rates", "search_mix", "quantize_gguf"} <= {*other.planned()}


@pytest.mark.parametrize(
    ("edit", "jobs"),
    [
        ({"idle_s": 20}, {"benchmark_device": 2}),
        ({"cool_below_c": 50}, {"benchmark_device": 2}),
        ({"preset": "pi5-8gb"}, {}),
        (
            {"host": "another.example.org"},
            {
                **{"provision_device": 1, "ask_for_rates": 1, "measure_rates": 1, **OF_ITS_FILE},
                **{"deploy_gguf": 3, "benchmark_device": 3, "check_parity": 2},
            },
        ),
    ],
)
def test_another_board_has_rates_of_its_own_and_nothing_else_measures_them_anew(
    rated: Done, edit: dict[str, Any], jobs: dict[str, int]
) -> None:
    rated.study["devices"] = {**rated.study["devices"], "pi": {**PI, **edit}}
    assert rated.planned() == {**jobs, **TO_THE_REPORT}


def test_an_edit_of_what_times_types_times_them_anew(rated: Done) -> None:
    rated.edit("src/llmpi/device/measure/products.py")
    rates = {"ask_for_rates": 1, "measure_rates": 1}
    assert rated.planned() == {**rates, **OF_ITS_FILE, **TO_THE_REPORT}
    rated.finish()
    rated.study["runtimes"] = {"default": {"repack": False}}
    jobs = {**rates, **OF_ITS_FILE, "benchmark_device": 4}
    assert rated.planned() == {**jobs, **TO_THE_REPORT}
