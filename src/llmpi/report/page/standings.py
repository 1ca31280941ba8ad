"""What the quality of each variant is shown to be, requirement by requirement."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from markupsafe import Markup
from typing_extensions import TypedDict

from llmpi.decide.records import RequirementVerdict, Shown, Standing
from llmpi.report.page.content import Content
from llmpi.report.page.sections import Box, KindTable
from llmpi.report.words.emphasis import ends, scored_name, upwards
from llmpi.report.words.languages import Words
from llmpi.report.words.numbers import number
from llmpi.report.words.texts import Texts
from llmpi.study.runs import width


class Asked(NamedTuple):
    """A requirement, as every variant has it."""

    task: str
    metric: str
    kind: Literal["loss", "gate"]


class StandingRow(TypedDict):
    """A variant in a requirement, turned so that less is better."""

    requirement: int
    name: str
    verdict: Shown
    value: float | None
    """Points lost; of a perplexity, per cent; of a gate, points short of it. None: not compared."""
    low: float | None
    high: float | None
    limit: float
    items: int
    clusters: int


def standings(content: Content) -> dict[str, Standing]:
    """By what is scored, from the widest of each model to the narrowest: quality has no device."""
    models = list(dict.fromkeys(c["model"] for c in content.candidates))
    study = content.study
    ordered = sorted(
        content.candidates,
        key=lambda c: (models.index(c["model"]), width(study, c["model"], c["quant"])),
    )
    return {
        scored_name(c, several_models=len(models) > 1): c["standing"]
        for c in ordered
        if c["standing"]
    }


def asked(content: Content) -> dict[Asked, RequirementVerdict]:
    """Every requirement, with what one variant is shown in it; in the config's order, minimums
    last."""
    tasks = [*content.study.quality]
    found = {
        asked_by(one): one
        for standing in standings(content).values()
        for one in standing["requirements"]
    }
    order = sorted(found, key=lambda one: (one.kind == "gate", tasks.index(one.task)))
    return {one: found[one] for one in order}


def asked_by(found: RequirementVerdict) -> Asked:
    return Asked(found["task"], found["metric"], found["kind"])


MOST_DRAWN = 60
"""Variants of a chart, which has a line for each: the table has them all."""


def standing_rows(content: Content) -> list[StandingRow]:
    """A row a variant and requirement; of very many variants, of the models on the front."""
    places = {requirement: at for at, requirement in enumerate(asked(content))}
    return [
        _row(places[asked_by(one)], name, one)
        for name, standing in drawn_standings(content).items()
        for one in standing["requirements"]
    ]


def drawn_standings(content: Content) -> dict[str, Standing]:
    """Of the variants that the charts have a line for, the pick's model first."""
    every = standings(content)
    if len(every) <= MOST_DRAWN or content.recommendation is None:
        return every
    overall = content.recommendation["decisions"][0]
    first = [overall["pick"], overall["runner_up"], overall["nearest"], *overall["front"]]
    by_id = {c["id"]: c["model"] for c in content.candidates}
    models = dict.fromkeys(by_id[one] for one in first if one)
    of_model: dict[str, set[str]] = {}
    for c in content.candidates:
        of_model.setdefault(c["model"], set()).add(scored_name(c, several_models=True))
    told = [name for model in models for name in every if name in of_model[model]] or list(every)
    return {name: every[name] for name in told[:MOST_DRAWN]}


def _row(place: int, name: str, found: RequirementVerdict) -> StandingRow:
    least = found["margin"] if found["kind"] == "gate" else 0.0
    value, low, high = found["loss"], found["low"], found["high"]
    return {
        "requirement": place,
        "name": name,
        "verdict": found["verdict"],
        "value": None if value is None else value - least,
        "low": None if low is None else low - least,
        "high": None if high is None else high - least,
        "limit": found["margin"] - least,
        "items": found["items"],
        "clusters": found["clusters"],
    }


# --- the table ------------------------------------------------------------------------------------


def standing_table(t: Texts, words: Words, content: Content) -> KindTable | None:
    """A row a variant, a column a requirement; None where nothing was asked of quality."""
    requirements = asked(content)
    if content.recommendation is None or not requirements:
        return None
    heads = [
        (Markup.escape(t("variant")), True),
        (Markup.escape(t("all in all")), True),
        (Markup.escape(t("probability that it holds, by itself")), False),
        (Markup.escape(t("more items that would tell, four times in five")), False),
        *((_head(words, one), False) for one in requirements.values()),
    ]
    rows = []
    for name, standing in standings(content).items():
        found = {asked_by(one): one for one in standing["requirements"]}
        rows.append(
            [
                Box(name, is_text=True),
                Box(
                    t.label("reference" if standing["reference"] else standing["verdict"]),
                    is_text=True,
                    bad=standing["verdict"] == "fails",
                ),
                Box(_per_cent(standing["probability"])),
                Box(
                    ", ".join(
                        f"{one['task']}: {upwards(one['items']):,}"
                        for one in standing["more"]
                        if one["items"]
                    )
                ),
                *_boxes(t, requirements, found, is_reference=standing["reference"]),
            ]
        )
    filled = [any(box.text or box.below for box in column) for column in zip(*rows, strict=True)]
    return KindTable(
        [head for head, said in zip(heads, filled, strict=True) if said],
        [[box for box, said in zip(row, filled, strict=True) if said] for row in rows],
    )


def _head(words: Words, found: RequirementVerdict) -> Markup:
    return Markup("<br>").join(words.requirement(found))


def _boxes(
    t: Texts,
    requirements: Mapping[Asked, RequirementVerdict],
    found: Mapping[Asked, RequirementVerdict],
    *,
    is_reference: bool,
) -> Iterator[Box]:
    for requirement in requirements:
        one = found.get(requirement)
        if one is None:
            yield Box("0" if is_reference else "")
        elif (known := ends(one)) is None:
            yield Box(t.label(one["why"]), below=t.label(one["verdict"]))
        else:
            value, low, high = map(number, known)
            below = f"{low} {t('to')} {high}, {t.label(one['verdict'])}"
            yield Box(value, below, bad=one["verdict"] == "fails")


def _per_cent(probability: float | None) -> str:
    if probability is None:
        return ""
    return f"{min(99, max(1, round(100 * probability)))} %"
