"""Conversations of several turns: the prefix kept, restored, or computed again."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import made_records as made
import pytest
from pydantic import ValidationError
from tiny_llama import tiny_llama

from benchmarks.random_models import make
from llmpi.device.machine.contention import Moment, Processors
from llmpi.device.machine.energy import Samples, add_energy
from llmpi.device.measure import conversation as subject
from llmpi.device.measure.budget import took_s
from llmpi.device.measure.conversation import Conversation, Saved, context_tokens, kept_in_memory
from llmpi.device.measure.rounds import Rounds
from llmpi.engine import info as engine_info
from llmpi.engine.llama import Engine, EngineError, Settings
from llmpi.engine.records import ConversationWorkload as Asked
from llmpi.engine.records import Session
from llmpi.study.measuring import ConversationWorkload
from llmpi.study.runs import Session as SessionId
from llmpi.study.study import Study
from llmpi.summary.conversations import conversations
from llmpi.summary.records import ConversationCell
from llmpi.summary.sound import sound

SPEC = {
    "kind": "conversation",
    "system_tokens": 5,
    "turns": 3,
    "prompt_tokens": 3,
    "output_tokens": 4,
    "repetitions": 2,
    "warmup_limit": 1,
}
ID = SessionId("pi", "m", "Q4_0", "default")


def spec(**more: Any) -> Asked:
    return ConversationWorkload.model_validate({**SPEC, **more}).model_dump()  # type: ignore[return-value]


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    engine_info.log_to(lambda _: None)
    return tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' folder is taken for one, wherever it is."""
    monkeypatch.setattr(subject, "kept_in_memory", lambda _: False)


@pytest.fixture
def engine(gguf: Path) -> Iterator[Engine]:
    with Engine(gguf, Settings(threads=1), context_tokens=16) as tiny:
        yield tiny


def measured(engine: Engine, asked: Asked, folder: Path) -> dict[str, Any]:
    workload = Conversation(engine, "talk", asked, folder, 1, Processors(1))
    workload.warm_up(600)
    for _, prefix in workload.arms():
        workload.repeat(prefix, "1/1")
    return {**workload.record()}


# --- on the device --------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["greedy", "none"])
def test_a_turn_computes_what_its_prefix_leaves(
    engine: Engine, tmp_path: Path, sampling: str
) -> None:
    asked = spec(sampling=sampling)
    record = measured(engine, asked, tmp_path)
    assert record["status"] == "ok"
    assert record["can_cut_back"]
    prompts = {}
    for part in record["prefixes"]:
        assert part["context_tokens"] == context_tokens(asked)
        assert len(part["repetitions"]) == 2
        for repetition in part["repetitions"]:
            turns = repetition["turns"]
            prompts[part["prefix"]] = [turn["prompt_tokens"] for turn in turns]
            assert all(len(turn["itl_s"]) == 4 for turn in turns)
            ends = [turn["start_s"] + turn["ttft_s"] + sum(turn["itl_s"]) for turn in turns]
            assert all(end <= turn["start_s"] for end, turn in zip(ends, turns[1:], strict=False))
            restored = [turn["restore_s"] is not None for turn in turns]
            saved = [turn["save_s"] is not None for turn in turns]
            is_restored = part["prefix"] == "restored"
            assert restored == [False, is_restored, is_restored]
            assert saved == [is_restored, is_restored, False]
            assert repetition["state_bytes"] > 0
    # The last token of an answer is computed with the next question.
    assert prompts == {"kept": [8, 4, 4], "restored": [8, 4, 4], "computed": [8, 16, 24]}
    assert not list(tmp_path.iterdir())


def test_what_was_said_is_the_same_whatever_is_done_with_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: dict[str, list[list[int]]] = {}
    plain = Conversation._turn

    def heard(self: Conversation, prefix: str, *rest: Any) -> Any:
        turn, answer = plain(self, prefix, *rest)  # type: ignore[arg-type]
        answers.setdefault(prefix, []).append(answer)
        return turn, answer

    monkeypatch.setattr(Conversation, "_turn", heard)
    measured(engine, spec(repetitions=1, warmup=1), tmp_path)
    kept = answers.pop("kept")
    assert len({*map(tuple, kept)}) > 1, "each turn has an answer of its own"
    assert [*answers.values()] == [kept, kept]


