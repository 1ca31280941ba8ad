"""Two variants side by side on the user's own prompts, by rule and by people."""

from pathlib import Path
from typing import Any

from llmpi.quality.ab.blind_sheet import read_judgements, write_sheet
from llmpi.quality.ab.checks import judge
from llmpi.quality.ab.compare import compare
from llmpi.quality.ab.prompts import Prompt, load_prompts
from llmpi.records import Record, failed, is_ok, read_json


def compare_pair(
    names: tuple[str, str],
    records: tuple[Record, Record],
    prompts: Path,
    *,
    seed: int,
    judgements: list[Path],
    sheet: Path,
) -> tuple[Record, Record]:
    """Two variants on the same prompts, and a sheet on which people judge them blindly.

    Args:
        records: of `llmpi.quality.ab.evaluate`; one that failed makes the comparison fail.
        judgements: files saved from sheets; those of other sheets are passed over.
        sheet: where the page goes.

    Returns:
        The comparison, with what people `judged`; and the key of the sheet, which says who stands
        where and is not for those who judge.

    Raises:
        LlmpiError: a file of judgements is damaged.
    """
    asked = load_prompts(prompts)
    for name, record in zip(names, records, strict=True):
        if not is_ok(record):
            sheet.write_text(f"{name} has no answers: {record['status']}\n", encoding="utf-8")
            return failed("quality", f"{name}: {record.get('reason')}"), {}
    a, b = (record["answers"] for record in records)
    key = write_sheet(sheet, names, asked, a, b, seed)
    found = [read_judgements(path, key) for path in judgements if _is_of(path, key)]
    result = compare(asked, _outcomes(asked, a), _outcomes(asked, b))
    a_name, b_name = names
    return {"status": "ok", "a": a_name, "b": b_name, **result, "judged": found}, key


def _outcomes(prompts: list[Prompt], answers: list[Record]) -> list[Any]:
    return [judge(prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]


def _is_of(path: Path, key: Record) -> bool:
    try:
        saved = read_json(path)
    except ValueError:
        return True  # read_judgements says what is wrong with it
    return not isinstance(saved, dict) or saved.get("sheet") == key["sheet"]
