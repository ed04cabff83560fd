"""From scans to frames: references, files, and what they come to per folder."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from session_assets.flow.code_model import FILES, REFERENCES
from session_assets.flow.code_scan import OTHER, Source
from session_assets.flow.code_tokens import ACTIVE, COMMENT, IDENTIFIER, STRING, Scan
from session_assets.flow.code_tree import CodeSettings
from session_assets.masking import safe_text


def frames(scanned: Iterable[tuple[Source, Scan]], settings: CodeSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames of `REFERENCES` and `FILES`, sorted by path and line. Files of other languages without a name are left out."""
    references: list[tuple[object, ...]] = []
    files: list[tuple[object, ...]] = []
    for source, scan in scanned:
        if source.language == OTHER and not scan.may_hold:
            continue
        path, allowed = safe_text(source.name), settings.is_allowed(source.name)
        folder = path.rpartition("/")[0] or "."
        counts = [scan.count(kind) for kind in (IDENTIFIER, STRING, COMMENT)]
        files.append(
            (
                path,
                folder,
                source.language,
                source.size,
                scan.state,
                scan.reason,
                scan.line,
                scan.may_hold,
                allowed,
                *counts,
            )
        )
        for hit in scan.hits:
            is_active = hit.kind in ACTIVE and not allowed
            references.append(
                (
                    path,
                    folder,
                    source.language,
                    hit.line,
                    hit.kind,
                    hit.names[0],
                    list(hit.names),
                    hit.exact,
                    allowed,
                    is_active,
                )
            )
    return (
        pl.DataFrame(references, schema=REFERENCES, orient="row").sort("path", "line", maintain_order=True),
        pl.DataFrame(files, schema=FILES, orient="row").sort("path"),
    )


def by_folder(references: pl.DataFrame) -> pl.DataFrame:
    """Counts per folder, the most active first: `folder`, `active`, `identifiers`, `strings`, `comments`, `allowed`."""
    return _counted(references, "folder")


def by_file(references: pl.DataFrame) -> pl.DataFrame:
    """Counts per file, with `lines`: where the active ones stand."""
    lines = pl.col("line").filter("active").unique().sort().alias("lines")
    return _counted(references, "path", lines)


def totals(references: pl.DataFrame) -> dict[str, int]:
    """`active`, and what it is made of: `identifiers`, `strings`; `comments`; `allowed`: on the allow-list."""
    return references.select(_counts()).row(0, named=True)


def unread(files: pl.DataFrame) -> pl.DataFrame:
    """Files of our languages that were not read to their end and may hold a name, allow-listed ones aside."""
    ours = pl.col("language") != OTHER
    return files.filter(ours & (pl.col("state") != "scanned") & pl.col("may_hold") & ~pl.col("allowed"))


def _counted(references: pl.DataFrame, column: str, *others: pl.Expr) -> pl.DataFrame:
    return references.group_by(column).agg(*_counts(), *others).sort(["active", column], descending=[True, False])


def _counts() -> list[pl.Expr]:
    kind = pl.col("kind").cast(pl.String)
    in_use = kind.is_in(list(ACTIVE))
    return [
        pl.col("active").sum().cast(pl.Int64),
        (pl.col("active") & (kind == IDENTIFIER)).sum().cast(pl.Int64).alias("identifiers"),
        (pl.col("active") & (kind == STRING)).sum().cast(pl.Int64).alias("strings"),
        (kind == COMMENT).sum().cast(pl.Int64).alias("comments"),
        (pl.col("allowed") & in_use).sum().cast(pl.Int64).alias("allowed"),
    ]
