"""A first config out of flags or questions: it runs, says what was found, and is never lost."""

import errno
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import conditions, machine

from llmpi import cli
from llmpi.device.records import Look
from llmpi.remote.check import Finding
from llmpi.start import config_text
from llmpi.start import init as starting
from llmpi.start.boards import preset_of, storage_of
from llmpi.start.ssh_hosts import hosts
from llmpi.study.devices import SshDevice
from llmpi.study.file import load_study


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(starting, "SSH_CONFIG", str(tmp_path / "ssh/config"))
    monkeypatch.setattr(starting, "neighbours", list)  # `test_neighbours` has them
    (tmp_path / "config/data").mkdir(parents=True)
    (tmp_path / "config/data/field_qa.json").touch()
    return tmp_path


class Terminal(io.StringIO):
    """A person who types these lines."""

    def isatty(self) -> bool:
        return True


def found_at(board: str, memory_bytes: int, medium: str | None = None) -> Finding:
    """What a check would find of a board."""
    seen: Look = {
        "machine": machine(board, memory_bytes),
        "conditions": conditions(),
        "storage": {
            "free_bytes": 50_000_000_000,
            "size_bytes": 64_000_000_000,
            "medium": medium,
            "device": None,
        },
        "tools": {},
        "time_s": 0.0,
    }
    return Finding("pi", {"reachable": "yes", "board": board, "memory": "8.5 GB"}, [], seen)


# --- hosts and boards -----------------------------------------------------------------------------


def test_hosts_are_found_as_ssh_reads_them(folder: Path) -> None:
    (folder / "ssh/config.d").mkdir(parents=True)
    (folder / "ssh/config").write_text(
        "Include config.d/*.conf\nHost pi5 pi-five !no *.local\n  HostName 10.0.0.5\n"
        'host="a b" c # said here\nMatch host x\nHOST = pi4\n\tHost\tpi5\n'
    )
    (folder / "ssh/config.d/one.conf").write_text("Host shelf-1\nInclude config.d/one.conf\n")
    assert hosts(folder / "ssh/config") == ["shelf-1", "pi5", "pi-five", "a b", "c", "pi4"]
    assert hosts(folder / "ssh/none") == []


