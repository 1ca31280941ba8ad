"""The real thing: SmolLM2-135M through the whole DAG, here and over a real OpenSSH server."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loaded
import pytest
import virtual_pi
import yaml
from browser import Browser
from filelock import FileLock
from forked_training import forked_training  # noqa: F401
from held import Hold
from support import ROOT, caches, free_port, needed, only_root, run_snakemake, until
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from llmpi.study.devices import SshDevice

QUESTIONS = 6
OVER_SSH = {
    **dict.fromkeys(("test_damage", "test_device_parity", "test_shelf", "test_ssh"), "over SSH"),
    **dict.fromkeys(("test_link", "test_meters", "test_slurm", "test_tuning"), "over SSH, too"),
}
# In a study that is run once and looked at by the tests of all workers.
SHARED = "is made"


class OneFileOneWorker(LoadFileScheduling):
    """Each file's tests are run by one worker, and those of a device behind SSH by two alone:
    whoever has some makes a device ready first, which takes minutes on a busy machine."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return OVER_SSH.get(Path(file).stem, file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest by one worker begins first."""
    items.sort(key=lambda item: item.path.stem not in OVER_SSH)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> OneFileOneWorker | None:
    return OneFileOneWorker(config, log) if config.getvalue("dist") == "loadfile" else None


