"""Quality with a real model: the engine against a plain loop, breaks, broken variants, the DAG."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gguf_damage import swap_halves
from held import Hold
from support import ROOT, planned_jobs

from llmpi.engine.chat.format import ChatFormat
from llmpi.engine.llama import Engine, Settings
from llmpi.quality.ab.records import Key
from llmpi.quality.batching.answer import block_name
from llmpi.quality.by_default import BY_DEFAULT
from llmpi.quality.divergence.corpus import load_corpus
from llmpi.quality.divergence.evaluate import divergence, reference
from llmpi.quality.squad.comparisons import comparisons
from llmpi.quality.squad.descent import Step
from llmpi.quality.squad.evaluate import evaluate
from llmpi.quality.squad.metric import parse
from llmpi.quality.squad.prompt import messages
from llmpi.quality.squad.questions import prepare
from llmpi.records import read, sha256_of
from llmpi.study.fields import TextSource
from llmpi.study.runs import Scored
from llmpi.study.tasks.squad import SquadTask

MODEL = "results/gguf/smollm2-135m"
SETTINGS = {
    "computation": BY_DEFAULT,
    "max_new_tokens": 16,
    "thinking_tokens": None,
    "context_tokens": 4096,
    "examples": 4,
    "prompt": 1,
    "language": "en",
    "block_questions": None,
}


@pytest.fixture(scope="module")
def questions() -> dict[str, Any]:
    file = str(ROOT / "config/data/field_qa.json")
    return prepare(SquadTask(task="squad", squad_file=file, questions=60), Path())


@pytest.fixture(scope="module")
def records(finished, questions, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """F16, and an F16 in which ten layers lost their order."""
    store = tmp_path_factory.mktemp("blocks")
    files = {"F16": finished.folder / MODEL / "F16.gguf", "broken": store / "broken.gguf"}
    shutil.copyfile(files["F16"], files["broken"])
    for layer in range(4, 14):
        swap_halves(files["broken"], f"blk.{layer}.ffn_down.weight")
    found = {}
    for name, gguf in files.items():
        manifest = made(gguf)
        record = evaluate(gguf, manifest, questions, SETTINGS, threads=2, store=store)
        found[name] = {**record, "manifest": manifest, "gguf": gguf}
    return found


def made(gguf: Path) -> dict[str, str]:
    """What scoring asks of a manifest."""
    return {"status": "ok", "sha256": sha256_of(gguf), "gguf": str(gguf)}


def test_f16_answers_are_the_loops(records, questions) -> None:
    """One prompt after the other, one token after the other, of every third paragraph: at most one
    answer differs, by a tie of two tokens."""
    items = {item["id"]: item for item in records["F16"]["items"]}
    assert len(items) == 60
    asked, other = 0, []
    with Engine(records["F16"]["gguf"], Settings(threads=2), context_tokens=2048) as engine:
        bos, eos = engine.special_texts()
        chat = ChatFormat(engine.chat_template(), bos_token=bos, eos_token=eos)
        for paragraph in parse(questions["squad"], "field")[::3]:
            for question in paragraph.questions:
                turns = messages(paragraph.context, question.question, SETTINGS["examples"])
                text = engine.text(greedy(engine, engine.tokenize(chat.render(turns).text), 16))
                asked += 1
                other += [question.id] if text != items[question.id]["answer"] else []
    assert asked == 20
    assert len(other) <= 1


def greedy(engine: Engine, prompt: list[int], limit: int) -> list[int]:
    engine.keep(0)
    engine.decode(prompt)
    tokens: list[int] = []
    while not engine.is_end(token := engine.greedy()):
        tokens.append(token)
        if len(tokens) == limit:
            break
        engine.decode([token])
    return tokens


@pytest.mark.fault("a scoring killed half way", by="hash: the answers of a run that was not")
def test_killed_half_way_the_same_bytes_come_out(finished, hold: Hold, tmp_path: Path) -> None:
    """Three blocks; the second run is killed as it ends the second, and a third one goes on."""
    document = json.loads((ROOT / "config/data/field_qa.json").read_text())
    paragraphs = parse(document, "field")[:6]
    blocks = [
        [
            [
                {"messages": messages(p.context, q.question, 1), "continuation": "unanswerable"}
                for q in p.questions
            ]
            for p in paragraphs[i : i + 2]
        ]
        for i in (0, 2, 4)
    ]
    settings = {
        "computation": BY_DEFAULT,
        "thinking_tokens": None,
        "max_new_tokens": 16,
        "context_tokens": 2048,
    }
    job = {
        "gguf": str(finished.folder / MODEL / "Q4_0.gguf"),
        "blocks": blocks,
        "settings": settings,
        "threads": 2,
        "company": {"one_at_a_time": None},
        "company_file": str(tmp_path / "company"),
    }

    def start(folder: str, first: int) -> subprocess.Popen[bytes]:
        path = tmp_path / f"{folder}{first}.json"
        path.write_text(
            json.dumps(
                {
                    **job,
                    "folder": str(tmp_path / folder),
                    "first": first,
                    "last": 3,
                }
            )
        )
        module = "llmpi.quality.batching.answer"
        command = [sys.executable, "-m", module, str(path), str(tmp_path / "out")]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=hold.env_here)

    assert start("whole", 0).wait() == 0
    names = [block_name(block) for block in blocks]
    with hold.at(named=names[1]):
        process = start("broken", 0)
        hold.wait(lambda: process.poll() is None)
        process.kill()
        process.wait()
    assert [path.name for path in (tmp_path / "broken").glob("*/*.json")] == names[:1]
    assert start("broken", 1).wait() == 0
    for name in names:
        [broken], [whole] = (tmp_path.glob(f"{run}/*/{name}") for run in ("broken", "whole"))
        assert broken.read_bytes() == whole.read_bytes()


def test_a_broken_variant_is_called_broken_by_every_metric(
    records, finished, tmp_path: Path
) -> None:
    whole, broken = records["F16"], records["broken"]
    assert whole["status"] == broken["status"] == "ok"
    for metric in ("exact", "f1", "has_ans_f1"):
        lost = broken["summary"]["metrics"][metric]["pct"]
        assert lost < 0.5 * whole["summary"]["metrics"][metric]["pct"], metric
    scores = {Scored("m", "F16"): whole, Scored("m", "Q2_K"): broken}
    [compared] = comparisons({"m": ["F16", "Q2_K"]}, {"qa": scores})
    assert compared["verdict"] == "worse"
    assert compared["mcnemar"]["p"] < 0.05
    settings = {"task": "qa", "metric": "f1", "margin_pct": 5.0, "alpha": 0.05}
    step = Step(settings, whole, {"F16": {**whole, "descent": None}})
    assert step.verdict(broken["items"])["decision"] != "holds"
    corpus = load_corpus(TextSource(python_topics=True), Path())
    window = {"window_tokens": 256, "chunks": 3, "max_bytes": 1 << 30}
    rows = tmp_path / "rows"
    base = reference(
        whole["gguf"],
        whole["manifest"],
        corpus,
        window,
        out=rows,
        partial=tmp_path / "r",
        threads=2,
    )
    far = divergence(
        broken["gguf"], broken["manifest"], rows, base, partial=tmp_path / "b", threads=2
    )["summary"]
    q4_0 = finished.folder / MODEL / "Q4_0.gguf"
    near = divergence(q4_0, made(q4_0), rows, base, partial=tmp_path / "q", threads=2)["summary"]
    assert far["kld_mean_nats"]["value"] > 3 * near["kld_mean_nats"]["value"]
    assert far["perplexity_ratio"]["value"] > 2 * near["perplexity_ratio"]["value"]
    assert far["top1_agreement_pct"]["value"] < near["top1_agreement_pct"]["value"]


@pytest.fixture(scope="module")
def study(finished, tmp_path_factory: pytest.TempPathFactory):
    """Everything at once: a descent, a divergence, one's own prompts."""
    work = finished.clone(tmp_path_factory.mktemp("quality") / "work")
    data = work.folder / "config/data"
    lines = (data / "field_prompts.jsonl").read_text().splitlines()
    (data / "few.jsonl").write_text("\n".join(lines[:6]) + "\n")
    work.config |= {"study": "quality", "quants": ["F16", "Q8_0", "Q4_0"]}
    work.config["quality"] = {
        "field": {**work.config["quality"]["field"], "questions": 60},
        "topics": {"task": "divergence", "python_topics": True, "window_tokens": 128, "chunks": 8},
        "own": {"task": "ab", "prompts": "config/data/few.jsonl", "max_new_tokens": 24},
    }
    work.config["descent"] = {"task": "field", "metric": "exact", "margin_pct": 5}
    work.write().snakemake()
    return work


