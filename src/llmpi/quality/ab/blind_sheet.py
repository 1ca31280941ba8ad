"""The blind sheet: a page on which a person judges two variants without knowing which is which.

The page holds no name and no hint; a key, kept elsewhere, says which answer is whose. The person
saves a file, and with the key it becomes a result.

What the page saves: {sheet, judge, judgements}, where `sheet` is the SHA-256 of what was shown,
`judge` a name or None, and `judgements` a list of {id, verdict}; `verdict` is one of `VERDICTS`.
"""

import base64
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from llmpi.errors import LlmpiError
from llmpi.quality.ab.compare import winner
from llmpi.quality.ab.prompts import Prompt
from llmpi.quality.statistics import holm, sign_test
from llmpi.records import Record, sha256_of_json, whole_file

VERDICTS = ("left", "right", "tie", "both_bad")
TEMPLATE = "blind_sheet.html"


def write_sheet(
    path: Path,
    pair: tuple[str, str],
    prompts: Sequence[Prompt],
    a_answers: Sequence[Mapping[str, Any]],
    b_answers: Sequence[Mapping[str, Any]],
    seed: int,
) -> Record:
    """Write the page, atomically. It shows all prompts whose two answers differ.

    A stands on the left as often as B (give or take one), in an order drawn with `seed`.

    Args:
        pair: the names of A and B; they stand in the key only.
        prompts, a_answers, b_answers: same length and order; `text` and `error` of the answers.

    Returns:
        The key, to be kept apart from the page: {sheet, a, b, prompts}, where `prompts` holds for
        each id its tags and who stands on the left, "a" or "b" (None: identical, not shown).

    Raises:
        ValueError: the three are not of one length.
    """
    triples = list(zip(prompts, map(_shown, a_answers), map(_shown, b_answers), strict=True))
    left: dict[str, Literal["a", "b"] | None] = {prompt.id: None for prompt in prompts}
    left |= _draw([prompt.id for prompt, a, b in triples if a != b], seed)
    items = [
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


def _shown(answer: Mapping[str, Any]) -> str | None:
    """What the judge sees; None for no answer, whose reason might tell the variants apart."""
    return answer["text"].strip() or None if answer["error"] is None else None


def _page(items: Sequence[Record], sheet: str, identical: int) -> str:
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


def read_judgements(path: Path, key: Mapping[str, Any]) -> Record:
    """Read what the page saved, and un-blind it.

    Args:
        key: of `write_sheet`.

    Returns:
        JSON-able: `sheet`, `judge`, `a` and `b` (the names), `all`, `tags` (tag -> the same) and
        `judgements` ({id, verdict}, un-blinded). `all` counts {prompts, unjudged, identical,
        a_better, b_better, tie, both_bad}; prompts with identical answers are ties. `p` is the
        two-sided sign test of a_better against b_better (exact binomial; ties and both_bad tell
        nothing; Dixon, Mood, *The Statistical Sign Test*, 1946), `p_adjusted` after Holm over the
        tags, `verdict` "a better", "b better" or "not distinguishable" (p_adjusted > 0.05).

    Raises:
        LlmpiError: no file of the page, or of another sheet, or it says what the page cannot.
    """
    saved = _read(path)
    if saved["sheet"] != key["sheet"]:
        raise LlmpiError(
            f"{path}: belongs to sheet {saved['sheet'][:8]}, the key to {key['sheet'][:8]}; the "
            "answers were made anew after it was saved, or it is from another pair"
        )
    verdicts = _verdicts(path, saved["judgements"], key["prompts"])
    tags = dict.fromkeys(tag for prompt in key["prompts"].values() for tag in prompt["tags"])
    everything = _count(verdicts, key["prompts"])
    by_tag = {
        tag: _count(verdicts, {i: p for i, p in key["prompts"].items() if tag in p["tags"]})
        for tag in tags
    }
    adjusted = holm([counts["p"] for counts in by_tag.values()])
    return {
        "sheet": key["sheet"],
        "judge": saved["judge"],
        "a": key["a"],
        "b": key["b"],
        "test": "sign test, exact, two-sided; Holm-adjusted over the tags",
        "all": _with_verdict(everything, everything["p"]),
        "tags": {
            tag: _with_verdict(counts, p)
            for (tag, counts), p in zip(by_tag.items(), adjusted, strict=True)
        },
        "judgements": [{"id": i, "verdict": verdict} for i, verdict in verdicts.items()],
    }


def _read(path: Path) -> Record:
    """The file, of the right form; what it says is not yet checked."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LlmpiError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise LlmpiError(f"{path}: no valid JSON: {error}; save it from the sheet anew") from None
    match saved:
        case {"sheet": str(), "judge": str() | None, "judgements": list()}:
            return saved
    raise LlmpiError(
        f"{path}: not what a blind sheet saves, which is an object with 'sheet', 'judge' and "
        "'judgements'; save it from the sheet anew"
    )


def _verdicts(path: Path, judgements: Iterable[Any], prompts: Mapping[str, Any]) -> dict[str, str]:
    """Prompt id -> a_better, b_better, tie or both_bad; identical answers are ties."""
    verdicts = {i: "tie" for i, prompt in prompts.items() if prompt["left"] is None}
    for number, judgement in enumerate(judgements, 1):
        where = f"{path}: judgement {number}"
        match judgement:
            case {"id": str(prompt_id), "verdict": str(verdict)}:
                pass
            case _:
                raise LlmpiError(f"{where}: should be an object with 'id' and 'verdict'")
        if prompt_id not in prompts or prompts[prompt_id]["left"] is None:
            raise LlmpiError(f"{where}: the sheet shows no prompt {prompt_id!r}")
        if prompt_id in verdicts:
            raise LlmpiError(f"{where}: prompt {prompt_id!r} is judged twice")
        if verdict not in VERDICTS:
            allowed = ", ".join(VERDICTS)
            raise LlmpiError(f"{where}: verdict {verdict!r} is not possible; allowed: {allowed}")
        verdicts[prompt_id] = _unblinded(verdict, prompts[prompt_id]["left"])
    return verdicts


def _unblinded(verdict: str, left: str) -> str:
    if verdict not in ("left", "right"):
        return verdict
    a_better = (verdict == "left") == (left == "a")
    return "a_better" if a_better else "b_better"


def _count(verdicts: Mapping[str, str], prompts: Mapping[str, Any]) -> Record:
    counts = Counter(verdicts[i] for i in prompts if i in verdicts)
    return {
        "prompts": len(prompts),
        "unjudged": len(prompts) - counts.total(),
        "identical": sum(prompt["left"] is None for prompt in prompts.values()),
        **{verdict: counts[verdict] for verdict in ("a_better", "b_better", "tie", "both_bad")},
        "p": sign_test(counts["a_better"], counts["b_better"]),
    }


def _with_verdict(counts: Record, p_adjusted: float | None) -> Record:
    verdict = winner(counts["a_better"], counts["b_better"], p_adjusted)
    return {**counts, "p_adjusted": p_adjusted, "verdict": verdict}
