"""A study as one file: the same for the same study; whatever was changed in it is named."""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
import small_results
import yaml
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from made_crate import describe_again, exported, given, packed, sealed, write_small
from made_http import ENDPOINT, write_endpoint
from made_records import HASH, conversation, conversation_cell, gguf, session, talk, write
from made_service import answered, bench, carried, failed

from llmpi import cli, layout
from llmpi.crate import recompute
from llmpi.crate.archive import CrateError, names_in, unpack
from llmpi.crate.contents import MANIFEST, METADATA
from llmpi.crate.records import Manifest
from llmpi.crate.verify import opened, verify
from llmpi.errors import LlmpiError
from llmpi.records import check, sha256_of

BENCH = "results/bench/s/pi/m/F16/default.json"
SUMMARY = layout.at(layout.SUMMARY_JSON, study="s")
DECISION = layout.at(layout.RECOMMENDATION, study="s")
REQUIREMENTS = layout.at(layout.REQUIREMENTS, study="s")
TABLE = layout.at(layout.SUMMARY_CSV, study="s")
PAGE = layout.at(layout.PAGE, study="s")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished study and its file, s.crate.zip."""
    folder = tmp_path_factory.mktemp("study")
    with chdir(folder):
        write_small()
        exported()
    return folder


@pytest.fixture
def there(made: Path) -> Iterator[Path]:
    """The same as the working directory."""
    with chdir(made):
        yield made


@pytest.fixture
def bare(made: Path, tmp_path: Path) -> Path:
    """Its file, unpacked into a folder to be changed."""
    unpack(made / "s.crate.zip", tmp_path / "bare")
    return tmp_path / "bare"


def refused(folder: Path) -> str:
    """What is said of the files of a folder as an archive."""
    archive = packed(folder, folder.parent / "changed.zip")
    with pytest.raises(CrateError) as found:
        verify(archive)
    archive.unlink()
    text = str(found.value)
    assert all(line.startswith(f"{archive}: ") for line in text.splitlines())
    return text.replace(f"{archive}: ", "")


def edited(path: Path, change: Any) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


# --- export ---------------------------------------------------------------------------------------


def test_the_same_study_gives_the_same_bytes(there: Path) -> None:
    again = exported("again.zip")
    assert again.read_bytes() == Path("s.crate.zip").read_bytes()
    again.unlink()


def test_it_is_sound(there: Path) -> None:
    manifest = verify(Path("s.crate.zip"))
    assert (manifest["study"], manifest["redacted"]) == ("s", False)


def test_what_is_in_it_is_what_is_in_results(made: Path, bare: Path) -> None:
    for name in (BENCH, SUMMARY, DECISION, REQUIREMENTS, TABLE, PAGE):
        assert (bare / name).read_bytes() == (made / name).read_bytes()


def test_what_a_service_carries_goes_with_it_and_can_be_redacted(tmp_path: Path) -> None:
    device = {"transport": "ssh", "host": "kitchen.example.com", "store": "/mnt/ada/llmpi"}
    service = {"variant": {"model": "m", "quant": "F16"}}
    record = layout.at(layout.SERVICE, study="s", device="far")
    with chdir(tmp_path):
        said = "kitchen.example.com broke off"
        found = bench([carried([answered(0.0), failed(1.0, said)])], device="far")
        devices = {"pi": {"transport": "local"}, "far": device}
        config = given(devices=devices, service=service, exclude=[{"device": "far"}])
        write_small(config, also=lambda: write(layout.SERVICE, found, study="s", device="far"))
        assert "… broke off" in Path(PAGE).read_text()
        verify(exported("open.zip"))
        verify(exported("redacted.zip", redact=True))
        for name in ("open", "redacted"):
            unpack(Path(f"{name}.zip"), Path(name))
        assert (Path("open") / record).read_bytes() == Path(record).read_bytes()
        for name in (record, PAGE):
            assert "kitchen" not in (Path("redacted") / name).read_text()
        edited(Path("open") / record, lambda content: content["loads"][0].update(others=9))
        describe_again(Path("open"))
        assert f"{PAGE}: character" in refused(Path("open").resolve())


def test_others_read_it_as_a_crate(bare: Path) -> None:
    graph = json.loads((bare / METADATA).read_bytes())["@graph"]
    by_id = {entity["@id"]: entity for entity in graph}
    assert len(by_id) == len(graph)
    assert by_id[METADATA]["about"] == {"@id": "./"}
    assert {"name", "description", "datePublished", "license"} <= by_id["./"].keys()
    files = {part["@id"] for part in by_id["./"]["hasPart"]}
    assert files | {METADATA} == {
        path.relative_to(bare).as_posix() for path in bare.rglob("*") if path.is_file()
    }
    assert all(by_id[name]["@type"] == "File" and by_id[name]["sha256"] for name in files)
    referred = re.findall(r'"@id": "([^"]+)"', json.dumps(graph))
    assert {name for name in referred if not name.startswith("https:")} <= by_id.keys()


def test_what_it_does_not_hold_is_named(bare: Path) -> None:
    manifest = check((bare / MANIFEST).read_bytes(), Manifest, MANIFEST)
    named = {(one["what"], one["name"]): one for one in manifest["not_held"]}
    assert named["model", "m: model.safetensors"]["sha256"]
    assert named["variant", "m Q4_0"]["sha256"]
    assert named["data", "qa"]["source"] == "files: models/qa.json"
    assert named["data", "qa"]["sha256"]


def test_nothing_that_is_there_is_overwritten(there: Path) -> None:
    with pytest.raises(CrateError, match=r"there is such a file; name another with --out"):
        exported()


def test_a_study_that_is_not_finished_is_none(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    with chdir(tmp_path / "copy"):
        Path(BENCH).unlink()
        with pytest.raises(CrateError, match=rf"{BENCH}: there is no such file: the study is not"):
            exported("x.zip")
        assert not Path("x.zip").exists()


def test_a_report_that_is_older_than_its_records_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    with chdir(tmp_path / "copy"):
        edited(Path(BENCH), slower)
        with pytest.raises(
            CrateError, match=r"summary.json: rows.0.*\n.*\n?.*run snakemake"
        ) as said:
            exported("x.zip")
        assert "rows.0.pp_tps: says" in str(said.value)


def test_a_report_of_another_version_is_named_as_it_lies_there(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    with chdir(tmp_path / "copy"):
        edited(Path(SUMMARY), lambda s: s.pop("curves"))
        with pytest.raises(LlmpiError, match=rf"^{SUMMARY}: curves: Field required"):
            exported("x.zip")


def slower(bench: Any) -> None:
    for repetition in bench["workloads"]["chat"]["repetitions"]:
        repetition["pp_s"] *= 1.5
        repetition["ttft_s"] += 1


@pytest.mark.parametrize("redact", [False, True])
def test_a_study_with_an_endpoint_and_talks_is_one(tmp_path: Path, redact: bool) -> None:
    """Every kind of record that a study may have, a mix's among them."""
    url = "http://oracle.lab.example:8080/v1"
    endpoint = {**ENDPOINT, "url": url, "serves": [{"model": "m", "quant": "F16", "name": "m"}]}
    talk = {"kind": "conversation", "prompt_tokens": 100, "output_tokens": 4, "prefix": ["kept"]}
    chat = {"prompt_tokens": 100, "output_tokens": 4, "repetitions": 3}
    config = given(
        quants=["F16", "Q4_0", "MIX-4.5bpw"],
        runtimes={"default": {}, "server": {"endpoint": endpoint}},
        workloads={"chat": chat, "talk": {**talk, "turns": 2}},
        calibration={"text": {"python_topics": True}},
    )
    with chdir(tmp_path):
        study = write_small(config, also=write_others)
        archive = exported(redact=redact)
        assert verify(archive)["study"] == study.study
        with zipfile.ZipFile(archive) as held:
            names = {name.split("/")[1] for name in held.namelist() if "/" in name}
            texts = "".join(held.read(name).decode() for name in held.namelist())
    assert {"asked", "bench", "gguf", "quality"} <= names
    assert ("oracle" in texts) is not redact


