"""Compare two variants on the user's prompts, and make a blind sheet of their answers."""

from pathlib import Path

from llmpi.quality.ab.pairs import compare_pair
from llmpi.records import Record, write_json
from llmpi.script import run


def main(
    *,
    records: list[Record],
    prompts: Path,
    judgements: list[Path],
    spec: dict,
    comparison: Path,
    sheet: Path,
    key: Path,
) -> None:
    a, b = records
    found, hidden = compare_pair(
        tuple(spec["names"]),
        (a, b),
        prompts,
        seed=spec["seed"],
        judgements=judgements,
        sheet=sheet,
    )
    write_json(comparison, found)
    write_json(key, hidden)


if __name__ == "__main__":
    run(main)
