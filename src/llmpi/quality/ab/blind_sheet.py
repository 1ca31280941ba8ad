"""The blind sheet: a page on which a person judges two variants without knowing which is which.

The page holds no name and no hint; a key, kept elsewhere, says which answer is whose. The person
saves a file, and with the key it becomes a result.

What the page saves is a `SavedSheet` of `llmpi.quality.ab.records`.
"""

import base64
import hashlib
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from llmpi.engine.records import Message
from llmpi.engine.shown import visible
from llmpi.errors import LlmpiError
from llmpi.quality.ab.compare import winner
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.ab.records import (
    Counted,
    Judged,
    Judgement,
    Key,
    KeyOfPrompt,
    SavedSheet,
    UnblindedVerdict,
)
from llmpi.quality.records import Answer
from llmpi.quality.statistics import holm, sign_test
from llmpi.records import read, sha256_of_json, whole_file

TEMPLATE = "blind_sheet.html"
NAME_CHARACTERS = 100
"""Of a judge's name, on the sheet, too."""
SAVED_BYTES = 50_000_000
"""Of what a sheet saves: a hundred for a prompt."""


class OtherSheetError(LlmpiError):
    """What was saved is of another sheet."""


class Shown(TypedDict):
    """A prompt on the page."""

    id: str
    chat: list[Message]
    answers: list[str | None]
    """The left one and the right one."""


def write_sheet(
    path: Path,
    pair: tuple[str, str],
    prompts: Sequence[Prompt],
    a_answers: Sequence[Answer],
    b_answers: Sequence[Answer],
    seed: int,
) -> Key:
    """Write the page, atomically. It shows all prompts whose two answers differ.

    A stands on the left as often as B (give or take one), in an order drawn with `seed`.

    Args:
        pair: the names of A and B; they stand in the key only.
        prompts, a_answers, b_answers: same length and order.

    Returns:
        The key, to be kept apart from the page.

    Raises:
        ValueError: the three are not of one length.
    """
    triples = list(zip(prompts, map(_shown, a_answers), map(_shown, b_answers), strict=True))
    left: dict[str, Literal["a", "b"] | None] = {prompt.id: None for prompt in prompts}
    left |= _draw([prompt.id for prompt, a, b in triples if a != b], seed)
    items: list[Shown] = [
        {
            "id": prompt.id,
            "chat": prompt.chat(),
            "answers": [a, b] if left[prompt.id] == "a" else [b, a],
        }
        for prompt, a, b in triples
        if left[prompt.id]
    ]
    sheet = sha256_of_json(items)
    with whole_file(path) as partial:
        partial.write_text(_page(items, sheet, identical=len(prompts) - len(items)), "utf-8")
    a_name, b_name = pair
    return {
        "sheet": sheet,
        "a": a_name,
        "b": b_name,
        "prompts": {p.id: {"left": left[p.id], "tags": p.tags} for p in prompts},
    }


def _draw(ids: Sequence[str], seed: int) -> dict[str, Literal["a", "b"]]:
    """Who stands on the left. Half of the time each, so that a habit of hand favours neither."""
    draw = random.Random(f"llmpi blind sheet {seed}")
    first: list[Literal["a", "b"]] = draw.sample(["a", "b"], 2)
    sides = [first[i % 2] for i in range(len(ids))]
    draw.shuffle(sides)
    return dict(zip(ids, sides, strict=True))


def _shown(answer: Answer) -> str | None:
    """What the judge sees; None for no answer, whose reason might tell the variants apart."""
    return answer["text"].strip() or None if answer["error"] is None else None


def _page(items: Sequence[Shown], sheet: str, identical: int) -> str:
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    source = (folder / TEMPLATE).read_text(encoding="utf-8")
    return environment.get_template(TEMPLATE).render(
        items=items,
        sheet=sheet,
        identical=identical,
        policy=f"default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src {_hash(source, 'script')}; style-src {_hash(source, 'style')}",
    )


