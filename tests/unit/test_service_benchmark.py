"""What the benchmark of the service counts: the same hostile requests for a seed, what is wrong."""

from collections import Counter
from pathlib import Path

import pytest
from tiny_llama import tiny_llama

from benchmarks.service import attacks, clients
from llmpi.engine.llama import Engine, Settings


def test_hostile_requests_repeat_by_their_seed_and_are_of_all_kinds() -> None:
    drawn = list(attacks.attacks(480, seed=1))
    assert drawn == list(attacks.attacks(480, seed=1))
    assert drawn != list(attacks.attacks(480, seed=2))
    kinds = Counter(one.kind for one in drawn)
    assert kinds == dict.fromkeys(
        ("schema", "grammar", "sampling", "tools", "body", "head", "chunking", "cut"), 60
    )
    assert all(piece for one in drawn for piece in one.sent)


def test_no_two_honest_clients_have_a_name_in_common() -> None:
    names = [clients.name(i) for i in range(clients.MOST_PROMPTS)]
    assert not any(a in b for i, a in enumerate(names) for b in names[i + 1 :])


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


def alone(gguf: Path, prompt: str) -> str:
    with Engine(gguf, Settings(threads=1), context_tokens=512) as engine:
        engine.decode(engine.tokenize(prompt))
        said: list[int] = []
        while len(said) < 8:
            said.append(engine.greedy())
            engine.decode(said[-1:])
        return engine.text(said)


def test_the_lone_engines_answer_is_right_and_another_is_wrong(gguf: Path) -> None:
    [prompt] = clients.prompts(1)
    said = alone(gguf, prompt)
    strict = clients.Judge(gguf, strict=True, foreign=[attacks.MARK])
    assert strict.wrong(prompt, said) is None
    assert strict.wrong(prompt, said[:3]) is None, "a shorter one may have been cut off"
    other = "a" if not said.startswith("a") else "b"
    assert "parts by" in (strict.wrong(prompt, other + said) or "")


def test_what_another_request_said_is_wrong_in_any_file(gguf: Path) -> None:
    first, second = clients.prompts(2)
    loose = clients.Judge(gguf, strict=False, foreign=[attacks.MARK])
    assert loose.wrong(first, f"about {clients.name(0)}") is None
    for leak in (clients.name(1), attacks.MARK, "<|im_end|>"):
        assert loose.wrong(first, f"about {leak}") == f"it holds {leak!r}"
    assert loose.wrong(second, f"about {clients.name(1)}") is None
