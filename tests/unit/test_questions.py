"""The questions of a task: where they come from, and which of them are drawn."""

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fetching import clean_env
from hub_server import HubServer, Repo, commit_id
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT

from llmpi.errors import LlmpiError
from llmpi.quality.squad.blocks import blocks_of
from llmpi.quality.squad.metric import Paragraph, Question
from llmpi.quality.squad.questions import draw, from_rows, prepare
from llmpi.study.tasks.squad import SquadTask


def paragraph(name: str, questions: int) -> Paragraph:
    asked = tuple(Question(f"{name}-{i}", f"what {i}?", ("it",)) for i in range(questions))
    return Paragraph(f"passage {name}", asked)


paragraph_lists = st.lists(st.integers(1, 6), min_size=1, max_size=12).map(
    lambda sizes: [paragraph(str(i), size) for i, size in enumerate(sizes)]
)


def ids(paragraphs: list[Paragraph]) -> list[str]:
    return [question.id for paragraph in paragraphs for question in paragraph.questions]


# --- the draw -------------------------------------------------------------------------------------


@given(paragraph_lists, st.integers(1, 80), st.integers(0, 5))
def test_draw_fills_the_budget_with_whole_paragraphs(
    paragraphs: list[Paragraph], budget: int, seed: int
) -> None:
    drawn = draw(paragraphs, budget, seed)
    everything = ids(paragraphs)
    taken = ids(drawn)
    assert len(taken) == min(budget, len(everything))
    assert set(taken) <= set(everything)
    whole = {p.context: len(p.questions) for p in paragraphs}
    assert sum(len(p.questions) < whole[p.context] for p in drawn) <= 1
    assert drawn == draw(paragraphs, budget, seed)


@given(paragraph_lists, st.integers(1, 40), st.integers(0, 5), st.randoms())
def test_a_larger_budget_goes_on_where_a_smaller_one_ended(
    paragraphs: list[Paragraph], budget: int, seed: int, rng: Random
) -> None:
    """Whatever order the data come in; so all blocks but the last are those answered before."""
    few = draw(paragraphs, budget, seed)
    rng.shuffle(paragraphs)
    many = draw(paragraphs, budget + 3, seed)
    assert ids(few) == ids(many)[: len(ids(few))]
    before, after = blocks_of(few, 3), blocks_of(many, 3)
    assert before[:-1] == after[: len(before) - 1]


def test_no_budget_takes_all() -> None:
    paragraphs = [paragraph("a", 3), paragraph("b", 2)]
    assert sorted(draw(paragraphs, None, 0)) == paragraphs


def test_the_seed_decides() -> None:
    paragraphs = [paragraph(str(i), 1) for i in range(50)]
    assert ids(draw(paragraphs, 5, 0)) != ids(draw(paragraphs, 5, 1))


# --- a file ---------------------------------------------------------------------------------------


def task(path: Path) -> SquadTask:
    return SquadTask(task="squad", squad_file=str(path))


