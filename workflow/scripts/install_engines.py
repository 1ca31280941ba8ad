"""Have the engines of a comparison on a device, each in a folder of its own."""

from pathlib import Path

from llmpi.records import write_json
from llmpi.remote.install_engines import install_engines
from llmpi.remote.records import Provisioned
from llmpi.script import run
from llmpi.study.engines import EngineSettings


def main(
    *, device: str, how: EngineSettings, cache: Path, provisioned: Provisioned, installed: Path
) -> None:
    asked = how["engines"]
    write_json(installed, install_engines(device, how["device"], asked, provisioned, cache))


if __name__ == "__main__":
    run(main)
