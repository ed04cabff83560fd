"""Splits two streams that share a key into buckets on disk, so that each pair of buckets can be joined in bounded memory.

This is the partitioning step of a Grace hash join. It needs no index on the server and reads each collection once, in the
order in which the server gives it fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

_FLUSH_ROWS = 250_000


class Buckets:
    """Rows of one schema, by the hash of `key`; the same key goes to the same bucket of another `Buckets` of equal count."""

    def __init__(self, folder: Path, name: str, count: int, key: str, schema: pl.Schema) -> None:
        self._paths = [folder / f"{name}-{number:04d}.arrow" for number in range(count)]
        self._writers: list[pa.RecordBatchFileWriter | None] = [None] * count
        self._key = key
        self._schema = schema
        self._buffer: list[pl.DataFrame] = []
        self._buffered = 0
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows; `key` must not be null."""
        if frame.height:
            self._buffer.append(frame.select(self._schema.names()))
            self._buffered += frame.height
            self.rows += frame.height
            if self._buffered >= _FLUSH_ROWS:
                self._flush()

    def close(self) -> None:
        """No more rows: files can be read."""
        self._flush()
        for writer in self._writers:
            if writer is not None:
                writer.close()

    def read(self, number: int) -> pl.DataFrame:
        """All rows of a bucket, in the order in which they came."""
        if self._writers[number] is None:
            return pl.DataFrame(schema=self._schema)
        return pl.read_ipc(self._paths[number])

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for number in range(len(self._paths)):
            yield self.read(number)

    def _flush(self) -> None:
        if not self._buffer:
            return
        rows = pl.concat(self._buffer)
        self._buffer, self._buffered = [], 0
        bucket = (pl.col(self._key).hash(seed=1) % len(self._paths)).cast(pl.UInt32)
        for (number,), part in (
            rows.with_columns(__bucket=bucket)
            .partition_by("__bucket", as_dict=True, include_key=False, maintain_order=True)
            .items()
        ):
            table = part.to_arrow()
            self._writer(int(str(number)), table.schema).write_table(table)

    def _writer(self, number: int, schema: pa.Schema) -> pa.RecordBatchFileWriter:
        writer = self._writers[number]
        if writer is None:
            writer = self._writers[number] = pa.ipc.new_file(str(self._paths[number]), schema)
        return writer