@pytest.mark.parametrize(
    ("file", "paragraphs", "questions", "unanswerable"),
    [("field_qa.json", 25, 125, 42), ("quality_qa.json", 96, 768, 384)],
)
def test_the_projects_own_data_sets(
    file: str, paragraphs: int, questions: int, unanswerable: int, tmp_path: Path
) -> None:
    record = prepare(task(ROOT / "config/data" / file), tmp_path / "lock")
    assert record["paragraphs"] == paragraphs
    assert record["questions"] == questions
    assert record["unanswerable"] == unanswerable
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "{path}: No such file or directory"),
        ('{"data": [', "{path}: no valid JSON: Expecting value: line 1 column 11 (char 10)"),
        (
            '{"rows": []}',
            "{path}: not SQuAD v2's format: KeyError 'data'; expected data[].paragraphs[].qas[] "
            "with id, question, is_impossible and answers[].text",
        ),
    ],
)
def test_bad_file(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "qa.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(LlmpiError) as caught:
        prepare(task(path), tmp_path / "lock")
    assert str(caught.value) == message.format(path=path)


def squad_file(path: Path, *paragraphs: dict[str, Any], encoding: str = "utf-8") -> Path:
    document = {"data": [{"title": "", "paragraphs": paragraphs}]}
    path.write_text(json.dumps(document), encoding=encoding)
    return path


def asked_of(passage: object, *names: str) -> dict[str, Any]:
    qas = [{"id": name, "question": "What?", "answers": [{"text": "it"}]} for name in names]
    return {"context": passage, "qas": qas}


def test_a_file_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = squad_file(tmp_path / "qa.json", asked_of("p", "a"), encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert prepare(task(path), tmp_path / "lock")["questions"] == 1


def test_a_passage_that_is_null_is_named_by_its_place(tmp_path: Path) -> None:
    path = squad_file(tmp_path / "qa.json", asked_of("p", "a"), asked_of(None, "b"))
    with pytest.raises(LlmpiError) as caught:
        prepare(task(path), tmp_path / "lock")
    assert str(caught.value) == (
        f"{path}: data[0].paragraphs[1].context is null, and should be a text"
    )


WRONG = {
    "answers": ({"answers": "it"}, ".answers is of the type str, and should be a list"),
    "no answers": ({"answers": ""}, ".answers is of the type str, and should be a list"),
    "answers of the hub": (
        {"answers": {"text": ["it"]}},
        ".answers is of the type dict, and should be a list",
    ),
    "null answers": ({"answers": None}, ".answers is null, and should be a list"),
    "an answer": (
        {"answers": [{"text": 5}]},
        ".answers[0].text is of the type int, and should be a text",
    ),
    "an id": ({"id": True}, ".id is of the type bool, and should be a text"),
    "half a character": (
        {"question": "\ud800"},
        ".question holds half of a surrogate pair, which is no character",
    ),
}


@pytest.mark.parametrize(("other", "said"), WRONG.values(), ids=WRONG.keys())
def test_values_of_another_type(other: dict[str, Any], said: str, tmp_path: Path) -> None:
    asked = asked_of("p", "a")
    asked["qas"][0] |= other
    path = squad_file(tmp_path / "qa.json", asked)
    with pytest.raises(LlmpiError) as caught:
        prepare(task(path), tmp_path / "lock")
    assert str(caught.value) == f"{path}: data[0].paragraphs[0].qas[0]{said}"


@pytest.mark.parametrize(
    "document", ["[" * 100_000, "null", "5", '{"data": {}}', '{"data": [{"paragraphs": ""}]}']
)
def test_other_json(document: str, tmp_path: Path) -> None:
    path = tmp_path / "qa.json"
    path.write_text(document)
    with pytest.raises(LlmpiError, match=f"^{path}: "):
        prepare(task(path), tmp_path / "lock")


def test_an_id_that_stands_in_a_file_twice(tmp_path: Path) -> None:
    path = squad_file(tmp_path / "qa.json", asked_of("p", "a"), asked_of("q", "a"))
    with pytest.raises(LlmpiError) as caught:
        prepare(task(path), tmp_path / "lock")
    assert str(caught.value) == f"{path}: question id 'a' stands there twice"


def test_a_file_with_a_paragraph_for_each_question(tmp_path: Path) -> None:
    """As who makes one of a table's rows has it."""
    shuffled = [asked_of(passage, name) for passage, name in ("pa", "qb", "pc", "qd", "re")]
    record = prepare(task(squad_file(tmp_path / "qa.json", *shuffled)), tmp_path / "lock")
    assert (record["questions"], record["paragraphs"]) == (5, 3)


# --- the hub --------------------------------------------------------------------------------------

ROWS = [
    {"id": "a", "context": "The pump runs.", "question": "What runs?", "answers": ["The pump"]},
    {"id": "b", "context": "The pump runs.", "question": "Who runs it?", "answers": []},
    {"id": "c", "context": "Fans hum.", "question": "What hums?", "answers": ["Fans", "Fans"]},
]


def flat(row: dict[str, Any]) -> dict[str, Any]:
    starts = [0] * len(row["answers"])
    return {**row, "answers": {"text": row["answers"], "answer_start": starts}}


def parquet() -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([flat(row) for row in ROWS]), out)
    return out.getvalue()


def repo(name: str, **files: bytes) -> Repo:
    return Repo(f"acme/{name}", {"README.md": b"", **files}, kind="dataset")


TWO = b"""\
---
configs:
- {config_name: easy, data_files: easy.jsonl}
- {config_name: hard, data_files: hard.jsonl}
---
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    lines = "\n".join(json.dumps(flat(row)) for row in ROWS).encode()
    with HubServer(
        repo("qa", **{"data/validation-00000-of-00001.parquet": parquet()}),
        repo("script", **{"script.py": b"import os"}),
        repo("two", **{"README.md": TWO, "easy.jsonl": lines, "hard.jsonl": lines}),
        repo("broken", **{"validation.parquet": b"PAR1" + bytes(40) + b"PAR1"}),
        repo("cut", **{"validation.jsonl": b'{"id": '}),
        repo("empty"),
        repo("head", **{"README.md": b"---\n: : :\n---\n", "validation.jsonl": lines}),
    ) as server:
        yield server


def prepared(server: HubServer, root: Path, **other: Any) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's libraries read their environment when they are loaded."""
    asked = {"task": "squad", "hub": "acme/qa", "revision": "main", "split": "validation"}
    program = (
        "import json, sys; from pathlib import Path\n"
        "from llmpi.errors import LlmpiError; from llmpi.quality.squad.questions import prepare\n"
        "from llmpi.study.tasks.squad import SquadTask\n"
        "asked = SquadTask(**json.loads(sys.argv[1]))\n"
        "try: print(json.dumps(prepare(asked, Path('lock'))))\n"
        "except LlmpiError as error: sys.exit(f'error: {error}')"
    )
    spec = json.dumps({**asked, **other})
    env = clean_env(root, HF_ENDPOINT=server.url, HF_HOME=str(root / "hf"))
    return subprocess.run(
        [sys.executable, "-c", program, spec],
        cwd=root,
        env=env,
        text=True,
        capture_output=True,
        check=False,
    )


def test_data_set_of_the_hub(hub: HubServer, tmp_path: Path) -> None:
    done = prepared(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["source"] == {
        "hub": "acme/qa",
        "revision": commit_id("first"),
        "config": None,
        "split": "validation",
    }
    assert (record["questions"], record["unanswerable"], record["paragraphs"]) == (3, 1, 2)
    assert commit_id("first") in (tmp_path / "lock").read_text()


def test_hub_refuses(hub: HubServer, tmp_path: Path) -> None:
    unknown = prepared(hub, tmp_path, split="dev")
    # Behind the error, one time in some hundreds, Arrow's threads abort the process that ends.
    assert unknown.returncode in (1, -signal.SIGABRT)
    [said] = [line for line in unknown.stderr.splitlines() if line.startswith("error: ")]
    assert said.startswith(f"error: acme/qa@{commit_id('first')}: ")
    assert "dev" in said
    absent = prepared(hub, tmp_path, hub="acme/none")
    assert absent.stderr.splitlines()[-1] == (
        "error: the hub knows no repository acme/none, or shows it only to those allowed: check "
        "the spelling, and HF_TOKEN if it is private."
    )


AT = commit_id("first")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"hub": "acme/script"},
            f"acme/script@{AT}: the data set is a program (script.py), which is not run. Name one "
            "whose data are files; the hub often has them as 'revision: refs/convert/parquet'",
        ),
        (
            {"hub": "acme/two"},
            f"acme/two@{AT}: it holds several configurations: name one as 'subset': easy, hard",
        ),
        ({"hub": "acme/two", "subset": "soft"}, f"acme/two@{AT}: BuilderConfig 'soft' not found."),
        ({"hub": "acme/broken"}, f"acme/broken@{AT}: Couldn't deserialize thrift"),
        ({"hub": "acme/cut"}, f"acme/cut@{AT}: its files are not what they should be: "),
        ({"hub": "acme/empty"}, f"acme/empty@{AT}: it holds no data files that are known"),
        ({"hub": "acme/head"}, f"acme/head@{AT}: "),
    ],
    ids=lambda value: value.get("hub", "") if isinstance(value, dict) else "",
)
def test_data_sets_of_others(
    hub: HubServer, tmp_path: Path, other: dict[str, str], said: str
) -> None:
    done = prepared(hub, tmp_path, **other)
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"error: {said}")


