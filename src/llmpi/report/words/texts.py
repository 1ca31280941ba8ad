"""The page's fixed texts in its languages.

English stands where it is used, in the templates, in the code and in `facts.yaml`, and is the key
under which `ja.yaml` holds the Japanese. Sentences that are made of facts are in the modules of the
languages.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, NotRequired, TypedDict

from markupsafe import Markup

from llmpi import plain_yaml
from llmpi.quality.kind import Fact, Section, Value
from llmpi.report.words.numbers import grouped
from llmpi.study.study import Language

NAMES: Mapping[Language, str] = {"en": "English", "ja": "日本語"}
HERE = Path(__file__).parent


class SectionTexts(NamedTuple):
    """What the page says of a section; `contents` is its entry in the table of contents."""

    contents: str
    title: Markup
    intro: Markup | None
    soft: bool


class Texts:
    """The texts of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        catalog: Catalog = {"texts": {}, "labels": {}} if language == "en" else _catalog(language)
        self._texts, self._labels = catalog["texts"], catalog["labels"]

    def __call__(self, text: str) -> str:
        """A text of the page.

        Raises:
            KeyError: the catalog does not have it.
        """
        return text if self.language == "en" else self._texts[text]

    def said(self, text: str, **values: object) -> Markup:
        """A text of a template, whose markup stands, with values, which are escaped."""
        return Markup(self(text)) % {name: grouped(value) for name, value in values.items()}  # noqa: S704

    def label(self, code: str | None) -> str:
        """What this language calls a code, such as a status, a verdict or a reason that is always
        the same. What it has no word for, such as a reason from outside, is itself."""
        return self._labels.get(code or "", code or "")

    def title(self, text: str) -> str:
        """What a kind of quality tasks calls a column, in this language where it has the text."""
        return self._texts.get(text, text)

    def fact(self, fact: Fact) -> Markup:
        """What a kind of quality tasks says; by the values' names where no text has its key."""
        text = _said_of_kinds()["facts"].get(fact["key"])
        if text is None:
            return Markup.escape(_listed(fact["values"]))
        return self._filled(text, fact["values"])

    def section(self, section: Section) -> SectionTexts:
        """What a section of a kind of quality tasks is called, and what stands before its parts."""
        found = _said_of_kinds()["sections"].get(section["key"])
        if found is None:
            return SectionTexts(section["id"], Markup.escape(section["id"]), None, soft=False)
        intro = found.get("intro")
        return SectionTexts(
            contents=self(found["contents"]),
            title=self._filled(found["title"], section["values"]),
            intro=self._filled(intro, {}) if intro else None,
            soft=found.get("soft", False),
        )

    def chart(self, key: str) -> tuple[Markup, str]:
        """A chart's caption, and what it is for who does not see it."""
        found = _said_of_kinds()["charts"].get(key)
        if found is None:
            return Markup.escape(key), key
        return self._filled(found["caption"], {}), self(found["description"])

    def _filled(self, text: str, values: Mapping[str, Value]) -> Markup:
        """One of our own texts, whose markup stands, with values, which are escaped."""
        named = {n: self.label(v) if isinstance(v, str) else grouped(v) for n, v in values.items()}
        filled = {**named, "values": _listed(values)}
        return Markup(self(text)) % filled  # noqa: S704 (the text is of our own files)


def order(section: Section) -> int:
    """The place of a section on the page; what is not known comes last."""
    known = [*_said_of_kinds()["sections"]]
    return known.index(section["key"]) if section["key"] in known else len(known)


def _listed(values: Mapping[str, Value]) -> str:
    """A value that only says yes is told by its name."""
    told = {name: value for name, value in values.items() if value is not None}
    return ", ".join(
        name if value is True else f"{name} {grouped(value)}" for name, value in told.items()
    )


class Catalog(TypedDict):
    """The texts of a language."""

    texts: dict[str, str]
    """By the English."""
    labels: dict[str, str]
    """By the code."""


class SectionEntry(TypedDict):
    contents: str
    title: str
    intro: NotRequired[str]
    soft: NotRequired[bool]


class ChartEntry(TypedDict):
    caption: str
    description: str


class KindTexts(TypedDict):
    """What is said of kinds of quality tasks, in English, by keys."""

    sections: dict[str, SectionEntry]
    charts: dict[str, ChartEntry]
    facts: dict[str, str]


@cache
def _catalog(language: Language) -> Catalog:
    return plain_yaml.own(HERE / f"{language}.yaml")


@cache
def _said_of_kinds() -> KindTexts:
    return plain_yaml.own(HERE / "facts.yaml")
