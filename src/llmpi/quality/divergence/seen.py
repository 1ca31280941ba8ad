"""Whether a variant is scored on what it was made with, whatever that is called there.

That a config names one text for both is refused when it is read; a copy under another name is seen
here, by its sentences: however its lines are broken, and where it holds a part of the other, too.
"""

import logging
import re
from collections.abc import Iterator, Mapping

from llmpi.errors import LlmpiError
from llmpi.quality.divergence.records import Corpus, Perplexity, TextOrigin

log = logging.getLogger(__name__)

SENTENCES = re.compile(r"[^.,:;!?。、！？]+")
LEAST_CHARACTERS = 20
"""Of a sentence; what is shorter stands in any text."""
MOST = 0.1
"""Of what is scored may stand in another text: a quotation or a licence makes no copy."""


def check_unseen(
    variant: str, task: str, scored: Corpus, windows: Perplexity, made_with: Mapping[str, Corpus]
) -> None:
    """
    Args:
        scored: the text of the task, of which so many
        windows: are scored, from its beginning.
        made_with: the texts that the variant was made with, by what they are for.

    Raises:
        LlmpiError: too much of the one is in the other.
    """
    part = windows["chunks"] / windows["available_chunks"]
    text = scored["text"][: round(part * len(scored["text"]))]
    for use, seen in made_with.items():
        share = share_of(text, seen["text"])
        if share <= MOST:
            continue
        if _whole(scored["source"]) == _whole(seen["source"]):  # parts without a line in common
            log.warning(
                "%s, %s: %.0f %% of what is scored stands in the part for '%s', too, as their "
                "source repeats itself",
                *(variant, task, 100 * share, use),
            )
            continue
        raise LlmpiError(
            f"{variant}, {task}: {100 * share:.0f} % of the text that is scored is in the text of "
            f"'{use}', which the variant was made with, so that its score would be flattered; take "
            f"another text for quality.{task} or for {use}.text, or of one source a part for each, "
            "with from_pct and to_pct"
        )


def share_of(text: str, other: str) -> float:
    """How much of a text's sentences another one has, too: of their characters, without blanks."""
    own = [*_sentences(text)]
    unseen = {*own}
    for sentence in _sentences(other):
        unseen.discard(sentence)
    whole = sum(map(len, own))
    return sum(len(one) for one in own if one not in unseen) / whole if whole else 0.0


def _sentences(text: str) -> Iterator[str]:
    for found in SENTENCES.finditer(text):
        sentence = "".join(found[0].split())
        if len(sentence) >= LEAST_CHARACTERS:
            yield sentence


def _whole(origin: TextOrigin) -> frozenset[tuple[str, object]]:
    """What names the source that it is a part of."""
    return frozenset(item for item in origin.items() if item[0] not in ("from_pct", "to_pct"))
