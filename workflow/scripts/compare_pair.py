"""Compare two variants on the user's prompts, and make a blind sheet of their answers."""

from pathlib import Path

from llmpi.quality.ab.pairs import Answers, Compare, compare_pair
from llmpi.records import write_json
from llmpi.script import run


def main(
    *,
    records: list[Answers],
    prompts: Path,
    judgements: list[Path],
    spec: Compare,
    comparison: Path,
    sheet: Path,
    key: Path,
) -> None:
    a, b = records
    found, hidden = compare_pair(
        spec["names"],
        (a, b),
        prompts,
        seed=spec["seed"],
        judgements=judgements,
        sheet=sheet,
    )
    write_json(comparison, found)
    write_json(key, hidden or {})


if __name__ == "__main__":
    run(main)
