"""dlt as the reference, in a virtual environment of its own: `VENV/bin/python bench/kintell_dlt.py SETTING CSV URL`.

Settings: `file` hands the file to COPY as it stands, all columns texts; `keys` is `file` into a table with the keys and indexes
of `kintell_sessions`, made before the time is taken; `adbc` parses it with Arrow and writes Parquet to the ADBC driver; `csv`
parses it with Arrow and writes CSV to COPY; `merge` is `adbc` with an upsert by session_id.
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
# As the migrations give `kintell_sessions`; the users by their e-mails, since dlt looks up no id. Ids rise with time, as ours do.
KEYS = """
    TRUNCATE sessions;
    ALTER TABLE sessions ADD id uuid PRIMARY KEY DEFAULT uuidv7(), ADD UNIQUE (session_id),
        ADD FOREIGN KEY (participant_email) REFERENCES public.users (email),
        ADD FOREIGN KEY (volunteer_email) REFERENCES public.users (email)
"""


def parsed(path: str) -> Iterator[Any]:
    texts = arrow_csv.ConvertOptions(column_types={name: pa.string() for name in COLUMNS})
    for batch in arrow_csv.open_csv(path, arrow_csv.ReadOptions(block_size=16 << 20), convert_options=texts):
        yield pa.Table.from_batches([batch])


def pipeline_of(setting: str, url: str) -> Any:
    return dlt.pipeline(
        f"bench_{setting}",
        destination=dlt.destinations.postgres(url),
        dataset_name=f"dlt_{setting}",
        pipelines_dir=tempfile.mkdtemp(),
    )


def handed_over(path: str, how: str) -> Any:
    """The file as it stands, all columns texts."""
    columns = [{"name": name, "data_type": "text"} for name in COLUMNS]
    imported = dlt.mark.with_file_import(path, "csv")
    return dlt.resource(lambda: iter([imported]), name="sessions", columns=columns, write_disposition=how)


def make_keys(setting: str, path: str, url: str) -> None:
    """dlt makes its table from the first row of the file; then the table gets its keys, and is empty."""
    with tempfile.TemporaryDirectory() as folder, Path(path).open() as file:
        first = Path(folder) / "first.csv"
        first.write_text(file.readline() + file.readline())
        pipeline = pipeline_of(setting, url)
        pipeline.run(handed_over(str(first), "append"))
    with pipeline.sql_client() as client:
        client.execute_sql(KEYS)


def load(setting: str, path: str, url: str) -> float:
    if setting == "keys":
        make_keys(setting, path, url)
    began = time.perf_counter()
    pipeline = pipeline_of(setting, url)
    if setting in ("file", "keys"):
        pipeline.run(handed_over(path, "replace" if setting == "file" else "append"))
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
