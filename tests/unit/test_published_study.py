"""Published files in a study: variants by their own names, the widest first."""

import itertools
import json
from pathlib import Path
from typing import Any

import made_records
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi import layout
from llmpi.cli import hub_sources
from llmpi.gguf.records import Contents
from llmpi.models.unsuited import chats_without_template
from llmpi.quant_types import is_published, is_trained, wants_imatrix
from llmpi.records import write_json
from llmpi.sources_lock import Lock
from llmpi.study import inputs, settings
from llmpi.study.file import ConfigError, parse_study
from llmpi.study.locked import as_locked
from llmpi.study.models import HubSource, variant_of
from llmpi.study.runs import Scored, by_width, next_wider, variants
from llmpi.study.study import Study

FILES = [
    "gemma-BF16-00001-of-00002.gguf",
    "sub/gemma-UD-Q4_K_XL.gguf",
    "gemma qat+imatrix-qat.gguf",
]
NAMES = [
    f"as-published.{name}" for name in ("gemma-BF16", "gemma-UD-Q4_K_XL", "gemma-qat-imatrix-qat")
]


def study(source: dict[str, Any], quants: list[str], **more: Any) -> Study:
    return parse_study(
        {
            "study": "s",
            "models": {"m": {"source": source}},
            "quants": quants,
            "devices": {"here": {"transport": "local"}},
            "workloads": {"chat": {"prompt_tokens": 16, "output_tokens": 8}},
            **more,
        },
        [],
    )


HUB = {"hub": "acme/gemma-GGUF", "files": FILES}
BESIDE = {"checkpoint": {"hub": "google/gemma"}}


def test_each_file_is_a_variant_of_its_name() -> None:
    found = study(HUB, ["Q4_0", "as-published", "F16"])
    assert [v.quant for v in variants(found)] == ["Q4_0", *NAMES, "F16"]
    assert by_width(found, "m") == [*NAMES, "F16", "Q4_0"]
    assert not any(is_trained(name) or wants_imatrix(name) for name in NAMES)


def test_one_file_is_the_variant_as_published() -> None:
    found = study({"hub": "acme/gemma-GGUF", "file": FILES[1]}, ["as-published", "Q4_0"])
    assert by_width(found, "m") == ["as-published", "Q4_0"]


def test_some_of_the_files() -> None:
    found = study(HUB, [NAMES[1], "Q4_0"])
    assert by_width(found, "m") == [NAMES[1], "Q4_0"]


def test_a_descent_goes_down_what_is_made_here() -> None:
    quality = {"field": {"task": "squad", "hub": "acme/qa"}}
    found = study(
        HUB,
        ["as-published", "Q8_0", "Q4_0"],
        quality=quality,
        descent={"task": "field", "margin_pct": 5},
    )
    assert next_wider(found, "m", "Q8_0") == [NAMES[0]]
    assert next_wider(found, "m", "Q4_0") == ["Q8_0"]
    for name in NAMES:
        assert inputs.reference(found, Scored("m", name), "field") == []
        assert inputs.wider(found, Scored("m", name), "field") == []
    assert inputs.reference(found, Scored("m", "Q8_0"), "field") == [
        f"results/quality/s/m/{NAMES[0]}/f16/field.json"
    ]


