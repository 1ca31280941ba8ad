"""The releases of the service on a device: folders that never change, and two links to them.

    STORE/service/releases/ID/settings.json     how the model is served
                              expectation.json  what the canary expects of it
                              monitor.json      what looks after it
                              manifest.json     hashes of these; size and time of the model file
                              model.gguf        a hard link to the file in the store; of one in
                                                several parts model-00001-of-00003.gguf and so on
                              runtime           a link to the code it runs with
    STORE/service/runtimes/KEY/                 a venv: engine, llmpi and the server's packages
    STORE/service/current, previous             links to a release

What is served is what `current` points to; it is switched by rename(2), so that a reader sees the
release before or the one behind, never none and never a half. The hard link holds the model: the
store may remove or replace its own name for the file, and the release still has it. The engine is
given the first of several parts, and finds the others by its name.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmpi.device import durable
from llmpi.device import store as deployed
from llmpi.device.service.records import (
    Manifest,
    ModelFile,
    Releases,
    ServiceSettings,
    StoredModel,
)
from llmpi.engine import shards
from llmpi.engine.help_text import described

SETTINGS, MANIFEST = "settings.json", "manifest.json"
MODEL, RUNTIME = "model", "runtime"
PROGRAM = '#!/bin/sh\nexec "${0%/*}/python" -m llmpi.device.cli "$@"\n'


class ReleaseError(Exception):
    """A release cannot be made or switched to; the message is for a person."""


def state(store: Path) -> Releases:
    """What is there."""
    return {
        "current": _linked(store, "current"),
        "previous": _linked(store, "previous"),
        "releases": sorted(path.name for path in _folder(store).glob("[!.]*")),
    }


def incoming(store: Path, release: str) -> Path:
    """Where the files of a release are put before `add`."""
    return _folder(store) / f".{release}.new"


def add(store: Path, release: str, *, models: Sequence[StoredModel], runtime: str) -> None:
    """Make a release of what lies in `incoming`; one that is there already stays as it is, if it is
    sound.

    Args:
        models: the model's file in the store, or all of its parts in order.
        runtime: key of a runtime that is there.

    Raises:
        ReleaseError: the model or the runtime is not there, or the disk has no hard links.
    """
    final, new = _folder(store) / release, incoming(store, release)
    if final.is_dir():
        with contextlib.suppress(ReleaseError):
            check(final)
            shutil.rmtree(new, ignore_errors=True)
            return
    for model in models:
        if not deployed.use(Path(model["path"]), model["sha256"]):
            raise ReleaseError(
                f"{model['path']} is not the file that was deployed; deploy it again"
            )
    if not _runtime(store, runtime).is_dir():
        raise ReleaseError(f"the runtime {runtime} is not there; install the service again")
    for path in (new / RUNTIME, new / MANIFEST, *new.glob(f"{MODEL}*.gguf")):
        path.unlink(missing_ok=True)
    names = [f"{MODEL}.gguf"]
    if len(models) > 1:
        names = shards.names(f"{MODEL}-00001-of-{len(models):05}.gguf")
    held = {name: _held(model, new / name) for name, model in zip(names, models, strict=True)}
    (new / RUNTIME).symlink_to(Path("../../runtimes") / runtime)
    manifest: Manifest = {
        "release": release,
        "models": held,
        "files": {path.name: deployed.sha256_of(path) for path in sorted(new.glob("*.json"))},
    }
    for path in new.glob("*.json"):
        durable.sync(path)
    durable.write_whole(new / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    _take_place(new, final)


def _held(model: StoredModel, link: Path) -> ModelFile:
    try:
        os.link(model["path"], link)
    except OSError as error:
        raise ReleaseError(
            f"{model['path']} cannot be linked ({error.strerror}): the store must lie on a file "
            "system with hard links, such as ext4"
        ) from None
    status = link.stat()
    return {"sha256": model["sha256"], "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def model_of(folder: Path) -> Path:
    """What the engine is given of a release that was checked."""
    return min(folder.glob(f"{MODEL}*.gguf"))


def check(folder: Path) -> ServiceSettings:
    """The settings of a release, if it is the one that was made.

    Raises:
        ReleaseError: a file of it was changed or is gone.
    """
    try:
        manifest: Manifest = json.loads((folder / MANIFEST).read_text())
        models = {name: (folder / name).stat() for name in manifest["models"]}
        found = {name: deployed.sha256_of(folder / name) for name in manifest["files"]}
        known = {name: (m["bytes"], m["mtime_ns"]) for name, m in manifest["models"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ReleaseError(f"{folder} is no release: {error!r}") from None
    if not models:
        raise ReleaseError(f"{folder} is no release: it has no model")
    for name, status in models.items():
        if (status.st_size, status.st_mtime_ns) != known[name]:
            raise ReleaseError(f"{folder / name} was changed since the release was made")
    if changed := [name for name, sha256 in manifest["files"].items() if found[name] != sha256]:
        raise ReleaseError(f"{folder / changed[0]} was changed since the release was made")
    settings: ServiceSettings = json.loads((folder / SETTINGS).read_text())
    return settings


def switch(store: Path, release: str) -> Releases:
    """Serve `release` from the next start on, and keep the one before; returns the state before.

    Raises:
        ReleaseError: there is no such release.
    """
    before = state(store)
    if release not in before["releases"]:
        raise ReleaseError(f"there is no release {release} in {_folder(store)}")
    if before["current"] not in (None, release):
        # First: when the machine dies between the two, both links name a release that works.
        _point(store, "previous", before["current"])
    _point(store, "current", release)
    return before


def restore(store: Path, *, current: str | None, previous: str | None) -> Releases:
    """Go back to a state that `switch` returned; returns the state now."""
    _point(store, "current", current)
    _point(store, "previous", previous)
    return state(store)


def roll_back(store: Path) -> Releases:
    """Serve the previous release again; returns the state now.

    The one that is left is not kept as the previous one: rolling back twice does not lead to it.

    Raises:
        ReleaseError: there is none to go back to.
    """
    before = state(store)
    if not before["previous"] or before["previous"] == before["current"]:
        raise ReleaseError("there is no previous release to go back to")
    return restore(store, current=before["previous"], previous=None)


def prune(store: Path) -> list[str]:
    """Remove the releases and runtimes that neither link needs; returns the releases' ids."""
    now = state(store)
    kept = {now["current"], now["previous"]}
    removed = [release for release in now["releases"] if release not in kept]
    for release in removed:
        shutil.rmtree(_folder(store) / release)
    for half_made in _folder(store).glob(".*.new"):
        shutil.rmtree(half_made)
    needed = {(_folder(store) / r / RUNTIME).resolve() for r in kept if r}
    for runtime in _runtime(store, "").glob("*"):
        if runtime.resolve() not in needed:
            shutil.rmtree(runtime)
    return removed