def test_a_saved_state_is_the_state(engine: Engine, tmp_path: Path) -> None:
    engine.decode([1, 2, 3])
    said = [engine.greedy()]
    path = str(tmp_path / "state")
    assert engine.save(path) == (tmp_path / "state").stat().st_size
    engine.decode(said)
    said.append(engine.greedy())
    engine.keep(0)
    engine.restore(path)
    engine.decode(said[:1])
    assert engine.greedy() == said[1]


def test_a_state_that_is_none_is_refused(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"no state")
    with pytest.raises(EngineError, match="could not be restored"):
        engine.restore(str(tmp_path / "state"))
    with pytest.raises(EngineError, match="could not be saved"):
        engine.save(str(tmp_path / "no/such/folder"))


def test_a_storage_that_fails_costs_what_needs_it(engine: Engine, tmp_path: Path) -> None:
    record = measured(engine, spec(), tmp_path / "not there")
    assert [part["status"] for part in record["prefixes"]] == ["ok", "ok", "failed"]
    lost = record["prefixes"][-1]
    reason = "the prefix cannot be saved beside the model: No such file or directory"
    assert lost == {"prefix": "restored", "status": "failed", "reason": reason}
    alone = measured(engine, spec(prefix=["restored"]), tmp_path / "not there")
    assert (alone["status"], alone["reason"]) == ("failed", reason)