def _hash(source: str, tag: str) -> str:
    """What allows the template's own script or style by its content, and no other."""
    found = re.search(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
    assert found
    digest = hashlib.sha256(found[1].encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


# --- what a judge saved ---------------------------------------------------------------------------


def read_judgements(path: Path, key: Key) -> Judged:
    """Read what the page saved, and un-blind it.

    Prompts with identical answers are ties. The p value is that of the two-sided sign test of
    a_better against b_better (exact binomial; ties and both_bad tell nothing; Dixon, Mood, *The
    Statistical Sign Test*, 1946), by tag adjusted after Holm over the tags.

    Raises:
        RecordError: it is no file of the page.
        OtherSheetError: it is of another sheet.
        LlmpiError: it says what the page cannot.
    """
    if path.is_file() and path.stat().st_size > SAVED_BYTES:
        raise LlmpiError(f"{path}: is larger than any that a sheet saves")
    saved = read(path, SavedSheet)
    if saved["sheet"] != key["sheet"]:
        raise OtherSheetError(
            f"{path}: belongs to sheet {saved['sheet'][:8]}, the key to {key['sheet'][:8]}; the "
            "answers were made anew after it was saved, or it is from another pair"
        )
    verdicts = _verdicts(path, saved["judgements"], key["prompts"])
    tags = dict.fromkeys(tag for prompt in key["prompts"].values() for tag in prompt["tags"])
    tagged = {tag: {i: p for i, p in key["prompts"].items() if tag in p["tags"]} for tag in tags}
    adjusted = holm([_p(verdicts, prompts) for prompts in tagged.values()])
    return {
        "sheet": key["sheet"],
        "judge": _name(saved["judge"]),
        "a": key["a"],
        "b": key["b"],
        "test": "sign test, exact, two-sided; Holm-adjusted over the tags",
        "all": _count(verdicts, key["prompts"], _p(verdicts, key["prompts"])),
        "tags": {
            tag: _count(verdicts, prompts, p)
            for (tag, prompts), p in zip(tagged.items(), adjusted, strict=True)
        },
        "judgements": [{"id": i, "verdict": verdict} for i, verdict in verdicts.items()],
    }


def _name(judge: str | None) -> str | None:
    """In one line, as the sheet takes it."""
    return visible(" ".join((judge or "").split()))[:NAME_CHARACTERS] or None


Verdicts = Mapping[str, UnblindedVerdict]
Prompts = Mapping[str, KeyOfPrompt]


def _verdicts(path: Path, judgements: Sequence[Judgement], prompts: Prompts) -> Verdicts:
    """Prompt id -> its verdict; identical answers are ties."""
    verdicts: dict[str, UnblindedVerdict] = {
        i: "tie" for i, prompt in prompts.items() if prompt["left"] is None
    }
    for number, judgement in enumerate(judgements):
        prompt_id, where = judgement["id"], f"{path}: judgements.{number}"
        left = prompts[prompt_id]["left"] if prompt_id in prompts else None
        if left is None:
            raise LlmpiError(f"{where}: the sheet shows no prompt {prompt_id!r}")
        if prompt_id in verdicts:
            raise LlmpiError(f"{where}: prompt {prompt_id!r} is judged twice")
        verdicts[prompt_id] = _unblinded(judgement["verdict"], left)
    return verdicts


def _unblinded(
    verdict: Literal["left", "right", "tie", "both_bad"], left: Literal["a", "b"]
) -> UnblindedVerdict:
    if verdict == "tie" or verdict == "both_bad":
        return verdict
    return "a_better" if (verdict == "left") == (left == "a") else "b_better"


def _p(verdicts: Verdicts, prompts: Prompts) -> float:
    counts = Counter(verdicts[i] for i in prompts if i in verdicts)
    return sign_test(counts["a_better"], counts["b_better"])


def _count(verdicts: Verdicts, prompts: Prompts, p_adjusted: float | None) -> Counted:
    counts = Counter(verdicts[i] for i in prompts if i in verdicts)
    return {
        "prompts": len(prompts),
        "unjudged": len(prompts) - counts.total(),
        "identical": sum(prompt["left"] is None for prompt in prompts.values()),
        "a_better": counts["a_better"],
        "b_better": counts["b_better"],
        "tie": counts["tie"],
        "both_bad": counts["both_bad"],
        "p": _p(verdicts, prompts),
        "p_adjusted": p_adjusted,
        "verdict": winner(counts["a_better"], counts["b_better"], p_adjusted),
    }
