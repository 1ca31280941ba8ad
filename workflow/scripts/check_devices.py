"""Look at all devices of a study and say what stands in the way of a measurement."""

import logging
from pathlib import Path

from llmpi.records import whole_file
from llmpi.remote.check import check_devices, table
from llmpi.script import job

log = logging.getLogger("llmpi")


def main(*, devices: dict, out: Path) -> None:
    text = table(check_devices(devices))
    log.info("%s", text)
    with whole_file(out) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            devices=snakemake.params.spec,
            out=Path(snakemake.output.table),
        )
