"""The rows of a summary as Parquet: typed, each column with its unit and meaning."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow
from pyarrow import parquet

from llmpi.records import whole_file
from llmpi.study.study import Study
from llmpi.summary.columns import columns
from llmpi.summary.flat import FlatRow
from llmpi.summary.records import Summary

TYPES = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}


def write_parquet(path: Path, study: Study, summary: Summary, flat: list[FlatRow]) -> None:
    """Write the rows of a summary atomically.

    The summary's provenance goes to the file's metadata, under the key `llmpi`, as JSON.
    """
    fields = [
        pyarrow.field(
            name,
            TYPES[column.kind],
            metadata={"unit": column.unit, "description": column.meaning},
        )
        for name, column in columns(study).items()
    ]
    told = {"study": summary["study"], **summary["provenance"]}
    schema = pyarrow.schema(fields, metadata={"llmpi": json.dumps(told, ensure_ascii=False)})
    with _without_pandas():
        table = pyarrow.Table.from_pylist(flat, schema)
    with whole_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")


class _NoPandas:
    """Finds no pandas."""

    @staticmethod
    def find_spec(name: str, *_: object) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _without_pandas() -> Iterator[None]:
    """pyarrow asks pandas, where that is installed, whether a list is one of its own; to load it
    for that takes longer than to write thousands of rows."""
    sys.meta_path.insert(0, _NoPandas)
    try:
        yield
    finally:
        sys.meta_path.remove(_NoPandas)
