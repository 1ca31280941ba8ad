"""The page's texts in its languages.

English stands where it is used, in the templates and in the code, and is the key under which
`ja.yaml` holds the Japanese. What other modules say in English (reasons, verdicts, marks) is found
by pattern.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

NAMES = {"en": "English", "ja": "日本語"}


class Texts:
    """The texts of one language.

    Args:
        language: `en` or `ja`.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        catalog = {} if language == "en" else _catalog(language)
        self._texts: Mapping[str, str] = catalog.get("texts", {})
        self._said = [(_pattern(k), v) for k, v in catalog.get("said", {}).items()]

    def __call__(self, text: str) -> str:
        """A text of the page.

        Raises:
            KeyError: the catalog does not have it.
        """
        return text if self.language == "en" else self._texts[text]

    def plural(self, singular: str, plural: str, count: float) -> str:
        """The form for so many; Japanese has one."""
        return self(singular if count == 1 and self.language == "en" else plural)

    def said(self, text: str | None) -> str:
        """What another module says, in this language where the catalog knows its pattern.

        What the pattern leaves open is looked up in the same way.
        """
        if not text:
            return ""
        for pattern, translation in self._said:
            if found := pattern.fullmatch(text):
                return translation.format(**{k: self.said(v) for k, v in found.groupdict().items()})
        return text


@cache
def _catalog(language: str) -> Any:
    path = Path(__file__).parent / f"{language}.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _pattern(text: str) -> re.Pattern[str]:
    """`{name}` stands for whatever is said there."""
    parts = re.split(r"\{(\w+)\}", text)
    return re.compile(
        "".join(f"(?P<{p}>.+?)" if i % 2 else re.escape(p) for i, p in enumerate(parts)), re.DOTALL
    )
