"""From what stands in `user_id` to the canonical GUID of auth. Pure, no I/O. Rules: seed S1 and its fact sheet.

An e-mail is looked up exactly first, then trimmed, NFC and casefolded; `+tags` and dots are never stripped.
"""

from __future__ import annotations

import unicodedata

import polars as pl

from session_assets.identity.model import CANONICAL, EMAIL, GUID, NIL_GUID


def fold(text: str) -> str:
    """An e-mail as it is compared: trimmed, NFC, casefolded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold())


def folded(column: pl.Series) -> pl.Series:
    """`fold` of each text, each distinct one worked out once."""
    unique = column.drop_nulls().unique()
    known = pl.DataFrame({"text": unique, "folded": pl.Series([fold(text) for text in unique], dtype=pl.String)})
    return pl.DataFrame({"text": column}).join(known, on="text", how="left", maintain_order="left")["folded"]


def is_guid(column: pl.Expr) -> pl.Expr:
    """8-4-4-4-12 hex in any case, any version and variant, not nil."""
    return column.str.contains(GUID) & (column != NIL_GUID)


def resolve(user_ids: pl.Series, auth: pl.DataFrame) -> pl.DataFrame:
    """What each user id resolves to.

    In: texts (null where a document has none) and `AUTH_COLUMNS`, one row a record. Out, in the order of the ids:
    `resolution` (`canonical` or one of `RESOLUTIONS`) and `guid` (lower case; null where there is none).
    """
    distinct = pl.DataFrame({"user_id": user_ids.unique().cast(pl.String)})
    records = auth.with_columns(folded=folded(auth["email"]))
    exact, alike = _by(records, "email"), _by(records, "folded")
    looked_up = (
        distinct.with_columns(folded=folded(distinct["user_id"]))
        .join(exact, left_on="user_id", right_on="email", how="left", maintain_order="left")
        .join(alike, on="folded", how="left", suffix="_alike", maintain_order="left")
        .with_columns(records=pl.coalesce("records", "records_alike"), found=pl.coalesce("found", "found_alike"))
    )
    user_id = pl.col("user_id")
    resolution = (
        pl.when(user_id == NIL_GUID)
        .then(pl.lit("nil_guid"))
        .when(is_guid(user_id))
        .then(pl.lit(CANONICAL))
        .when(~user_id.str.strip_chars().str.contains(EMAIL).fill_null(False))
        .then(pl.lit("not_an_email"))
        .when(pl.col("records").is_null())
        .then(pl.lit("no_auth_record"))
        .when(pl.col("records") > 1)
        .then(pl.lit("ambiguous_email"))
        .when(is_guid(pl.col("found")))
        .then(pl.lit("email_resolved"))
        .otherwise(pl.lit("auth_id_not_guid"))
    )
    guid = (
        pl.when(pl.col("resolution") == CANONICAL)
        .then(user_id)
        .when(pl.col("resolution") == "email_resolved")
        .then("found")
    )
    known = looked_up.with_columns(resolution=resolution).select("user_id", "resolution", guid=guid.str.to_lowercase())
    return (
        pl.DataFrame({"user_id": user_ids.cast(pl.String)})
        .join(known, on="user_id", how="left", nulls_equal=True, maintain_order="left")
        .select("resolution", "guid")
    )


def _by(records: pl.DataFrame, column: str) -> pl.DataFrame:
    """How many records there are of each e-mail, and the id of one of them."""
    return records.drop_nulls(column).group_by(column).agg(records=pl.len(), found=pl.col("auth_id").min())