def make_runtime(store: Path, key: str, wheels: str) -> None:
    """A venv of its own for the service: this interpreter's packages, and `wheels` beside them.

    The packages are hard links, so it costs little room; the installer replaces files and never
    writes into them. A later update of llmpi or the engine on this device does not touch it. It is
    sealed as the device's own venv is; one that is there already and whole stays as it is.

    Args:
        wheels: folder of wheels, installed without a network.
    """
    final = _runtime(store, key)
    if durable.is_whole(durable.look(final)):
        return
    new = _runtime(store, f".{key}.new")
    shutil.rmtree(new, ignore_errors=True)
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", "--without-pip", str(new)], check=True)
    [packages] = new.glob("lib/python*/site-packages")
    ours = Path(sys.prefix) / packages.relative_to(new)
    shutil.copytree(ours, packages, copy_function=os.link, dirs_exist_ok=True, symlinks=True)
    install = [str(new / "bin/python"), "-m", "pip", "install", "--quiet", "--no-index"]
    install += ["--no-deps", "--force-reinstall", "--disable-pip-version-check"]
    subprocess.run([*install, *map(str, sorted(Path(wheels).glob("*.whl")))], check=True)
    # A script that pip writes would name the folder this one had while it was made.
    program = new / "bin/llmpi-device"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    for part in durable.PARTS:
        durable.seal(new, part, key)
    _take_place(new, final)


def _linked(store: Path, name: str) -> str | None:
    try:
        release = (store / "service" / name).readlink().name
    except OSError:
        return None
    return release if (_folder(store) / release).is_dir() else None


def _point(store: Path, name: str, release: str | None) -> None:
    link = store / "service" / name
    if release is None:
        link.unlink(missing_ok=True)
    else:
        partial = link.with_name(f".{name}.part")
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()
        partial.symlink_to(Path("releases") / release)
        partial.replace(link)
    durable.sync(link.parent)


def _folder(store: Path) -> Path:
    return store / "service/releases"


def _runtime(store: Path, key: str) -> Path:
    return store / "service/runtimes" / key


def _take_place(new: Path, final: Path) -> None:
    """Give a folder that is complete its name, in place of one that is not sound."""
    durable.sync(new)
    if final.is_dir():
        damaged = final.with_name(f".{final.name}.old.new")
        shutil.rmtree(damaged, ignore_errors=True)
        final.rename(damaged)
        new.rename(final)
        shutil.rmtree(damaged)
    else:
        new.rename(final)
    durable.sync(final.parent)


DO: dict[str, Callable[..., Any]] = {
    do.__name__: do for do in (add, make_runtime, prune, restore, roll_back, state, switch)
}


def main(argv: Sequence[str]) -> int:
    """Prints `answer`, or `error` in words for a person."""
    parser = argparse.ArgumentParser(
        prog="llmpi-device releases",
        **described(
            "Make, switch or remove releases of the service.\n"
            "Asked by the workstation: `store`, what to `do` there, and what that takes, as JSON.",
            'llmpi-device releases \'{"store": "/home/pi/.llmpi", "do": "state"}\'',
        ),
    )
    parser.add_argument(
        "request", type=json.loads, help=f"a JSON object; `do` is one of {', '.join(DO)}"
    )
    request = parser.parse_args(argv).request
    store, do = Path(request.pop("store")), DO[request.pop("do")]
    try:
        print(json.dumps({"answer": do(store, **request)}))
    except ReleaseError as error:
        print(json.dumps({"error": str(error)}))
    return 0
