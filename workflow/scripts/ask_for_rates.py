"""Note what a device's rates are of, by a hash: as long as it is the same, they are."""

from pathlib import Path

from pydantic import TypeAdapter

from llmpi.engine.records import RatesAsked
from llmpi.records import sha256_of_json, write_json
from llmpi.script import run
from llmpi.study.session import RatesSettings


def main(*, how: RatesSettings, quant: str, asked: Path) -> None:
    settings = TypeAdapter(RatesSettings).dump_python(how, mode="json")
    found: RatesAsked = {"sha256": sha256_of_json([settings, quant])}
    write_json(asked, found)


if __name__ == "__main__":
    run(main)