@pytest.mark.parametrize(
    ("source", "quants", "problem"),
    [
        ({"hub": "a/b"}, ["as-published"], "the source of m names no GGUF file that could be"),
        (HUB, ["Q4_0"], "m has 'files', and none is a variant: add as-published to its quants"),
        (HUB, ["as-published.gemma"], "no published file 'as-published.gemma' under 'models.m.sou"),
        ({**HUB, "file": "a.gguf"}, ["as-published"], "'file' names one file, 'files' several"),
        ({"hub": "a/b", "files": ["x/a.gguf", "y/a.gguf"]}, ["as-published"],
         "'x/a.gguf' and 'y/a.gguf' would both be the variant as-published.a"),
        ({"hub": "a/b", "file": "a.safetensors"}, ["Q4_0"], "'a.safetensors' is no GGUF file"),
        ({"hub": "a/b", "file": "x/a-00002-of-00003.gguf"}, ["Q4_0"],
         "is a later part of a GGUF file in several: name the first, a-00001-of-00003.gguf"),
        ({"hub": "a/b", "file": "a-00001-of-00003.gguf", "sha256": "0" * 64}, ["Q4_0"],
         "'sha256' goes with a 'file' in one part"),
        ({"path": ".", "files": ["a.gguf"], "sha256": "0" * 64}, ["as-published"],
         "'sha256' is that of one file, not of 'files'"),
        ({**HUB, **BESIDE}, ["as-published", "Q4_0"],
         "m has a 'checkpoint' that its published files are held against, and no variant is made "
         "of it in full: add F16 to its quants"),
        ({"hub": "a/b", "file": "a.gguf", **BESIDE}, ["F16"],
         "m has 'checkpoint', and none is a variant: add as-published to its quants"),
        ({"hub": "a/b", **BESIDE}, ["F16"],
         "'checkpoint' stands beside published GGUF files, and none is named: name them"),
        ({"path": ".", **BESIDE}, ["F16"],
         "'checkpoint' stands beside published GGUF files, and none is named: name them"),
        ({**HUB, "checkpoint": {"path": "/nowhere"}}, ["F16", "as-published"],
         "models.m.source.checkpoint.path: there is no file or folder '/nowhere'"),
        ({**HUB, "checkpoint": {"hub": "a/b", "file": "a.gguf"}}, ["F16", "as-published"],
         "models.m.source.checkpoint.file: unknown key"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(source: dict[str, Any], quants: list[str], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        study(source, quants)
    assert any(problem in one for one in error.value.problems), error.value.problems


names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40)


@given(names.map(lambda name: name.replace("/", "")).filter(bool))
def test_a_variants_name_is_safe_in_files_and_wildcards(name: str) -> None:
    variant = variant_of(f"folder/{name}.gguf")
    assert is_published(variant)
    assert Path(variant).name == variant
    assert not set(variant) & set("/\\ {}*?[]'\"$&|;<>:\t\n")
    assert variant.isascii()


def test_widest_of_a_study_is_the_first_file_in_any_order() -> None:
    for quants in itertools.permutations(["as-published", "F32", "Q4_0"]):
        assert by_width(study(HUB, [*quants]), "m")[0] == NAMES[0]


# --- beside the checkpoint that they were made of -------------------------------------------------


def test_a_checkpoint_beside_files_is_their_reference() -> None:
    for quants in itertools.permutations(["as-published", "F16", "Q4_0"]):
        assert by_width(study({**HUB, **BESIDE}, [*quants]), "m") == ["F16", *NAMES, "Q4_0"]


def test_a_descent_of_files_beside_a_checkpoint_goes_down_from_it() -> None:
    quality = {"field": {"task": "squad", "hub": "acme/qa"}}
    found = study(
        {**HUB, **BESIDE},
        ["as-published", "F16", "Q8_0"],
        quality=quality,
        descent={"task": "field", "margin_pct": 5},
    )
    assert next_wider(found, "m", "Q8_0") == ["F16"]
    assert inputs.reference(found, Scored("m", NAMES[0]), "field") == []
    assert inputs.reference(found, Scored("m", "F16"), "field") == []


def test_files_and_their_checkpoint_are_locked_both(tmp_path: Path) -> None:
    found = study({**HUB, **BESIDE}, ["as-published", "F16"])
    repos = [("model", "acme/gemma-GGUF", "main"), ("model", "google/gemma", "main")]
    assert hub_sources(found) == repos
    commits: Lock = {
        f"model {repo}@main": {"commit": f"{i}" * 40, "resolved": "now", "moves": i + 1}
        for i, (_, repo, _) in enumerate(repos)
    }
    fixed = as_locked(found, commits).models["m"]
    assert [s.revision for s in fixed.sources if isinstance(s, HubSource)] == ["0" * 40, "1" * 40]
    lock = tmp_path / "sources.lock.yaml"
    lock.write_text(json.dumps(commits))
    spec = settings.model(found, "m", lock)
    assert spec["moves"] == 3
    assert spec["lock"]
    pinned = {"checkpoint": {"hub": "google/gemma", "revision": "1" * 40}}
    spec = settings.model(
        study({**HUB, "revision": "0" * 40, **BESIDE}, ["as-published", "F16"]), "m", lock
    )
    assert (bool(spec["lock"]), spec["moves"]) == (True, 2)
    spec = settings.model(
        study({**HUB, "revision": "0" * 40, **pinned}, ["as-published", "F16"]), "m", lock
    )
    assert (spec["lock"], spec["moves"]) == ("", 0)


def test_a_checkpoint_of_this_machine_is_watched(tmp_path: Path) -> None:
    beside = {"checkpoint": {"path": str(tmp_path)}}
    found = study({**HUB, **beside}, ["as-published", "F16"])
    assert inputs.fetched_from(found, "m") == [str(tmp_path)]
    assert inputs.fetched_from(study(HUB, ["as-published"]), "m") == []


# --- a base model that is asked chats -------------------------------------------------------------

OWN = {"own": {"task": "ab", "prompts": "prompts.jsonl"}}
FIELD = {"field": {"task": "squad", "hub": "acme/qa"}}


@pytest.mark.parametrize(
    ("template", "quality", "told"), [(False, OWN, 1), (False, FIELD, 0), (True, OWN, 0)]
)
def test_a_base_model_is_told_where_it_is_asked_chats(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    template: bool,
    quality: dict[str, Any],
    told: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.jsonl").write_text('{"id": "1", "prompt": "Hello"}\n')
    asked = study({"hub": "a/b", "file": "a.gguf"}, ["as-published"], quality=quality)
    assert chats_without_template(asked) == [], "nothing is known yet"
    contents = {key: made_records.gguf("Q4_0")[key] for key in Contents.__annotations__}
    found = {
        **made_records.model(),
        "ggufs": [{"files": ["a.gguf"], "contents": {**contents, "chat_template": template}}],
    }
    manifest = Path(layout.at(layout.MODEL_MANIFEST, model="m"))
    manifest.parent.mkdir(parents=True)
    write_json(manifest, found)
    lines = chats_without_template(asked)
    assert len(lines) == told
    for line in lines:
        assert line.startswith(
            "models.m has no chat template, as base models have none, and is asked chats: "
            "quality.own (ab). Take the model that was trained for them"
        )


def test_a_file_that_is_named_twice_is_one_variant() -> None:
    made = study({"hub": "a/b", "files": FILES}, ["as-published", NAMES[1], "Q4_0"])
    assert made.quants_of("m") == [*NAMES, "Q4_0"]
    assert len(variants(made)) == 4


def test_of_a_model_that_is_only_published_no_f16_is_made() -> None:
    source = {"hub": "a/b", "files": FILES}
    assert not inputs.needs_base(study(source, ["as-published"]), "m")
    assert inputs.needs_base(study(source, ["as-published", "Q4_0"]), "m")
    text = {"text": {"task": "divergence", "text_file": __file__}}
    assert inputs.needs_base(study(source, ["as-published"], quality=text), "m")


def test_a_record_of_another_llmpi_is_no_reason_against_a_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    manifest = Path(layout.at(layout.MODEL_MANIFEST, model="m"))
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"status": "ok", "gguf": "m.gguf"}')
    Path("p.jsonl").write_text('{"prompt": "Hi"}')
    asks = {"own": {"task": "ab", "prompts": "p.jsonl"}}
    assert chats_without_template(study({"hub": "a/b"}, ["Q4_0"], quality=asks)) == []