def write_others() -> None:
    talked = conversation_cell(conversation(), {"kept": [talk([1.0, 0.5])]})
    talks = session({"chat": small_results.chat(), "talk": talked})
    write(layout.BENCH, talks, **small_results.CELL)
    write_endpoint()
    mix = {**small_results.CELL, "quant": "MIX-4.5bpw"}
    group = {"name": "attn_v, first", "tensors": 1, "type": "Q4_0", "bytes": 9, "loss_nats": 0.1}
    used = {
        **{"sha256": HASH, "corpus_sha256": HASH, "limit_bytes": 10, "taken_bytes": 9},
        **{"predicted_nats": 0.1, "kld_nats": 0.1, "expected_nats": 0.1, "probes": 8},
        "groups": [{**group, "wider": None, "narrower": None}],
    }
    write(layout.GGUF_MANIFEST, {**gguf("MIX-4.5bpw"), "mix": used}, **mix)
    write(layout.BENCH, talks, **mix)
    write(layout.QUALITY, small_results.quality(40.0), task="qa", **mix)


def test_a_crate_of_an_older_version_says_so(bare: Path) -> None:
    """Whatever of it is not understood any more."""
    for change in (
        lambda text: text + "was_once_a_key: 1\n",
        lambda text: text.replace("- Q4_0", "- Q2_K"),
    ):
        text = (bare / "config.yaml").read_text()
        (bare / "config.yaml").write_text(change(text))
        edited(bare / MANIFEST, lambda m: m.update(llmpi="0.0.1"))
        describe_again(bare)
        said = refused(bare)
        assert said.startswith("config.yaml: was_once_a_key: ") or "the config asks" in said
        assert "it was made with llmpi 0.0.1 (here " in said
        (bare / "config.yaml").write_text(text)


