"""A real Slurm on this machine: one node, with a munge, ports and folders of its own."""

import contextlib
import os
import secrets
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support import free_port, needed, until

CONF = """\
ClusterName=llmpi-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MailProg=/bin/true
# A container has no control groups of its own; nobody confines or accounts the jobs here.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2
# Ended jobs can be asked for: what the executor does where there is no accounting.
MinJobAge=3600
# On a busy machine its processes let each other wait.
MessageTimeout=100
BatchStartTimeout=100
ReturnToService=2
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=100000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class Slurm:
    """A running cluster of one node."""

    folder: Path
    cpus: int

    @property
    def env(self) -> dict[str, str]:
        """What a process needs to find this cluster."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def ask(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """All jobs so far: id, state, what they ask for, and the comment, which names the rule."""
        keys = {"id": "%i", "state": "%T", "cpus": "%C", "memory": "%m", "limit": "%l"}
        keys["comment"] = "%k"
        lines = self.ask("squeue", "--states=all", "--noheader", "-o", "|".join(keys.values()))
        return [dict(zip(keys, line.split("|"), strict=True)) for line in lines.splitlines()]

    def shown(self) -> list[str]:
        """All that Slurm says of each job."""
        return self.ask("scontrol", "show", "job").strip().split("\n\n")


@contextlib.contextmanager
def running(folder: Path, cpus: int) -> Iterator[Slurm]:
    """A cluster that lives in `folder`; its processors are as many as it is told."""
    tools = {name: needed(name) for name in ("munged", "slurmctld", "slurmd", "sbatch", "srun")}
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    cluster = Slurm(folder, cpus)
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    ports = {"controller_port": free_port(), "node_port": free_port()}
    host = socket.gethostname().split(".")[0]
    (folder / "slurm.conf").write_text(
        CONF.format(host=host, user=user, folder=folder, cpus=cpus, **ports)
    )
    (folder / "gres.conf").write_text("AutoDetect=off\nName=gpu File=/dev/null\n")
    # The executor's job step drops SLURM_CONF, as every cluster but this has /etc/slurm/slurm.conf.
    srun = folder / "bin/srun"
    conf = f"SLURM_CONF={folder}/slurm.conf"
    srun.write_text(f'#!/bin/sh\n{conf} exec {tools["srun"]} "$@"\n')
    srun.chmod(0o755)
    munged = {"socket": "munge.socket", "key-file": key.name, "pid-file": "munge.pid"}
    munged |= {"log-file": "munge.log", "seed-file": "munge.seed"}
    options = [f"--{name}={folder / file}" for name, file in munged.items()]
    daemons = [
        [tools["munged"], "--foreground", "--force", *options],
        [tools["slurmctld"], "-D", "-i"],
        [tools["slurmd"], "-D", "-N", host],
    ]
    with contextlib.ExitStack() as stack:
        for command in daemons:
            stack.enter_context(_daemon(command, cluster))
            if "munged" in command[0]:
                _wait_for(lambda: (folder / "munge.socket").exists(), cluster)
        _wait_for(lambda: "idle" in _state(cluster), cluster)
        try:
            yield cluster
        finally:
            with contextlib.suppress(AssertionError):
                cluster.ask("scancel", "--me", "--full")


@contextlib.contextmanager
def _daemon(command: Sequence[str], cluster: Slurm) -> Iterator[None]:
    log = (cluster.folder / f"{Path(command[0]).name}.out").open("w")
    env = {**os.environ, **cluster.env}
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _state(cluster: Slurm) -> str:
    try:
        return cluster.ask("sinfo", "--noheader", "-o", "%T")
    except AssertionError:
        return ""


def _wait_for(there: Callable[[], object], cluster: Slurm) -> None:
    def logs() -> str:
        files = [*cluster.folder.glob("*.log"), *cluster.folder.glob("*.out")]
        return "Slurm did not start:\n" + "\n".join(f"{p.name}: {p.read_text()}" for p in files)

    until(there, logs)
