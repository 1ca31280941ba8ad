"""API keys and their rates: what is a file of keys, and when a key may ask again."""

import pytest

from llmpi.device.service.keys import FORM, Key, Keys, as_text, parse
from llmpi.device.service.refusals import RefusedError

A, B = "0123456789abcdef", "fedcba9876543210"


def test_what_is_written_is_read_again() -> None:
    given = parse(f"{A}\n{B}\t 30\n")
    assert given == [(A, None), (B, 30)]
    assert parse(as_text(given)) == given


@pytest.mark.parametrize("text", [f"\ufeff{A}\r\n\r\n{B} 30\r\n", f"\n {A}\n\n\n{B} 30"])
def test_what_editors_add_is_no_key(text: str) -> None:
    assert parse(text) == [(A, None), (B, 30)]


NONE = {
    "nothing": "",
    "a short one": "0123",
    "a bound of the canary's": f"{A} 30",
    "a bound of nothing": f"{A}\n{B} 0",
    "a bound beyond all": f"{A}\n{B} 1000000",
    "a bound in words": f"{A}\n{B} often",
    "a broken bound": f"{A}\n{B} 1.5",
    "below nothing": f"{A}\n{B} -3",
    "twice": f"{A}\n{A} 30",
    "three words": f"{A}\n{B} 30 40",
    "other letters": f"{A}ä",
    "too many": "\n".join(f"{i:016}" for i in range(257)),
}


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_what_is_no_file_of_keys_is_said_without_them(text: str) -> None:
    with pytest.raises(ValueError, match="a key is one line") as error:
        parse(text)
    assert str(error.value) == FORM


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def waits(key: Key) -> int:
    """Seconds it is told to wait; 0 where it may ask."""
    try:
        key.take()
    except RefusedError as error:
        assert error.status == 429
        return int(dict(error.headers)["retry-after"])
    return 0


@pytest.mark.parametrize("a_minute", [1, 7, 60, 1000])
def test_a_key_asks_as_often_as_its_rate_and_what_it_is_told_to_wait_is_enough(
    a_minute: int,
) -> None:
    clock = Clock()
    key = Key(a_minute, clock)
    assert [waits(key) for _ in range(a_minute)] == [0] * a_minute
    asked = 0
    for _ in range(50):
        told = waits(key)
        assert 1 <= told <= 61
        clock.now += told
        while not waits(key):
            asked += 1
    spent_s = clock.now - 100
    assert a_minute * spent_s / 60 - 1 <= asked <= a_minute * spent_s / 60 + 1


def test_a_rest_saves_up_no_more_than_a_minute() -> None:
    clock = Clock()
    key = Key(5, clock)
    clock.now += 10_000
    assert [waits(key) == 0 for _ in range(6)] == [True] * 5 + [False]


def test_without_keys_everybody_asks() -> None:
    for _ in range(3):
        Keys().brought({}).take()
