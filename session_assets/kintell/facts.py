"""What each record says, typed, and every reason why it cannot be imported. Pure Polars, no I/O.

Rules: seed S4 and its fact sheet. Columns of the frames are described in `model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from session_assets.kintell.dates import moments
from session_assets.kintell.model import (
    ACCEPTED,
    FUTURE_DAYS,
    LANGUAGE_LEVELS,
    LONGEST_DURATION,
    LONGEST_TEXT,
    OLDEST_YEAR,
    RATING,
    REASONS,
    REJECTED,
    SESSION_TYPES,
)

_ATOM = r"[\p{L}\p{N}!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[\p{L}\p{N}](?:[\p{L}\p{N}-]*[\p{L}\p{N}])?"
EMAIL = rf"^{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}$"
_WITH_COMMA = r"^[0-9]+,[0-9]+$"
_WITH_FRACTION = r"^[0-9]+[.,][0-9]+$"
_RATING = r"^0*([1-5])(?:\.([0-9]+))?$"
ROLES = ("participant", "volunteer")
_CONTENT = ACCEPTED.names()[3:6] + ACCEPTED.names()[8:]  # what a row says besides its id; not the ids of its users
_SHOWN = 200  # characters of a value in a message

_VALUES = {
    "session_type_unknown": "session_type",
    "date_invalid": "date",
    "date_without_offset": "date",
    "date_not_in_zone": "date",
    "duration_invalid": "duration_min",
    "duration_with_fraction": "duration_min",
    "rating_invalid": "rating",
    "rating_with_comma": "rating",
    "language_level_invalid": "language_level",
    "participant_not_found": "participant_email",
    "volunteer_not_found": "volunteer_email",
    "duplicate_in_file": "other_row",
}
"""The column of the row whose value is in a reason's text."""
_SHOWN_COLUMNS = sorted(set(_VALUES.values()) - {"other_row"})


def type_rows(
    records: pl.DataFrame, known: Mapping[str, int], extras: Mapping[str, int], timezone: str | None = None
) -> pl.DataFrame:
    """Typed values of records, and a Boolean column named as the reason for each thing that is wrong with one.

    In: `drops.split.RECORDS`; places of known and of unknown columns; the time zone of dates that have no offset, if it is known.
    Out: its columns, those of `ACCEPTED` but the ids of users, and the reasons that follow from the record alone. A value
    that is wrong is null.
    """
    values = records.select(
        pl.col("fields").list.get(place, null_on_oob=True).alias(name) for name, place in known.items()
    )
    texts = {name: values[name].str.strip_chars() for name in known}
    blank = pl.Series([None], dtype=pl.String).new_from_index(0, records.height)
    ids = values["session_id"]
    emails = {role: _folded(texts[f"{role}_email"]) for role in ROLES}
    feedback = values["feedback_text"] if "feedback_text" in known else blank
    rating = texts.get("rating", blank).replace("", None)
    level = texts.get("language_level", blank).replace("", None).str.to_uppercase()
    scheduled, is_local = moments(texts["date"], timezone)
    typed = records.with_columns(
        external_session_id=ids,
        session_type=texts["session_type"].str.to_lowercase().replace_strict(SESSION_TYPES, default=None),
        scheduled_at=scheduled,
        duration_minutes=_durations(texts["duration_min"]),
        rating=_ratings(rating),
        feedback_text=feedback.replace("", None),
        language_level=pl.when(level.is_in(LANGUAGE_LEVELS)).then(level),
        metadata=_metadata(records["fields"], extras),
        **{f"{role}_email": emails[role] for role in ROLES},
        **{f"shown_{name}": texts.get(name, blank) for name in _SHOWN_COLUMNS},
    )
    has_comma = rating.str.contains(_WITH_COMMA)
    has_fraction = texts["duration_min"].str.contains(_WITH_FRACTION)
    frame = typed.with_columns(
        session_id_missing=texts["session_id"] == "",
        session_id_too_long=ids.str.len_chars() > LONGEST_TEXT,
        session_type_unknown=_is_wrong(typed["session_type"], texts["session_type"]),
        participant_email_invalid=_is_no_email(emails["participant"]),
        volunteer_email_invalid=_is_no_email(emails["volunteer"]),
        date_invalid=_is_wrong(scheduled, texts["date"]) & ~is_local,
        date_without_offset=is_local & (timezone is None),
        date_not_in_zone=is_local & scheduled.is_null() & (timezone is not None),
        duration_invalid=_is_wrong(typed["duration_minutes"], texts["duration_min"]) & ~has_fraction,
        duration_with_fraction=has_fraction,
        rating_invalid=_is_wrong(typed["rating"], rating) & ~has_comma,
        rating_with_comma=has_comma,
        language_level_invalid=_is_wrong(typed["language_level"], level),
        **{reason.name: pl.col("problem") == reason.name for reason in REASONS if reason.of_record},
    )
    flags = [reason.name for reason in REASONS if reason.name in frame.columns]
    return frame.with_columns(pl.col(flags).fill_null(False))


