"""`llmpi-device expect`, `accept`, `use`: the model files of a store."""

from pathlib import Path
from typing import Any

from llmpi.device import store


def expect(request: dict[str, Any]) -> Any:
    """Make room for a model file, and say what is there of it."""
    try:
        return store.expect(Path(request.pop("store")), **request)
    except store.QuotaError as error:
        return {"quota": str(error)}
    except store.NoRoomError as error:
        return {"no_room": str(error)}


def accept(request: dict[str, Any]) -> Any:
    """Check a model file that has arrived and give it its name."""
    return {"sound": store.accept(Path(request["store"]), request["name"], request["sha256"])}


def use(request: dict[str, Any]) -> Any:
    """Whether a model file is still the one that was taken in."""
    return {"sound": store.use(Path(request["path"]), request["sha256"])}
