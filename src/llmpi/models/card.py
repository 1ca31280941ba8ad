"""Model cards: a text whose head states the licence, in YAML."""

from pathlib import Path

from llmpi import plain_yaml

CARD = "README.md"
"""At the hub."""
CARD_BYTES = 1_000_000
"""No card is larger; what is, is not fetched, and no further read."""


def stated(path: Path) -> str | None:
    """The licence that a card states.

    Raises:
        ValueError: its head is no YAML.
    """
    with path.open("rb") as file:
        card = file.read(CARD_BYTES).decode("utf-8", "replace")
    fence, _, rest = card.lstrip("\ufeff").partition("\n")
    head, end, _ = rest.partition("\n---")
    if fence.strip() != "---" or not end:
        return None
    stated = plain_yaml.load(head)
    if not isinstance(stated, dict):
        raise plain_yaml.YamlError("its head holds no keys")
    licence = stated.get("license_name") or stated.get("license")
    licences = licence if isinstance(licence, list) else [licence]
    return ", ".join(one for one in licences if isinstance(one, str))[:200] or None
