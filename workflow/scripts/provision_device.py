"""Make a device ready: its store, and a venv with llmpi and the engine."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.remote.provision import Parts, provision
from llmpi.script import run


def main(*, device: str, spec: dict, lock: Path, engines: Path, receipt: Path) -> None:
    write_json(receipt, provision(device, spec, Parts(lock=lock, engines=engines)))


if __name__ == "__main__":
    run(main)
