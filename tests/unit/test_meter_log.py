"""The log of a USB meter: whole rows count, whatever stands between them."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmpi.device.machine.energy import Samples
from llmpi.errors import LlmpiError
from llmpi.remote.meter_log import read_log
from llmpi.remote.plugs import plug_sampling
from llmpi.study.meters import CsvMeter

CLOCK = {"monotonic_s": 0.0, "wall_s": 0.0, "ahead_s": 0.0}


def log(path: Path, text: str | bytes) -> CsvMeter:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return CsvMeter(kind="csv", path=str(path), power_column="power")


@pytest.mark.parametrize(
    ("text", "rows", "bad"),
    [
        ("time,power\n1.0,5\n2.0,5\n3.0", [(1.0, 5.0), (2.0, 5.0)], 0),
        ("time,power\n1.0,5\n2.0,15.5\n3.0,1", [(1.0, 5.0), (2.0, 15.5)], 0),
        ("time,power\n1.0,5\n3.0,nan\n4.0,5\n", [(1.0, 5.0), (4.0, 5.0)], 1),
        ("time,power\n1.0,5\n3.0,-inf\nnan,5\n1e999,5\n4.0,5\n", [(1.0, 5.0), (4.0, 5.0)], 3),
        ("time,power\n1.0,5\ntime,power\n2.0,5\n", [(1.0, 5.0), (2.0, 5.0)], 0),
        ("time,power\r\n1.0,5\r\n\r\n2.0,5\r\n", [(1.0, 5.0), (2.0, 5.0)], 0),
        ("time,power\n2.0,6\n1.0,5\n", [(1.0, 5.0), (2.0, 6.0)], 0),
        ('"time","power"\n"1.0","5"\n"2.0,5\n3.0,5\n', [(1.0, 5.0), (3.0, 5.0)], 1),
        ("time,power\n1.0\n,\n2.0,5 W\n3.0,5\n", [(3.0, 5.0)], 3),
        ("power,note,time\n5,a,1.0\n6,,2.0\n", [(1.0, 5.0), (2.0, 6.0)], 0),
        ("\ufefftime,power\n1.0,5\n", [(1.0, 5.0)], 0),
        (b"time,power\n1.0,5\n\xff\xfe\0,5\n2.0,6\n", [(1.0, 5.0), (2.0, 6.0)], 1),
        ("time,power\n1.0,5\n2.0,4000000\n", [(1.0, 5.0)], 1),
        ("time,power\n1970-01-01T00:00:01Z,5\n1970-13-01,5\n", [(1.0, 5.0)], 1),
        ("time,power\n0001-01-01,5\n9999-12-31T23:59:59+00:00,5\n", [(253402300799.0, 5.0)], 1),
    ],
)
def test_rows(tmp_path: Path, text: str | bytes, rows: list[tuple[float, float]], bad: int) -> None:
    found, failures = read_log(log(tmp_path / "log.csv", text))
    assert (found, len(failures)) == (rows, bad)


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    _, failures = read_log(log(tmp_path / "log.csv", "time,power\n1.0,5\n2.0,nan\n"))
    assert failures == [f"line 3 of {tmp_path}/log.csv is '2.0,nan'"]


@pytest.mark.parametrize("text", ["", "\n", "Timestamp,Watt\n1,2\n", "\0", "time;power\n1;2\n"])
def test_no_such_column(tmp_path: Path, text: str) -> None:
    with pytest.raises(LlmpiError, match=r"log\.csv has no column 'time' but"):
        read_log(log(tmp_path / "log.csv", text))


@pytest.mark.parametrize("path", ["/nowhere.csv", "/dev/zero", "/", "~nobody-here/log.csv"])
def test_no_file(path: str) -> None:
    with pytest.raises(LlmpiError, match="the meter's log"):
        read_log(CsvMeter(kind="csv", path=path))


@given(st.lists(st.binary(max_size=40) | st.just(b"1,5"), max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_anything_may_stand_between_the_rows(tmp_path: Path, lines: list[bytes]) -> None:
    whole = [line.replace(b"\n", b"").replace(b"\r", b"") for line in lines]
    meter = log(tmp_path / "log.csv", b"time,power\n" + b"".join(line + b"\n" for line in whole))
    found, _ = read_log(meter)
    assert found.count((1.0, 5.0)) >= whole.count(b"1,5")
    assert len(found) <= len(whole)


def sampled(meter: CsvMeter) -> Samples | str:
    with plug_sampling(meter, Path("kept")) as plug:
        assert plug
    return plug.samples(CLOCK, 0.0)


def test_what_is_bad_is_told_with_what_is_good(tmp_path: Path) -> None:
    good = "".join(f"{at},5\n" for at in range(10))
    samples = sampled(log(tmp_path / "log.csv", f"time,power\n{good}11,nan\n12,5\n"))
    assert isinstance(samples, Samples)
    assert samples.failed == (
        f"the meter failed: line 12 of {tmp_path}/log.csv is '11,nan' (1 of 12 readings)"
    )


def test_too_much_that_is_bad_is_no_energy(tmp_path: Path) -> None:
    bad = "".join(f"{at},nan\n" for at in range(10))
    said = sampled(log(tmp_path / "log.csv", f"time,power\n{bad}11,5\n12,5\n"))
    assert said == f"the meter failed: line 11 of {tmp_path}/log.csv is '9,nan' (10 of 12 readings)"
