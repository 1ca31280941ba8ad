"""Put a model file into the store of a device and write the receipt."""

from pathlib import Path

from llmpi.engine.records import Failed
from llmpi.gguf.records import Gguf
from llmpi.records import write_json
from llmpi.remote.deploy import deploy
from llmpi.remote.records import Provisioned
from llmpi.script import run
from llmpi.study.devices import SingleDevice


def main(
    *,
    device: str,
    model: str,
    quant: str,
    how: SingleDevice,
    gguf: Path,
    manifest: Gguf | Failed,
    provisioned: Provisioned,
    receipt: Path,
) -> None:
    if manifest["status"] == "failed":
        write_json(receipt, manifest)
        return
    found = deploy(device, how, provisioned, gguf=gguf, manifest=manifest, model=model, quant=quant)
    write_json(receipt, found)


if __name__ == "__main__":
    run(main)
