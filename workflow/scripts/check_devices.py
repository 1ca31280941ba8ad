"""Look at all devices of a study and say what stands in the way of a measurement."""

import logging
from pathlib import Path

from llmpi.records import whole_file
from llmpi.remote.check import check_devices
from llmpi.remote.check import table as as_table
from llmpi.script import run
from llmpi.study.devices import SingleDevice

log = logging.getLogger("llmpi")


def main(*, devices: dict[str, SingleDevice], table: Path) -> None:
    text = as_table(check_devices(devices))
    log.info("%s", text)
    with whole_file(table) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(main)
