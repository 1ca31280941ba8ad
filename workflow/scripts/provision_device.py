"""Make a device ready: its store, and a venv with llmpi and the engine."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.remote.provision import Parts, provision
from llmpi.script import run
from llmpi.study.devices import SingleDevice


def main(*, device: str, how: SingleDevice, lock: Path, engines: Path, receipt: Path) -> None:
    write_json(receipt, provision(device, how, Parts(lock=lock, engines=engines)))


if __name__ == "__main__":
    run(main)