@dataclass
class Work:
    """An isolated working copy: a folder with its own `results/`, `config/` and study."""

    folder: Path
    config: dict[str, Any]

    def check_own(self) -> None:
        assert not (self.folder / SHARED).exists(), "others copy it meanwhile: ask for a `copy`"

    def write(self) -> "Work":
        self.check_own()
        (self.folder / "config/study.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False))
        return self

    def snakemake(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        self.check_own()
        command = ["--cores", "2", "--configfile", "config/study.yaml", *arguments]
        return run_snakemake(*command, cwd=self.folder, **options)

    def summarized(self) -> list[dict[str, Any]]:
        """Write the study and run it as far as its summary: the rows."""
        self.write().snakemake("--", f"results/report/{self.config['study']}/summary.json")
        return self.summary()

    def shown(self) -> str:
        """Write the study and run it as far as its page: the text."""
        page = f"results/report/{self.config['study']}/index.html"
        self.write().snakemake("--", page)
        return (self.folder / page).read_text()

    def clone(self, folder: Path) -> "Work":
        """A copy to edit; model files are links: replace them, never write."""

        def link_models(source: str, target: str) -> None:
            (os.link if source.endswith(".gguf") else shutil.copy2)(source, target)

        shutil.copytree(
            self.folder,
            folder,
            symlinks=True,
            copy_function=link_models,
            ignore=shutil.ignore_patterns(SHARED),
        )
        return Work(folder, json.loads(json.dumps(self.config)))

    def json(self, path: str) -> dict[str, Any]:
        return json.loads((self.folder / "results" / path).read_text())

    def summary(self) -> list[dict[str, Any]]:
        return self.json(f"report/{self.config['study']}/summary.json")["rows"]


def small_study(name: str) -> dict[str, Any]:
    """The demo's model with two quantizations, a short workload and a few questions."""
    demo = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    return {
        "study": name,
        "models": demo["models"],
        "quants": ["F16", "Q4_0"],
        # Other tests run beside it; what is disturbed is tested by itself.
        "devices": {"here": {"transport": "local", "others_at_most_pct": 100}},
        "workloads": {
            "chat": {
                **{"prompt_tokens": 16, "output_tokens": 8},
                **{"repetitions": 2, "warmup_limit": 1},
            }
        },
        "languages": ["en"],
        "quality": {
            "field": {
                "task": "squad",
                "squad_file": "config/data/field_qa.json",
                "questions": QUESTIONS,
                "max_new_tokens": 8,
            }
        },
    }


def new_work(folder: Path, name: str) -> Work:
    """A working copy of the project's own files, without its results."""
    for part in ("rules", "workflow", "profiles", "src", "envs", "config/data"):
        # What `llmpi.code` read of the sources goes with them: that takes seconds.
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.pyc"))
    for file in ("Snakefile", "pyproject.toml"):
        shutil.copy2(ROOT / file, folder / file)
    return Work(folder, small_study(name)).write()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def finished(shared: Path) -> Work:
    """A small study, run once to its report. Tests only look at it, those of all workers."""
    folder = shared / "finished"
    work, is_made = Work(folder, small_study("small")), folder / SHARED
    with FileLock(f"{folder}.lock"):
        if not is_made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            new_work(folder, "small").snakemake(**loaded.env(folder / "loaded"))
            is_made.touch()
    return work


@pytest.fixture(scope="session")
def new() -> Callable[[Path, str], Work]:
    """Makes a small study in a folder, of which nothing was run yet."""
    return new_work


@pytest.fixture
def copy(finished: Work, tmp_path: Path) -> Work:
    """A copy of the finished study to edit."""
    return finished.clone(tmp_path / "work")


@dataclass
class Sshd:
    """A running OpenSSH server on loopback, with a key that is let in and its known_hosts file."""

    port: int
    identity_file: Path
    known_hosts: Path
    user: str

    def device(self, store: Path) -> dict[str, Any]:
        return {
            "transport": "ssh",
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "identity_file": str(self.identity_file),
            "known_hosts": str(self.known_hosts),
            "python": os.path.realpath(shutil.which("python3") or "python3"),
            "store": str(store),
        }


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    started = Browser(needed("chromium"), tmp_path_factory.mktemp("chromium") / "profile")
    try:
        yield started
    finally:
        started.close()


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.anew()
    return chromium


@pytest.fixture(scope="session")
def hold(tmp_path_factory: pytest.TempPathFactory) -> Hold:
    """Stops processes behind `sshd`, and those started here with its environment."""
    return Hold(tmp_path_factory.mktemp("hold"))


@pytest.fixture(scope="session")
def sshd(hold: Hold, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd"), **hold.env) as server:
        yield server


@pytest.fixture
def sshd_ahead(tmp_path: Path) -> Iterator[Callable[[int], Sshd]]:
    """A server on which every process sees a clock that is so many seconds ahead."""
    with contextlib.ExitStack() as stack:

        def start(seconds: int) -> Sshd:
            library = tmp_path / "clock_ahead.so"
            build = [needed("cc"), "-shared", "-fPIC", f"-DAHEAD_S=({seconds})", "-o", str(library)]
            subprocess.run([*build, str(ROOT / "tests/clock_ahead.c")], check=True)
            running = running_sshd(tmp_path / "sshd", LD_PRELOAD=str(library))
            return stack.enter_context(running)

        yield start


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Callable[[str], SshDevice]]:
    """A board whose user's `~/.bashrc` is the given text."""
    with contextlib.ExitStack() as stack:

        def start(bashrc: str) -> SshDevice:
            home = tmp_path / "home"
            home.mkdir()
            (home / ".bashrc").write_text(bashrc)
            running = running_sshd(tmp_path / "sshd", HOME=str(home))
            server = stack.enter_context(running)
            return SshDevice.model_validate(server.device(tmp_path / "store"))

        yield start


@contextlib.contextmanager
def running_sshd(folder: Path, settings: str = "", **env: str) -> Iterator[Sshd]:
    """An OpenSSH server that lives in `folder`, with more lines of its settings, and with an
    environment of what it starts."""
    # Engines behind it, too, are more than there are processors: see Makefile.
    waits = {key: os.environ[key] for key in ("OMP_WAIT_POLICY",) if key in os.environ}
    # What is in the `~/.bashrc` of whoever tests would be run for each command.
    lives = {"HOME": f"{folder}/home", "XDG_CACHE_HOME": str(caches())}
    there = " ".join(f"{name}={value}" for name, value in {**waits, **lives, **env}.items())
    server, keygen = needed("sshd"), needed("ssh-keygen")
    (folder / "home").mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "user_key"):
        command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\n"
        f"PasswordAuthentication no\nPidFile none\nSubsystem sftp internal-sftp\n"
        f"PermitRootLogin prohibit-password\n{settings}" + (f"SetEnv {there}\n" if there else "")
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # Debian's privilege separation folder
    log = (folder / "sshd.log").open("w")
    process = subprocess.Popen([server, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        _wait_for(port, process, folder / "sshd.log")
        public = (folder / "host_key.pub").read_text().split()[:2]
        known_hosts = folder / "known_hosts"
        known_hosts.write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True)
        yield Sshd(port, folder / "user_key", known_hosts, user.stdout.strip())
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def over_ssh(
    finished: Work, sshd: Sshd, shared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Work:
    """The finished study once more, measured on a device behind SSH."""
    folder = tmp_path_factory.mktemp("over-ssh") / "work"
    work = finished.clone(folder)
    work.config["study"] = "over-ssh"
    store = tmp_path_factory.mktemp("device") / "a store"  # a space must not hurt
    work.config["devices"] = {"pi": sshd.device(store)}
    make_ready(work, store, shared / "ready")
    work.summarized()
    return work


def make_ready(work: Work, store: Path, ready: Path) -> None:
    """Install what a device is measured with: once for the workers of a run, whose other devices
    have it already, as after a study of someone else."""
    with FileLock(f"{ready}.lock"):
        if ready.exists():
            have(store, ready)
            return
        work.write().snakemake("--", "results/devices/pi.json")
        shutil.copytree(store / "venv", ready, symlinks=True)


def have(store: Path, ready: Path) -> None:
    """What a device was made ready with, in the store of another."""
    store.mkdir(mode=0o700, parents=True)  # as it is made there
    shutil.copytree(ready, store / "venv", symlinks=True)


@pytest.fixture(scope="session")
def pi() -> Iterator[virtual_pi.VirtualPi]:
    """A running virtual Raspberry Pi; built and its engine cross-compiled once, then cached."""
    for tool in ("debootstrap", "qemu-aarch64-static", "aarch64-linux-gnu-g++", "unshare"):
        needed(tool)
    only_root("the virtual Pi")
    with virtual_pi.running(virtual_pi.cache_folder()) as running:
        yield running


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, f"sshd did not start: {log.read_text()}"
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    until(answers, log.read_text)
