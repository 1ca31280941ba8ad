"""Measure on a device what each type costs there, with the matrices of a model."""

from pathlib import Path

from llmpi.engine.llama import EngineError
from llmpi.engine.records import Failed
from llmpi.gguf.mix.seconds import wanted
from llmpi.records import failed, write_json
from llmpi.remote import requests
from llmpi.remote.rates import measure_rates
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import run
from llmpi.study.session import RatesSettings


def main(
    *,
    device: str,
    model: str,
    how: RatesSettings,
    quant: str,
    base: Path,
    gguf: Path,
    provisioned: Provisioned,
    receipt: Receipt | Failed,
    rates: Path,
) -> None:
    if receipt["status"] == "failed":
        write_json(rates, receipt)
        return
    try:
        asked, elements = wanted(base)
    except EngineError as error:
        write_json(rates, failed("rates", str(error)))
        return
    with measure_rates(
        device,
        how["device"],
        what=f"rates of {model}",
        runtime=requests.runtime(how["runtime"]),
        matrices=[
            {"type": kind, "rows": shape.rows, "columns": shape.columns} for kind, shape in asked
        ],
        elements=elements,
        quant=quant,
        provisioned=provisioned,
        receipt=receipt,
        gguf=gguf,
    ) as record:
        write_json(rates, record)


if __name__ == "__main__":
    run(main)
