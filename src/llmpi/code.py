"""What code a step depends on: derived from what its script imports, never listed by hand.

Snakemake sees no edit of an imported module, so rules take the hash of these files as a parameter,
and so does whoever keeps intermediate results. (As inputs they would tell which file was edited;
but a measurement has sixty of them, and Snakemake would look at each for each of thousands of
jobs.) A module depends on

- what it imports, at any depth and inside functions, but not for the type checker alone;
- each module that it names in a text of its own: `supervise("llmpi.engine.x", ...)` starts one in
  another process, `modules("llmpi.quality.*.kind")` finds some by their place;
- the modules that its rule tells it to start (`code` in `rules/common.smk`);
- each command that it has a device run (`ask("measure", ...)`): see `llmpi.device.commands`;
- the files beside it that are no Python, where it looks for such (`__file__`, `files(...)`).

A test holds it against the modules that every process of a study really loaded.
"""

import ast
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import translate
from functools import cache
from hashlib import sha256
from pathlib import Path

from llmpi.device import commands

PACKAGE = Path(__file__).parent
CANNOT_CHANGE_A_RESULT = {
    "llmpi": "the version, which names the wheel",
    "llmpi.code": "which files are watched; one more or less is seen by itself",
    "llmpi.device.cli": "how a command is called; what it does is elsewhere",
    "llmpi.device.commands": "names of commands; whoever runs one depends on its module",
    "llmpi.device.commands.files": "as the store, whose words it passes on",
    "llmpi.device.durable": "that a file outlives a power cut, not what it says",
    "llmpi.device.store": "where a file lies on a device; its hash is checked before it is used",
    **dict.fromkeys(
        [
            *("llmpi.device.records", "llmpi.device.service.records", "llmpi.engine.records"),
            "llmpi.gguf.records",
            *("llmpi.models.records", "llmpi.operate.records", "llmpi.quality.records"),
            *("llmpi.quality.*.records", "llmpi.remote.records", "llmpi.tune.records"),
        ],
        "what files hold, as types that nothing else is derived from",
    ),
    "llmpi.engine.progress": "what is said meanwhile",
    "llmpi.errors": "names of errors",
    "llmpi.layout": "paths, which are inputs and outputs of the rules",
    "llmpi.records": "how a file is written and checked, not what it says",
    "llmpi.remote.any_shell": "how a command is quoted",
    "llmpi.remote.connection": "how a host is reached",
    "llmpi.remote.deploy": "how a file gets there; its hash is checked on arrival",
    "llmpi.remote.here": "how a command is run, not what it does",
    "llmpi.remote.link": "how a host is reached",
    "llmpi.remote.machine": "how a command is run there, not what it does",
    "llmpi.remote.shell": "what a login shell says around an answer",
    "llmpi.remote.ssh_machine": "how a host is reached",
    "llmpi.remote.transfer": "how bytes get there, as above",
    "llmpi.script": "what every script does around its `main`",
    "llmpi.sources_lock": "a lock file whose lines are parameters of the rules",
    "llmpi.study.devices": "which values a key may have; those it has are parameters of the rules",
    "llmpi.study.endpoint": "as above",
    "llmpi.study.fields": "as above",
    "llmpi.study.languages": "as above",
    "llmpi.study.measuring": "as above",
    "llmpi.study.meters": "as above",
}
"""Modules whose edit redoes nothing, and why; nor does an edit of what only they import. A `*` is
any part of a name."""

WITHOUT_EFFECT = re.compile("|".join(map(translate, CANNOT_CHANGE_A_RESULT)))
"""What fits one of them: asked of each name in the code, at every parse of the rules."""


@dataclass(frozen=True)
class _Read:
    """What was read of a file."""

    state: list[int]
    """Its size and time of change, ns."""
    sha256: str
    names: list[str]
    """Modules of llmpi that it may depend on; what is no module among them is overlooked."""
    is_empty: bool
    """Words for a reader at most: no code."""
    looks_beside: bool


def code_of(entry: Path | str, package: Path = PACKAGE) -> list[Path]:
    """The files that decide what a script (a file) or a module (its name) does, sorted.

    Args:
        package: the folder of llmpi, by default this one.

    Raises:
        FileNotFoundError: there is no such script or module.
    """
    return sorted(_closure(entry, package))


@cache
def sha256_of_code(*entries: Path | str, package: Path = PACKAGE) -> str:
    """Hash of `code_of` these: what was made by other code is not taken for what this would make.

    It is the same wherever the files are, and whenever they were touched.
    """
    files = frozenset().union(*(_closure(entry, package) for entry in entries))
    read = _reader(package)
    told = sorted([os.path.relpath(file, package), read(file).sha256] for file in files)
    read.keep()
    return sha256(json.dumps(told).encode()).hexdigest()


