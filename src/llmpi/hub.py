"""Reach the Hugging Face hub: for models and for data sets."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from llmpi.engine.shown import without_logins
from llmpi.errors import LlmpiError
from llmpi.hub_answers import HubAnswerError
from llmpi.sources_lock import Kind, is_commit

UNREACHABLE = (
    OfflineModeIsEnabled,
    LocalEntryNotFoundError,
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.ProxyError,
)


class UnreachableError(LlmpiError):
    """The hub cannot be asked, or may not."""


def resolve(kind: Kind, repo: str, revision: str) -> str:
    """The commit that a branch or tag stands for now. Asks the hub.

    Raises:
        LlmpiError: the hub does not say.
    """
    with explained(repo, revision):
        info = HfApi().repo_info(repo, repo_type=kind, revision=revision)
        if not isinstance(info.sha, str) or not is_commit(info.sha):
            raise HubAnswerError(
                f"the hub names no commit for {repo}@{revision}: {info.sha!r:.100}"
            )
        return info.sha


@contextmanager
def explained(repo: str, revision: str) -> Iterator[None]:
    """Turn what the hub's libraries raise into what the user can do.

    Raises:
        UnreachableError, LlmpiError: in place of theirs; errors of the disk pass.
    """
    _check_settings()
    try:
        yield
    except LlmpiError:
        raise
    except Exception as error:
        if message := _explanation(error, repo, revision):
            kind = UnreachableError if isinstance(error, UNREACHABLE) else LlmpiError
            raise kind(message) from None
        raise


def _check_settings() -> None:
    """What the environment says of the hub."""
    endpoint = without_logins(constants.ENDPOINT)
    if not re.match(r"https?://[^/\s]+", constants.ENDPOINT):
        raise LlmpiError(f"HF_ENDPOINT is {endpoint!r}: it must begin with https:// (or http://)")
    token = get_token() or ""
    if not re.fullmatch(r"[!-~]*", token):
        at = next(i for i, letter in enumerate(token) if not "!" <= letter <= "~")
        raise LlmpiError(
            f"the token of the hub (HF_TOKEN) holds at place {at + 1} what no token does (ASCII "
            "letters, digits and signs, no blanks): copy it again"
        )


def _explanation(error: Exception, repo: str, revision: str) -> str | None:
    if isinstance(error, GatedRepoError) or _is_gated_dataset(error):
        return (
            f"{repo} is gated. Accept its terms on its page at the hub, then put a token of that "
            "account into the environment: export HF_TOKEN=... "
            + ("(the one set now may not read it)" if get_token() else "(none is set now)")
        )
    if isinstance(error, RevisionNotFoundError):
        return (
            f"{repo} has no revision {revision} (any more). Put one that exists into the config, "
            "or run `llmpi lock --update` if it stands in sources.lock.yaml."
        )
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"the hub knows no repository {repo}, or shows it only to those allowed: check the "
            "spelling, and HF_TOKEN if it is private."
        )
    if isinstance(error, UNREACHABLE):
        why = "HF_HUB_OFFLINE is set" if constants.is_offline_mode() else _cause(error)
        return (
            f"{repo}@{revision} is not whole in the cache ({constants.HF_HUB_CACHE}), and the hub "
            f"({without_logins(constants.ENDPOINT)}) cannot be asked: {why}"
        )
    if isinstance(error, EntryNotFoundError):
        return f"{repo}@{revision}: {_cause(error)}"
    if isinstance(error, HfHubHTTPError):
        if error.response.status_code == 401:
            return f"the hub does not accept the token in HF_TOKEN for {repo}; put in a valid one"
        return f"the hub refused {repo}@{revision}: {_cause(error)}"
    if isinstance(error, httpx2.HTTPError | XetDownloadError) or _is_broken_off(error):
        return (
            f"the download of {repo}@{revision} broke off: {_cause(error)}. "
            "Run again: it goes on where it stopped."
        )
    if not isinstance(error, OSError) and _is_of_the_library(error):
        return (
            f"what {without_logins(constants.ENDPOINT)} answers for {repo}@{revision} is no "
            f"hub's: {type(error).__name__}: {_cause(error)}"
        )
    return None


def _is_of_the_library(error: Exception) -> bool:
    """Whether the hub's libraries broke on what they got; what is ours is not called by them."""
    frames = traceback.walk_tb(error.__traceback__)
    modules = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in frames}
    return not modules.isdisjoint({"huggingface_hub", "datasets"})


def is_of_the_hub(error: Exception) -> bool:
    """Whether `explained` knows this error, or the disk's: what is left is the data set's own."""
    known = (*UNREACHABLE, HfHubHTTPError, EntryNotFoundError, httpx2.HTTPError, XetDownloadError)
    return (
        isinstance(error, (*known, LlmpiError))
        or _is_gated_dataset(error)
        or (isinstance(error, OSError) and error.errno is not None)
    )


def _is_gated_dataset(error: Exception) -> bool:
    """Of the library datasets, which is too large to import for this."""
    return type(error).__name__ == "DatasetNotFoundError" and "is a gated dataset" in str(error)


def _is_broken_off(error: Exception) -> bool:
    """huggingface_hub's own check of a file's size has no number, the disk's errors have one."""
    return type(error) is OSError and error.errno is None


def _cause(error: Exception) -> str:
    """First line of what lies behind an error."""
    origin = error.__cause__ or error
    first = str(origin).strip().partition("\n")[0].rstrip(".") or type(origin).__name__
    return without_logins(first)[:500]
