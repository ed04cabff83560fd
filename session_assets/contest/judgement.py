"""What a stored document lacks, by its structure and by its totals, and the class that follows. Pure Polars, no I/O.

Rules: seed S5 and its fact sheet. Frames come as `stores/contest_frames.py` reads them.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from session_assets.contest.bson_types import (
    ARRAY,
    BOOL,
    DATE,
    DOCUMENT,
    NOTHING,
    OBJECT_ID,
    TEXT,
    has_type,
    odd_number,
    odd_text,
    says,
)
from session_assets.contest.model import ALIASES, FILLS, GIVEN, UPDATED
from session_assets.contest.rounding import two_decimals
from session_assets.moments import moment

_LAST_PLACE = 0.0051  # of a sum that is written with two decimals
_NO_ONE = ("None", "null", "")
_LOCAL = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?$"
_HEX24 = r"^[0-9a-fA-F]{24}$"
_METRICS = ("performance_metrics", "topic_performance", "difficulty_performance")
_TIMES = ("total_time_ms", "total_time_seconds", "total_time_minutes")
_WORKED_OUT = ("user_id", "shuffle", "score", "total_attempted", *_METRICS, *_TIMES)


def months(created: pl.Expr, key: pl.Expr, first: date, last: date) -> pl.Expr:
    """The month (its first day, as text) that a document stands in: created_at, else the time in its ObjectId.

    Earlier or undated ones go to the month of `first`, later ones to that of `last`.
    """
    id_hex = key.str.extract(r'^\{"\$oid":"([0-9a-f]{8})[0-9a-f]{16}"\}$')
    seconds = id_hex.str.to_integer(base=16, strict=False).cast(pl.Int64)
    id_time = (seconds * 1000).cast(pl.Datetime("ms")).dt.replace_time_zone("UTC")
    day = pl.coalesce(created, id_time).dt.date().fill_null(first).clip(first, last)
    return day.dt.month_start().dt.to_string("%Y-%m-%d")


def moment_of(name: str) -> pl.Expr:
    """A moment, else null: a date, or ISO 8601 text; without an offset (`YYYY-MM-DD HH:MM:SS.ffffff`) it is read as UTC."""
    text = pl.col(f"{name}_text")
    zoned = pl.when(text.str.contains(_LOCAL)).then(text + "Z").otherwise(text)
    return pl.coalesce(f"{name}_date", moment(zoned, "iso"))


def judged(sessions: pl.DataFrame, attempts: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """What is wrong with the structure of each document.

    In: sessions as read with `is_repeated`, attempts (`completed`), users (`username`, `user`): those of the names and ids in
    question. Out: `row`, `SESSION_COLUMNS` but the partition, and `stored_…`: score, attempted, ms, seconds, minutes.
    """
    several = attempts.group_by("row").agg(
        pl.col(name).any()
        for name in (
            "unusable", "odd", "conflict", "old_name", "as_text", "disordered", "gap", "no_seconds", "unknown_problem",
            "unknown_contest", "missing_answer", "unknown_topic",
        )
    )  # fmt: skip
    filled = pl.any_horizontal(pl.col(f"filled_{name}").is_not_null() for name in ("answer", "difficulty", "topics"))
    fills = (
        attempts.filter(filled)
        .group_by("row", maintain_order=True)
        .agg(
            fills=pl.struct(
                "attempt",
                correct_answer="filled_answer",
                difficulty="filled_difficulty",
                topics="filled_topics",
            )
        )
    )
    found = users.drop_nulls().unique().filter(pl.len().over("username") == 1).rename({"user": "found_user"})
    frame = (
        sessions.join(
            several.rename({name: f"any_{name}" for name in several.columns if name != "row"}), on="row", how="left"
        )
        .join(fills, on="row", how="left")
        .join(found, on="username", how="left", maintain_order="left")
        .sort("row")
        .with_columns(
            created=moment_of("created_at"),
            completed=moment_of("completed_at"),
            fills=pl.col("fills").cast(FILLS).fill_null([]),
            no_user=missing_user(),
            is_known=user_of().is_in(users["user"].drop_nulls().implode()),
        )
    )
    judged = frame.with_columns(held=_names(_quarantine()), repairs=_names(_repairs()), notes=_names(_notes()))
    return judged.select(
        "row", "key", "session_id", "username", "created", "held", "repairs", "notes", "found_user", "fills", "document",
        stored_score="score",
        stored_attempted=pl.when(says("total_attempted")).then("total_attempted").otherwise("attempted"),
        stored_ms=pl.when(says("total_time_ms")).then("total_time_ms").otherwise("totalTime"),
        stored_seconds="total_time_seconds",
        stored_minutes="total_time_minutes",
    )  # fmt: skip


def _no_user(name: str) -> pl.Expr:
    return ~says(name) | (has_type(name, TEXT) & pl.col(name).is_in(_NO_ONE).fill_null(False))


def missing_user() -> pl.Expr:
    """Of sessions as read: whether the document names no user."""
    return pl.all_horizontal(_no_user(name) for name in ("user_id", "userId", "_user_id"))


def user_of() -> pl.Expr:
    """Of sessions as read: the user that the document names, an ObjectId or its hex in any case as lower-case hex."""
    said = [pl.when(~_no_user(name)).then(name) for name in ("user_id", "userId", "_user_id")]
    one = pl.coalesce(said)
    return pl.when(one.str.contains(_HEX24)).then(one.str.to_lowercase()).otherwise(one)


def _any(name: str) -> pl.Expr:
    return pl.col(f"any_{name}").fill_null(False)


def _quarantine() -> dict[str, pl.Expr]:
    required = [name for name in GIVEN if name not in ("completed_at", "mode")]
    numbers = ("score", "total_attempted", "attempted", *_TIMES, "totalTime")
    odd = [
        *(odd_text(name) for name in ("session_id", "username", "contest")),
        *(says(name) & ~has_type(name, TEXT) for name in ("session_status", "mode")),
        *(says(f"{name}_at") & pl.col(name).is_null() for name in ("created", "completed")),
        *(~has_type(name, TEXT, OBJECT_ID, *NOTHING) for name in ("user_id", "userId", "_user_id")),
        ~has_type("shuffle", BOOL, *NOTHING),
        odd_number("year", whole=True),
        *(odd_number(name) for name in numbers),
        says("problems_attempted") & ~has_type("problems_attempted", ARRAY),
        *(~has_type(name, DOCUMENT, *NOTHING) for name in _METRICS),
        ~has_type(UPDATED, DATE, TEXT, *NOTHING),
        _any("odd"),
    ]
    users = [(one, other) for one, other in (("user_id", "userId"), ("user_id", "_user_id"), ("userId", "_user_id"))]
    two = [
        says("total_time_ms") & says("totalTime") & pl.col("total_time_ms").ne_missing(pl.col("totalTime")),
        says("total_attempted") & says("attempted") & pl.col("total_attempted").ne_missing(pl.col("attempted")),
        *(~_no_user(a) & ~_no_user(b) & (pl.col(a).ne_missing(pl.col(b)) | (pl.col(f"{a}_kind") != pl.col(f"{b}_kind")))
          for a, b in users),
        _any("conflict"),
    ]  # fmt: skip
    missing = [
        *(~says(name) for name in (*required, "problems_attempted")),
        pl.col("session_id") == "",  # no id
        *(pl.col(f"{name}_type") == 0 for name in ("completed_at", "mode")),
    ]
    return {
        "missing_field": pl.any_horizontal(missing),
        "attempt_unusable": _any("unusable") & ~_any("odd"),
        "wrong_type": pl.any_horizontal(odd),
        "two_values": pl.any_horizontal(two),
    }


def _repairs() -> dict[str, pl.Expr]:
    has_alias = pl.any_horizontal(pl.col(f"{alias}_type") != 0 for alias in ALIASES)
    worked_out = [
        (pl.col(f"{name}_type") == 0) if name == "user_id" else ~says(name)
        for name in _WORKED_OUT
        if name not in ALIASES.values()
    ]
    by_alias = [
        ~says(name) & ~pl.any_horizontal(pl.col(f"{alias}_type") != 0 for alias, new in ALIASES.items() if new == name)
        for name in ("total_time_ms", "total_attempted")
    ]
    no_user = (pl.col("user_id_type") == 0) & (pl.col("userId_type") == 0) & (pl.col("_user_id_type") == 0)
    as_text = [has_type(name, TEXT) for name in ("year", "score", "total_attempted", "attempted", *_TIMES, "totalTime")]
    return {
        "incomplete": pl.any_horizontal(*worked_out, *by_alias, no_user),
        "old_name": has_alias | _any("old_name"),
        "attempt_incomplete": (pl.col("fills").list.len() > 0) | _any("no_seconds"),
        "field_order": ~pl.col("ordered"),
        "attempt_order": _any("disordered"),
        "number_as_text": pl.any_horizontal(as_text) | _any("as_text"),
        "user_as_text": has_type("user_id", TEXT) & pl.col("user_id").is_in(_NO_ONE),
        "user_found": pl.col("no_user") & pl.col("found_user").is_not_null(),
    }


def _notes() -> dict[str, pl.Expr]:
    return {
        "attempt_gap": _any("gap"),
        "unknown_problem": _any("unknown_problem"),
        "unknown_contest": _any("unknown_contest"),
        "missing_answer": _any("missing_answer"),
        "unknown_topic": _any("unknown_topic"),
        "completed_first": pl.col("completed") < pl.col("created"),
        "user_unknown": pl.col("no_user") & pl.col("found_user").is_null(),
        "user_gone": ~pl.col("no_user") & ~pl.col("is_known"),
        "duplicate_session": pl.col("is_repeated"),
    }


def differences(rows: pl.DataFrame) -> pl.DataFrame:
    """Documents (`judged`) with facts: adds what the stored totals do not have in common with the attempts.

    To `notes`, where a total is not what the attempts amount to; to `repairs`, where seconds or minutes are not those of the
    stored milliseconds; to `held`, where these are missing and the seconds or minutes say something else than the attempts.
    """
    ms = pl.coalesce("stored_ms", "total_time_ms")
    tests = {
        "attempts_differ": pl.col("stored_attempted") != pl.col("total_attempted"),
        "score_differs": pl.col("stored_score") != pl.col("total_correct"),
        "times_differ": (ms - pl.col("total_time_ms")).abs() > _LAST_PLACE,
    }
    units = (pl.col("stored_seconds") != two_decimals(ms, 1000)) | (pl.col("stored_minutes") != two_decimals(ms, 60000))
    has_ms = pl.col("stored_ms").is_not_null()
    return rows.with_columns(
        held=pl.concat_list("held", _names({"time_unknown": units & ~has_ms})),
        repairs=pl.concat_list("repairs", _names({"time_units": units & has_ms})),
        notes=pl.concat_list("notes", _names(tests)),
    )


def _names(tests: dict[str, pl.Expr]) -> pl.Expr:
    """The names of the tests that hold, as a list."""
    return pl.concat_list(
        [pl.when(test.fill_null(False)).then(pl.lit(name)) for name, test in tests.items()]
    ).list.drop_nulls()


def classify(rows: pl.DataFrame) -> pl.DataFrame:
    """Adds `class` (planned | listed | unchanged), `reasons`, and `notes` beside a repair, from `held`, `repairs`, `notes`."""
    held, wrong = pl.col("held").list.len() > 0, pl.col("repairs").list.len() > 0
    noted = pl.col("notes").list.len() > 0
    shrinks = pl.col("held").list.contains("would_shrink")  # what else is found says what the source lacks
    return rows.with_columns(
        pl.when(held | (noted & ~wrong)).then(pl.lit("listed")).when(wrong).then(pl.lit("planned"))
        .otherwise(pl.lit("unchanged")).alias("class"),
        reasons=pl.when(held).then("held").when(wrong).then("repairs").otherwise("notes"),
        notes=pl.when((held & ~shrinks) | (~held & ~wrong)).then(pl.lit([], dtype=pl.List(pl.String))).otherwise("notes"),
    )  # fmt: skip