def test_one_of_several_configurations(hub: HubServer, tmp_path: Path) -> None:
    done = prepared(hub, tmp_path, hub="acme/two", subset="hard", split="train")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout.splitlines()[-1])
    assert (record["source"]["config"], record["questions"]) == ("hard", 3)


def test_rows_become_paragraphs() -> None:
    first, second = from_rows([flat(row) for row in ROWS], "acme/qa")
    assert [question.id for question in first.questions] == ["a", "b"]
    assert first.questions[1].golds == ()
    assert second.questions[0].golds == ("Fans",)


def row(number: int, **other: object) -> dict[str, Any]:
    """The question of this number: five on a passage."""
    passage = f"passage {number // 5}"
    asked = {"id": str(number), "context": passage, "question": "What?", "answers": ["it"]}
    return flat({**asked, **other})


@given(st.permutations(range(50)))
def test_passages_of_a_shuffled_data_set(order: list[int]) -> None:
    found = from_rows([row(i) for i in order], "acme/qa")
    assert len(found) == 10
    assert {len(paragraph.questions) for paragraph in found} == {5}
    for paragraph in found:
        assert {f"passage {int(q.id) // 5}" for q in paragraph.questions} == {paragraph.context}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0), row(7), row(0)], "acme/qa: question id '0' stands there twice"),
        ([row(1, id=1), row(7, id="1")], "acme/qa: question id '1' stands there twice"),
        ([row(0), row(1, context=None)], "acme/qa: row 1: context is null, and should be a text"),
        ([row(0, id=None)], "acme/qa: row 0: id is null, and should be a text"),
        (
            [{**row(0), "answers": None}],
            "acme/qa: row 0: answers.text is null, and should be a list",
        ),
        (
            [{**row(0), "answers": {"text": "it"}}],
            "acme/qa: row 0: answers.text is of the type str, and should be a list",
        ),
        (
            [{**row(0), "answers": ["it"]}],
            "acme/qa: row 0: answers.text is null, and should be a list",
        ),
        (
            [{**row(0), "answers": {"text": [5]}}],
            "acme/qa: row 0: an answer is of the type int, and should be a text",
        ),
        (
            [row(0, question="\ud800")],
            "acme/qa: row 0: question holds half of a surrogate pair, which is no character",
        ),
        ([], "acme/qa: holds no question"),
    ],
)
def test_rows_that_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(LlmpiError) as caught:
        from_rows(rows, "acme/qa")
    assert str(caught.value) == message


def test_rows_without_a_column() -> None:
    with pytest.raises(LlmpiError) as caught:
        from_rows([{"text": "no question answering at all"}], "acme/text")
    assert str(caught.value) == (
        "acme/text: has no column 'context'; expected SQuAD's id, context, question, answers"
    )
