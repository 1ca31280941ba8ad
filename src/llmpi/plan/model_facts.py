"""What is known of a study's models without their weights."""

import json
from pathlib import Path

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.plan.architectures import SHAPES, Model, Shape, Stated, of_config, of_shape
from llmpi.plan.gguf_header import model_in
from llmpi.sources_lock import is_commit
from llmpi.study.models import HubSource, PathSource, PypiSource, ScratchSource
from llmpi.study.study import Study

CONFIG_BYTES = 1_000_000
"""Of a config.json; what is larger is none."""


def model_of(study: Study, name: str, *, ask_hub: bool = True) -> Model:
    """What is known of a study's model without its weights, from the nearest source.

    Its F16 if that is made already, the user's own file or folder, the table of known models, the
    hub's cache, and at last the hub itself, for its `config.json`.

    Args:
        ask_hub: whether the network may be used.

    Raises:
        LlmpiError: nothing says what it is built of.
    """
    source = study.models[name].source
    made = base_gguf(name)
    if made.is_file() and made.stat().st_size:
        return model_in(made)
    match source:
        case PathSource():
            return _of_path(Path(source.path))
        case PypiSource():
            return _in_table(source.pypi)
        case ScratchSource():
            return _of_scratch(source)
        case HubSource():
            return _of_hub(source, ask_hub)


def model_or_reason(study: Study, name: str, *, ask_hub: bool = True) -> Model | str:
    """The same; in place of an error, its text."""
    try:
        return model_of(study, name, ask_hub=ask_hub)
    except LlmpiError as error:
        return str(error)


def base_gguf(name: str) -> Path:
    return Path(layout.at(layout.BASE_GGUF, model=name))


def _in_table(name: str) -> Model:
    if name not in SHAPES:
        raise LlmpiError(
            f"nothing is known of {name} before it is downloaded; run `snakemake models` first"
        )
    return of_shape(SHAPES[name])


def _of_scratch(source: ScratchSource) -> Model:
    # 256 bytes, the merges, and special tokens.
    vocab = 256 + source.merges + 17
    head = source.width // source.heads
    shape = Shape(
        "llama",
        source.layers,
        source.width,
        source.ffn_width,
        source.heads,
        source.heads,
        head,
        vocab,
        tied=True,
    )
    return of_shape(shape)


def _of_path(path: Path) -> Model:
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if ggufs:
        return model_in(ggufs[0])
    return of_config(_json(path / "config.json"), str(path / "config.json"))


def _of_hub(source: HubSource, ask_hub: bool) -> Model:
    if source.hub in SHAPES:
        return of_shape(SHAPES[source.hub])
    if file := source.file or next(iter(source.files or []), None):
        raise LlmpiError(
            f"the header of {source.hub}/{file} is not here; run `snakemake models` first"
        )
    return of_config(_json(_config_of(source, ask_hub)), f"{source.hub}/config.json")


def _config_of(source: HubSource, ask_hub: bool) -> Path:
    from huggingface_hub import try_to_load_from_cache

    from llmpi.hub import explained, resolve
    from llmpi.models.hub_download import HubFile

    held = try_to_load_from_cache(source.hub, "config.json", revision=source.revision)
    if isinstance(held, str):
        return Path(held)
    if not ask_hub:
        raise LlmpiError(f"config.json of {source.hub} is not in the hub's cache")
    with explained(source.hub, source.revision):
        known = is_commit(source.revision)
        commit = source.revision if known else resolve("model", source.hub, source.revision)
        file = HubFile(source.hub, commit, "config.json")
        if not file.held:
            size = file.size or 0
            if size > CONFIG_BYTES:
                raise LlmpiError(f"config.json of {source.hub} has {size:,} bytes: it is none")
            file.download()
        return file.cached


def _json(path: Path) -> Stated:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LlmpiError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise LlmpiError(f"{path}: holds no JSON object")
    return found
