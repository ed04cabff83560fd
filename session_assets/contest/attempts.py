"""Attempts as stored: under their new names, what is wrong with each, and completed from their problems. Pure Polars, no I/O."""

from __future__ import annotations

import polars as pl

from session_assets.contest.bson_types import ARRAY, BOOL, NOTHING, TEXT, has_type, odd_number, odd_text, says
from session_assets.contest.model import ATTEMPT_ALIASES


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
        has_answer=has_type("correct_answer", TEXT) & (pl.col("correct_answer") != ""),
        unusable=~(new_flag | old_flag) | ~(new_time | old_time),
        odd=~pl.col("is_document").fill_null(False)
        | odd_number("time_spent_ms")
        | odd_number("time_spent")
        | odd_number("time_spent_seconds")
        | odd_number("problem_number", whole=True)
        | ~has_type("is_correct", BOOL, *NOTHING)
        | ~has_type("correct", BOOL, *NOTHING)
        | odd_text("correct_answer")
        | odd_text("difficulty")
        | _has_nul(pl.col("difficulty")).fill_null(False)
        | ~has_type("topics", ARRAY, *NOTHING)
        | topics.list.eval(pl.element().is_null() | _has_nul(pl.element())).list.any(),
        conflict=(new_time & old_time & ms.ne_missing(pl.col("time_spent")))
        | (new_flag & old_flag & pl.col("is_correct").ne_missing(pl.col("correct"))),
        old_name=pl.any_horizontal(pl.col(f"{alias}_type") != 0 for alias in ATTEMPT_ALIASES),
        as_text=pl.any_horizontal(
            has_type(name, TEXT) for name in ("problem_number", "time_spent_ms", "time_spent", "time_spent_seconds")
        ),
        disordered=~pl.col("ordered"),
        gap=~says("problem_number")
        | pl.any_horizontal(pl.col(f"{name}_type") == 0 for name in ("problem_id", "selected_answer"))
        | (pl.col("attempt_timestamp_type") == 0) & (pl.col("timestamp_type") == 0),
        no_seconds=~says("time_spent_seconds"),
    ).with_columns(pl.col("odd").fill_null(False))


def _has_nul(text: pl.Expr) -> pl.Expr:
    return text.str.contains("\0", literal=True)


def contest_ids(sessions: pl.DataFrame) -> pl.DataFrame:
    """`row` and `contest_id` as problems have it: `AMC 10A` of 2022 is `AMC10A_2022`."""
    year = pl.col("year").cast(pl.Int64, strict=False).cast(pl.String)
    return sessions.select("row", contest_id=pl.format("{}_{}", pl.col("contest").str.replace_all(" ", ""), year))


def completed(attempts: pl.DataFrame, contests: pl.DataFrame, problems: pl.DataFrame) -> pl.DataFrame:
    """Attempts (`attempts_of`) with what they lack taken from their problems.

    In: `contest_ids`, and problems as read. Adds `filled_…` for answer, difficulty and topics (null where nothing was lacking, or
    nothing is known), and the booleans `unknown_problem`, `unknown_contest` (no problem of the contest is known at all),
    `missing_answer`, `unknown_topic`. Problems that occur twice and differ are not known, nor are topics and difficulties that
    cannot be names of fields, since they hold a NUL.
    """
    lacking = pl.any_horizontal(~pl.col("has_answer"), pl.col("difficulty").is_null(), pl.col("topics").is_null())
    known = problems.select(
        "contest_id",
        number="problem_number",
        p_answer=pl.coalesce(pl.col("answer").replace("", None), pl.col("correct_answer").replace("", None)),
        p_difficulty=pl.when(~_has_nul(pl.col("difficulty"))).then(pl.col("difficulty").replace("", None)),
        p_topics=pl.when(
            (pl.col("topics").list.len() > 0)
            & ~pl.col("topics").list.eval(pl.element().is_null() | _has_nul(pl.element())).list.any()
        ).then("topics"),
    ).unique()
    contests_known = known.drop_nulls(["contest_id", "number"])["contest_id"].unique()
    known = known.filter(pl.len().over("contest_id", "number") == 1).with_columns(known=pl.lit(True))
    joined = attempts.join(contests, on="row", how="left").join(known, on=["contest_id", "number"], how="left")
    answer = pl.when(~pl.col("has_answer")).then("p_answer")
    difficulty = pl.when(pl.col("difficulty").is_null()).then("p_difficulty")
    topics = pl.when(pl.col("topics").is_null()).then("p_topics")
    found = pl.col("known").fill_null(False)
    has_contest = pl.col("contest_id").is_in(contests_known.implode()).fill_null(False)
    return joined.with_columns(
        filled_answer=answer,
        filled_difficulty=difficulty,
        filled_topics=topics,
        unknown_problem=lacking & ~found & has_contest,
        unknown_contest=lacking & ~found & ~has_contest,
        missing_answer=found & ~pl.col("has_answer") & pl.col("p_answer").is_null(),
        unknown_topic=found
        & (pl.coalesce("difficulty", "p_difficulty").is_null() | pl.coalesce("topics", "p_topics").is_null()),
        difficulty=pl.coalesce("difficulty", "p_difficulty"),
        topics=pl.coalesce("topics", "p_topics"),
    ).drop("known", "p_answer", "p_difficulty", "p_topics", "contest_id")