def with_users(frame: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """The ids of both users of each row, and the reasons that they are not there.

    In: `type_rows`; `users` with `email` (lower case, each once) and `id`. An e-mail that is none is not looked up.
    """
    for role in ROLES:
        email, absent = f"{role}_email", pl.col(f"{role}_id").is_null()
        known = users.select(pl.col("email").alias(email), pl.col("id").alias(f"{role}_id"))
        frame = frame.join(known, on=email, how="left", maintain_order="left")
        is_email = pl.col(email).is_not_null() & ~pl.col(f"{role}_email_invalid")
        frame = frame.with_columns((absent & is_email).alias(f"{role}_not_found"))
    return frame


def asked_emails(frame: pl.DataFrame) -> pl.Series:
    """The distinct e-mails of typed rows that can be looked up."""
    both = [frame.filter(~pl.col(f"{role}_email_invalid"))[f"{role}_email"].drop_nulls() for role in ROLES]
    return pl.concat(both).unique().alias("email")


def identities(frame: pl.DataFrame) -> pl.DataFrame:
    """What tells whether two rows of a file have the same id, and say the same.

    In: `with_users`. Out: `external_session_id`, `row`, `valid` (no reason against it so far), and 128 bits of a hash of what
    it says, in `high` and `low`. Rows that are not valid say what stands in the file, exactly.
    """
    wrong = pl.any_horizontal(pl.col(_present(frame)))
    values = pl.when(wrong).then(pl.col("fields").list.join("\0"))  # no value holds NUL
    parts = [*(pl.col(name) for name in _CONTENT), values]
    return frame.filter(pl.col("external_session_id").str.strip_chars() != "").select(
        "external_session_id",
        "row",
        valid=~wrong,
        high=_hash(parts, 0),
        low=_hash(parts, len(parts)),
    )


def with_duplicates(frame: pl.DataFrame, verdicts: pl.DataFrame) -> pl.DataFrame:
    """Whether a row repeats an earlier one (`repeated`), or contradicts another (`duplicate_in_file`, `other_row`).

    In: `with_users`; `verdicts` with `row` and `other` (null: it repeats).
    """
    found = verdicts.select("row", pl.col("other").alias("other_row"), pl.lit(True).alias("repeated"))
    return frame.join(found, on="row", how="left", maintain_order="left").with_columns(
        duplicate_in_file=pl.col("other_row").is_not_null(),
        repeated=pl.col("repeated").fill_null(False) & pl.col("other_row").is_null(),
    )


def split(frame: pl.DataFrame, own: Sequence[int]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Accepted (`ACCEPTED`), rejected (`REJECTED`) and skipped (`SKIPPED_IN_FILE`) rows: each row is in one of them.

    In: `with_duplicates`; the places of the columns that the source has. A row that repeats a rejected one is rejected.
    """
    flags = _present(frame)
    wrong = frame.select(pl.any_horizontal(pl.col(flags))).to_series()
    rejected = frame.filter(wrong)
    good = frame.filter(~wrong)
    accepted = good.filter(~pl.col("repeated")).select(ACCEPTED.names())
    skipped = good.filter(pl.col("repeated")).select("row", "line")
    return accepted, _rejected(rejected, flags, own), skipped


def count_oddities(frame: pl.DataFrame, now: datetime) -> dict[str, int]:
    """How many rows without a reason against them are odd, as `model.ODDITIES` has it. In: `with_users`."""
    counts = (
        frame.filter(~pl.any_horizontal(pl.col(_present(frame))))
        .select(
            date_in_future=(pl.col("scheduled_at") > now + timedelta(days=FUTURE_DAYS)).sum(),
            date_too_old=(pl.col("scheduled_at").dt.year() < OLDEST_YEAR).sum(),
            same_person=(pl.col("participant_id") == pl.col("volunteer_id")).sum(),
        )
        .row(0, named=True)
    )
    return {name: int(count) for name, count in counts.items() if count}


def count_reasons(frame: pl.DataFrame) -> dict[str, int]:
    """How many rows of a typed frame have each reason."""
    counts = frame.select(pl.col(_present(frame)).sum()).row(0, named=True)
    return {name: int(count) for name, count in counts.items() if count}


def _rejected(frame: pl.DataFrame, flags: Sequence[str], own: Sequence[int]) -> pl.DataFrame:
    if frame.is_empty():
        return pl.DataFrame(schema=REJECTED)
    reasons = [reason for reason in REASONS if reason.name in flags]
    return frame.select(
        "row",
        "line",
        fields=pl.col("fields").list.gather([*own], null_on_oob=True),
        raw="raw",
        reasons=pl.concat_list([pl.when(one.name).then(pl.lit(one.name)) for one in reasons]).list.drop_nulls(),
        message=pl.concat_str(
            [*(pl.when(one.name).then(_text(one.name, one.text)) for one in reasons), _lines_held()],
            separator="; ",
            ignore_nulls=True,
        ),
    )


def _lines_held() -> pl.Expr:
    """Of a record of several lines that could not be split, their number."""
    return pl.when(pl.col("raw").is_not_null() & (pl.col("lines") > 1)).then(pl.format("it holds {} lines", "lines"))


def _text(name: str, text: str) -> pl.Expr:
    column = _VALUES.get(name)
    if column is None:
        return pl.lit(text)
    before, after = text.split("{}")
    value = pl.col(column).cast(pl.String) if column == "other_row" else _shortened(f"shown_{column}")
    return pl.concat_str([pl.lit(before), value, pl.lit(after)])


def _present(frame: pl.DataFrame) -> list[str]:
    return [reason.name for reason in REASONS if reason.name in frame.columns]


def _hash(parts: Sequence[pl.Expr], seed: int) -> pl.Expr:
    """The hash of several columns; each has a seed of its own, so that none stands for another."""
    mixed = pl.lit(0, dtype=pl.UInt64)
    for place, part in enumerate(parts, 1):
        mixed = mixed ^ part.hash(seed + place)
    return mixed


def _shortened(column: str) -> pl.Expr:
    text = pl.col(column).replace("", "(blank)")
    return pl.when(text.str.len_chars() > _SHOWN).then(text.str.head(_SHOWN) + "…").otherwise(text)


def _is_wrong(typed: pl.Series, text: pl.Series) -> pl.Series:
    return typed.is_null() & text.is_not_null()


def _folded(emails: pl.Series) -> pl.Series:
    """E-mails in lower case; beyond ASCII in Python's, which is that of the users. Never casefolded: ß is not ss."""
    beyond = emails.filter(emails.str.len_bytes() != emails.str.len_chars()).unique()
    if not beyond.is_empty():
        emails = emails.replace(beyond, pl.Series([email.lower() for email in beyond], dtype=pl.String))
    return emails.str.to_lowercase()


def _is_no_email(emails: pl.Series) -> pl.Series:
    return ~emails.str.contains(EMAIL) | (emails.str.len_chars() > LONGEST_TEXT)


def _durations(texts: pl.Series) -> pl.Series:
    """Whole minutes from 1 on; null for anything else."""
    digits = texts.set(~texts.str.contains(r"^[0-9]{1,18}$"), None).cast(pl.Int64)
    return digits.set(~digits.is_between(1, LONGEST_DURATION), None).cast(pl.Int32)


def _ratings(texts: pl.Series) -> pl.Series:
    """1–5 as 0–1: (r − 1) / 4, half up at two decimals; null for anything else.

    Halves lie at ratings of two decimals, so digits beyond the second never change the result, except that 5.001 is above 5.
    """
    distinct = texts.unique().alias("text").to_frame()
    whole, fraction = (pl.col("text").str.extract(_RATING, group) for group in (1, 2))
    digits = fraction.fill_null("").str.strip_chars_end("0")
    hundredths = whole.cast(pl.Int32) * 100 + digits.str.head(2).str.pad_end(2, "0").cast(pl.Int32)
    is_inside = (hundredths < 500) | (digits == "")
    scaled = pl.when(is_inside).then(((hundredths - 100) * 25 + 50) // 100)
    rating = pl.concat_str(scaled // 100, pl.lit("."), (scaled % 100).cast(pl.String).str.pad_start(2, "0"))
    known = distinct.with_columns(rating=rating.cast(RATING))
    return texts.alias("text").to_frame().join(known, on="text", how="left", maintain_order="left")["rating"]


def _metadata(fields: pl.Series, extras: Mapping[str, int]) -> pl.Series:
    """Unknown columns as one JSON object a row; null for a record that could not be split, which takes no room for them."""
    if not extras:
        return pl.Series([None], dtype=pl.String).new_from_index(0, fields.len())
    split = fields.is_not_null()
    values = [pl.col("fields").list.get(place, null_on_oob=True).alias(name) for name, place in extras.items()]
    texts = fields.filter(split).alias("fields").to_frame().select(pl.struct(values).struct.json_encode()).to_series()
    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, fields.len())
    return texts if split.all() else nothing.scatter(split.arg_true(), texts)
