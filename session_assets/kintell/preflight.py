"""What is looked at before an import touches anything: small named checks, each saying what is wrong and what to do.

`find_obstacles` comes before the migrations and changes nothing; `find_gaps` comes after them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from session_assets.errors import UsageError
from session_assets.masking import safe_text

DISK_FACTOR = 2.5
"""Free space, in sizes of the file, for its private copy, what the validation pass spills, and the error file."""

OLDEST_SERVER = 14
VARIABLE = "KINTELL_DATABASE_URL"


@dataclass(frozen=True)
class Finding:
    """The result of one check. A `warning` does not stop an import."""

    check: str
    passed: bool
    message: str
    warning: bool = False


class Catalog(Protocol):
    """What the database says of its tables, as `stores.kintell_schema.Schema`."""

    migrated: bool
    server_version: int

    def missing_tables(self) -> list[str]: ...
    def missing_columns(self) -> list[str]: ...
    def no_tables(self) -> list[str]: ...
    def missing_keys(self) -> list[tuple[str, str]]: ...
    def missing_indexes(self) -> list[str]: ...
    def wrong_types(self) -> list[str]: ...
    def unknown_required(self, *tables: str) -> list[str]: ...
    def duplicates(self) -> tuple[list[tuple[str, int]], int]: ...


class PreflightFailed(UsageError):
    """The place of work is not ready; nothing was changed. Mend what the message lists, then run again."""


def find_obstacles(catalog: Catalog) -> list[Finding]:
    """What would stop the migrations, or would make an adopted table unfit."""
    return [
        _version(catalog),
        _relations(catalog),
        _unique_ids(catalog),
        _types(catalog),
        _required(catalog),
        _keys(catalog),
        _tables(catalog),
    ]


def find_gaps(catalog: Catalog) -> list[Finding]:
    """What is missing although the migrations ran: somebody removed it."""
    return [_columns(catalog), _indexes(catalog)]


def check_disk(home: Path, file_bytes: int) -> Finding:
    """Whether the file system of `SESSION_ASSETS_HOME` has room for the work on a file of this size."""
    existing = next(path for path in (home, *home.parents) if path.exists())
    free, needed = shutil.disk_usage(existing).free, int(file_bytes * DISK_FACTOR)
    message = (
        f"SESSION_ASSETS_HOME: {free:,} bytes are free, a file of {file_bytes:,} bytes needs {needed:,}. Free some space, or"
        " set SESSION_ASSETS_HOME to a larger disk."
    )
    return _finding("disk_is_free", free >= needed, message)


def require(findings: Iterable[Finding]) -> None:
    """Raises `PreflightFailed` with the messages of all checks that failed; warnings pass."""
    failed = [one for one in findings if not one.passed and not one.warning]
    if failed:
        lines = "\n".join(f"  {one.check}: {one.message}" for one in failed)
        raise PreflightFailed(f"The import was not started, nothing was changed:\n{lines}")


def _version(catalog: Catalog) -> Finding:
    return _finding(
        "server_is_recent",
        catalog.server_version >= OLDEST_SERVER,
        f"PostgreSQL {catalog.server_version} is too old: imports need {OLDEST_SERVER} or later.",
    )


def _relations(catalog: Catalog) -> Finding:
    others = catalog.no_tables()
    return _finding(
        "tables_are_tables",
        not others,
        f"{'; '.join(others)}: imports need tables. Rename it, or point {VARIABLE} elsewhere.",
    )


def _keys(catalog: Catalog) -> Finding:
    missing = catalog.missing_keys()
    return _finding(
        "ids_are_keys",
        not missing,
        f"{', '.join(f'{table}.{column}' for table, column in missing)} is not unique. Add what is missing, then run again:"
        f" {' '.join(f'`ALTER TABLE {table} ADD PRIMARY KEY ({column});`' for table, column in missing)}",
    )


def _unique_ids(catalog: Catalog) -> Finding:
    sample, count = catalog.duplicates()
    shown = ", ".join(f"{safe_text(name)} ({times} times)" for name, times in sample)
    return _finding(
        "external_ids_are_unique",
        count == 0,
        f"kintell_sessions holds {count:,} external_session_id more than once: {shown}{', …' if count > len(sample) else ''}."
        " Keep one row of each, then run again: imports need a unique index, which will be made then.",
    )


def _types(catalog: Catalog) -> Finding:
    wrong = catalog.wrong_types()
    return _finding(
        "column_types_are_right", not wrong, f"{'; '.join(wrong)}. Alter the columns, or point {VARIABLE} elsewhere."
    )


def _required(catalog: Catalog) -> Finding:
    unknown = catalog.unknown_required("kintell_sessions", "backfill_jobs")
    return _finding(
        "no_unknown_column_is_required",
        not unknown,
        f"{', '.join(unknown)} must be given a value that no import has. Give them a default, or allow NULL.",
    )


def _tables(catalog: Catalog) -> Finding:
    missing = catalog.missing_tables() if catalog.migrated else []
    return _finding(
        "tables_exist",
        not missing,
        f"{', '.join(missing)} is gone, although our migrations had made or adopted it. Restore it from a backup. Only if it"
        " should begin anew, empty: drop the table session_assets_kintell_version, and run again.",
    )


def _columns(catalog: Catalog) -> Finding:
    missing = catalog.missing_columns() + catalog.missing_tables()
    return _finding(
        "columns_exist",
        not missing,
        f"{', '.join(missing)} is missing. Restore it, or drop the table session_assets_kintell_version and run again: then"
        " what is missing is added.",
    )


def _indexes(catalog: Catalog) -> Finding:
    missing = catalog.missing_indexes()
    return _finding(
        "indexes_exist",
        not missing,
        f"{'; '.join(missing)} is missing. Drop the table session_assets_kintell_version and run again: it is made then.",
    )


def _finding(check: str, passed: bool, message: str) -> Finding:
    return Finding(check, passed, "" if passed else message)