@pytest.mark.parametrize("more", [{"format": 2}, {"signed_by": "somebody"}])
def test_a_crate_of_a_newer_version_says_so(bare: Path, more: dict[str, object]) -> None:
    """Though its manifest is none that this version knows."""
    edited(bare / MANIFEST, lambda m: m.update(llmpi="99.0.0", **more))
    sealed(bare)
    said = refused(bare).splitlines()
    assert said[0].startswith(f"manifest.json: {next(iter(more))}: ")
    assert said[1].startswith("it was made with llmpi 99.0.0 (here ")


@pytest.mark.parametrize("depth", [900, 950, 960, 970, 980, 990, 1000, 100_000])
def test_a_record_that_is_nested_without_end_is_words(bare: Path, depth: int) -> None:
    """Its changed hash is told by its fields."""
    (bare / BENCH).write_text("[" * depth + "]" * depth)
    assert refused(bare).startswith(f"{BENCH}: ")


# --- any one changed digit ------------------------------------------------------------------------


@settings(max_examples=40)
@drawn(data=st.data())
def test_any_one_changed_digit_is_found(made: Path, data: st.DataObject) -> None:
    """And its file is named; of a record, the decision or the table its field, too."""
    folder = made / "digit"
    shutil.rmtree(folder, ignore_errors=True)
    unpack(made / "s.crate.zip", folder)
    names = names_in(folder)
    name = data.draw(st.sampled_from([n for n in names if re.search("[0-9]", texts(folder, n))]))
    text = texts(folder, name)
    places = [found.start() for found in re.finditer(r"[0-9]", text)]
    at = data.draw(st.sampled_from(places))
    digit = data.draw(st.sampled_from([d for d in "0123456789" if d != text[at]]))
    (folder / name).write_bytes((text[:at] + digit + text[at + 1 :]).encode())
    said = refused(folder)
    if name in (MANIFEST, METADATA):  # whichever of the two is believed
        assert MANIFEST in said or METADATA in said or any(other in said for other in names)
    else:
        assert said.startswith(f"{name}: ")
        assert name == PAGE or re.search(r": [\w.,@ -]+: changed since|cannot be read any", said)


def texts(folder: Path, name: str) -> str:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return file.read()


LEAVES = (SUMMARY, REQUIREMENTS, DECISION)
TAKEN = re.compile(r"predictions\.\d+\.(predicted|basis|board|reason)|provenance\.[lsn]")
"""What follows from no record."""


@settings(max_examples=8)
@drawn(data=st.data())
def test_a_number_that_does_not_follow_is_found_though_all_hashes_were_made_anew(
    made: Path, data: st.DataObject
) -> None:
    folder = made / "forged"
    shutil.rmtree(folder, ignore_errors=True)
    unpack(made / "s.crate.zip", folder)
    name = data.draw(st.sampled_from(LEAVES))
    content = json.loads((folder / name).read_bytes())
    places = [p for p in numbers(content) if not TAKEN.match(".".join(map(str, p)))]
    place = data.draw(st.sampled_from(places))
    holder = content
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] += data.draw(st.sampled_from([1, -1, 10]))
    (folder / name).write_text(json.dumps(content))
    describe_again(folder)
    said = refused(folder)
    assert said.startswith(f"{name}: {'.'.join(map(str, place))}: says "), said


