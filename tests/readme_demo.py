"""README's table and sentences of the demo, from the records of one run of it in `docs/demo`.

`python tests/readme_demo.py` writes them into README.md; after a run of the demo, with `--run`, it
takes that run's records first.
"""

import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from llmpi.decide.records import Candidate, Choice, Recommendation
from llmpi.records import read
from llmpi.report.words import english

ROOT = Path(__file__).resolve().parent.parent
README, RECORDS, RUN = ROOT / "README.md", ROOT / "docs/demo", ROOT / "results/report/demo"
FILES = ("summary.csv", "requirements.json", "recommendation.json")
BEGIN, END = "<!-- The demo: tests/readme_demo.py writes from here -->\n", "<!-- to here -->\n"


def main() -> None:
    if sys.argv[1:] == ["--run"]:
        RECORDS.mkdir(exist_ok=True)
        for name in FILES:
            shutil.copy(RUN / name, RECORDS / name)
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")


def written(readme: str) -> str:
    """README with the demo's records between its marks."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n".join([*table(), "", *sentences(), ""]) + END + after


def table() -> Iterator[str]:
    with (RECORDS / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    verdicts = {candidate["quant"]: _verdict(candidate) for candidate in _choice()["candidates"]}
    yield (
        "| quantization | MB | bits per weight | fallback tensors | pp, tokens/s | tg, tokens/s | "
        "F1 % (95 %) | HasAns F1 % | NoAns % | quality |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for row in rows:
        number = {name: float(value) for name, value in row.items() if _is_number(value)}
        f1 = (number[f"field_f1{end}_pct"] for end in ("", "_low", "_high"))
        yield (
            f"| {row['quant']} | {number['file_bytes'] / 1e6:.1f} "
            f"| {number['bits_per_weight']:.2f} "
            f"| {number['fallback_tensors']:.0f} of {number['tensors']:.0f} "
            f"| {number['pp_tps']:.0f} | {number['tg_tps']:.0f} "
            f"| {'{:.1f} ({:.1f}–{:.1f})'.format(*f1)} | {number['field_has_ans_f1_pct']:.1f} "
            f"| {number['field_no_ans_em_pct']:.1f} | {verdicts[row['quant']]} |"
        )


def sentences() -> Iterator[str]:
    """As the page says them."""
    choice = _choice()
    for sentence in english.decision(choice["decisions"][0], choice):
        yield f"> {sentence}"
        yield ">"


def _verdict(candidate: Candidate) -> str:
    if (standing := candidate["standing"]) is None:
        return "not scored"
    return "the reference" if standing["reference"] else standing["verdict"]


def _choice() -> Choice:
    return read(RECORDS / "recommendation.json", Recommendation)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


if __name__ == "__main__":
    main()
