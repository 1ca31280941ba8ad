"""Two variants side by side on the user's own prompts, by rule and by people."""

import logging
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import TypedDict

from llmpi.engine.records import Failed
from llmpi.errors import LlmpiError
from llmpi.quality.ab.blind_sheet import OtherSheetError, read_judgements, write_sheet
from llmpi.quality.ab.checks import judge
from llmpi.quality.ab.compare import compare
from llmpi.quality.ab.prompts import Prompt, load_prompts
from llmpi.quality.ab.records import AbAnswered, AbAsked, ComparedPair, JudgedAnswer, Key
from llmpi.quality.records import Answer
from llmpi.records import failed

log = logging.getLogger(__name__)


Answers = AbAnswered | AbAsked | Failed


class Compare(TypedDict):
    """What the rule asks for."""

    names: tuple[str, str]
    seed: int


def compare_pair(
    names: tuple[str, str],
    records: tuple[Answers, Answers],
    prompts: Path,
    *,
    seed: int,
    judgements: Sequence[Path],
    sheet: Path,
) -> tuple[ComparedPair | Failed, Key | None]:
    """Two variants on the same prompts, and a sheet on which people judge them blindly.

    Args:
        records: of `llmpi.quality.ab.evaluate` or, of an endpoint, `llmpi.quality.ab.asked`; one
            that failed makes the comparison fail.
        judgements: files saved from sheets; those of other sheets are passed over, and so is
            what is no such file, which the comparison then names.
        sheet: where the page goes.

    Returns:
        The comparison, with what people `judged`; and the key of the sheet, which says who stands
        where and is not for those who judge.

    Raises:
        LlmpiError: the file of prompts is not what it should be.
    """
    asked = load_prompts(prompts)
    a, b = records
    for name, answered in zip(names, records, strict=True):
        if answered["status"] != "ok":
            sheet.write_text(f"{name} has no answers: {answered['status']}\n", encoding="utf-8")
            return failed("quality", f"{name}: {answered['reason']}"), None
    assert a["status"] == b["status"] == "ok"
    key = write_sheet(sheet, names, asked, a["answers"], b["answers"], seed)
    compared = compare(asked, _judged(asked, a["answers"]), _judged(asked, b["answers"]))
    a_name, b_name = names
    record: ComparedPair = {
        "status": "ok",
        "a": a_name,
        "b": b_name,
        **compared,
        "judged": [],
        "unread": [],
    }
    for path in judgements:
        try:
            record["judged"].append(read_judgements(path, key))
        except OtherSheetError as error:
            log.info("passed over: %s", error)
        except (LlmpiError, OSError) as error:  # one judge's file is no reason to lose the others'
            log.warning("passed over: %s", error)
            record["unread"].append(path.name)
    return record, key


def _judged(prompts: Sequence[Prompt], answers: Sequence[Answer]) -> list[JudgedAnswer]:
    return [judge(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