def numbers(part: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(part, dict):
        for key, inner in part.items():
            yield from numbers(inner, (*place, key))
    elif isinstance(part, list):
        for at, inner in enumerate(part):
            yield from numbers(inner, (*place, at))
    elif isinstance(part, int | float) and not isinstance(part, bool):
        yield place


def test_a_measurement_that_was_forged_with_all_hashes_is_found_in_what_follows(bare: Path) -> None:
    edited(bare / BENCH, slower)
    describe_again(bare)
    assert f"{SUMMARY}: rows.0.pp_tps: says " in refused(bare)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (TABLE, "default", "defaulT", f"{TABLE}: runtime.0: says"),
        (PAGE, "<h1", "<h2", f"{PAGE}: character "),
    ],
)
def test_table_and_page_follow_from_the_summary(
    bare: Path, name: str, old: str, new: str, said: str
) -> None:
    text = (bare / name).read_text("utf-8")
    (bare / name).write_text(text.replace(old, new, 1), "utf-8")
    describe_again(bare)
    assert said in refused(bare)


def test_what_another_processor_rounds_otherwise_is_the_same() -> None:
    assert not list(recompute._table("a,b\r\n5,x\r\n", "a,b\r\n5.0,x\r\n"))
    assert not list(recompute._page('{"a":0.30000000000000004}', '{"a":0.3}'))
    [found] = recompute._page('{"a":0.31}', '{"a":0.3}')
    assert found.place == "character 5"
    assert list(recompute._page("<p>1</p>", "<p>1</p><p>"))


@pytest.mark.parametrize("digits", ["1234567890", "9007199254740993", "7" * 50, "7" * 5000])
def test_of_a_whole_number_no_digit_is_rounding(digits: str) -> None:
    """A size in bytes, or what stands between the letters of a hash."""
    other = f"{digits[:-1]}1"
    for held in (recompute._page, recompute._table):
        said, computed = (f"a{one}b\r\n{one}\r\n" for one in (digits, other))
        assert list(held(said, computed)) and not list(held(said, said))


