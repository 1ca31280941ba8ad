"""The rows of a summary as Parquet: typed, each column with its unit and meaning."""

import json
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
    table = pyarrow.Table.from_pylist(flat, schema)
    with whole_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")
