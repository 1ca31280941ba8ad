"""The begin of a run, said by the Snakefile to who shows it: what is to come, how long it may take.

Light until then: every parse imports it.
"""

import json
import logging
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from llmpi.study.study import Study
from llmpi.terminal.estimated import ESTIMATED, LEARNING
from llmpi.terminal.run_state import Kind

PATIENCE_S = 10.0


def say(log: logging.Logger, study: Study, jobs: Iterable[Any]) -> None:
    """Log what is to come, as records without a text.

    Args:
        jobs: of Snakemake's, those that are to run.
    """
    left = Counter(
        Kind(job.rule.name, *(str(job.wildcards.get(key, "")) for key in ("device", "model")))
        for job in jobs
        if job.log  # else it does nothing itself, as `all`
    )
    here = frozenset(name for name, device in study.devices.items() if device.is_here)
    _log(log, "begin", study=study.study, left=left, here=here, devices=tuple(study.devices))
    if ESTIMATED.isdisjoint(kind.rule for kind in left):
        return
    asking = threading.Thread(target=_ask, args=(log, study), daemon=True)
    asking.start()
    # A speed belongs to a machine that was alone; and what cannot be made is said before what is
    # slow begins.
    if any(kind.device in here or kind.rule in LEARNING for kind in left):
        asking.join(PATIENCE_S)


def _ask(log: logging.Logger, study: Study) -> None:
    """What the plan expects, and refuses; a run goes without where it says nothing."""
    with suppress(OSError, subprocess.SubprocessError, ValueError):
        done = subprocess.run(
            [sys.executable, "-m", "llmpi.terminal.expected"],
            input=study.model_dump_json(),
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
        told = json.loads(done.stdout)
        for why in told["refused"]:
            log.warning("%s", why)
        found = {Kind(*kind): seconds for *kind, seconds in told["expected"]}
        _log(log, "expected", expected_s=found)


def _log(log: logging.Logger, event: str, **facts: Any) -> None:
    log.info(None, extra={"llmpi": event, **facts})