def test_a_storage_that_fails_later_costs_no_more(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk is full at the second counted conversation."""
    saved = Saved.save
    left = iter(range(2 * 3))  # two a conversation: to find its pace, to warm up, to count

    def full(self: Saved) -> float:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        return saved(self)

    monkeypatch.setattr(Saved, "save", full)
    workload = Conversation(engine, "talk", spec(repetitions=3), tmp_path, 1, Processors(1))
    workload.warm_up(600)
    order = Rounds({"talk": workload}, 100, 1e12).through(workload.arms())
    record = workload.record()
    assert record["status"] == "ok"
    assert record["kind"] == "conversation"
    assert [part["status"] for part in record["prefixes"]] == ["ok", "ok", "failed"]
    assert "No space left" in str(record["prefixes"][-1]["reason"])
    assert [prefix for _, prefix in order].count("kept") == 3


def test_memory_is_no_storage(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "kept_in_memory", lambda _: True)
    lost = measured(engine, spec(), tmp_path)["prefixes"][-1]
    assert "no storage, but memory" in lost["reason"]


def test_a_folder_in_memory_is_told() -> None:
    assert kept_in_memory(Path("/dev/shm"))
    assert not kept_in_memory(Path("/proc"))


def test_where_time_is_short_all_prefixes_do_less_alike(engine: Engine, tmp_path: Path) -> None:
    workload = Conversation(
        engine, "talk", spec(repetitions=9, output_tokens=20), tmp_path, 1, Processors(1)
    )
    workload.warm_up(0)
    assert len(workload.arms()) == 3
    for _, prefix in workload.arms():
        workload.repeat(prefix, "1/1")
    record = workload.record()
    assert record["status"] == "ok"
    assert record["kind"] == "conversation"
    for part in record["prefixes"]:
        assert part["status"] == "ok"
        assert part["shortened"]
        assert part["shortened"]["repetitions"] == 1
        answers = [len(turn["itl_s"]) for turn in part["repetitions"][0]["turns"]]
        assert answers == [8, 8, 8]


@pytest.mark.parametrize("tokens", [1, 3])
def test_a_memory_that_cannot_forget_its_end_is_told(tokens: int, tmp_path: Path) -> None:
    """However short the first question is."""
    gguf = make("mamba", tmp_path / "m.gguf")
    asked = spec(system_tokens=0, prompt_tokens=tokens, repetitions=1)
    with Engine(gguf, Settings(threads=1), context_tokens=16) as engine:
        record = measured(engine, asked, tmp_path)
    assert [part["status"] for part in record["prefixes"]] == ["ok"] * 3
    assert record["can_cut_back"] is False


@pytest.mark.fault("a saved prefix that is cut short", by="the prefix fails, the others do not")
def test_a_saved_state_that_is_cut_short_loses_its_prefix_alone(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = Saved.restore

    def cut(self: Saved) -> None:
        os.truncate(self._file.fileno(), os.fstat(self._file.fileno()).st_size // 2)
        restore(self)

    monkeypatch.setattr(Saved, "restore", cut)
    record = measured(engine, spec(), tmp_path)
    assert record["status"] == "ok"
    *others, lost = record["prefixes"]
    assert [(part["prefix"], part["status"]) for part in others] == [
        ("kept", "ok"),
        ("computed", "ok"),
    ]
    assert lost["reason"] == "the saved prefix is cut short"
    assert not list(tmp_path.iterdir())


def test_pauses_take_their_time(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the budget, and no processors of it: what others do meanwhile disturbs nobody."""
    heard: list[str] = []

    class Heard(Processors):
        def now(self) -> Moment | None:
            heard.append("looked")
            return super().now()

    def sleep(seconds: float, *, really: Callable[[float], None] = time.sleep) -> None:
        heard.append(f"{seconds} s")
        really(seconds)

    asked = spec(prefix=["kept"], pause_s=0.3, repetitions=1, warmup=0, warmup_limit=0)
    workload = Conversation(engine, "talk", asked, tmp_path, 1, Heard(1))
    workload.warm_up(600)
    monkeypatch.setattr(time, "sleep", sleep)
    heard.clear()
    done = workload.repeat("kept", "1/1")
    assert done
    assert took_s(done) > 0.6
    turn = ["looked", "looked"]
    assert heard == [*turn, "0.3 s", *turn, "0.3 s", *turn]


def test_pauses_that_leave_no_time_are_refused() -> None:
    """To tell the pace, to warm up, and to be counted: the least of each prefix."""
    for warmup, least_s in {1: 2700, 0: 1800}.items():
        asked = {**SPEC, "pause_s": 150, "warmup": warmup}
        with pytest.raises(ValidationError, match=rf"{least_s}\.0 s of pauses"):
            ConversationWorkload.model_validate({**asked, "timeout_s": least_s})
        assert ConversationWorkload.model_validate({**asked, "timeout_s": least_s + 1})


# --- in the summary -------------------------------------------------------------------------------


def study(**more: object) -> Study:
    return Study.model_validate(
        {
            "study": "s",
            "models": {"m": {"source": {"path": "m.gguf"}}},
            "quants": ["Q4_0"],
            "devices": {"pi": {"transport": "local"}},
            "workloads": {
                "chat": {"prompt_tokens": 8, "output_tokens": 8},
                "talk": {**SPEC, **more},
            },
        }
    )


def session() -> Session:
    asked = made.conversation(("kept", "restored", "computed"), turns=3)
    cell = made.conversation_cell(
        asked,
        {
            "kept": [made.talk([4.0, 1.0, 1.5]), made.talk([6.0, 1.0, 1.5], start_s=200.0)],
            "restored": [made.talk([4.0, 2.0, 2.0], start_s=300.0, state_bytes=5_000_000)],
        },
        lost="no memory",
    )
    return {**made.session({"talk": cell}), "idle": None}


def found(record: Session) -> ConversationCell:
    [cell] = conversations(study(), {ID: record})
    return cell


def test_first_and_later_turns_stand_apart() -> None:
    record = session()
    meter: Any = {"kind": "hwmon", "accuracy_pct": None, "path": None, "interval_s": 1.0}
    add_energy(record, Samples([90.0, 400.0], [8.0, 8.0], []), meter)
    kept, restored, computed = found(record)["ways"]
    assert (kept["first_ttft_s"], kept["later_ttft_s"]) == (5.0, 1.25)
    assert kept["ttft_s"] == [5.0, 1.0, 1.5]
    assert kept["later_s"] == pytest.approx(1.65)
    assert kept["first_j"] == pytest.approx(8.0 * 5.4)
    assert kept["later_j"] == pytest.approx(8.0 * 1.65)
    assert (kept["restore_s"], kept["save_s"], kept["state_bytes"]) == (None, None, 4_000_000)
    assert (restored["restore_s"], restored["save_s"]) == (1.0, 0.25)
    assert restored["state_bytes"] == 5_000_000
    assert (computed["status"], computed["reason"]) == ("failed", "no memory")
    assert computed["later_ttft_s"] is None


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ([[1.0, 2.0], [1.0, 2.0, 3.0]], "the workload's turns"),
        ([[1.0], [1.0]], "the workload's turns"),
        ([[], []], "the workload's turns"),
        ([[0.0, 1.0]], "one took no time"),
    ],
)
def test_records_no_number_can_be_made_of(turns: list[list[float]], says: str) -> None:
    made_turns = [made.talk(one) if one else {**made.talk([1.0]), "turns": []} for one in turns]
    cell = made.conversation_cell(made.conversation(), {"kept": made_turns})  # type: ignore[dict-item]
    checked = sound(made.session({"talk": cell}), "talk.json")
    assert checked["status"] == "ok"
    failed = checked["workloads"]["talk"]
    assert failed["status"] == "failed"
    assert says in failed["reason"]
    assert found(checked)["status"] == "failed"


