"""`llmpi-device expect`, `accept`, `use`: the model files of a store."""

from pathlib import Path

from llmpi.device import store
from llmpi.device.records import (
    AcceptRequest,
    Expected,
    ExpectRequest,
    NoRoom,
    OverQuota,
    Sound,
    UseRequest,
)


def expect(request: ExpectRequest) -> Expected | OverQuota | NoRoom:
    """Make room for a model file, and say what is there of it."""
    try:
        return store.expect(
            Path(request["store"]),
            request["name"],
            request["size"],
            request["sha256"],
            request["quota"],
            request["fresh"],
        )
    except store.QuotaError as error:
        return {"quota": str(error)}
    except store.NoRoomError as error:
        return {"no_room": str(error)}


def accept(request: AcceptRequest) -> Sound:
    """Check a model file that has arrived and give it its name."""
    return {"sound": store.accept(Path(request["store"]), request["name"], request["sha256"])}


def use(request: UseRequest) -> Sound:
    """Whether a model file is still the one that was taken in."""
    return {"sound": store.use(Path(request["path"]), request["sha256"])}
