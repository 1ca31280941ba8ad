"""Releases of the service on a device: what is served is whole, whenever the machine dies."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmpi.device import store
from llmpi.device.service import releases
from llmpi.device.service.records import StoredModel


def a_model(root: Path, name: str = "m/Q4_0.gguf", data: bytes = b"weights") -> tuple[Path, str]:
    import hashlib

    sha256 = hashlib.sha256(data).hexdigest()
    found = store.expect(root, name, len(data), sha256, None)
    Path(found["partial"]).write_bytes(data)
    assert store.accept(root, name, sha256)
    return Path(found["path"]), sha256


def add(root: Path, release: str, data: bytes = b"weights") -> None:
    gguf, sha256 = a_model(root, data=data)
    add_of(root, release, [{"path": str(gguf), "sha256": sha256}])


def add_of(root: Path, release: str, models: list[StoredModel]) -> None:
    (root / "service/runtimes/code").mkdir(parents=True, exist_ok=True)
    new = releases.incoming(root, release)
    new.mkdir(parents=True)
    (new / "settings.json").write_text(json.dumps({"model": release}))
    (new / "expectation.json").write_text("{}")
    releases.add(root, release, models=models, runtime="code")


PARTS = [f"model-0000{i}-of-00003.gguf" for i in (1, 2, 3)]


def add_in_parts(root: Path, release: str) -> None:
    found = [
        a_model(root, f"m/as-published-0000{i}-of-00003.gguf", b"part %d" % i) for i in (1, 2, 3)
    ]
    add_of(root, release, [{"path": str(path), "sha256": sha256} for path, sha256 in found])


def served(root: Path) -> str:
    """What a reader of the link finds, whole."""
    return releases.check((root / "service/current").resolve())["model"]


def test_a_release_is_whole_and_checked(tmp_path: Path) -> None:
    add(tmp_path, "one")
    folder = tmp_path / "service/releases/one"
    assert releases.check(folder) == {"model": "one"}
    assert (folder / "runtime").resolve() == tmp_path / "service/runtimes/code"
    (folder / "expectation.json").write_text('{"limits": {}}')
    with pytest.raises(releases.ReleaseError, match=r"expectation\.json was changed"):
        releases.check(folder)


def test_a_changed_model_is_not_served(tmp_path: Path) -> None:
    add(tmp_path, "one")
    changed = tmp_path / "models/m/Q4_0.gguf"
    changed.write_bytes(b"w3ights")
    os.utime(changed, (1, 1))  # a kernel's stamps may be the same within ten milliseconds
    with pytest.raises(releases.ReleaseError, match=r"model\.gguf was changed"):
        releases.check(tmp_path / "service/releases/one")


def test_a_model_that_is_not_there_makes_no_release(tmp_path: Path) -> None:
    gguf, _ = a_model(tmp_path)
    releases.incoming(tmp_path, "one").mkdir(parents=True)
    with pytest.raises(releases.ReleaseError, match="not the file that was deployed"):
        model: StoredModel = {"path": str(gguf), "sha256": "0" * 64}
        releases.add(tmp_path, "one", models=[model], runtime="code")
    assert releases.state(tmp_path)["releases"] == []


def test_a_model_in_parts_is_one_release(tmp_path: Path) -> None:
    add_in_parts(tmp_path, "one")
    folder = tmp_path / "service/releases/one"
    assert releases.check(folder) == {"model": "one"}
    assert sorted(path.name for path in folder.glob("*.gguf")) == PARTS
    assert releases.model_of(folder).name == PARTS[0]
    assert [(folder / name).read_bytes() for name in PARTS] == [b"part 1", b"part 2", b"part 3"]


@pytest.mark.parametrize("lost", PARTS)
def test_a_release_that_lost_a_part_is_not_served(tmp_path: Path, lost: str) -> None:
    add_in_parts(tmp_path, "one")
    releases.switch(tmp_path, "one")
    (tmp_path / "service/releases/one" / lost).unlink()
    with pytest.raises(releases.ReleaseError, match="is no release"):
        served(tmp_path)
    add_in_parts(tmp_path, "one")
    assert served(tmp_path) == "one"


def test_switching_keeps_the_one_before(tmp_path: Path) -> None:
    for release in ("one", "two"):
        add(tmp_path, release)
        releases.switch(tmp_path, release)
    assert served(tmp_path) == "two"
    assert releases.state(tmp_path)["previous"] == "one"
    releases.roll_back(tmp_path)
    assert served(tmp_path) == "one"
    with pytest.raises(releases.ReleaseError, match="no previous release"):
        releases.roll_back(tmp_path)  # back and forth would lead to the bad one


def test_switching_to_itself_keeps_the_one_before(tmp_path: Path) -> None:
    for release in ("one", "two", "two"):
        if release not in releases.state(tmp_path)["releases"]:
            add(tmp_path, release)
        releases.switch(tmp_path, release)
    assert releases.state(tmp_path)["previous"] == "one"


def test_restoring_gives_back_also_the_previous_one(tmp_path: Path) -> None:
    for release in ("one", "two", "bad"):
        add(tmp_path, release)
        before = releases.switch(tmp_path, release)
    releases.restore(tmp_path, current=before["current"], previous=before["previous"])
    after = releases.state(tmp_path)
    assert (after["current"], after["previous"]) == ("two", "one")


def test_the_first_release_is_taken_back_to_none(tmp_path: Path) -> None:
    add(tmp_path, "one")
    before = releases.switch(tmp_path, "one")
    releases.restore(tmp_path, current=before["current"], previous=before["previous"])
    assert releases.state(tmp_path) == {"current": None, "previous": None, "releases": ["one"]}


def test_an_unknown_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(releases.ReleaseError, match="there is no release two"):
        releases.switch(tmp_path, "two")


def test_pruning_leaves_what_the_links_need(tmp_path: Path) -> None:
    for release in ("one", "two", "three"):
        add(tmp_path, release)
        releases.switch(tmp_path, release)
    (tmp_path / "service/runtimes/old").mkdir()
    releases.incoming(tmp_path, "half").mkdir()
    assert releases.prune(tmp_path) == ["one"]
    assert releases.state(tmp_path)["releases"] == ["three", "two"]
    assert [path.name for path in (tmp_path / "service/runtimes").iterdir()] == ["code"]
    assert not releases.incoming(tmp_path, "half").exists()


class PowerCutError(Exception):
    pass


@pytest.mark.fault("power cut at any step of a switch", by="hashes of the release that is served")
@given(steps=st.integers(min_value=0, max_value=8), back=st.booleans())
def test_a_power_cut_at_any_step_leaves_a_release_that_is_whole(
    tmp_path_factory: pytest.TempPathFactory, steps: int, back: bool
) -> None:
    root = tmp_path_factory.mktemp("store")
    for release in ("one", "two"):
        add(root, release)
        releases.switch(root, release)
    add(root, "three")
    with pytest.MonkeyPatch.context() as patch:
        left = steps

        def dying(real: Any) -> Any:
            def step(*args: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    raise PowerCutError
                left -= 1
                return real(*args, **options)

            return step

        for name in ("symlink_to", "replace", "unlink"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        patch.setattr(os, "fsync", dying(os.fsync))
        try:
            if back:
                releases.roll_back(root)
            else:
                releases.switch(root, "three")
        except PowerCutError:
            pass
    assert served(root) in (("one", "two") if back else ("two", "three"))
    # What was begun can be done again, whatever is left of it.
    releases.switch(root, "three")
    assert served(root) == "three"
    assert releases.state(root)["previous"] in ("one", "two")


def test_the_store_makes_no_room_with_what_a_release_holds(tmp_path: Path) -> None:
    add(tmp_path, "one", b"w" * 60)
    a_model(tmp_path, "m/Q8_0.gguf", b"x" * 30)
    found = store.expect(tmp_path, "m/F16.gguf", 20, "f" * 64, quota=100)
    assert [Path(path).name for path in found["removed"]] == ["Q8_0.gguf"]
    assert (tmp_path / "models/m/Q4_0.gguf").exists()
    with pytest.raises(store.NoRoomError):
        store.expect(tmp_path, "m/F32.gguf", 50, "f" * 64, quota=100)


def test_parts_that_a_release_holds_take_their_room(tmp_path: Path) -> None:
    add_in_parts(tmp_path, "one")
    with pytest.raises(store.NoRoomError):
        store.expect(tmp_path, "m/F32.gguf", 83, "f" * 64, quota=100)


def test_a_release_keeps_the_model_that_the_store_replaces(tmp_path: Path) -> None:
    add(tmp_path, "one", b"w" * 60)
    a_model(tmp_path, data=b"other" * 4)
    assert releases.check(tmp_path / "service/releases/one")
    assert (tmp_path / "service/releases/one/model.gguf").read_bytes() == b"w" * 60
    with pytest.raises(store.NoRoomError):  # it still takes its room
        store.expect(tmp_path, "m/F32.gguf", 41, "f" * 64, quota=100)


def test_main_answers_as_the_workstation_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    releases.main([json.dumps({"store": str(tmp_path), "do": "roll_back"})])
    assert "no previous release" in json.loads(capsys.readouterr().out)["error"]
    releases.main([json.dumps({"store": str(tmp_path), "do": "state"})])
    assert json.loads(capsys.readouterr().out)["answer"]["current"] is None


RELEASE_FILES = ("settings", "expectation", "manifest")


@pytest.mark.fault("a release that lost a file", by="hashes of the release")
@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize(
    "lost", ["settings.json", "expectation.json", "manifest.json", "model.gguf"]
)
def test_a_release_that_lost_a_file_is_made_again(tmp_path: Path, lost: str, share: float) -> None:
    add(tmp_path, "one")
    releases.switch(tmp_path, "one")
    path = tmp_path / "service/releases/one" / lost
    os.truncate(path, int(path.stat().st_size * share))
    with pytest.raises(releases.ReleaseError):
        served(tmp_path)
    add(tmp_path, "one")
    assert served(tmp_path) == "one"
    assert [one.name for one in (tmp_path / "service/releases").iterdir()] == ["one"]


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists) | st.text())
def test_a_manifest_that_is_none_is_said(content: object) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "model.gguf").touch()
        for text in (json.dumps(content), json.dumps({"files": content, "models": content})):
            (folder / "manifest.json").write_text(text)
            with pytest.raises(releases.ReleaseError, match="is no release"):
                releases.check(folder)