def test_the_descent_stops_at_the_first_width_that_is_not_shown_to_hold(study) -> None:
    """So few passages cannot show 5 points: the step says so, and what is below is skipped."""
    q8 = study.json("quality/quality/smollm2-135m/Q8_0/f16/field.json")
    assert q8["status"] == "ok"
    assert q8["descent"]["decision"] in ("undecided", "fails")
    assert q8["descent"]["paragraphs"] < q8["descent"]["paragraphs_needed"]
    q4 = study.json("quality/quality/smollm2-135m/Q4_0/f16/field.json")
    assert (q4["status"], q4["stage"]) == ("skipped", "quality")
    assert [obstacle["variant"] for obstacle in q4["obstacles"]] == ["Q8_0"]
    page = (study.folder / "results/report/quality/index.html").read_text()
    assert "How low can it go?" in page
    assert "quantization-aware training" in page


def test_a_wider_margin_goes_on_from_the_blocks_already_scored(study, tmp_path: Path) -> None:
    work = study.clone(tmp_path / "work")
    work.config["descent"]["margin_pct"] = 40
    before = {path: path.stat().st_mtime_ns for path in blocks_of(work.folder, "Q8_0")}
    work.write().snakemake("--", "scored")
    after = {path: path.stat().st_mtime_ns for path in blocks_of(work.folder, "Q8_0")}
    assert before.items() <= after.items(), "none was asked again"
    q8 = work.json("quality/quality/smollm2-135m/Q8_0/f16/field.json")
    assert q8["descent"]["decision"] == "holds"
    assert work.json("quality/quality/smollm2-135m/Q4_0/f16/field.json")["status"] == "ok"


