"""A CSV file of sessions: the shared reader with the columns of the runbook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from session_assets.drops import csv_file
from session_assets.drops.header import Advice
from session_assets.errors import UsageError
from session_assets.kintell.dialect import Header, read_header
from session_assets.kintell.model import COLUMNS, FIELD_LIMIT, REQUIRED

ADVICE = Advice("Say --encoding {}.", "Save it with one of these.")


class CsvFile:
    """One pass over a file. `rows` counts what was read; `suggested` is an encoding that rejected records may have."""

    def __init__(
        self, path: Path, *, encoding: str | None = None, required: Sequence[str] = REQUIRED, name: str | None = None
    ) -> None:
        """`name` is what messages call the file, where it is not the path's."""
        self._file = csv_file.CsvFile(
            path,
            advice=ADVICE,
            encoding=_checked_encoding(encoding),
            known=COLUMNS,
            field_limit=FIELD_LIMIT,
            name=name,
        )
        self._required = required
        self.size = self._file.source.size

    @property
    def rows(self) -> int:
        return self._file.source.rows

    @property
    def bytes_read(self) -> int:
        return self._file.source.bytes_read

    @property
    def suggested(self) -> str | None:
        return self._file.suggested

    @property
    def joined(self) -> int:
        """Accepted records of several lines, most of which look like records of their own."""
        return self._file.joined

    def frames(self) -> Iterator[tuple[Header, pl.DataFrame]]:
        """The header, and frames as `drops.split.RECORDS`.

        Raises `BadInput`: the file is empty, cut off, no CSV, or its header lacks a required column.
        """
        header: Header | None = None
        for names, frame in self._file.records():
            header = header or read_header(names, self._required, ADVICE, self._file.source.name)
            yield header, frame


def encoding_of(path: Path, told: str | None) -> str | None:
    """The encoding to read a file with: our error files are UTF-8, whatever is told of the files that they came from."""
    return None if _checked_encoding(told) is None or csv_file.is_error_file(path) else told


def _checked_encoding(encoding: str | None) -> str | None:
    if encoding is not None:
        try:
            "".encode(encoding)
        except (LookupError, ValueError):
            raise UsageError(
                f"there is no text encoding {encoding!r}. Say, for example, latin-1 or utf-16-le."
            ) from None
    return encoding
