"""One block that learns says beforehand what learning in all of them takes and brings."""

from pathlib import Path

import made_records as made
import pytest
from tiny_llama import tiny_llama
from tiny_training import corpus_in, manifest_of

from llmpi import cli, layout
from llmpi.errors import LlmpiError
from llmpi.plan.brings import kept_probe, probe_all
from llmpi.plan.model_facts import variants_of
from llmpi.plan.plan import plan, totals
from llmpi.quality.divergence.records import Corpus
from llmpi.records import sha256_of, write_json
from llmpi.study.file import load_study
from llmpi.study.runs import Variant
from llmpi.study.study import Study
from llmpi.study.training import Rounding, Training
from llmpi.train.probe.make import probe_block

STUDY = """
study: s
models: {m: {source: {path: tiny.gguf}}}
quants: [F16, Q4_0, Q2_0+round, Q4_0-qat, MIX-5bpw]
devices: {pi: {transport: ssh, host: pi.local, preset: pi5-8gb}}
workloads: {chat: {prompt_tokens: 8, output_tokens: 8}}
calibration: {text: {text_file: text.txt}}
rounding: {steps: 40}
qat: {text: {text_file: text.txt}, training: {steps: 20, sequence_tokens: 32}}
"""
LEARNED = [Variant("m", "Q2_0+round"), Variant("m", "Q4_0-qat")]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return corpus_in(tmp_path)


@pytest.fixture
def study(tmp_path: Path, corpus: Corpus) -> Study:
    """Of which neither the F16 nor a text is made yet."""
    tiny_llama(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)
    return load_study(tmp_path / "study.yaml")


def make_base_and_texts(study: Study, corpus: Corpus) -> None:
    """As rules make them."""
    base = Path(layout.at(layout.BASE_GGUF, model="m"))
    base.parent.mkdir(parents=True)
    base.write_bytes(Path("tiny.gguf").read_bytes())
    sound = {**made.gguf("F16"), "sha256": sha256_of(base)}
    write_json(Path(layout.at(layout.BASE_MANIFEST, model="m")), sound)
    for use in ("qat", "calibration"):
        write_json(Path(layout.at(layout.CORPUS, study=study.study, task=use)), corpus)


@pytest.mark.parametrize(
    ("quant", "settings"),
    [
        ("Q2_0+round", Rounding(steps=40)),
        ("Q4_0+round+imatrix", Rounding(steps=5)),
        ("Q4_0-qat", Training(steps=20, sequence_tokens=32)),
        ("Q4_0-qat", Training(steps=2, sequence_tokens=32, bf16=False)),
    ],
)
def test_a_block_learns(
    tmp_path: Path, corpus: Corpus, quant: str, settings: Training | Rounding
) -> None:
    base, folder = tiny_llama(tmp_path), tmp_path / "probe"
    found = probe_block(
        base,
        manifest_of(base),
        quant=quant,
        settings=settings,
        text=corpus["text"],
        folder=folder,
    )
    assert found["status"] == "ok"
    assert (found["block"], found["blocks"]) == (1, 2)
    assert 0 < found["kept"] <= found["plain"] < 1
    if quant == "Q2_0+round":
        assert found["kept"] < 0.7 * found["plain"], "its own quantizer wastes Q2_0"
    assert found["seconds"] > 0 and not folder.exists()


def test_a_text_that_is_too_short_is_told(tmp_path: Path, corpus: Corpus) -> None:
    base = tiny_llama(tmp_path)
    with pytest.raises(LlmpiError, match="take a longer text"):
        probe_block(
            base,
            manifest_of(base),
            quant="Q4_0+round",
            settings=Rounding(),
            text="the thin",
            folder=tmp_path / "probe",
        )


def test_the_plan_says_what_a_probe_has_shown(
    study: Study, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {one.quant: one for one in totals(study, plan(study)).brings}
    assert before.keys() == {"Q2_0+round", "Q4_0-qat", "MIX-5bpw"}
    assert {one.basis for one in before.values()} == {"usual"}
    assert cli.main(["plan", "--configfile", "study.yaml", "--probe"]) == 0
    told = capsys.readouterr()
    wanted = "m Q4_0-qat: no probe: it wants results/gguf/m/F16.gguf and results/corpora/s/qat.json"
    assert wanted in told.err
    assert "`llmpi plan --probe` tells it" in told.out

    make_base_and_texts(study, corpus)
    assert cli.main(["plan", "--configfile", "study.yaml", "--probe"]) == 0
    assert "a block shows" in capsys.readouterr().out
    probes = {variant: kept_probe(study, variant) for variant in LEARNED}
    after = {one.quant: one for one in totals(study, plan(study)).brings}
    for (_, quant), probe in probes.items():
        assert probe
        share = 1 - probe["kept"] / probe["plain"]
        found = after[quant]
        assert found.basis == "probe"
        assert found.wins_back.low <= share <= found.wins_back.high <= 1
        assert found.seconds.likely >= 2 * probe["seconds"]
    assert after["MIX-5bpw"].basis == "usual"
    assert list(probe_all(study, variants_of(study))) == [], "none is made again"


def test_a_probe_of_other_settings_is_none(study: Study, corpus: Corpus) -> None:
    make_base_and_texts(study, corpus)
    rounded = {LEARNED[0]: "known"}
    assert list(probe_all(study, rounded)) == []
    assert kept_probe(study, LEARNED[0])
    other = study.model_copy(update={"rounding": Rounding(steps=41)})
    assert kept_probe(other, LEARNED[0]) is None
    text = {**corpus, "text": corpus["text"] * 2}
    write_json(Path(layout.at(layout.CORPUS, study="s", task="calibration")), text)
    assert kept_probe(study, LEARNED[0]) is None
