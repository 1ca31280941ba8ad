"""README's figures of the demo are those of its records, and the records' figures can be found."""

import csv
import json
import subprocess
import sys

import pytest
from readme_demo import README, RECORDS, ROOT, written


def test_readme_says_what_the_records_say() -> None:
    readme = README.read_text(encoding="utf-8")
    assert written(readme) == readme, "python tests/readme_demo.py"


def test_a_cold_reader_finds_every_figure_of_the_decision() -> None:
    files = [str(RECORDS / name) for name in ("requirements.json", "recommendation.json")]
    command = [sys.executable, str(ROOT / "tests/cold_reader.py"), *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].endswith(" 0 differ")


@pytest.mark.parametrize(
    ("metric", "column"), [("has_ans_f1", "has_ans_f1"), ("no_ans", "no_ans_em")]
)
def test_the_tables_scores_are_those_that_were_judged(metric: str, column: str) -> None:
    asked = json.loads((RECORDS / "requirements.json").read_text())["requirements"]
    judged = {
        one["quant"]: 100 * sum(one["score"]["score"]["sums"]) / sum(one["score"]["items"])
        for requirement in asked
        if (requirement["task"], requirement["metric"]) == ("field", metric)
        for one in requirement["variants"]
    }
    with (RECORDS / "summary.csv").open(newline="") as file:
        shown = {row["quant"]: float(row[f"field_{column}_pct"]) for row in csv.DictReader(file)}
    assert shown == pytest.approx(judged)
