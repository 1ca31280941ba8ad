"""The rows of a summary as Parquet: typed, each column with its unit and meaning."""

import json
from pathlib import Path

import pyarrow
from pyarrow import parquet

from llmpi.records import Record, whole_file
from llmpi.summary.columns import columns

TYPES = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}


def write_parquet(path: Path, summary: Record) -> None:
    """Write the rows atomically.

    Args:
        summary: of `llmpi.summary.study.summarize`. Its provenance goes to the file's metadata,
            under the key `llmpi`, as JSON.
    """
    provenance = summary["provenance"]
    fields = [
        pyarrow.field(
            name,
            TYPES[column.kind],
            metadata={"unit": column.unit, "description": column.meaning},
        )
        for name, column in columns(provenance["config"]["quality"]).items()
    ]
    told = {"study": summary["study"], **provenance}
    schema = pyarrow.schema(fields, metadata={"llmpi": json.dumps(told, ensure_ascii=False)})
    table = pyarrow.Table.from_pylist(summary["rows"], schema)
    with whole_file(path) as partial:
        parquet.write_table(table, partial, compression="zstd")
