"""Splits two streams that share a key into buckets on disk, so that each pair of buckets can be joined in bounded memory.

This is the partitioning step of a Grace hash join. It needs no index on the server and reads each collection once, in the
order in which the server gives it fastest.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pyarrow as pa

_FLUSH_BYTES = 16 << 20


class Buckets:
    """Rows of one schema, by the hash of `key`; the same key goes to the same bucket of another `Buckets` of equal count."""

    def __init__(self, folder: Path, name: str, count: int, key: str, schema: pl.Schema) -> None:
        self._paths = [folder / f"{name}-{number:04d}.arrow" for number in range(count)]
        self._writers: list[pa.RecordBatchFileWriter | None] = [None] * count
        self._key = key
        self._schema = schema
        self._buffer: list[pl.DataFrame] = []
        self._pool = ThreadPoolExecutor(1, "spill")  # splitting and writing go on while the next rows are decoded
        self._pending: Future[None] | None = None
        self._buffered = 0
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows; `key` must not be null."""
        if frame.height:
            self._buffer.append(frame.select(self._schema.names()))
            self._buffered += int(frame.estimated_size())
            self.rows += frame.height
            if self._buffered >= _FLUSH_BYTES:
                self._flush()

    def close(self) -> None:
        """No more rows: files can be read."""
        self._flush()
        self._wait()
        self._pool.shutdown()
        for writer in self._writers:
            if writer is not None:
                writer.close()

    def read(self, number: int) -> pl.DataFrame:
        """All rows of a bucket, in the order in which they came."""
        if self._writers[number] is None:
            return pl.DataFrame(schema=self._schema)
        return pl.read_ipc(self._paths[number])

    def parts(self, number: int) -> Iterator[pl.DataFrame]:
        """The rows of a bucket in pieces of bounded size: one key may fill a bucket alone."""
        if self._writers[number] is None:
            return
        with pa.memory_map(str(self._paths[number])) as file, pa.ipc.open_file(file) as reader:
            for place in range(reader.num_record_batches):
                yield pl.DataFrame(pl.from_arrow(reader.get_batch(place)))

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for number in range(len(self._paths)):
            yield self.read(number)

    def _flush(self) -> None:
        if self._buffer:
            frames, self._buffer, self._buffered = self._buffer, [], 0
            self._wait()
            self._pending = self._pool.submit(self._split, frames)

    def _wait(self) -> None:
        """At most one buffer is on its way to the disk; what went wrong there is raised here."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _split(self, frames: list[pl.DataFrame]) -> None:
        bucket = (pl.col(self._key).hash(seed=1) % len(self._paths)).cast(pl.UInt32)
        parts = (
            pl.concat(frames)
            .with_columns(__bucket=bucket)
            .partition_by("__bucket", as_dict=True, include_key=False, maintain_order=True)
        )
        for (number,), part in parts.items():
            table = part.to_arrow()
            self._writer(int(str(number)), table.schema).write_table(table)

    def _writer(self, number: int, schema: pa.Schema) -> pa.RecordBatchFileWriter:
        writer = self._writers[number]
        if writer is None:
            writer = self._writers[number] = pa.ipc.new_file(str(self._paths[number]), schema)
        return writer
