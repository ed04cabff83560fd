"""One pass over a whole file before anything is written, and then its rows in batches: accepted, rejected, or skipped.

The file is read twice rather than spilled: that costs no more than writing typed rows to disk and reading them back, and
the second time goes on while the store is at work. Only ids and hashes are kept on disk, to find rows of the same id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from session_assets.failpoints import failpoint
from session_assets.kintell import facts
from session_assets.kintell.batch import Batch
from session_assets.kintell.dialect import Header
from session_assets.kintell.duplicates import Duplicates
from session_assets.kintell.model import ACCEPTED, COLUMN_OF, CONTRACT, MISSING_USERS, REJECTED
from session_assets.kintell.reader import CsvFile
from session_assets.kintell.users import Directory, LookUp, MissingUsers

_Parts = tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]
Progress = Callable[[int, int], None]
"""Bytes read so far, and the size of the file."""


@dataclass(frozen=True)
class Validated:
    """What is known of a whole file. total_rows = accepted + rejected + skipped."""

    path: Path
    encoding: str | None
    timezone: str | None
    """Of dates without an offset."""
    header: list[str]
    """The columns of the source, in its order; of an error file without those that it adds."""
    absent: tuple[str, ...]
    """Columns of `ACCEPTED` that the file says nothing about."""
    total_rows: int
    accepted: int
    rejected: int
    skipped: int
    reasons: dict[str, int]
    oddities: dict[str, int]
    """Accepted rows that are seldom meant, by `model.ODDITIES`."""
    has_raw: bool
    """Whether a rejected record could not be split into fields."""
    suggested: str | None
    """An encoding that rejected records may have; nobody has said so."""
    duplicates: Duplicates
    missing: MissingUsers
    directory: Directory

    @property
    def rejected_share(self) -> float:
        return self.rejected / self.total_rows if self.total_rows else 0.0

    def missing_users(self, most: int = 1_000_000) -> pl.DataFrame:
        """`MISSING_USERS`, those that most rows name first; at most so many."""
        found = pl.DataFrame(schema=MISSING_USERS)
        for part in self.missing:
            found = pl.concat([found, part]).sort("rows", "email", descending=[True, False]).head(most)
        return found

    def batches(self, batch_size: int = 10_000, after_row: int = 0, last_row: int | None = None) -> Iterator[Batch]:
        """The rows after a row, up to another, so many records at a time, in order.

        Raises pandera's `SchemaErrors`: a fault of ours.
        """
        waiting: list[Batch] = []
        start = after_row
        end = self.total_rows if last_row is None else last_row
        for header, records in CsvFile(self.path, encoding=self.encoding).frames():
            if start >= end:
                break
            records = records.filter(pl.col("row").is_between(after_row + 1, end))
            if records.height:
                parts = self._split(records, header)
                last = int(records["row"][-1])
                for cut in range(start + batch_size, last + 1, batch_size):
                    waiting.append(_cut(parts, start, cut))
                    yield _joined(waiting)
                    waiting, start = [], cut
                waiting.append(_cut(parts, start, last))
        if waiting and waiting[-1].last_row > start:
            yield _joined(waiting)

    def _split(self, records: pl.DataFrame, header: Header) -> _Parts:
        typed = _typed(records, header, self.directory, self.timezone)
        verdicts = self.duplicates.verdicts(int(records["row"][0]), int(records["row"][-1]))
        accepted, rejected, skipped = facts.split(facts.with_duplicates(typed, verdicts), header.own)
        texts = records.select("row", pl.col("fields").list.gather(header.own, null_on_oob=True))
        return CONTRACT.validate(accepted, lazy=True), rejected, skipped, texts


def validate(
    path: Path,
    users: LookUp,
    scratch: Path,
    *,
    encoding: str | None = None,
    timezone: str | None = None,
    name: str | None = None,
    progress: Progress | None = None,
) -> Validated:
    """Read the whole file and judge each row, writing nothing but to `scratch`, which must outlive the result.

    `name` is what messages call the file, where it is not the path's.

    Raises `BadInput` for a file that cannot be used as a whole.
    """
    file = CsvFile(path, encoding=encoding, name=name)
    directory, duplicates, missing = Directory(users), Duplicates(scratch, file.size), MissingUsers(scratch)
    reasons, oddities, valid, raws = Counter[str](), Counter[str](), 0, 0
    now = datetime.now(UTC)
    header: Header | None = None
    for header, records in file.frames():
        typed = _typed(records, header, directory, timezone)
        identities = facts.identities(typed)
        duplicates.add(identities)
        missing.add(typed)
        reasons.update(facts.count_reasons(typed))
        oddities.update(facts.count_oddities(typed, now))
        valid += int(identities["valid"].sum())
        raws += records.height - records["raw"].null_count()
        oddities["lines_of_rejects"] += int(
            records.filter(pl.col("raw").is_not_null() & (pl.col("lines") > 1))["lines"].sum()
        )
        failpoint("kintell.validated_some")
        if progress is not None:
            progress(file.bytes_read, file.size)
    assert header is not None, "a file without a header is refused before"
    duplicates.close()
    missing.close()
    if duplicates.contradicting:
        reasons["duplicate_in_file"] = duplicates.contradicting
    oddities["joined_rows"] = file.joined
    oddities["no_rows"] = 0 if file.rows else 1
    accepted = valid - duplicates.repeated - duplicates.spoiled
    return Validated(
        path=path,
        encoding=encoding,
        timezone=timezone,
        header=header.own_names,
        absent=tuple(COLUMN_OF[name] for name in header.absent),
        total_rows=file.rows,
        accepted=accepted,
        rejected=file.rows - accepted - duplicates.repeated,
        skipped=duplicates.repeated,
        reasons=dict(reasons),
        oddities={name: count for name, count in oddities.items() if count},
        has_raw=raws > 0,
        suggested=file.suggested,
        duplicates=duplicates,
        missing=missing,
        directory=directory,
    )


def _typed(records: pl.DataFrame, header: Header, directory: Directory, timezone: str | None) -> pl.DataFrame:
    typed = facts.type_rows(records, header.known, header.extras, timezone)
    return facts.with_users(typed, directory.find(facts.asked_emails(typed)))


def _cut(parts: _Parts, start: int, end: int) -> Batch:
    accepted, rejected, skipped, texts = (_between(part, start, end) for part in parts)
    return Batch(end, accepted, rejected, skipped.height, texts)


def _between(frame: pl.DataFrame, start: int, end: int) -> pl.DataFrame:
    """The rows after `start`, up to `end`, of a frame in row order."""
    first, last = (int(frame["row"].search_sorted(row, "right")) for row in (start, end))
    return frame.slice(first, last - first)


def _joined(parts: list[Batch]) -> Batch:
    if len(parts) == 1:
        return parts[0]
    return Batch(
        parts[-1].last_row,
        pl.concat([pl.DataFrame(schema=ACCEPTED), *(part.accepted for part in parts)]),
        pl.concat([pl.DataFrame(schema=REJECTED), *(part.rejected for part in parts)]),
        sum(part.skipped for part in parts),
        pl.concat([part.texts for part in parts]),
    )