def test_another_sha256_in_the_manifest_is_named(bare: Path) -> None:
    edited(bare / MANIFEST, lambda m: m["files"][BENCH].update(sha256="0" * 64))
    assert refused(bare).startswith(f"{BENCH}: it was changed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m["files"].pop(BENCH), f"{BENCH}: {MANIFEST} does not name it"),
        (lambda m: m["files"][BENCH]["fields"].update(x="0" * 12), "fields: they are not those"),
        (lambda m: m["files"][BENCH].update(bytes=1), f"files.{BENCH}.bytes: it has another"),
        (lambda m: m["not_held"].pop(), "not_held: says"),
        (lambda m: m["not_held"][0].update(sha256="0" * 64), "not_held.0.sha256: says"),
        (lambda m: m.update(study="../../x"), "study: the config is of another, s"),
        (lambda m: m.update(format=2), "format: "),
        (lambda m: m.update(llmpi="9"), "llmpi: "),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(bare: Path, change: Any, said: str) -> None:
    edited(bare / MANIFEST, change)
    if (bare / BENCH).is_file():
        sealed(bare)
    assert said in refused(bare)


def test_a_file_that_is_missing_is_named(bare: Path) -> None:
    (bare / BENCH).unlink()
    assert refused(bare).startswith(f"{BENCH}: {MANIFEST} names it, and it is not there")


def test_a_record_of_a_wrong_type_is_words(bare: Path) -> None:
    edited(bare / BENCH, lambda b: b["workloads"]["chat"].update(steady="yes"))
    describe_again(bare)
    assert f"{BENCH}: workloads.chat.steady: " in refused(bare)


def test_a_decision_that_is_no_json_is_words(bare: Path) -> None:
    content = (bare / DECISION).read_bytes()
    (bare / DECISION).write_bytes(content[:-10])
    manifest = json.loads((bare / MANIFEST).read_bytes())
    manifest["files"][DECISION].update(
        sha256=sha256_of(bare / DECISION), bytes=len(content) - 10, fields=None
    )
    (bare / MANIFEST).write_text(json.dumps(manifest))
    sealed(bare)
    assert refused(bare).startswith(f"{DECISION}: as a whole: ")


def test_records_that_cannot_be_are_words(bare: Path) -> None:
    """Whatever arithmetic makes of them."""
    edited(bare / BENCH, lambda b: b["workloads"]["chat"].update(repetitions=[]))
    describe_again(bare)
    assert "Traceback" not in refused(bare)


def test_a_config_of_another_sweep_is_refused(bare: Path) -> None:
    text = (bare / "config.yaml").read_text()
    (bare / "config.yaml").write_text(text.replace("- Q4_0", "- Q2_K"))
    describe_again(bare)
    assert "the config asks for it, and it is not there" in refused(bare)


@pytest.mark.parametrize(
    ("runtimes", "workloads", "said"),
    [
        (2001, 1, "runtimes: 2,001 entries are more than 2,000"),
        (500, 500, "a sweep of 500,000 cells is more than 200,000"),
    ],
)
def test_a_config_of_a_giant_sweep_is_refused_at_once(
    bare: Path, runtimes: int, workloads: int, said: str
) -> None:
    config = yaml.safe_load((bare / "config.yaml").read_text())
    config["runtimes"] = {f"r{i}": {} for i in range(runtimes)}
    config["workloads"] = {f"w{i}": config["workloads"]["chat"] for i in range(workloads)}
    config["quality"], config["constraints"] = {}, None
    (bare / "config.yaml").write_text(yaml.safe_dump(config))
    describe_again(bare)
    assert said in refused(bare)


def test_nothing_that_the_config_names_on_this_machine_is_read(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model's path in a config of somebody else is a path there."""
    monkeypatch.setattr("llmpi.plan.model_facts.model_of", lambda *_, **__: pytest.fail("it is"))
    verify(packed(bare, tmp_path / "same.zip"))


# --- import and compare ---------------------------------------------------------------------------


def test_it_lies_beside_ones_own_and_is_compared(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree("results/imported", ignore_errors=True)
    assert cli.main(["import", "s.crate.zip", "--as", "theirs"]) == 0
    said = "results/imported/theirs\nCompare it: llmpi compare theirs MY-STUDY\n"
    assert capsys.readouterr().out == said
    for one in ("theirs", "results/imported/theirs", "s.crate.zip"):
        assert cli.main(["compare", one, "s", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["before"]["study"], found["regressions"]) == ("s", 0)
        assert found["cells"][0]["same_file"]
    assert [p.name for p in Path("results/imported").iterdir()] == ["theirs"]


def test_it_never_comes_over_anything(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("results/imported").mkdir(exist_ok=True)
    Path("results/imported/taken").mkdir()
    Path("results/imported/link").symlink_to("nowhere")
    for name in ([], ["--as", "taken"], ["--as", "link"]):
        assert cli.main(["import", "s.crate.zip", *name]) == 1
        assert "is there already: name this one another with --as NAME" in capsys.readouterr().err
    assert not list(Path("results/imported/taken").iterdir())
    with pytest.raises(SystemExit):
        cli.main(["import", "s.crate.zip", "--as", "../x"])


def test_what_is_not_sound_is_not_imported(bare: Path, there: Path) -> None:
    edited(bare / DECISION, lambda d: d.update(workload="other"))
    describe_again(bare)
    archive = packed(bare, bare.parent / "bad.zip")
    assert cli.main(["import", str(archive), "--as", "bad"]) == 1
    assert not Path("results/imported/bad").exists()
    assert not list(Path("results/imported").glob(".llmpi*"))


def test_the_commands_say_what_they_found(
    there: Path, bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["verify", "s.crate.zip"]) == 0
    assert "summary, decision and page follow from the records" in capsys.readouterr().out
    edited(bare / BENCH, slower)
    assert cli.main(["verify", str(packed(bare, bare.parent / "bad.zip"))]) == 1
    err = capsys.readouterr().err
    assert f"{BENCH}: workloads.chat.repetitions.pp_s, workloads.chat.repetitions.ttft_s:" in err
    assert "Traceback" not in err
    assert cli.main(["verify", "none.zip"]) == 1
    assert "none.zip" in capsys.readouterr().err


def test_it_is_unpacked_nowhere_else(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with opened(Path("s.crate.zip")) as found:
        assert found.folder.is_relative_to(tmp_path)
    assert not list(tmp_path.iterdir())
