"""Compare two variants on the user's prompts, and make a blind sheet of their answers."""

from pathlib import Path

from llmpi.quality.ab.pairs import compare_pair
from llmpi.records import read_json, write_json
from llmpi.script import job


def main(
    *,
    records: list[Path],
    prompts: Path,
    judgements: list[Path],
    spec: dict,
    out: Path,
    sheet: Path,
    key: Path,
) -> None:
    a, b = records
    comparison, hidden = compare_pair(
        tuple(spec["names"]),
        (read_json(a), read_json(b)),
        prompts,
        seed=spec["seed"],
        judgements=judgements,
        sheet=sheet,
    )
    write_json(out, comparison)
    write_json(key, hidden)


if __name__ == "__main__":
    with job(snakemake.log[0]):
        main(
            records=[Path(path) for path in snakemake.input.records],
            prompts=Path(snakemake.input.prompts),
            judgements=[Path(path) for path in snakemake.input.judgements],
            spec=snakemake.params.spec,
            out=Path(snakemake.output.comparison),
            sheet=Path(snakemake.output.sheet),
            key=Path(snakemake.output.key),
        )
