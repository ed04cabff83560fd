"""Facts beside the recount of MongoDB: every figure on which they differ. Pure Polars, no I/O."""

from __future__ import annotations

import polars as pl

from session_assets.contest.model import FACT_COLUMNS

REASON = "figures_differ"
DISAGREEMENTS = pl.Schema({"key": pl.String, "figure": pl.String, "facts": pl.String, "recount": pl.String})
"""One row a document and figure: a name of `FACT_COLUMNS`, and for topics and difficulties the name counted."""

_LISTS = ("topics", "difficulties")
_PLAIN = tuple(name for name in FACT_COLUMNS if name not in _LISTS)
_TIMES = tuple(name for name in _PLAIN if name not in ("total_attempted", "total_correct", "accuracy"))
_LAST_PLACE = 0.0101
_PARTS = ("attempted", "correct", "accuracy")


def disagreements(facts: pl.DataFrame, recounted: pl.DataFrame) -> pl.DataFrame:
    """Columns of `DISAGREEMENTS`. In: `key` and `FACT_COLUMNS`; `RECOUNTED` of the same documents.

    All figures must be equal. Only where a time is no whole milliseconds may those made of times differ in the last place, since
    doubles add up differently in another order. A document that one side lacks differs in `key`.
    """
    pairs = facts.select("key", *FACT_COLUMNS).join(recounted, on="key", how="full", coalesce=True, suffix="_recount")
    missing = pl.col("total_attempted").is_null() | pl.col("total_attempted_recount").is_null()
    both = pairs.filter(~missing)
    parts = [_row(pairs.filter(missing), "key", pl.col("total_attempted"), pl.col("total_attempted_recount"))]
    for name in _PLAIN:
        ours, theirs = pl.col(name), pl.col(f"{name}_recount")
        parts.append(_row(both.filter(~_same(name, ours, theirs)), name, ours, theirs))
    parts.extend(_counts(both, name) for name in _LISTS)
    return pl.concat(parts).sort("key", "figure")


def _same(name: str, ours: pl.Expr, theirs: pl.Expr) -> pl.Expr:
    equal = ours.cast(pl.Float64).eq_missing(theirs)
    if name not in _TIMES:
        return equal
    near = ~pl.col("whole_times") & ((ours - theirs).abs() <= _LAST_PLACE)
    return equal | near.fill_null(False)


def _counts(both: pl.DataFrame, kind: str) -> pl.DataFrame:
    ours = both.select("key", kind).explode(kind, empty_as_null=True).drop_nulls().unnest(kind)
    columns = {part: f"{kind}_{part}" for part in ("name", *_PARTS)}
    theirs = (
        both.select("key", *(pl.col(old).alias(new) for new, old in columns.items()))
        .filter(pl.col("name").list.len() > 0)
        .explode(list(columns))
    )
    pairs = ours.join(theirs, on=["key", "name"], how="full", coalesce=True, suffix="_recount")
    differs = pl.any_horizontal(pl.col(part).ne_missing(pl.col(f"{part}_recount")) for part in _PARTS)
    one, other = ([pl.col(f"{part}{suffix}") for part in _PARTS] for suffix in ("", "_recount"))
    wrong = pairs.filter(differs).with_columns(
        figure=pl.format(f"{kind}: {{}}", "name"), facts=_said(one), recount=_said(other)
    )
    return wrong.select(pl.col(name).cast(dtype) for name, dtype in DISAGREEMENTS.items())


def _said(parts: list[pl.Expr]) -> pl.Expr:
    text = pl.format("{} attempted, {} correct, {} %", *(part.cast(pl.String) for part in parts))
    return pl.when(parts[0].is_not_null()).then(text)


def _row(pairs: pl.DataFrame, figure: str, ours: pl.Expr, theirs: pl.Expr) -> pl.DataFrame:
    return pairs.select(
        "key",
        figure=pl.lit(figure, dtype=pl.String),
        facts=ours.cast(pl.String),
        recount=theirs.cast(pl.String),
    )
