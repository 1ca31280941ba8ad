"""The whole DAG over a real OpenSSH server on loopback, and who is not let in."""

import subprocess
from pathlib import Path

import pytest

from llmpi.errors import LlmpiError
from llmpi.records import sha256_of
from llmpi.remote.connection import connected
from llmpi.study.devices import SshDevice


def test_every_cell_is_measured_there(over_ssh) -> None:
    rows = over_ssh.summary()
    assert [(row["device"], row["quant"], row["status"]) for row in rows] == [
        ("pi", "F16", "ok"),
        ("pi", "Q4_0", "ok"),
    ]


def test_device_has_its_own_venv_with_the_same_engine(over_ssh, finished) -> None:
    there = over_ssh.json("devices/pi.json")
    here = finished.json("devices/here.json")
    assert there["interpreter"] == f"{there['store']}/venv/bin/python"
    assert there["engine"]["version"] == here["engine"]["version"]


def test_files_lie_in_the_private_store_with_the_right_hash(over_ssh) -> None:
    receipt = over_ssh.json("deploy/pi/smollm2-135m/Q4_0.json")
    manifest = over_ssh.json("gguf/smollm2-135m/Q4_0.json")
    assert receipt["sent_bytes"] == receipt["bytes"]
    assert sha256_of(Path(receipt["path"])) == manifest["sha256"]
    store = Path(over_ssh.json("devices/pi.json")["store"])
    assert store.stat().st_mode & 0o777 == 0o700
    assert not list(store.rglob("*.part"))


RECEIPT = "deploy/pi/smollm2-135m/Q4_0.json"


def test_a_file_that_is_there_is_not_sent_again(over_ssh, tmp_path: Path) -> None:
    work = over_ssh.clone(tmp_path / "work")
    work.snakemake("--forcerun", "deploy_gguf", "--", f"results/{RECEIPT}")
    assert work.json(RECEIPT)["sent_bytes"] == 0


@pytest.mark.fault("a model damaged on the board", by="hash of the file there")
def test_a_damaged_file_is_sent_again(over_ssh, tmp_path: Path) -> None:
    work = over_ssh.clone(tmp_path / "work")
    receipt = work.json(RECEIPT)
    with Path(receipt["path"]).open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    work.snakemake("--forcerun", "deploy_gguf", "--", f"results/{RECEIPT}")
    again = work.json(RECEIPT)
    assert again["sent_bytes"] == again["bytes"]
    assert sha256_of(Path(again["path"])) == receipt["sha256"]


def changed(sshd, store: Path, **change: object) -> SshDevice:
    return SshDevice.model_validate({**sshd.device(store), **change})


def refused(device: SshDevice) -> str:
    with pytest.raises(LlmpiError) as error, connected("pi", device):
        pass
    return str(error.value)


def test_unknown_host_key_is_refused(sshd, tmp_path: Path) -> None:
    (tmp_path / "none").touch()
    message = refused(changed(sshd, tmp_path, known_hosts=str(tmp_path / "none")))
    assert f"{sshd.user}@127.0.0.1:{sshd.port} has a host key that is not known, SHA256:" in message
    assert f"ssh -p {sshd.port} {sshd.user}@127.0.0.1 true" in message
    assert (tmp_path / "none").read_text() == ""


def test_new_host_key_is_written_down_where_that_is_chosen(sshd, tmp_path: Path) -> None:
    hosts = tmp_path / "new/known_hosts"
    chosen = changed(sshd, tmp_path, known_hosts=str(hosts), host_key="accept-new")
    with connected("pi", chosen) as device:
        assert device.run(["true"]).status == 0
    assert hosts.read_text().split()[1:3] == sshd.known_hosts.read_text().split()[1:3]
    with connected("pi", changed(sshd, tmp_path, known_hosts=str(hosts))):
        pass  # it is known now


@pytest.mark.fault("another machine answers for the board", by="the reason; nobody is let in")
def test_changed_host_key_is_refused(sshd, tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True
    )
    kind, key = (tmp_path / "k.pub").read_text().split()[:2]
    (tmp_path / "hosts").write_text(f"[127.0.0.1]:{sshd.port} {kind} {key}\n")
    for host_key in ("known", "accept-new"):
        hosts = str(tmp_path / "hosts")
        message = refused(changed(sshd, tmp_path, known_hosts=hosts, host_key=host_key))
        assert "shows another host key than the known one" in message


@pytest.mark.fault("a key that the board does not take", by="the reason")
def test_wrong_key_is_not_let_in(sshd, tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "k"], check=True
    )
    message = refused(changed(sshd, tmp_path, identity_file=str(tmp_path / "k")))
    assert "did not let us in" in message


@pytest.mark.fault("link cut before the first connection", by="the reason, with what to try")
def test_unreachable_host(sshd, tmp_path: Path) -> None:
    message = refused(changed(sshd, tmp_path, port=1))
    assert "cannot be reached" in message


@pytest.mark.fault("the board's Python is gone", by="the reason, with its remedy")
def test_python_that_is_missing(over_ssh, sshd, tmp_path: Path) -> None:
    from support import ROOT

    from llmpi.remote.provision import Parts, provision

    parts = Parts(lock=ROOT / "envs/device.lock", engines=tmp_path / "engines")
    with pytest.raises(LlmpiError, match=r"python9 does not run; llmpi needs Python 3\.11"):
        provision("pi", changed(sshd, tmp_path / "store", python="python9"), parts)


@pytest.mark.fault("hostile names on a board", by="files outside: none; the words arrive")
def test_arguments_are_quoted(sshd, tmp_path: Path) -> None:
    hostile = "a b'; touch pwned; $(touch pwned)\n`touch pwned` \"*"
    with connected("pi", changed(sshd, tmp_path)) as device:
        assert device.run(["printf", "%s", hostile]).stdout == hostile
        target = f"{tmp_path}/{hostile.replace('/', '')}/file"
        (tmp_path / "source").write_text("text")
        device.put(tmp_path / "source", target)
    assert Path(target).read_text() == "text"
    assert not Path("pwned").exists()
    assert not (Path.home() / "pwned").exists()


def test_nothing_of_the_workstations_environment_reaches_the_device(
    sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with connected("pi", changed(sshd, tmp_path)) as device:
        assert "hf_secret" not in device.run(["env"]).stdout
