"""What the attempts of a session amount to, and what a stored document lacks. Pure Polars, no I/O.

Rules: seed S5 and its fact sheet. Frames come as `stores/contest_frames.py` reads them; BSON types are those of bsonspec.org.
"""

from __future__ import annotations

from datetime import date

import polars as pl

from session_assets.contest.model import (
    ALIASES,
    ATTEMPT_ALIASES,
    COUNTS,
    FACT_COLUMNS,
    FILLS,
    GIVEN,
    UPDATED,
)
from session_assets.contest.rounding import divided, two_decimals
from session_assets.moments import moment

_NOTHING = (0, 6, 10)  # absent, undefined, null
_DOUBLE, _TEXT, _DOCUMENT, _ARRAY, _OBJECT_ID, _BOOL, _DATE, _INT32, _INT64 = 1, 2, 3, 4, 7, 8, 9, 16, 18
_NUMBERS = (_DOUBLE, _INT32, _INT64)
_EXACT = 2.0**53
_NO_ONE = ("None", "null", "")
_LOCAL = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,6})?$"
_HEX24 = r"^[0-9a-fA-F]{24}$"
_METRICS = ("performance_metrics", "topic_performance", "difficulty_performance")
_TIMES = ("total_time_ms", "total_time_seconds", "total_time_minutes")
_WORKED_OUT = ("user_id", "shuffle", "score", "total_attempted", *_METRICS, *_TIMES)


def says(name: str) -> pl.Expr:
    """Whether a field holds something."""
    return ~pl.col(f"{name}_type").is_in(_NOTHING)


def _is(name: str, *types: int) -> pl.Expr:
    return pl.col(f"{name}_type").is_in(types)


# -- attempts ----------------------------------------------------------------------------------------------------------


def attempts_of(raw: pl.DataFrame) -> pl.DataFrame:
    """Attempts under their new names: values, and what is wrong with each.

    Out: `row`, `attempt`, `number`, `is_correct`, `ms`, `correct_answer`, `difficulty`, `topics` (what says nothing is null), and
    booleans: `unusable`, `odd` (a value that no rule covers), `conflict`, `old_name`, `as_text`, `disordered`, `gap`,
    `no_seconds`.
    """
    ms = pl.col("time_spent_ms")
    new_time, old_time = says("time_spent_ms"), says("time_spent")
    new_flag, old_flag = says("is_correct"), says("correct")
    topics = pl.col("topics")
    return raw.select(
        "row",
        "attempt",
        number="problem_number",
        is_correct=pl.when(new_flag).then("is_correct").otherwise("correct"),
        ms=pl.when(new_time).then(ms).otherwise("time_spent"),
        correct_answer=pl.col("correct_answer").replace("", None),
        difficulty=pl.col("difficulty").replace("", None),
        topics=pl.when(topics.list.len() > 0).then(topics),
        has_answer=_is("correct_answer", _TEXT) & (pl.col("correct_answer") != ""),
        unusable=~(new_flag | old_flag) | ~(new_time | old_time),
        odd=~pl.col("is_document").fill_null(False)
        | _odd_number("time_spent_ms")
        | _odd_number("time_spent")
        | _odd_number("time_spent_seconds")
        | _odd_number("problem_number", whole=True)
        | ~_is("is_correct", _BOOL, *_NOTHING)
        | ~_is("correct", _BOOL, *_NOTHING)
        | _odd_text("correct_answer")
        | _odd_text("difficulty")
        | pl.col("difficulty").str.contains("\0", literal=True).fill_null(False)
        | ~_is("topics", _ARRAY, *_NOTHING)
        | topics.list.eval(pl.element().is_null() | pl.element().str.contains("\0", literal=True)).list.any(),
        conflict=(new_time & old_time & ms.ne_missing(pl.col("time_spent")))
        | (new_flag & old_flag & pl.col("is_correct").ne_missing(pl.col("correct"))),
        old_name=pl.any_horizontal(pl.col(f"{alias}_type") != 0 for alias in ATTEMPT_ALIASES),
        as_text=pl.any_horizontal(
            _is(name, _TEXT) for name in ("problem_number", "time_spent_ms", "time_spent", "time_spent_seconds")
        ),
        disordered=~pl.col("ordered"),
        gap=~says("problem_number")
        | pl.any_horizontal(pl.col(f"{name}_type") == 0 for name in ("problem_id", "selected_answer"))
        | (pl.col("attempt_timestamp_type") == 0) & (pl.col("timestamp_type") == 0),
        no_seconds=~says("time_spent_seconds"),
    ).with_columns(pl.col("odd").fill_null(False))


def _odd_number(name: str, *, whole: bool = False) -> pl.Expr:
    value = pl.col(name)
    usable = value.is_finite() & (value.abs() <= _EXACT)
    if whole:
        usable &= value == value.floor()
    return says(name) & ~(_is(name, _TEXT, *_NUMBERS) & usable.fill_null(False))


