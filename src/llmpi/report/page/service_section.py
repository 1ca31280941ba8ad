"""What the services of a study's devices were seen to carry, and whether they still serve that."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from llmpi.device.service.records import ServiceBench, ServiceSettings
from llmpi.engine.records import Failed
from llmpi.report.page.content import Content
from llmpi.report.words.numbers import number
from llmpi.report.words.texts import Texts
from llmpi.study.devices import group_of
from llmpi.study.service import ServedVariant, Service
from llmpi.summary.service_loads import CarriedLoad, carried_loads, most_without_refusal


class ShownLoad(NamedTuple):
    """A line of the table."""

    name: str
    prompts: str
    found: CarriedLoad
    marks: Sequence[str]


class ShownService(NamedTuple):
    """Of a device.

    `reason` says why there is nothing to show; `stale`, why it is not what the device carries now.
    """

    device: str
    reason: str | None
    variant: str
    bench: ServiceBench | None
    when: str
    """The last load."""
    loads: Sequence[ShownLoad]
    stale: Sequence[str]
    best: CarriedLoad | None
    no_joules: str | None


def shown_services(t: Texts, content: Content) -> list[ShownService]:
    """In the config's order."""
    order = [*content.study.devices]
    found = [
        (name, one)
        for name, one in content.service.items()
        if name in order and (one["status"] == "failed" or one["loads"])
    ]
    return [_shown(t, content, *one) for one in sorted(found, key=lambda one: order.index(one[0]))]


def together(services: Sequence[ShownService]) -> tuple[int, float] | None:
    """How many devices, and their answers a minute together; None of fewer than two."""
    best = [one.best for one in services if one.best]
    return (len(best), sum(one.answered_per_min for one in best)) if len(best) > 1 else None


def _shown(t: Texts, content: Content, device: str, bench: ServiceBench | Failed) -> ShownService:
    if bench["status"] == "failed":
        return ShownService(device, bench["reason"], "", None, "", [], [], None, None)
    loads, settings = carried_loads(bench), bench["settings"]
    stale = list(_stale(t, content, bench))
    reasons = [one.no_energy for one in loads if one.no_energy]
    return ShownService(
        device=device,
        reason=None,
        variant=" ".join(filter(None, (settings["model"], settings["quant"], bench["runtime"]))),
        bench=bench,
        when=max(one["ended"] for one in bench["loads"]),
        loads=[ShownLoad(_name(t, one), _prompts(t, one), one, _marks(t, one)) for one in loads],
        stale=stale,
        best=None if stale else most_without_refusal(loads),
        no_joules=reasons[0] if len(reasons) == len(loads) and reasons else None,
    )


def _name(t: Texts, one: CarriedLoad) -> str:
    load = one.carried["load"]
    if load["kind"] == "open":
        return t("{rate} requests/s, by chance").format(rate=f"{load['per_s']:g}")
    count = load["clients"]
    return t("1 client") if count == 1 else t("{count} clients").format(count=f"{count:,}")


def _prompts(t: Texts, one: CarriedLoad) -> str:
    carried = one.carried
    prompts, output = carried["prompts"], f"{carried['output_tokens']:,}"
    if prompts["kind"] == "questions":
        told = t("{questions} questions of {task}, answers of up to {output} tokens").format(
            questions=f"{prompts['questions']:,}", task=prompts["task"], output=output
        )
    else:
        told = t("{size} tokens of text, answers of up to {output}").format(
            size=f"{prompts['prompt_tokens']:,}", output=output
        )
    return told if carried["distinct"] else f"{told}; {t('they begin alike')}"


def _marks(t: Texts, one: CarriedLoad) -> list[str]:
    marks = []
    if one.carried["stopped"]:
        marks.append(t("stopped before its end"))
    if one.throttled:
        marks.append(t.label("throttled"))
    if others := one.carried["others"]:
        marks.append(t("{count} requests of others meanwhile").format(count=f"{others:,}"))
    if one.cached_pct is not None and one.cached_pct >= 1:
        share = number(one.cached_pct, 0)
        marks.append(t("{share} % of the prompts out of the cache").format(share=share))
    return marks


# --- what it was measured on, and what is served --------------------------------------------------


def _stale(t: Texts, content: Content, bench: ServiceBench) -> Iterator[str]:
    """Why it is not what the device carries now."""
    seen = bench["seen"]
    if seen["release"] is None:
        yield t("nothing is served there any more, as of {when}").format(when=seen["at"])
    elif seen["release"] != bench["release"]:
        yield t("another release is served there, {release}, as of {when}").format(
            release=seen["release"], when=seen["at"]
        )
    service = content.study.service
    if service is None:
        yield t("the config serves nothing any more")
        return
    wanted = _wanted(content, service, bench["device"])
    settings = bench["settings"]
    served = (settings["model"], settings["quant"], bench["runtime"])
    if wanted is not None and served != wanted:
        yield t("the config's service is another variant now: {variant}").format(
            variant=" ".join(wanted) or t("none")
        )
    if changed := _changed(service, settings):
        yield t("the config asks for other settings now: {settings}").format(
            settings=", ".join(changed)
        )
    files = {
        one["sha256"]
        for one in content.summary["files"]
        if (one["model"], one["quant"]) == served[:2] and one["sha256"]
    }
    if files and len(bench["gguf_sha256"]) == 1 and bench["gguf_sha256"][0] not in files:
        yield t("the model's file is another one now")


def _wanted(content: Content, service: Service, device: str) -> tuple[str, ...] | None:
    """The variant that the config serves there; None where that is not decided."""
    if isinstance(service.variant, ServedVariant):
        named = service.variant
        return named.model, named.quant, named.runtime
    if content.recommendation is None:
        return None
    where = group_of(content.study.devices[device]) or device
    for made in content.recommendation["decisions"]:
        if made["where"] == where:
            pick = next((c for c in content.candidates if c["id"] == made["pick"]), None)
            return (pick["model"], pick["quant"], pick["runtime"]) if pick else ()
    return None


def _changed(service: Service, settings: ServiceSettings) -> list[str]:
    """The config's keys that differ."""
    asked = {
        "context_tokens": (service.context_tokens, settings["context_tokens"]),
        "slots": (service.slots, settings["slots"]),
        "prefix_cache": (service.prefix_cache or 0, settings["prefix_cache_bytes"]),
        "waiting": (service.waiting, settings["waiting"]),
        "answer_s": (service.answer_s, settings["answer_s"]),
    }
    return [name for name, (now, then) in asked.items() if now != then]
