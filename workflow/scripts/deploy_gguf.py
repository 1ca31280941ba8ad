"""Put a model file into the store of a device and write the receipt."""

from pathlib import Path

from llmpi.records import Record, write_json
from llmpi.remote.deploy import deploy
from llmpi.script import run


def main(
    *,
    device: str,
    model: str,
    quant: str,
    spec: dict,
    gguf: Path,
    manifest: Record,
    receipt: Path,
) -> None:
    record = deploy(device, spec, gguf=gguf, manifest=manifest, model=model, quant=quant)
    write_json(receipt, record)


if __name__ == "__main__":
    run(main)
