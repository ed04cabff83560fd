"""From scans to frames: references, files, and what they come to per folder."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from session_assets.flow.code_model import FILES, PROSE, REFERENCES
from session_assets.flow.code_scan import OTHER, Source
from session_assets.flow.code_tokens import ACTIVE, COMMENT, IDENTIFIER, STRING, Scan
from session_assets.flow.code_tree import CodeSettings
from session_assets.masking import safe_text


def frames(scanned: Iterable[tuple[Source, Scan]], settings: CodeSettings) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Frames of `REFERENCES` and `FILES`, sorted by path and line. Files of other languages without a name are left out."""
    kinds, lines, names, exacts, paths = list[str](), list[int](), list[str](), list[bool](), list[str]()
    files: list[tuple[object, ...]] = []
    for source, scan in scanned:
        if source.language == OTHER and not scan.may_hold:
            continue
        path, allowed = safe_text(source.name), settings.is_allowed(source.name)
        about = (path, path.rpartition("/")[0] or ".", source.language, source.size, scan.state, scan.reason, scan.line)
        counts = [scan.count(kind) for kind in (IDENTIFIER, STRING, COMMENT)]
        files.append((*about, scan.may_hold, allowed, *counts))
        kinds += [hit.kind for hit in scan.hits]
        lines += [hit.line for hit in scan.hits]
        names += [_SPACE.join(hit.names) for hit in scan.hits]
        exacts += [hit.exact for hit in scan.hits]
        paths += [path] * len(scan.hits)
    found = pl.DataFrame(files, schema=FILES, orient="row").sort("path")
    tokens = pl.DataFrame(
        {"path": paths, "line": lines, "kind": kinds, "names": names, "exact": exacts}, schema=_TOKENS
    )
    return _references(tokens, found), found


_SPACE = " "  # names are identifiers
_TOKENS = {"path": pl.String, "line": pl.Int64, "kind": pl.String, "names": pl.String, "exact": pl.Boolean}


def _references(tokens: pl.DataFrame, files: pl.DataFrame) -> pl.DataFrame:
    """Tokens with what is known of their file."""
    of_file = files.select("path", "folder", "language", "allowed").unique("path", keep="first")
    held = pl.col("names").str.split(_SPACE)
    return (
        tokens.join(of_file, on="path", how="left", maintain_order="left")
        .with_columns(
            held,
            held.list.first().alias("name"),
            (pl.col("kind").is_in(list(ACTIVE)) & ~pl.col("allowed")).alias("active"),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in REFERENCES.items())
        .sort("path", "line", maintain_order=True)
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
    """Files that may hold a name and were not read to their end; allow-listed ones, prose and binaries of other kinds aside."""
    is_prose = pl.any_horizontal(pl.col("path").str.to_lowercase().str.ends_with(one) for one in PROSE)
    is_code = (pl.col("language") != OTHER) | (pl.col("reason").is_in(["other_language", "unreadable"]) & ~is_prose)
    return files.filter(is_code & (pl.col("state") != "scanned") & pl.col("may_hold") & ~pl.col("allowed"))


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
