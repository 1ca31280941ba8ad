"""How a script's `main` gets its arguments, and what every script does around it."""

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from rule_texts import RULES
from scripts import main_of
from typing_extensions import TypedDict

from llmpi.engine.records import Failed, record
from llmpi.records import RecordError
from llmpi.script import arguments, run
from llmpi.study.devices import LocalDevice, SingleDevice, SshDevice
from llmpi.summary.read import trees


@record
class Made(TypedDict):
    status: Literal["ok"]
    seconds_s: float


def job(**parts: dict[str, Any]) -> SimpleNamespace:
    """A job as Snakemake hands it to a script."""
    # Where it is needed: to load Snakemake takes longer than all that is collected here.
    from snakemake.iocontainers import InputFiles, OutputFiles, Params, Wildcards

    kinds = {"input": InputFiles, "output": OutputFiles, "params": Params, "wildcards": Wildcards}
    return SimpleNamespace(
        **{name: kind(fromdict=parts.get(name, {})) for name, kind in kinds.items()}, threads=3
    )


@pytest.fixture
def made(tmp_path: Path) -> str:
    path = tmp_path / "made.json"
    path.write_text('{"status": "ok", "seconds_s": 1.5}')
    return str(path)


def test_a_file_is_a_path_or_the_record_in_it(made: str) -> None:
    def main(*, made: Made | Failed, again: Path, out: Path) -> None: ...

    given = arguments(main, job(input={"made": made, "again": made}, output={"out": "x/y"}))
    assert given == {
        "made": {"status": "ok", "seconds_s": 1.5},
        "again": Path(made),
        "out": Path("x/y"),
    }


def test_several_files_are_a_list_and_none_is_none(made: str) -> None:
    def main(
        *, few: list[Made], paths: list[Path], no: Made | None, nobody: list[Path]
    ) -> None: ...

    files = {"few": [made, made], "paths": [made], "no": [], "nobody": []}
    given = arguments(main, job(input=files))
    assert [one["seconds_s"] for one in given["few"]] == [1.5, 1.5]
    assert (given["paths"], given["no"], given["nobody"]) == ([Path(made)], None, [])


def test_one_file_of_a_list_is_that_file(made: str) -> None:
    def main(*, made: Made | None) -> None: ...

    assert arguments(main, job(input={"made": [made]}))["made"]["seconds_s"] == 1.5


def test_parameters_are_parsed_and_wildcards_are_texts() -> None:
    def main(*, device: str, how: SingleDevice, store: Path, threads: int) -> None: ...

    how = SshDevice(transport="ssh", host="pi").model_dump()
    given = arguments(
        main, job(params={"how": how, "store": "results/x"}, wildcards={"device": "pi"})
    )
    assert given["how"] == SshDevice.model_validate(how)
    assert (given["device"], given["store"], given["threads"]) == ("pi", Path("results/x"), 3)


def test_a_narrow_device_is_one_too() -> None:
    def main(*, how: SingleDevice) -> None: ...

    assert arguments(main, job(params={"how": {"transport": "local", "store": None}})) == {
        "how": LocalDevice(transport="local")
    }


def test_a_parameter_goes_before_a_wildcard_of_its_name() -> None:
    def main(*, study: int) -> None: ...

    assert arguments(main, job(params={"study": 7}, wildcards={"study": "s"})) == {"study": 7}


def test_what_the_rule_does_not_have_is_an_error() -> None:
    def main(*, gone: Path) -> None: ...

    with pytest.raises(TypeError, match="gone is no input, output, parameter or wildcard"):
        arguments(main, job())


def test_what_it_has_twice_is_an_error(made: str) -> None:
    def main(*, made: Path) -> None: ...

    with pytest.raises(TypeError, match="made is two things of the rule"):
        arguments(main, job(input={"made": made}, output={"made": made}))


def test_a_damaged_record_ends_the_script_with_its_name(
    made: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(made).write_text('{"status": "ok"}')

    def main(*, made: Made) -> None: ...

    asked = job(input={"made": made})
    asked.log = [str(tmp_path / "log")]
    main.__globals__["snakemake"] = asked
    try:
        with pytest.raises(SystemExit) as ended:
            run(main)
    finally:
        del main.__globals__["snakemake"]
    assert ended.value.code == 1
    said = (tmp_path / "log").read_text()
    assert "made.json: seconds_s: Field required" in said and "Traceback" not in said
    with pytest.raises(RecordError):
        arguments(main, asked)


def test_a_main_with_a_decorator_is_called_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Path] = []

    @trees()
    def main(*, out: Path) -> None:
        called.append(out)

    asked = job(output={"out": "x/y"})
    asked.log = [str(tmp_path / "log")]
    monkeypatch.setitem(globals(), "snakemake", asked)
    run(main)
    assert called == [Path("x/y")]


@pytest.mark.parametrize("name", RULES)
def test_every_script_asks_for_what_its_rule_has(name: str) -> None:
    _, body = RULES[name]
    named = set(re.findall(r"^        (\w+)=", body, re.MULTILINE)) | {"threads"}
    named |= set(re.findall(r"{(\w+)}", json.dumps(re.findall(r"logs/\S+", body))))
    asked = inspect.signature(main_of(name), eval_str=True).parameters
    assert set(asked) <= named