@pytest.mark.parametrize(
    ("spoilt", "says"),
    [
        ({"restore_s": -1.0}, "the parts of a turn's time"),
        ({"restore_s": 9.0}, "the parts of a turn's time"),
        ({"ttft_s": 0.5}, "the parts of a turn's time"),
        ({"prompt_tokens": 10**400}, "the parts of a turn's time"),
        ({"save_s": -1.0}, "less than no time"),
    ],
)
def test_turns_that_cannot_be(spoilt: dict[str, Any], says: str) -> None:
    done = made.talk([4.0, 2.0], state_bytes=9)
    done["turns"][1].update(spoilt)  # type: ignore[typeddict-item]
    cell = made.conversation_cell(made.conversation(("restored",)), {"restored": [done]})
    failed = sound(made.session({"talk": cell}), "talk.json")["workloads"]["talk"]  # type: ignore[typeddict-item]
    assert says in failed["reason"]  # type: ignore[typeddict-item]


@pytest.mark.parametrize("size", [-1, 10**400])
def test_states_that_cannot_be(size: int) -> None:
    done = {**made.talk([4.0, 2.0]), "state_bytes": size}
    cell = made.conversation_cell(made.conversation(), {"kept": [done]})  # type: ignore[list-item]
    failed = sound(made.session({"talk": cell}), "talk.json")["workloads"]["talk"]  # type: ignore[typeddict-item]
    assert "state_bytes" in failed["reason"]  # type: ignore[typeddict-item]


def test_prefixes_are_those_that_were_asked_for() -> None:
    for prefixes in ([], ["kept", "kept"], ["computed"]):
        cell = made.conversation_cell(made.conversation(), {"kept": [made.talk([4.0, 1.0])]})
        [part] = cell["prefixes"]
        cell["prefixes"] = [{**part, "prefix": prefix} for prefix in prefixes]  # type: ignore[typeddict-item,misc]
        failed = sound(made.session({"talk": cell}), "talk.json")["workloads"]["talk"]  # type: ignore[typeddict-item]
        assert "should be those of the workload" in failed["reason"]  # type: ignore[typeddict-item]


def test_joules_of_every_turn_or_none() -> None:
    record = session()
    meter: Any = {"kind": "hwmon", "accuracy_pct": None, "path": None, "interval_s": 1.0}
    add_energy(record, Samples([90.0, 400.0], [8.0, 8.0], []), meter)
    cell = record["workloads"]["talk"]
    assert cell["status"] == "ok"
    assert cell["kind"] == "conversation"
    energy = cell["prefixes"][0]["energy"]  # type: ignore[typeddict-item]
    energy["tg"]["energy_j"].pop()  # type: ignore[index,typeddict-item,union-attr]
    failed = sound(record, "talk.json")["workloads"]["talk"]  # type: ignore[typeddict-item]
    assert "joules of every turn" in failed["reason"]  # type: ignore[typeddict-item]


@pytest.mark.parametrize("phase", ["pp", "tg"])
def test_joules_below_none_are_none(phase: str) -> None:
    record = session()
    meter: Any = {"kind": "hwmon", "accuracy_pct": None, "path": None, "interval_s": 1.0}
    add_energy(record, Samples([90.0, 400.0], [8.0, 8.0], []), meter)
    energy = record["workloads"]["talk"]["prefixes"][0]["energy"]  # type: ignore[typeddict-item]
    energy[phase]["energy_j"][1] = -9.0
    failed = sound(record, "talk.json")["workloads"]["talk"]  # type: ignore[typeddict-item]
    assert "less than no joules" in failed["reason"]  # type: ignore[typeddict-item]


def test_the_tokens_that_a_plan_counts_are_those_that_are_computed(
    engine: Engine, tmp_path: Path
) -> None:
    asked = ConversationWorkload.model_validate(SPEC)
    record = measured(engine, spec(repetitions=1), tmp_path)
    for part in record["prefixes"]:
        [repetition] = part["repetitions"]
        computed = [turn["prompt_tokens"] for turn in repetition["turns"]]
        assert computed == asked.computed_tokens(part["prefix"])
