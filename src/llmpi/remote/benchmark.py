"""Have a device measure the workloads of one model file that was deployed to it.

On a device behind SSH the measurement is detached: it goes on when the link is lost or the
workstation dies, and whoever asks for the same session again gets its record.
"""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypedDict

from llmpi.code import sha256_of_code
from llmpi.device.machine.energy import add_energy
from llmpi.device.records import (
    EndpointRequest,
    MeasuredBy,
    SessionAnswer,
    SessionRequest,
)
from llmpi.engine.packed import packed
from llmpi.engine.records import Failed, FailedCell, Runtime, Sample, SessionRecord
from llmpi.errors import LlmpiError
from llmpi.records import now, sha256_of_json
from llmpi.remote import requests
from llmpi.remote.connection import connected
from llmpi.remote.deploy import Sent, ensure_models
from llmpi.remote.detached import detached
from llmpi.remote.plugs import Timeline, plug_sampling
from llmpi.remote.provision import ensure_ready
from llmpi.remote.records import Provisioned, Receipt
from llmpi.script import tell
from llmpi.study.devices import SingleDevice, SshDevice
from llmpi.study.measuring import AnyWorkload

log = logging.getLogger(__name__)

SESSION = "llmpi.device.measure.session"
"""The module that has it measured there."""

SAMPLES_BYTES = 100_000
"""Of all questions of a session, packed: a request is a command's argument."""


class Hashes(TypedDict):
    """Of the files that are measured."""

    gguf_sha256: str
    draft_sha256: str | None


@contextlib.contextmanager
def benchmark(
    name: str,
    device: SingleDevice,
    *,
    what: str,
    runtime: Runtime,
    workloads: Mapping[str, AnyWorkload],
    measured_by: MeasuredBy,
    provisioned: Provisioned,
    receipt: Receipt,
    gguf: Path,
    kept: Path,
    endpoint: EndpointRequest | None = None,
    samples: Mapping[str, Sample | Failed] | None = None,
    draft: Sent | None = None,
) -> Iterator[SessionRecord | Failed]:
    """The block is given the record of one session, measured there; then the device forgets it.

    What goes wrong before the block's good end loses nothing: the device still has the record. An
    engine that dies is a result (status `failed`); a device that cannot be reached is not.

    Args:
        what: names study and session, for whoever waits for the device, and the job among others.
        workloads: by id.
        measured_by: what measures them in a session.
        provisioned: the receipt of the device: what it measures with.
        receipt: of the file on the device.
        gguf: the file here, to be sent again if it is not there any more.
        kept: file for what a plug says meanwhile, should this process end before the measurement.
        samples: of each workload of the kind `answers`, what it asks; one that failed is a cell
            that did, and the others are measured.
        endpoint: who is measured in the place of llmpi's engine.
        draft: the model that drafts, where the runtime asks for one.

    Raises:
        LlmpiError: the device, the endpoint or the way to it failed.
    """
    job: SessionRequest = {
        "what": what,
        "gguf": receipt["path"],
        "threads": device.threads,
        "limits": requests.limits(device),
        "runtime": runtime,
        "workloads": requests.workloads(workloads),
        "meter": requests.meter(device.meter),
        "rest": requests.rest(device),
        "others_at_most_pct": device.others_at_most_pct,
        "measured_by": measured_by,
    }
    if endpoint:
        job["endpoint"] = endpoint
    unasked = _unasked(job, samples or {})
    for workload in unasked:
        del job["workloads"][workload]
    if not job["workloads"]:
        yield next(one for one in (samples or {}).values() if one["status"] == "failed")
        return
    if asked := {w: one for w, one in (samples or {}).items() if one["status"] == "ok"}:
        job["samples"] = _packed(asked)
    if draft:
        job["draft"] = draft.receipt["path"]
    runs = (SESSION, measured_by)
    means = {"llmpi": [*map(sha256_of_code, runs)], "engine": provisioned["engine"]}
    hashes: Hashes = {
        "gguf_sha256": receipt["sha256"],
        "draft_sha256": draft.receipt["sha256"] if draft else None,
    }
    identity = {**job, **means, **hashes}
    started, timeline = now(), Timeline()
    with contextlib.ExitStack() as held:
        with plug_sampling(device.meter, kept) as plug:
            with connected(name, device) as reached:
                ensure_ready(reached, provisioned, *runs)
                files = [Sent(gguf, receipt), *([draft] if draft else [])]
                unfit = ensure_models(reached, device, files)
            if unfit:
                yield unfit
                return
            key = sha256_of_json(identity)[:16]
            if isinstance(device, SshDevice):
                there = detached(name, device, SESSION, job, SessionAnswer, key, timeline)
                answer = held.enter_context(there)
            else:
                with connected(name, device) as reached:
                    answer = reached.ask("measure", job, SessionAnswer, log=tell, timeout_s=None)
        if answer["status"] == "failed" and answer["stage"] == "endpoint":
            held.close()  # the device forgets it, and the next run asks again
            raise LlmpiError(f"device {name}: {answer['reason']}")
        ended = now()
        record: SessionRecord
        if answer["status"] == "failed":
            record = {**answer, **hashes, "started": started, "ended": ended}
        else:
            answer["clock"]["ahead_s"] = timeline.skew_s
            if plug:
                add_energy(answer, plug.samples(answer["clock"], timeline.skew_s), job["meter"])
            answer["workloads"] |= unasked
            record = {**answer, **hashes, "started": started, "ended": ended}
        yield record
        if plug:
            plug.forget()


def _packed(samples: Mapping[str, Sample]) -> str:
    """
    Raises:
        LlmpiError: that is too much for a request.
    """
    found = packed(samples)
    if len(found) > SAMPLES_BYTES:
        raise LlmpiError(
            f"workloads.{', workloads.'.join(samples)}: the questions take {len(found)} bytes, "
            f"more than the {SAMPLES_BYTES} that can be sent at once; ask fewer (questions)"
        )
    return found


def _unasked(job: SessionRequest, samples: Mapping[str, Sample | Failed]) -> dict[str, FailedCell]:
    """The cells of workloads whose questions cannot be asked."""
    return {
        name: {**found, "workload": job["workloads"][name], "levels": []}
        for name, found in samples.items()
        if found["status"] == "failed"
    }