def _odd_text(name: str) -> pl.Expr:
    return says(name) & ~(_is(name, _TEXT) & pl.col(name).is_not_null())


def contest_ids(sessions: pl.DataFrame) -> pl.DataFrame:
    """`row` and `contest_id` as problems have it: `AMC 10A` of 2022 is `AMC10A_2022`."""
    year = pl.col("year").cast(pl.Int64, strict=False).cast(pl.String)
    return sessions.select("row", contest_id=pl.format("{}_{}", pl.col("contest").str.replace_all(" ", ""), year))


def completed(attempts: pl.DataFrame, contests: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Attempts (`attempts_of`) with what they lack taken from their problems.

    In: `contest_ids`, and problems as read. Adds `filled_…` for answer, difficulty and topics (null where nothing was lacking, or
    nothing is known), and the booleans `unknown_problem`, `missing_answer`, `unknown_topic`. Problems that occur twice and differ
    are not known.
    """
    lacking = pl.any_horizontal(~pl.col("has_answer"), pl.col("difficulty").is_null(), pl.col("topics").is_null())
    known = problems.select(
        "contest_id",
        number="problem_number",
        p_answer=pl.coalesce(pl.col("answer").replace("", None), pl.col("correct_answer").replace("", None)),
        p_difficulty=pl.col("difficulty").replace("", None),
        p_topics=pl.when(
            (pl.col("topics").list.len() > 0)
            & (pl.col("topics").list.drop_nulls().list.len() == pl.col("topics").list.len())
        ).then("topics"),
    ).unique()
    known = known.filter(pl.len().over("contest_id", "number") == 1).with_columns(known=pl.lit(True))
    joined = attempts.join(contests, on="row", how="left").join(known, on=["contest_id", "number"], how="left")
    answer = pl.when(~pl.col("has_answer")).then("p_answer")
    difficulty = pl.when(pl.col("difficulty").is_null()).then("p_difficulty")
    topics = pl.when(pl.col("topics").is_null()).then("p_topics")
    found = pl.col("known").fill_null(False)
    return joined.with_columns(
        filled_answer=answer,
        filled_difficulty=difficulty,
        filled_topics=topics,
        unknown_problem=lacking & ~found,
        missing_answer=found & ~pl.col("has_answer") & pl.col("p_answer").is_null(),
        unknown_topic=found
        & (pl.coalesce("difficulty", "p_difficulty").is_null() | pl.coalesce("topics", "p_topics").is_null()),
        difficulty=pl.coalesce("difficulty", "p_difficulty"),
        topics=pl.coalesce("topics", "p_topics"),
    ).drop("known", "p_answer", "p_difficulty", "p_topics", "contest_id")


# -- analytics ---------------------------------------------------------------------------------------------------------


def session_facts(attempts: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The analytics of each session: `row` and `FACT_COLUMNS`.

    In: `row`, `attempt`, `is_correct`, `ms`, `difficulty`, `topics` (null: counts for none); `rows` lists all sessions, in order.
    A problem counts in every one of its topics.
    """
    right, ms = pl.col("is_correct"), pl.col("ms")
    totals = attempts.group_by("row").agg(
        total_attempted=pl.len().cast(pl.Int64),
        total_correct=right.sum().cast(pl.Int64),
        total_time_ms=ms.sum(),
        correct_ms=ms.filter(right).sum(),
        fastest_correct_ms=ms.filter(right).min(),
        slowest_correct_ms=ms.filter(right).max(),
    )
    facts = rows.select("row").join(totals, on="row", how="left", maintain_order="left")
    sums = ("total_attempted", "total_correct", "total_time_ms", "correct_ms")
    facts = facts.with_columns(pl.col(name).fill_null(0) for name in sums)
    total, correct, time = (pl.col(name) for name in sums[:3])
    return (
        facts.with_columns(
            total_time_seconds=two_decimals(time, 1000),
            total_time_minutes=two_decimals(time, 60000),
            accuracy=_percent(correct, total),
            average_ms=_average(time, total),
            average_seconds=two_decimals(pl.when(total > 0).then(divided(time, 1000) / total).otherwise(0.0)),
            average_correct_ms=_average(pl.col("correct_ms"), correct),
            average_incorrect_ms=_average(time - pl.col("correct_ms"), total - correct),
        )
        .join(
            _counts(_by_topic(attempts), "topics"),
            on="row",
            how="left",
            maintain_order="left",
        )
        .join(_counts(attempts, "difficulty", "difficulties"), on="row", how="left", maintain_order="left")
        .with_columns(pl.col(name).fill_null([]) for name in ("topics", "difficulties"))
        .select("row", *(pl.col(name).cast(dtype) for name, dtype in FACT_COLUMNS.items()))
    )


def _percent(correct: pl.Expr, attempted: pl.Expr) -> pl.Expr:
    """100·correct/attempted to two decimals; 0 where nothing was attempted."""
    return two_decimals(pl.when(attempted > 0).then(100 * correct / attempted).otherwise(0.0))


def _average(total: pl.Expr, count: pl.Expr) -> pl.Expr:
    return two_decimals(pl.when(count > 0).then(total / count).otherwise(0.0))


def _by_topic(attempts: pl.DataFrame) -> pl.DataFrame:
    """A row for each topic of each attempt, once where the attempt names it twice."""
    topics = pl.col("topics")
    if not attempts.select((topics.list.n_unique() == topics.list.len()).all()).item():
        attempts = attempts.with_columns(topics.list.unique(maintain_order=True))
    return attempts.select("row", "is_correct", "topics").explode("topics", empty_as_null=True)


def _counts(attempts: pl.DataFrame, name: str, out: str | None = None) -> pl.DataFrame:
    """Attempts by one of their names, as `COUNTS` a session, the name that was attempted first first."""
    counted = (
        attempts.filter(pl.col(name).is_not_null())
        .group_by("row", name, maintain_order=True)
        .agg(attempted=pl.len().cast(pl.Int64), correct=pl.col("is_correct").sum().cast(pl.Int64))
        .with_columns(accuracy=_percent(pl.col("correct"), pl.col("attempted")))
    )
    one = pl.struct(pl.col(name).alias("name"), "attempted", "correct", "accuracy")
    return counted.group_by("row").agg(one.alias(out or name).cast(COUNTS.inner))


# -- documents ---------------------------------------------------------------------------------------------------------


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

    In: sessions as read, attempts (`completed`), users (`username`, `user`): those of the names and ids in question. Out: `row`,
    `SESSION_COLUMNS` but the partition, and `stored_…`: score, attempted, ms, seconds, minutes.
    """
    several = attempts.group_by("row").agg(
        pl.col(name).any()
        for name in (
            "unusable", "odd", "conflict", "old_name", "as_text", "disordered", "gap", "no_seconds", "unknown_problem",
            "missing_answer", "unknown_topic",
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
    return ~says(name) | (_is(name, _TEXT) & pl.col(name).is_in(_NO_ONE).fill_null(False))


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
        *(_odd_text(name) for name in ("session_id", "username", "contest")),
        *(says(name) & ~_is(name, _TEXT) for name in ("session_status", "mode")),
        *(says(f"{name}_at") & pl.col(name).is_null() for name in ("created", "completed")),
        *(~_is(name, _TEXT, _OBJECT_ID, *_NOTHING) for name in ("user_id", "userId", "_user_id")),
        ~_is("shuffle", _BOOL, *_NOTHING),
        _odd_number("year", whole=True),
        *(_odd_number(name) for name in numbers),
        says("problems_attempted") & ~_is("problems_attempted", _ARRAY),
        *(~_is(name, _DOCUMENT, *_NOTHING) for name in _METRICS),
        ~_is(UPDATED, _DATE, _TEXT, *_NOTHING),
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
    as_text = [_is(name, _TEXT) for name in ("year", "score", "total_attempted", "attempted", *_TIMES, "totalTime")]
    return {
        "incomplete": pl.any_horizontal(*worked_out, *by_alias, no_user),
        "old_name": has_alias | _any("old_name"),
        "attempt_incomplete": (pl.col("fills").list.len() > 0) | _any("no_seconds"),
        "field_order": ~pl.col("ordered"),
        "attempt_order": _any("disordered"),
        "number_as_text": pl.any_horizontal(as_text) | _any("as_text"),
        "user_as_text": _is("user_id", _TEXT) & pl.col("user_id").is_in(_NO_ONE),
        "user_found": pl.col("no_user") & pl.col("found_user").is_not_null(),
    }


def _notes() -> dict[str, pl.Expr]:
    return {
        "attempt_gap": _any("gap"),
        "unknown_problem": _any("unknown_problem"),
        "missing_answer": _any("missing_answer"),
        "unknown_topic": _any("unknown_topic"),
        "completed_first": pl.col("completed") < pl.col("created"),
        "user_unknown": pl.col("no_user") & pl.col("found_user").is_null(),
        "user_gone": ~pl.col("no_user") & ~pl.col("is_known"),
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
        "times_differ": two_decimals(ms) != two_decimals(pl.col("total_time_ms")),
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
    return rows.with_columns(
        pl.when(held | (noted & ~wrong)).then(pl.lit("listed")).when(wrong).then(pl.lit("planned"))
        .otherwise(pl.lit("unchanged")).alias("class"),
        reasons=pl.when(held).then("held").when(wrong).then("repairs").otherwise("notes"),
        notes=pl.when(held | ~wrong).then(pl.lit([], dtype=pl.List(pl.String))).otherwise("notes"),
    )  # fmt: skip
