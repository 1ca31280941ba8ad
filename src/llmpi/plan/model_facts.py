"""What is known of a study's models without their weights."""

import json
from collections.abc import Iterator
from pathlib import Path

from llmpi import layout
from llmpi.errors import LlmpiError
from llmpi.gguf.footprint import Context
from llmpi.plan.config_json import Stated, of_config
from llmpi.plan.known import CONFIGS
from llmpi.plan.model import Model, ask_all
from llmpi.plan.predict import context
from llmpi.plan.workstation import scoring_contexts
from llmpi.sources_lock import is_commit
from llmpi.study.models import HubSource, PathSource, PypiSource, ScratchSource
from llmpi.study.runs import sessions, variants
from llmpi.study.study import Study

CONFIG_BYTES = 1_000_000
"""Of a config.json; what is larger is none."""


def models_of(study: Study, *, ask_hub: bool = True) -> dict[str, Model | str]:
    """What is known of each model of a study; in place of one of which nothing is, the reason.

    All that a plan wants of them is asked of the engine here, in one go.
    """
    found = {name: _found(study, name, ask_hub) for name in study.models}
    models = {name: model for name, model in found.items() if isinstance(model, Model)}
    ask_all((model, _quants(study, name), _contexts(study, name)) for name, model in models.items())
    return {name: _known_or_reason(model) for name, model in found.items()}


def model_of(study: Study, name: str, *, ask_hub: bool = True) -> Model:
    """What is known of a study's model without its weights, from the nearest source.

    Its F16 if that is made already, the user's own file or folder, the table of known models, the
    hub's cache, and at last the hub itself, for its `config.json` or the header of its GGUF file.

    Args:
        ask_hub: whether the network may be used.

    Raises:
        LlmpiError: nothing says what it is built of.
    """
    source = study.models[name].source
    made = base_gguf(name)
    if made.is_file() and made.stat().st_size:
        return Model(made, str(made))
    match source:
        case PathSource():
            return _of_path(Path(source.path))
        case PypiSource():
            return _in_table(source.pypi)
        case ScratchSource():
            return _of_scratch(source)
        case HubSource():
            return _of_hub(source, ask_hub)


def base_gguf(name: str) -> Path:
    return Path(layout.at(layout.BASE_GGUF, model=name))


def _found(study: Study, name: str, ask_hub: bool) -> Model | str:
    try:
        return model_of(study, name, ask_hub=ask_hub)
    except LlmpiError as error:
        return str(error)


def _known_or_reason(model: Model | str) -> Model | str:
    try:
        return model if isinstance(model, str) or model.footprint else ""
    except LlmpiError as error:
        return str(error)


# --- what a plan asks -----------------------------------------------------------------------------


def _quants(study: Study, name: str) -> list[str]:
    return [layout.BASE_QUANT, *(v.quant for v in variants(study) if v.model == name)]


def _contexts(study: Study, name: str) -> Iterator[Context]:
    for session, names in sessions(study).items():
        if session.model == name:
            runtime = study.runtimes[session.runtime]
            asked = [study.workloads[workload] for workload in names]
            wanted = [(workload.needed_tokens, workload.prompt_tokens) for workload in asked]
            for tokens, prompt in [*wanted, tuple(map(max, zip(*wanted, strict=True)))]:
                yield context(runtime, tokens, prompt)
    yield from scoring_contexts(study, name)


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


def _of_path(path: Path) -> Model:
    ggufs = [path] if path.is_file() else sorted(path.glob("*.gguf"))
    if ggufs:
        return Model(ggufs[0], str(ggufs[0]))
    return of_config(_json(path / "config.json"), str(path / "config.json"))


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
    from llmpi.hub import resolve

    if is_commit(source.revision):
        return source.revision
    return resolve("model", source.hub, source.revision)


def _json(path: Path) -> Stated:
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise LlmpiError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise LlmpiError(f"{path}: holds no JSON object")
    return found
