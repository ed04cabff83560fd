"""dlt as the reference, in a virtual environment of its own: `VENV/bin/python bench/kintell_dlt.py SETTING CSV URL`.

Settings: `file` hands the file to COPY as it stands, all columns texts; `adbc` parses it with Arrow and writes Parquet to the
ADBC driver; `csv` parses it with Arrow and writes CSV to COPY; `merge` is `adbc` with an upsert by session_id.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt  # type: ignore[import-not-found]
import pyarrow as pa
import pyarrow.csv as arrow_csv

NAMES = (
    "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level"
)
COLUMNS = NAMES.split(",")


def parsed(path: str) -> Iterator[Any]:
    texts = arrow_csv.ConvertOptions(column_types={name: pa.string() for name in COLUMNS})
    for batch in arrow_csv.open_csv(path, arrow_csv.ReadOptions(block_size=16 << 20), convert_options=texts):
        yield pa.Table.from_batches([batch])


def load(setting: str, path: str, url: str) -> float:
    began = time.perf_counter()
    pipeline = dlt.pipeline(
        f"bench_{setting}",
        destination=dlt.destinations.postgres(url),
        dataset_name=f"dlt_{setting}",
        pipelines_dir=tempfile.mkdtemp(),
    )
    if setting == "file":
        columns = [{"name": name, "data_type": "text"} for name in COLUMNS]
        imported = dlt.mark.with_file_import(path, "csv")
        pipeline.run(
            dlt.resource(lambda: iter([imported]), name="sessions", columns=columns, write_disposition="replace")
        )
    elif setting == "merge":
        how = {"disposition": "merge", "strategy": "upsert"}
        rows = dlt.resource(parsed(path), name="sessions", write_disposition=how, primary_key="session_id")
        pipeline.run(rows, loader_file_format="parquet")
    else:
        rows = dlt.resource(parsed(path), name="sessions", write_disposition="replace")
        pipeline.run(rows, loader_file_format="parquet" if setting == "adbc" else "csv")
    seconds = time.perf_counter() - began
    with pipeline.sql_client() as client:
        ((count,),) = client.execute_sql("SELECT count(*) FROM sessions")
        assert count == Path(path).read_bytes().count(b"\n") - 1, count
        client.execute_sql(f"DROP SCHEMA dlt_{setting} CASCADE")
    return seconds


if __name__ == "__main__":
    print(json.dumps({"seconds": load(*sys.argv[1:4])}))