def test_more_questions_go_on_from_the_blocks_already_scored(study, tmp_path: Path) -> None:
    work = study.clone(tmp_path / "work")
    record = "quality/quality/smollm2-135m/F16/f16/field.json"

    def scored(questions: int) -> tuple[list[Path], list[dict]]:
        work.config["quality"]["field"] |= {"questions": questions, "block_questions": 10}
        work.write().snakemake("--", f"results/{record}")
        return blocks_of(work.folder, "F16"), work.json(record)["items"]

    few, first = scored(20)
    more, items = scored(30)
    assert len(items) == 30
    again = len({*more} - {*few})
    assert again <= 3, "a start, what was cut off at the end, and what is new"
    assert items[:10] == first[:10]


def blocks_of(folder: Path, quant: str) -> list[Path]:
    return sorted((folder / "results/blocks/smollm2-135m" / quant).rglob("*.json"))


def test_divergence_and_pairs_are_in_the_report(study) -> None:
    topics = {row["quant"]: row["quality"]["topics"] for row in study.summary()}
    assert topics["F16"]["kld_mean_nats"] == pytest.approx(0, abs=1e-4)
    assert 0 < topics["Q8_0"]["kld_mean_nats"] < topics["Q4_0"]["kld_mean_nats"]
    assert topics["Q8_0"]["top1_agreement_pct"] > topics["Q4_0"]["top1_agreement_pct"]
    folder = study.folder / "results/ab/quality/own"
    pairs = sorted(path.name for path in folder.glob("*.html"))
    assert pairs == [f"smollm2-135m,F16,vs,smollm2-135m,{q}.html" for q in ("Q4_0", "Q8_0")]
    page = (study.folder / "results/report/quality/index.html").read_text()
    assert "own: A smollm2-135m/F16, B smollm2-135m/Q8_0" in page
    assert "Kullback-Leibler" in page


def test_a_saved_judgement_is_read_back(study, tmp_path: Path) -> None:
    work = study.clone(tmp_path / "work")
    pair = "smollm2-135m,F16,vs,smollm2-135m,Q4_0"
    key = read(work.folder / f"results/ab/quality/own/{pair}.key.json", Key)
    asked = [name for name, sides in key["prompts"].items() if sides["left"]]
    saved = {"sheet": key["sheet"], "judge": "Ada", "judgements": []}
    saved["judgements"] = [{"id": name, "verdict": "left"} for name in asked]
    (work.folder / "judged").mkdir()
    (work.folder / "judged/ada.json").write_text(json.dumps(saved))
    work.config["quality"]["own"]["judgements"] = "judged"
    work.write()
    jobs = planned_jobs("--configfile", "config/study.yaml", cwd=work.folder)
    assert jobs == {"compare_pair": 2, "summarize": 1, "recommend": 1, "memo": 1, "report": 1}
    work.snakemake()
    [judged] = work.json(f"ab/quality/own/{pair}.json")["judged"]
    assert judged["judge"] == "Ada"
    assert judged["all"]["a_better"] + judged["all"]["b_better"] == len(asked)
    page = (work.folder / "results/report/quality/index.html").read_text()
    assert "Judged blindly by Ada" in page
