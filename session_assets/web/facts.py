"""What a session should say, recomputed from its events, and how a stored document differs. Pure Polars, no I/O.

Rules: seed S2 and its fact sheet. Columns of the frames are described in `model.py`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl

from session_assets.web.model import FACT_COLUMNS, HEX24


def session_facts(events: pl.DataFrame) -> pl.DataFrame:
    """Facts per session.

    In: columns of `EVENT_COLUMNS`, `session_id` not null, any order. Out: `FACT_COLUMNS`, one row a session.
    An event without a usable timestamp counts as malformed: its place in the order is unknown. So is that of one whose `_id`
    nobody can order, where another is of the same time.
    """
    ordered = events.select(
        "session_id",
        "timestamp",
        pl.col("page").replace("", None),
        user=_user(events),
        client=pl.col("client_id").replace("", None),
        malformed=pl.col("malformed") | pl.col("timestamp").is_null() | _is_unordered(events),
        id_rank=pl.col("_id_kind").to_physical(),
        id="_id",
    )
    facts = ordered.group_by("session_id").agg(
        fact_event_count=pl.len().cast(pl.Int64),
        fact_first=pl.col("timestamp").min(),
        fact_last=pl.col("timestamp").max(),
        fact_malformed=pl.col("malformed").sum().cast(pl.Int64),
        **{f"{side}_{name}": getattr(pl.col(name), side)() for name in _PEOPLE for side in ("min", "max")},
    )
    return (
        facts.join(_several_people(ordered, facts), on="session_id", how="left")
        .join(_pages(ordered), on="session_id", how="left")
        .with_columns(pl.col("fact_pages").fill_null([]), *(_people(name) for name in _PEOPLE))
        .select(FACT_COLUMNS.names())
        .cast(FACT_COLUMNS)
    )


_PEOPLE = ("user", "client")


def _several_people(events: pl.DataFrame, facts: pl.DataFrame) -> pl.DataFrame:
    """All users and clients of the few sessions that have several: lists are dear, and most sessions need none."""
    several = facts.filter(pl.any_horizontal(pl.col(f"min_{name}") != pl.col(f"max_{name}") for name in _PEOPLE))
    return (
        events.join(several, on="session_id", how="semi")
        .group_by("session_id")
        .agg(pl.col(name).drop_nulls().unique().sort() for name in _PEOPLE)
    )


def _people(name: str) -> pl.Expr:
    one = pl.col(f"min_{name}")
    return (
        pl.when(pl.col(name).is_not_null())
        .then(name)
        .when(one.is_not_null())
        .then(pl.concat_list(one))
        .otherwise(pl.lit([], dtype=pl.List(pl.String)))
        .alias(f"fact_{name}s")
    )


def _pages(events: pl.DataFrame) -> pl.DataFrame:
    """Distinct pages in first-seen order: by timestamp, then `_id` as BSON orders it."""
    return (
        events.filter(pl.col("page").is_not_null())
        .sort("timestamp", "id_rank", "id", "page")
        .group_by("session_id")
        .agg(fact_pages=pl.col("page").unique(maintain_order=True))
    )


def _is_unordered(events: pl.DataFrame) -> pl.Expr:
    """Whether an event shares its time with another of its session, and its `_id` does not tell which is the earlier."""
    unknown = pl.col("_id_kind") == "other"
    if not events.select(unknown.any()).item():
        return pl.lit(False)
    return unknown & (pl.len().over("session_id", "timestamp") > 1)


def _user(frame: pl.DataFrame) -> pl.Expr:
    """One text a user: an ObjectId and its hex, in any case, are one; empty means none."""
    text = pl.col("user_id").replace("", None)
    if not frame.select(text.str.contains("[A-F]").any()).item():  # the usual, and far cheaper
        return text
    return pl.when(text.str.contains(HEX24)).then(text.str.to_lowercase()).otherwise(text)


def partition_keys(documents: pl.DataFrame, first: date, last: date) -> pl.Series:
    """The day that each stored document stands in: first_event_at, else created_at, else the time in its ObjectId.

    In: `first_event_at`, `created_at` (UTC), `key`. Earlier or undated ones go to `first`, later ones to `last`.
    """
    id_hex = pl.col("key").str.extract(r'^\{"\$oid":"([0-9a-f]{8})[0-9a-f]{16}"\}$')
    id_time = (
        (id_hex.str.to_integer(base=16, strict=False).cast(pl.Int64) * 1000)
        .cast(pl.Datetime("ms"))
        .dt.replace_time_zone("UTC")
    )
    day = pl.coalesce("first_event_at", "created_at", id_time).dt.date().fill_null(first).clip(first, last)
    return documents.select(day.dt.to_string("%Y-%m-%d").alias("partition")).to_series()


def classify(
    sessions: pl.DataFrame, facts: pl.DataFrame, *, now: datetime, settle_minutes: float, allow_shrink: bool
) -> pl.DataFrame:
    """Compare stored documents with facts.

    In: `SESSION_COLUMNS` (each document with a string session_id of these sessions) and `FACT_COLUMNS`.
    Out: the session columns, the facts, and
    `class` (unchanged | planned | listed | unsettled), `reasons` (List(String): why it is planned, listed or unsettled),
    `notes` (List(String): listed beside a repair), `new_user` and `new_client` (the one of the events, or null).
    """
    joined = sessions.join(facts, on="session_id", how="left").with_columns(
        duplicate=pl.len().over("session_id") > 1, new_user=_single("fact_users"), new_client=_single("fact_clients")
    )
    has_events = pl.col("fact_event_count").is_not_null()
    count, recount = pl.col("event_count").fill_null(0), pl.col("fact_event_count")
    pages = pl.col("pages").fill_null([])
    stored_user = _user(sessions)
    empty_pages = (pages.list.len() == 0) & (pl.col("fact_pages").list.len() > 0)
    wrong_pages = (pages.list.len() > 0) & (pages != pl.col("fact_pages"))
    first, last = pl.col("first_event_at"), pl.col("last_event_at")
    wrong_times = first.ne_missing(pl.col("fact_first")) | last.ne_missing(pl.col("fact_last"))
    tests = {
        "empty_pages": empty_pages,
        "zero_event_count": (count == 0) & (recount > 0),
        "event_count_mismatch": (count != 0) & (count != recount),
        "pages_mismatch": wrong_pages,
        "timestamps_mismatch": wrong_times & ~(first > last).fill_null(False),
        "first_after_last": wrong_times & (first > last).fill_null(False),
        "user_mismatch": pl.col("new_user").is_not_null() & stored_user.ne_missing(pl.col("new_user")),
        "client_mismatch": pl.col("new_client").is_not_null() & pl.col("client_id").ne_missing(pl.col("new_client")),
    }
    repairs = _names({name: test & has_events for name, test in tests.items()})
    notes = _names(
        {
            "ambiguous_user": pl.col("fact_users").list.len() > 1,
            "ambiguous_client": pl.col("fact_clients").list.len() > 1,
        }
    )
    kept = pl.concat_list("fact_pages", pl.lit(""))  # an empty page is none
    dropped = pages.list.set_difference(kept).list.drop_nulls().list.len() > 0
    shrinks = has_events & ((count > recount) | dropped)
    empty = (count == 0) & (pages.list.len() == 0)
    settled_before = now - timedelta(minutes=settle_minutes)
    held = (  # the first that holds; of a duplicate group all documents are held for what is odd in, or lost by, one of them
        pl.when(pl.col("malformed").any().over("session_id"))
        .then(pl.lit("malformed_session"))
        .when(~has_events & empty)
        .then(pl.lit("orphan_session"))
        .when(~has_events)
        .then(pl.lit("orphan_with_data"))
        .when(pl.col("fact_malformed") > 0)
        .then(pl.lit("malformed_event"))
        .when(shrinks.any().over("session_id") if not allow_shrink else pl.lit(False))
        .then(pl.lit("would_shrink"))
        .when(pl.col("duplicate"))
        .then(pl.lit("duplicate_session"))
    )
    ahead = now + timedelta(
        minutes=settle_minutes
    )  # by a clock that is wrong: to wait for it would be to wait for ever
    young = pl.col("fact_last").is_between(settled_before, ahead, closed="right").fill_null(False)
    wrong = pl.col("repairs").list.len() > 0
    return (
        joined.with_columns(repairs=repairs, notes=notes.fill_null([]), held=held)
        .with_columns(
            pl.when(young & (wrong | pl.col("held").is_in(["would_shrink", "duplicate_session"])))
            .then(pl.lit("unsettled"))
            .when(pl.col("held").is_not_null())
            .then(pl.lit("listed"))
            .when(wrong)
            .then(pl.lit("planned"))
            .when(pl.col("notes").list.len() > 0)
            .then(pl.lit("listed"))
            .otherwise(pl.lit("unchanged"))
            .alias("class")
        )
        .with_columns(
            reasons=pl.when(pl.col("class") == "unsettled")
            .then(pl.concat_list(pl.lit("unsettled")))
            .when(pl.col("held").is_not_null())
            .then(pl.concat_list("held"))
            .when(wrong)
            .then("repairs")
            .otherwise("notes"),
            notes=pl.when(wrong | pl.col("held").is_not_null() | (pl.col("class") == "unsettled")).then("notes"),
        )
        .with_columns(pl.col("notes").fill_null([]))
    )


def _single(column: str) -> pl.Expr:
    """The only element of a list, else null."""
    return pl.when(pl.col(column).list.len() == 1).then(pl.col(column).list.first())


def _names(tests: dict[str, pl.Expr]) -> pl.Expr:
    """The names of the tests that hold, as a list."""
    return pl.concat_list(
        [pl.when(test.fill_null(False)).then(pl.lit(name)) for name, test in tests.items()]
    ).list.drop_nulls()


def utc_now() -> datetime:
    return datetime.now(UTC)
