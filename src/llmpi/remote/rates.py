"""Have a device time what each type of weights costs there, with the matrices of a model.

On a device behind SSH it is detached, as a measurement is (`llmpi.remote.benchmark`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmpi.code import sha256_of_code
from llmpi.device.records import Matrix, RatesRequest
from llmpi.engine.records import Failed, MeasuredRates, Rates, Runtime
from llmpi.records import failed, now, sha256_of_json
from llmpi.remote import requests
from llmpi.remote.connection import connected
from llmpi.remote.deploy import ensure_model
from llmpi.remote.detached import detached
from llmpi.remote.plugs import Timeline
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import tell
from llmpi.study.devices import SingleDevice, SshDevice

RATES = "llmpi.device.measure.rates"
"""The module that measures them there."""


@contextlib.contextmanager
def measure_rates(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    runtime: Runtime,
    matrices: Sequence[Matrix],
    elements: int,
    quant: str,
    provisioned: Provisioned,
    receipt: Receipt,
    gguf: Path,
) -> Iterator[Rates | Failed]:
    """The block is given the record; then the device forgets it.

    Args:
        what: names the job, for whoever waits for the device.
        matrices: to be timed.
        elements: weights of the model.
        quant: of the file whose tokens are timed.
        provisioned: the receipt of the device.
        receipt: of the file on the device.
        gguf: the file here, to be sent again if it is not there any more.

    Raises:
        LlmpiError: the device or the way to it failed.
    """
    job: RatesRequest = {
        "what": what,
        "gguf": receipt["path"],
        "threads": device.threads,
        "runtime": runtime,
        "matrices": [*matrices],
        "elements": elements,
        "limits": requests.limits(device),
    }
    means = {"llmpi": sha256_of_code(RATES), "engine": provisioned["engine"]}
    key = sha256_of_json({**job, **means, "gguf_sha256": receipt["sha256"]})[:16]
    started = now()
    with connected(name, device) as reached:
        ensure_ready(reached, provisioned, RATES)
        again = ensure_model(reached, device, gguf, receipt)
    if again["status"] == "failed":
        yield again
        return
    with _asked(name, device, job, key) as told:
        answer = _checked(told)
        if answer["status"] == "failed":
            yield answer
            return
        yield {
            **answer,
            "device": name,
            "quant": quant,
            "gguf_sha256": receipt["sha256"],
            "started": started,
            "ended": now(),
        }


def _checked(answer: MeasuredRates | Failed) -> MeasuredRates | Failed:
    """The answer, where its times can be."""
    if answer["status"] == "failed":
        return answer
    times = [answer["token_s"], answer["prompt_s"]]
    times += [rate["product_s"] for rate in answer["rates"]]
    times += [rate["prompt_product_s"] for rate in answer["rates"]]
    if answer["prompt_tokens"] > 0 and all(each and min(each) > 0 for each in times):
        return answer
    return failed("rates", "the device answered with a time that cannot be")


@contextlib.contextmanager
def _asked(
    name: str, device: SingleDevice, job: RatesRequest, key: str
) -> Iterator[MeasuredRates | Failed]:
    if isinstance(device, SshDevice):
        with detached(name, device, RATES, job, MeasuredRates | Failed, key, Timeline()) as answer:
            yield answer
        return
    with connected(name, device) as reached:
        yield reached.ask("rates", job, MeasuredRates | Failed, log=tell, timeout_s=None)