@given(text=st.text())
def test_no_ssh_config_is_too_strange(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = tmp_path_factory.mktemp("ssh") / "config"
    config.write_text(text, encoding="utf-8", errors="surrogatepass")
    assert isinstance(hosts(config), list)


@pytest.mark.parametrize(
    ("board", "memory_gb", "preset"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", 8.45, "pi5-8gb"),
        ("Raspberry Pi 5 Model B Rev 1.1", 2.06, "pi5-2gb"),
        ("Raspberry Pi Compute Module 5 Rev 1.0", 4.2, "pi5-4gb"),
        ("Raspberry Pi 4 Model B Rev 1.4", 3.98, "pi4-4gb"),
        ("Raspberry Pi 400 Rev 1.0", 3.9, "pi4-4gb"),
        ("Raspberry Pi 4 Model B Rev 1.1", 1.9, None),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", 0.95, "pi3-1gb"),
        ("Raspberry Pi Zero 2 W Rev 1.0", 0.43, "pi-zero2w"),
        ("Raspberry Pi Zero W Rev 1.1", 0.43, None),
        ("ODROID-N2Plus", 3.9, None),
        (None, 8.45, None),
    ],
)
def test_a_board_has_the_preset_of_its_kind_and_memory(
    board: str | None, memory_gb: float, preset: str | None
) -> None:
    assert preset_of(board, int(memory_gb * 1e9)) == preset


def test_what_files_lie_on() -> None:
    known = [storage_of(medium) for medium in ("SD card", "USB", "NVMe", "eMMC", None)]
    assert known == ["microsd", "usb", "nvme", None, None]


# --- the config -----------------------------------------------------------------------------------


def test_flags_make_a_config_that_is_a_study(folder: Path) -> None:
    asked = ["init", "--board", "pi5.local", "--board", "10.0.0.7", "--no-check", "--user", "pi"]
    more = ["--need", "extraction", "--model", "qwen3-1.7b", "--tps-at-least", "4", "--language"]
    assert cli.main([*asked, *more, "en", "--memory-at-most", "4G", "--out", "a/my.yaml"]) == 0
    study = load_study(folder / "a/my.yaml")
    assert list(study.devices) == ["pi5", "10-0-0-7"]
    assert list(study.workloads) == ["extraction"]
    assert study.constraints and study.constraints.tps_at_least == 4
    assert study.languages == ["en"]
    assert list(study.quality) == ["answers"]


def test_this_machine_is_looked_at_and_gets_the_demo(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", "--board", "here", "--need", "chat", "--out", "my.yaml"]) == 0
    out, err = capsys.readouterr()
    assert "reachable" in out
    assert err.startswith("llmpi: looking at "), "a slow board takes a minute"
    study = load_study(folder / "my.yaml")
    assert list(study.models) == ["smollm2-135m"]


def test_a_board_that_was_found_gets_its_preset_and_the_largest_model_that_suits(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = found_at("Raspberry Pi 5 Model B Rev 1.0", 8_450_000_000, "NVMe")
    finding.device = "pi5"
    monkeypatch.setattr(starting, "check_devices", lambda _: [finding])
    assert cli.main(["init", "--board", "pi5.local", "--need", "chat", "--out", "my.yaml"]) == 0
    text = (folder / "my.yaml").read_text()
    assert "# Raspberry Pi 5 Model B Rev 1.0, 8.5 GB" in text
    assert "meter: {kind: pmic}" in text
    study = load_study(folder / "my.yaml")
    device = study.devices["pi5"]
    assert isinstance(device, SshDevice)
    assert (device.preset, device.storage) == ("pi5-8gb", "nvme")
    assert list(study.models) == ["qwen3-4b"]
    assert study.quants_of("qwen3-4b") == ["Q8_0", "Q4_K_M", "Q4_0"]


@pytest.mark.parametrize("name", ["on", "42", "null", "küche"])
def test_a_board_and_a_file_may_be_called_anything(name: str, folder: Path) -> None:
    """What YAML takes for a truth or a number is a name all the same."""
    study = name if name.isascii() else "k"
    flags = ["--board", name, "--no-check", "--need", "chat"]
    assert cli.main(["init", *flags, "--out", f"my boards/{study}.yaml"]) == 0
    config = folder / "my boards" / f"{study}.yaml"
    found = load_study(config)
    assert found.study == study
    [device] = found.devices.values()
    assert isinstance(device, SshDevice) and device.host == name
    assert name in config.read_text("utf-8")
    assert f"llmpi plan --configfile 'my boards/{study}.yaml'" in config.read_text("utf-8")


@pytest.mark.parametrize("file", ["Pi 5.yaml", "\udcff.yaml", ".yaml", "kü.yaml"])
def test_a_file_whose_name_is_no_id_is_told_before_any_board_is_asked(
    file: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starting, "check_devices", lambda _: pytest.fail("a board was asked"))
    assert cli.main(["init", "--board", "pi5", "--out", f"new/{file}"]) == 1
    said = capsys.readouterr().err
    assert "the study is called as its file, and an id is lower-case letters and digits" in said
    assert not (folder / "new").exists()
    other = Path(said.split("; try ")[1].strip())
    assert cli.main(["init", "--board", "pi5", "--no-check", "--out", str(other)]) == 0


def test_a_disk_that_is_full_leaves_no_half_config(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(config_text, "load_study", full)
    assert cli.main(["init", "--board", "pi5", "--no-check", "--out", "my.yaml"]) == 1
    assert not (folder / "my.yaml").exists()


def test_one_board_for_the_first_number_and_others_are_not_named_together() -> None:
    with pytest.raises(SystemExit):
        cli.main(["init", "--demo-on", "a", "--board", "b"])


def test_what_a_board_says_of_itself_stays_a_comment(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evil = "Raspberry Pi 5\nquants: [F16]\x85study: theirs\x1b[2J\u2028"
    monkeypatch.setattr(starting, "check_devices", lambda _: [found_at(evil, 8_450_000_000)])
    asked = ["init", "--board", "pi", "--need", "chat", "--model", "qwen3-1.7b"]
    assert cli.main([*asked, "--out", "my.yaml"]) == 0
    study = load_study(folder / "my.yaml")
    assert study.study == "my"
    assert "F16" not in study.quants_of("qwen3-1.7b")
    assert "\x1b" not in (folder / "my.yaml").read_text()


def test_it_asks_who_is_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ssh").mkdir()
    (folder / "ssh/config").write_text("Host pi5\n")
    monkeypatch.setattr("sys.stdin", Terminal("\nquestions\nja\n"))
    assert cli.main(["init", "--no-check", "--out", "my.yaml"]) == 0
    study = load_study(folder / "my.yaml")
    assert list(study.devices) == ["pi5"]
    assert list(study.workloads) == ["questions"]
    assert study.languages == ["ja"]


# --- what it refuses ------------------------------------------------------------------------------


def test_a_board_that_cannot_be_reached_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Finding("pi5", {"reachable": "no"}, ["cannot be reached"])
    monkeypatch.setattr(starting, "check_devices", lambda _: [gone])
    assert cli.main(["init", "--board", "pi5", "--need", "chat", "--out", "my.yaml"]) == 1
    out, err = capsys.readouterr()
    assert "pi5: cannot be reached" in out
    assert "Nothing is written" in err
    assert not (folder / "my.yaml").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--board: name a host, or 'here' for this machine"),
        (["--board", "a", "--model", "gpt-2"], "--model: gpt-2: there are: smollm2-135m"),
        (["--board=-oProxyCommand=x"], "is no host"),
        (["--board", ""], "is no host"),
        (["--board", "pi.a", "--board", "pi.b"], "two boards would have one id"),
        (["--demo-on", "here"], "there is no Snakefile here"),
        (["--board", "a", "--no-check", "--need", "chat", "--squad-file", "none.json"],
         "there is no file or folder 'none.json'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_and_nothing_is_left(
    flags: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["init", *flags, "--out", "my.yaml"]) == 1
    assert said in capsys.readouterr().err
    assert not (folder / "my.yaml").exists()


def test_a_config_that_is_there_stays_and_no_board_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "my.yaml").write_text("study: mine\n")
    monkeypatch.setattr(starting, "check_devices", lambda _: pytest.fail("a board was asked"))
    assert cli.main(["init", "--board", "pi5", "--out", "my.yaml"]) == 1
    assert "my.yaml: is there already, and stays as it is" in capsys.readouterr().err
    assert (folder / "my.yaml").read_text() == "study: mine\n"
