"""What a service was seen to carry, as `llmpi service bench` leaves it."""

from typing import Any

import made_records as made

from llmpi.device.service.records import Carried, ServedRequest, ServiceBench, ServiceSettings
from llmpi.remote import requests
from llmpi.study.measuring import Runtime


def settings(**more: Any) -> ServiceSettings:
    found: Any = {
        "model": "m",
        "quant": "F16",
        "port": 8080,
        "thinking_tokens": None,
        "context_tokens": 2048,
        "slots": 1,
        "prefix_cache_bytes": 0,
        "waiting": 16,
        "answer_s": 600,
        "drain_s": 300,
        "runtime": requests.runtime(Runtime(threads=4)),
        **more,
    }
    return found


def answered(start_s: float, whole_s: float = 2.0, ttft_s: float = 0.5) -> ServedRequest:
    return {
        "start_s": start_s,
        "whole_s": whole_s,
        "ttft_s": ttft_s,
        "outcome": "answered",
        "status": None,
        "reason": None,
        "prompt_tokens": 100,
        "output_tokens": 20,
    }


def refused(start_s: float, status: int = 503) -> ServedRequest:
    no_answer: Any = {"outcome": "refused", "status": status, "reason": f"answers {status}"}
    nothing: Any = dict.fromkeys(("ttft_s", "prompt_tokens", "output_tokens"))
    return {**answered(start_s, 0.1), **nothing, **no_answer}


def failed(start_s: float, reason: str = "broke off") -> ServedRequest:
    lost: Any = {"outcome": "failed", "status": None, "reason": reason}
    return {**refused(start_s), **lost}


def carried(told: list[ServedRequest] | None = None, **more: Any) -> Carried:
    """By default of two clients: 40 answers in as many seconds, 200 J in all."""
    default = [answered(float(i), whole_s=2.0 if i < 39 else 1.0) for i in range(40)]
    found: Any = {
        "load": {"kind": "closed", "clients": 2},
        "prompts": {"kind": "texts", "prompt_tokens": 100},
        "distinct": True,
        "output_tokens": 20,
        "requests": 40,
        "seconds": 300.0,
        "started": "2026-11-27T12:00:00+00:00",
        "ended": "2026-11-27T12:00:40+00:00",
        "stopped": False,
        "requests_made": default if told is None else told,
        "computed_prompt_tokens": 4000,
        "others": 0,
        "before": made.conditions(),
        "after": made.conditions(),
        "energy": {
            "status": "ok",
            "tier": "pmic",
            "meter": "pmic",
            "by": "power",
            "energy_j": 200.0,
            "samples": 400,
        },
        **more,
    }
    return found


def bench(loads: list[Carried] | None = None, **more: Any) -> ServiceBench:
    found: Any = {
        "status": "ok",
        "study": "s",
        "device": "pi",
        "client": "on the device",
        "release": "0123456789ab",
        "settings": settings(),
        "runtime": "default",
        "gguf_sha256": [made.HASH],
        "where": {"machine": made.machine(), "engine": made.engine()},
        "seen": {"release": "0123456789ab", "at": "2026-11-27T12:01:00+00:00"},
        "loads": [carried()] if loads is None else loads,
        **more,
    }
    return found
