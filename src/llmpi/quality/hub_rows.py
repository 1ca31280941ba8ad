"""Rows of a data set on the Hugging Face hub, and what is wrong where there are none."""

import re
from pathlib import Path
from typing import Any

from llmpi.errors import LlmpiError
from llmpi.sources_lock import locked


def rows_of(
    repo: str, revision: str, subset: str | None, split: str, lock: Path
) -> tuple[Any, str]:
    """A split of a data set, as the library `datasets` has it, and the commit it is of.

    Args:
        subset: its configuration; None where it has one alone.
        lock: the lock file for branches and tags of the hub.

    Raises:
        LlmpiError: what is wrong at the hub, with the network, or with the data set.
    """
    import datasets

    from llmpi.hub import explained, is_of_the_hub, resolve

    commit = locked(lock, "dataset", repo, revision, resolve)
    with explained(repo, commit):
        try:
            return datasets.load_dataset(repo, subset, split=split, revision=commit), commit
        except Exception as error:
            if is_of_the_hub(error):
                raise
            raise LlmpiError(f"{repo}@{commit}: {_told(error)}") from None


def _told(error: Exception) -> str:
    said = " ".join(str(error).split())[:500] or type(error).__name__
    if found := re.search(r"scripts are no longer supported, but found (\S+)", said):
        return (
            f"the data set is a program ({found[1]}), which is not run. Name one whose data are "
            "files; the hub often has them as 'revision: refs/convert/parquet'"
        )
    if "Config name is missing" in said:
        names = re.findall(r"'([^']*)'", said.partition("available configs:")[2].split("]")[0])
        return f"it holds several configurations: name one as 'subset': {', '.join(names)}"
    if type(error).__name__ in ("DataFilesNotFoundError", "EmptyDatasetError"):
        return "it holds no data files that are known (Parquet, JSON, CSV, text, ...)"
    if type(error).__name__.startswith("DatasetGeneration"):
        cause = error.__cause__ or error
        first = str(cause).strip().partition("\n")[0][:300]
        return f"its files are not what they should be: {type(cause).__name__}: {first}"
    return said
