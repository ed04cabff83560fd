"""What each document's user id should be, and which class that puts the document in. Pure Polars, no I/O.

Rules: seed S1 and its fact sheet. Columns of the frames are described in `model.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import polars as pl

from session_assets.identity.lookup import resolve
from session_assets.identity.model import CANONICAL, COLLECTED, ODD_ACTIVITY, OTHER_TYPES, SESSION, SHARDS, UNUSABLE_ID

_CLOCKS = timedelta(days=1)  # an activity further ahead is a wrong clock, not a live session: it must not wait for ever


def shard(key: pl.Expr) -> pl.Expr:
    """The partition of a document id: its first character in lower case, or `other`."""
    first = key.str.slice(0, 1).str.to_lowercase()
    return pl.when(first.is_in(SHARDS[:-1])).then(first).otherwise(pl.lit(SHARDS[-1]))


def session_facts(documents: pl.DataFrame, auth: pl.DataFrame) -> pl.DataFrame:
    """`SESSION_COLUMNS` and `AUTH_COLUMNS` → `COLLECTED`: what the user id, and the original one, resolve to."""
    now, original = (resolve(documents[name], auth) for name in ("user_id", "user_id_original"))
    is_session = pl.col("type").eq_missing(pl.lit(SESSION))
    return (
        documents.with_columns(now["resolution"], now["guid"], original_guid=original["guid"])
        .with_columns(pl.when(is_session).then(name).alias(name) for name in ("resolution", "guid", "original_guid"))
        .select(pl.col(name).cast(dtype) for name, dtype in COLLECTED.items())
    )


def classify(
    documents: pl.DataFrame,
    folds: pl.DataFrame,
    *,
    moves: bool,
    now: datetime,
    settle_minutes: float,
    allow_shrink: bool = False,
    other_types: Sequence[str] = OTHER_TYPES,
) -> pl.DataFrame:
    """Put each document into one class.

    In: `COLLECTED`, all documents of an id in the same frame; `folds` (`key`, `fold`: whether the sessions of that id become
    one; null where both were edited; `shrinks`: it would say less than one of them); `moves`: the container is partitioned by the
    user id; `allow_shrink`: plan also what says less; `other_types`: of documents that no rule is about.
    Out: the same rows with `class` (unchanged | planned | listed | unsettled | not_applicable), `reasons` and `notes`.
    """
    is_session = pl.col("type").eq_missing(pl.lit(SESSION))
    unknown = ~pl.col("type").is_in([SESSION, *other_types]).fill_null(False)
    canonical = pl.col("resolution") == CANONICAL
    resolved = pl.col("resolution") == "email_resolved"
    alone = is_session.sum().over("key") == 1
    marked = pl.col("user_id_original").is_not_null() | pl.col("backfill_updated_at").is_not_null()
    incomplete = marked & pl.any_horizontal(
        pl.col(name).is_null() for name in ("user_email", "user_id_original", "backfill_updated_at")
    )
    inconsistent = (
        marked
        & ~incomplete
        & (
            (pl.col("user_email") != pl.col("user_id_original"))
            | (pl.col("original_guid") != pl.col("guid")).fill_null(False)
        )
    )
    collides = ~alone & pl.col("fold").eq_missing(pl.lit(False))
    recent = pl.col("last_activity").is_between(now - timedelta(minutes=settle_minutes), now + _CLOCKS, closed="right")
    young = (recent.fill_null(False) & is_session).any().over("key")
    joined = documents.join(folds, on="key", how="left", maintain_order="left").join(
        _taken(documents) if moves else _shared(documents), on="key", how="left", maintain_order="left"
    )
    collides = collides | (is_session & pl.col("taken").fill_null(False) & (~canonical | ~alone))
    held = (  # the first that holds
        pl.when((resolved | ~alone) & pl.col("key").str.contains(UNUSABLE_ID))
        .then(pl.lit("unusable_id"))
        .when(collides)
        .then(pl.lit("id_collision"))
        .when(~alone & pl.col("fold").is_null())
        .then(pl.lit("both_edited"))
        .when(~alone & pl.col("shrinks").fill_null(False) & (not allow_shrink))
        .then(pl.lit("would_shrink"))
        .when(~canonical & ~resolved)
        .then("resolution")
        .when((resolved | ~alone) & (is_session & pl.col(ODD_ACTIVITY)).any().over("key"))
        .then(pl.lit("unreadable_activity"))
        .when(alone & canonical & incomplete)
        .then(pl.lit("audit_incomplete"))
        .when(alone & canonical & inconsistent)
        .then(pl.lit("audit_inconsistent"))
    )
    wrong = resolved | ~alone
    return (
        joined.with_columns(held=pl.when(is_session).then(held), touched=~is_session & marked, unknown=unknown)
        .with_columns(
            pl.when(pl.col("touched") | pl.col("unknown"))
            .then(pl.lit("listed"))
            .when(~is_session)
            .then(pl.lit("not_applicable"))
            .when(pl.col("held").is_not_null())
            .then(pl.lit("listed"))
            .when(wrong & young)
            .then(pl.lit("unsettled"))
            .when(wrong)
            .then(pl.lit("planned"))
            .otherwise(pl.lit("unchanged"))
            .alias("class")
        )
        .with_columns(
            reasons=pl.when(pl.col("touched") | pl.col("unknown"))
            .then(
                pl.concat_list(
                    pl.when("touched").then(pl.lit("audit_document_touched")),
                    pl.when("unknown").then(pl.lit("unknown_type")),
                ).list.drop_nulls()
            )
            .when(pl.col("held").is_not_null())
            .then(pl.concat_list("held"))
            .when(pl.col("class") == "unsettled")
            .then(pl.concat_list(pl.lit("unsettled")))
            .when(pl.col("class") == "planned")
            .then(
                pl.concat_list(
                    pl.when(resolved).then(pl.lit("email_resolved")), pl.when(~alone).then(pl.lit("same_id"))
                ).list.drop_nulls()
            )
            .otherwise(pl.lit([], dtype=pl.List(pl.String))),
            notes=pl.lit([], dtype=pl.List(pl.String)),
        )
    )


def groups(documents: pl.DataFrame) -> pl.DataFrame:
    """Sessions that share their id with other sessions."""
    sessions = documents.filter(pl.col("type").eq_missing(pl.lit(SESSION)))
    return sessions.filter(pl.len().over("key") > 1)


def foldable(group: pl.DataFrame) -> bool:
    """Whether the sessions of one id are one session that was moved, and stands under its e-mail again (or still).

    All resolve to one GUID, at most one stands under it, and that one was moved from one of these e-mails.
    """
    moved = group.filter(pl.col("resolution") == CANONICAL)
    mails = group.filter(pl.col("resolution") == "email_resolved")
    if moved.height > 1 or moved.height + mails.height < group.height or mails.is_empty():
        return False
    if group["guid"].n_unique() != 1:
        return False
    if moved.is_empty():
        return True
    original, guid = moved.row(0, named=True)["user_id_original"], moved["original_guid"][0]
    return original is not None and (original in mails["user_id"].to_list() or guid == moved["guid"][0])


def _taken(documents: pl.DataFrame) -> pl.DataFrame:
    """Ids whose place under the GUID is taken by a document that is no session: `key`, `taken`."""
    others = documents.filter(pl.col("type").ne_missing(pl.lit(SESSION))).select("key", place="user_id")
    sessions = documents.filter(pl.col("guid").is_not_null()).select("key", place="guid")
    return sessions.join(others, on=["key", "place"], how="semi").select("key").unique().with_columns(taken=True)


def _shared(documents: pl.DataFrame) -> pl.DataFrame:
    """Where the user id is not the partition key nothing is folded: ids that are not one document's own."""
    return documents.filter(pl.len().over("key") > 1).select("key").unique().with_columns(taken=True)
