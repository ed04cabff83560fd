"""Dates of a file as moments: ISO 8601 with an offset, or in a time zone that is told. Pure Polars, no I/O."""

from __future__ import annotations

import polars as pl

_USUAL_DATE = r"^[0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-5][0-9]Z$"
_DATE = (
    r"^(?:(?P<year>[0-9]{4})-(?P<month>[0-9][0-9])-(?P<day>[0-9][0-9])[Tt](?P<clock>[0-9][0-9]:[0-9][0-9](?::[0-5][0-9])?)"
    r"|(?P<basic>[0-9]{8}[Tt][0-9][0-9][0-9][0-9][0-5][0-9]))"
    r"(?:[.,](?P<fraction>[0-9]{1,9}))?(?P<zone>[Zz]|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?)$"
)
_LOCAL = _DATE[: _DATE.rindex("(?P<zone>")] + "$"


def moments(texts: pl.Series, timezone: str | None) -> tuple[pl.Series, pl.Series]:
    """ISO 8601 date-times, extended or basic, as UTC, cut to microseconds; null for anything else.

    And which of them are local times: they have no offset. With a time zone they are moments, too, but for those that happen
    twice or never there.
    """
    usual = texts.str.contains(_USUAL_DATE)
    found = texts.set(~usual, None).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", strict=False)
    found = found.dt.replace_time_zone("UTC")
    is_local = pl.repeat(False, texts.len(), eager=True)
    if not usual.all():
        found = pl.select(pl.coalesce(found, _unusual(texts.set(usual, None)))).to_series()
        without = texts.str.contains(_LOCAL)
        if without.any():
            local = _unusual(texts.set(~without, None) + "Z")
            is_local = local.is_not_null()
            if timezone is not None:
                in_zone = local.dt.replace_time_zone(timezone, ambiguous="null", non_existent="null")
                found = pl.select(pl.coalesce(found, in_zone.dt.convert_time_zone("UTC"))).to_series()
    return found.set(~found.dt.year().is_between(1, 9999), None), is_local


def _unusual(texts: pl.Series) -> pl.Series:
    """Moments of texts with fractions, offsets, without seconds, or in the basic format."""
    parts = texts.str.extract_groups(_DATE).struct
    part = {name: parts.field(name) for name in ("year", "month", "day", "clock", "basic", "fraction", "zone")}
    basic = part["basic"].str.to_uppercase()
    day = pl.coalesce(
        pl.concat_str(part["year"], pl.lit("-"), part["month"], pl.lit("-"), part["day"]),
        pl.concat_str(basic.str.slice(0, 4), pl.lit("-"), basic.str.slice(4, 2), pl.lit("-"), basic.str.slice(6, 2)),
    )
    clock = pl.coalesce(
        part["clock"],
        pl.concat_str(basic.str.slice(9, 2), pl.lit(":"), basic.str.slice(11, 2), pl.lit(":"), basic.str.slice(13, 2)),
    )
    seconds = pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)
    digits = part["zone"].str.replace("^[Zz]$", "+0000").str.replace_all(":", "")
    zone = pl.when(digits.str.len_chars() == 3).then(digits + "00").otherwise(digits)
    of_minutes = (clock.str.len_chars() == 5) & part["fraction"].is_not_null()  # `10:00.5` is half a minute: not taken
    fraction = pl.when(~of_minutes).then(part["fraction"].fill_null("0"))
    whole = pl.concat_str(day, pl.lit("T"), seconds, pl.lit("."), fraction, zone)
    return pl.select(whole.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", time_unit="us", strict=False)).to_series()