@cache
def _closure(entry: Path | str, package: Path) -> frozenset[Path]:
    first = [entry] if isinstance(entry, Path) else _files(entry, package)
    if not first:
        raise FileNotFoundError(f"there is no module {entry}")
    seen, found, queue = set(first), set[Path](), list(first)
    while queue:
        own, named = _of_file(queue.pop(), package)
        found |= own
        new = named - seen
        seen |= new
        queue += new
    _reader(package).keep()
    return frozenset(found)


@cache
def _of_file(file: Path, package: Path) -> tuple[frozenset[Path], frozenset[Path]]:
    """What decides in it and beside it, and the files of what it names."""
    about = _reader(package)(file)
    own = [] if about.is_empty else [file]
    beside = _beside(file.parent) if about.looks_beside else []
    named = (path for name in about.names for path in _files(name, package))
    return frozenset([*own, *beside]), frozenset(named)


@cache
def _files(name: str, package: Path) -> list[Path]:
    """The file of a module; of a package also what `python -m` starts."""
    if WITHOUT_EFFECT.match(name):
        return []
    path = "/".join(name.split(".")[1:])
    candidates = (f"{path}.py", f"{path}/__init__.py", f"{path}/__main__.py")
    if "*" in name:
        return [file for candidate in candidates for file in sorted(package.glob(candidate))]
    return [file for file in map(package.joinpath, candidates) if file in _modules(package)]


@cache
def _modules(package: Path) -> frozenset[Path]:
    """All there are, looked for once: most names that are imported from a module are of no file."""
    return frozenset(package.rglob("*.py"))


def _beside(folder: Path) -> Iterator[Path]:
    """Files of a folder, and of those below it that are no packages, which are no Python."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name != "__pycache__" and not (path / "__init__.py").is_file():
            yield from _beside(path)
        elif path.is_file() and path.suffix not in (".py", ".pyc") and path.name[0] != ".":
            yield path


# --- reading --------------------------------------------------------------------------------------


@cache
def _reader(package: Path) -> "_Reader":
    return _Reader(package)


class _Reader:
    """Reads files, and remembers what it read for the next process: each job parses the rules."""

    def __init__(self, package: Path) -> None:
        self._package, self._cache = package, package / "__pycache__" / "dependencies.json"
        self._known: dict[str, _Read] = {}
        self._fresh: dict[Path, _Read] = {}
        self._is_kept = True
        with suppress(OSError, ValueError, TypeError, KeyError):
            # A cache: without it, it takes longer.
            kept = json.loads(self._cache.read_text())
            if kept.pop("by") == _reading():
                self._known = {path: _Read(**about) for path, about in kept.items()}

    def __call__(self, file: Path) -> _Read:
        if file not in self._fresh:
            self._fresh[file] = self._up_to_date(file)
        return self._fresh[file]

    def _up_to_date(self, file: Path) -> _Read:
        about, key = file.stat(), os.path.relpath(file, self._package)
        state = [about.st_size, about.st_mtime_ns]
        known = self._known.get(key)
        if known is None or known.state != state:
            known = self._known[key] = _read(file, state)
            self._is_kept = False
        return known

    def keep(self) -> None:
        """Write down what was read, for the next process."""
        if self._is_kept:
            return
        self._is_kept = True
        with suppress(OSError):  # not ours to write
            self._cache.parent.mkdir(exist_ok=True)
            partial = self._cache.with_suffix(f".{os.getpid()}")
            known = {key: asdict(read) for key, read in self._known.items()}
            partial.write_text(json.dumps({"by": _reading(), **known}))
            partial.replace(self._cache)


@cache
def _reading() -> str:
    """What reads: what another version of it read is not taken over."""
    return sha256(Path(__file__).read_bytes()).hexdigest()


MODULE = re.compile(r"llmpi(\.(\w+|\*))+")


def _read(file: Path, state: list[int]) -> _Read:
    content = file.read_bytes()
    its_hash = sha256(content).hexdigest()
    if file.suffix != ".py":
        return _Read(state, its_hash, names=[], is_empty=False, looks_beside=False)
    tree = ast.parse(content)
    nodes = list(_walk(tree))
    imported = [name for node in nodes for name in _imported(node)]
    ours = {name for name in imported if name.startswith("llmpi")}
    parents = {name.rpartition(".")[0] for name in ours if "." in name}
    return _Read(
        state=state,
        sha256=its_hash,
        names=sorted(ours | parents | {name for node in nodes for name in _named(node)}),
        is_empty=all(isinstance(node, ast.Expr) for node in tree.body),
        looks_beside="importlib.resources.files" in imported
        or any(isinstance(node, ast.Name) and node.id == "__file__" for node in nodes),
    )


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, without what is there for the type checker alone."""
    if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _named(node: ast.AST) -> Iterator[str]:
    """A module named in a text, and that of a command which a device is asked for."""
    text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
    if isinstance(text, str) and MODULE.fullmatch(text):
        yield text
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "ask" and node.args:
        command = getattr(node.args[0], "value", None)
        if command in commands.ANSWERING:
            yield commands.module_of(command)
