"""Reach the Hugging Face hub: for models and for data sets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from llmpi.errors import LlmpiError
from llmpi.lock import Kind


def resolve(kind: Kind, repo: str, revision: str) -> str:
    """The commit that a branch or tag stands for now. Asks the hub."""
    with explained(repo, revision):
        info = HfApi().repo_info(repo, repo_type=kind, revision=revision)
        if not info.sha:
            raise LlmpiError(f"the hub names no commit for {repo}@{revision}")
        return info.sha


@contextmanager
def explained(repo: str, revision: str) -> Iterator[None]:
    """Turn what the hub's library raises into what the user can do."""
    try:
        yield
    except GatedRepoError:
        raise LlmpiError(
            f"{repo} is gated. Accept its terms on the hub's page of the model, then put a token "
            "of that account into the environment: export HF_TOKEN=..."
            + ("" if os.environ.get("HF_TOKEN") else " (none is set now)")
        ) from None
    except RevisionNotFoundError:
        raise LlmpiError(
            f"{repo} has no revision {revision} (any more). Put one that exists into the config, "
            "or run `llmpi lock --update` if it stands in sources.lock.yaml."
        ) from None
    except RepositoryNotFoundError:
        raise LlmpiError(
            f"the hub knows no repository {repo}, or shows it only to those allowed: check the "
            "spelling, and HF_TOKEN if it is private."
        ) from None
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise LlmpiError(
            f"{repo}@{revision} cannot be reached and is not whole in the cache "
            f"({constants.HF_HUB_CACHE}): {_first_line(error)}"
        ) from None
    except EntryNotFoundError as error:
        raise LlmpiError(f"{repo}@{revision}: {_first_line(error)}") from None
    except HfHubHTTPError as error:
        raise LlmpiError(f"the hub refused {repo}@{revision}: {_first_line(error)}") from None
    except (OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise LlmpiError(
            f"the download of {repo}@{revision} broke off: {_first_line(error)}. "
            "Run again: it goes on where it stopped."
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
