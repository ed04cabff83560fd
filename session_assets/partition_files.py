"""Frames of many partitions written to one set of Parquet files a partition, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from session_assets.storage import file_name

_FLUSH_BYTES = 24 << 20


class PartitionWriter:
    """Buffers frames by partition and writes each buffer as one file when all together grow too large.

    A frame is never split over two files: rows that belong together stay together. Frames that are a small part of
    others should be `compact`.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._buffers: dict[str, list[pl.DataFrame]] = {}
        self._buffered = 0
        self._files: dict[str, list[Path]] = {}

    def add(self, partition: str, frame: pl.DataFrame) -> None:
        if frame.is_empty():
            return
        self._buffers.setdefault(partition, []).append(frame)
        self._buffered += int(frame.estimated_size())
        if self._buffered > _FLUSH_BYTES:
            self._flush()

    def finish(self) -> dict[str, list[Path]]:
        """The local files of each partition, in the order of their rows."""
        self._flush()
        return self._files

    def _flush(self) -> None:
        for partition, frames in self._buffers.items():
            files = self._files.setdefault(partition, [])
            file = self._scratch / f"{file_name(partition)}-{len(files):03d}.parquet"
            pl.concat(frames).write_parquet(file, compression_level=1, statistics=False, row_group_size=20_000)
            files.append(file)
        self._buffers.clear()
        self._buffered = 0
