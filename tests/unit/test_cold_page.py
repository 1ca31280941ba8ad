"""Who reads the raw records with numpy alone comes to every number of the page."""

import ast
import random
import re
import subprocess
import sys
from pathlib import Path

import cold_page
import made_demo
import pytest
from cold_figures import Figures
from support import ROOT

SCRIPTS = ("cold_page", "cold_texts", "cold_figures", "cold_scores", "cold_reader")
CASES = {
    "undecided": (3, 25, (0, 0, 0, 0, 0)),
    "failing": (0, 25, (0, 0.02, 0.03, 0.12, 0.3)),
    "some shown": (1, 120, (0, 0, 0.01, 0.02, 0.2)),
    "too few": (2, 6, (0, 0, 0.1, 0.1, 1.6)),
    "many": (4, 400, (0, 0, 0, 0.01, 0.3)),
}
"""Seed, passages, and what each width loses: what the decision may come to."""


@pytest.fixture(params=CASES)
def results(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    monkeypatch.chdir(tmp_path)
    seed, passages, losses = CASES[request.param]
    made_demo.write_demo(seed, passages=passages, losses=losses)
    return tmp_path / "results"


def read(results: Path) -> tuple[int, list[str]]:
    """(exit status, lines) of the script, which is to find nothing of the product."""
    command = [sys.executable, "-I", ROOT / "tests/cold_page.py", results, "demo"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def test_every_number_is_accounted_for(results: Path) -> None:
    status, [*left, total] = read(results)
    assert (status, "\n".join(left)) == (0, "")
    accounted, _, rest = total.partition(" ")
    assert int(accounted) > 1200
    assert rest == "numbers accounted for, 0 not"


# --- lies -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    seed, passages, losses = CASES["undecided"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        made_demo.write_demo(seed, passages=passages, losses=losses)
    return folder / "results"


@pytest.fixture(scope="module")
def figures(demo: Path) -> Figures:
    return Figures(demo, "demo")


@pytest.fixture(scope="module")
def html(demo: Path) -> str:
    return (demo / "report/demo/index.html").read_text()


LIES = {
    "headline": (r'<ul class="facts">\n<li><b>([\d.]+)', "[en] decision <li>"),
    "sentence": (r"Overall, take m-135m F16[^<:]*: ([\d.]+) tokens/s", "[en] decision <p>"),
    "more": (r"About (\d)[\d,]* more questions", "[en] decision <p>"),
    "more in the table": (r"<td>field: (\d)[\d,]*</td>", "more items that would tell"),
    "price": (r">MB of file</th><td>([\d.]+)", "[en] decision <td> table 1 row 3 column 1"),
    "standing": (r">Q8_0</th>(?:<td[^>]*>[^<]*</td>){3}<td>(-?[\d.]+)<", "(Q8_0; field: F1"),
    "margin": (r"a loss of at most (\d+) points</th>", "[en] decision <th>"),
    "why not": (r"a loss of [-\d.]+ points \((-?[\d.]+) to", "m-135m Q"),
    "warning": (r"(\d+) of \d+ tensors could not", "[en] warnings <li>"),
    "workload": (r"(\d+) prompt tokens", "[en] measured <p>"),
    "divergence": (r">Q4_0</td><td>([\d.]+) ±", "[en] divergence-topics <td>"),
    "its error": (r">Q4_0</td><td>[\d.]+ ± ([\d.]+)", "(m-135m Q4_0; perplexity)"),
    "comparison": (r">F16</td><td>(-?[\d.]+)<br>", "(field m-135m Q8_0 F16; F1 difference"),
    "McNemar": (r'<td class="name">(\d+) / \d+</td>', "exact match only"),
    "abstention": (r">field</th><td[^>]*>m-135m</td><td[^>]*>F16</td><td>([\d.]+)", "; F1 %)"),
    "cache": (r">KV cache q4_0</th><td>([\d.]+)", "(KV cache q4_0; KL divergence nats)"),
    "file": (r">Q2_K</td><td>([\d.]+)</td><td[^>]*>[^<]*</td><td[^>]*><code>", "(m-135m Q2_K; MB)"),
    "questions": (r"(\d+) questions \(\d+ unanswerable\)", "[en] provenance <dd>"),
    "config": (r"&#34;prompt_tokens&#34;: (\d+)", "<pre>"),
    "in Japanese": (r'data-body="ja">.*?<ul class="facts">\n<li><b>([\d.]+)', "[ja] decision <li>"),
    "cell": (r'"rows":\[\[[^,]*,([\d.]+),', "cells here/m-135m/F16/default/chat pp_tps"),
    "column": (r'"key":"ttft_s"[^}]*"scale":([\d.]+)', "column ttft_s scale"),
    "repetition": (
        r'"cells":\[\[\["here",\d+,\d+,\[([\d.]+)',
        "measured here/m-135m/F16/default/chat 2 0",
    ),
    "chart of standings": (r'"standings":\[\{[^}]*"value":(-?[\d.]+)', "standings "),
    "chart of the choice": (r'"choice":\[\{[^}]*"low":([\d.]+)', "choice here/m-135m/F16"),
    "chart of a divergence": (
        r'"divergence-topics":\[\{[^}]*"high":([\d.]+)',
        "divergence-topics ",
    ),
    "always abstaining": (r'"abstaining_pct":([\d.]+)', "tasks field abstaining_pct"),
}
"""Of each kind of place: where a figure stands in the HTML, and by what it is named."""


@pytest.mark.parametrize("what", LIES)
def test_a_lie_is_named(figures: Figures, html: str, what: str) -> None:
    pattern, name = LIES[what]
    found = re.search(pattern, html, re.DOTALL)
    assert found, "there is no such place"
    lie = html[: found.start(1)] + altered(found[1]) + html[found.end(1) :]
    left = cold_page.hold(figures, cold_page.Page(lie)).unaccounted
    assert [one for one in left if name in one], left


SEARCHED = re.compile(r"would tell|^\w+: \d")
"""How many more items would tell is found by a search, which ends within 1 %."""


def test_no_number_of_a_text_can_be_altered(figures: Figures, html: str) -> None:
    """In its last digit, wherever it stands; of a sample."""
    page = cold_page.Page(html)
    every = [
        (at, found)
        for at, block in enumerate(page.blocks)
        for found in cold_page.TOKEN.finditer(block.text)
        if block.tag != "pre" and not SEARCHED.search(block.text)
    ]
    assert len(every) > 600
    blocks = page.blocks
    for at, found in random.Random(0).sample(every, 150):
        text = blocks[at].text
        lie = text[: found.start()] + altered(found[0]) + text[found.end() :]
        page.blocks = [*blocks[:at], blocks[at]._replace(text=lie), *blocks[at + 1 :]]
        assert cold_page.hold(figures, page).unaccounted, (text, lie)


def altered(token: str) -> str:
    """By one in the last digit, of a long number in the sixth: the page shows no more. Of a whole
    number in the last that is no 0 at its end."""
    end = len(token)
    if len(token) > 9:
        end = [found.end() for found in re.finditer(r"\d", token)][6]
    elif "." not in token and token.strip("0"):
        end = len(token.rstrip("0"))
    digit = int(token[end - 1])
    return token[: end - 1] + str(digit - 1 if digit == 9 else digit + 1) + token[end:]


def test_what_is_shown_in_place_of_a_figure_is_named(figures: Figures, html: str) -> None:
    lie = re.sub(r">Q4_0</td><td>[\d.]+ ± [\d.]+<", ">Q4_0</td><td><", html, count=1)
    [left, *_] = cold_page.hold(figures, cold_page.Page(lie)).unaccounted
    assert "(m-135m Q4_0; perplexity): '': expected is" in left


def test_another_verdict_is_named(figures: Figures, html: str) -> None:
    lie = html.replace(">not distinguishable<", ">better<", 1)
    [left] = cold_page.hold(figures, cold_page.Page(lie)).unaccounted[:1]
    assert "(field m-135m Q8_0 F16; verdict)" in left


def test_it_reads_with_numpy_alone() -> None:
    imported = set()
    for script in SCRIPTS:
        for node in ast.walk(ast.parse((ROOT / f"tests/{script}.py").read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.module
                imported.add(node.module.partition(".")[0])
    assert imported - {*SCRIPTS} - sys.stdlib_module_names == {"numpy"}
