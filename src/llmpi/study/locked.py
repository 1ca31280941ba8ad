"""A study with its models as the lock file has them, for what asks the hub before the fetch."""

from llmpi.sources_lock import Lock, commit_of
from llmpi.study.models import HubCheckpoint, HubSource, Model
from llmpi.study.study import Study


def as_locked(study: Study, lock: Lock) -> Study:
    """The study with the commits that its models' branches and tags stood for when they were first
    used, in their place; what is not locked yet stays as it is."""
    models = {name: _as_locked(model, lock) for name, model in study.models.items()}
    return study.model_copy(update={"models": models})


def _as_locked(model: Model, lock: Lock) -> Model:
    source = model.source
    if isinstance(source, HubSource):
        source = source.model_copy(update={"revision": _commit(source, lock)})
    checkpoint = getattr(source, "checkpoint", None)
    if isinstance(checkpoint, HubCheckpoint):
        checkpoint = checkpoint.model_copy(update={"revision": _commit(checkpoint, lock)})
        source = source.model_copy(update={"checkpoint": checkpoint})
    return model.model_copy(update={"source": source})


def _commit(source: HubSource | HubCheckpoint, lock: Lock) -> str:
    return commit_of(lock, "model", source.hub, source.revision) or source.revision
