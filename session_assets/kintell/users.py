"""E-mails of a file and the users that have them: asked for in sets, remembered in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl

from session_assets.kintell.facts import ROLES
from session_assets.kintell.model import MISSING_USERS
from session_assets.spill import Buckets

USERS = pl.Schema({"email": pl.String, "id": pl.String})
LookUp = Callable[[pl.Series], pl.DataFrame]
"""Distinct lower-case e-mails in, `USERS` out: those that somebody has."""
_TO_BE = "00000000-0000-0000-0000-000000000000"
_REMEMBERED = 500_000
_BUCKETS = 16


def as_if_created(look_up: LookUp, missing: pl.DataFrame) -> LookUp:
    """A look-up that finds those of a `MISSING_USERS` frame, too."""
    created = missing.select(pl.col("email").unique(), id=pl.lit(_TO_BE))

    def found(emails: pl.Series) -> pl.DataFrame:
        known = look_up(emails)
        return pl.concat(
            [known, created.filter(pl.col("email").is_in(emails.implode())).join(known, on="email", how="anti")]
        )

    return found


class Directory:
    """Who has which e-mail. Each e-mail is asked for once, as long as there are not too many."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._known = pl.DataFrame(schema=USERS)  # id null: nobody

    def find(self, emails: pl.Series) -> pl.DataFrame:
        """`USERS` with at least these e-mails, each once; `id` is null where nobody has one."""
        wanted = emails.alias("email").to_frame()
        unknown = wanted.join(self._known, on="email", how="anti")
        if unknown.height:
            found = self._look_up(unknown["email"]).select(USERS.names()).cast(pl.Schema(USERS))
            answered = unknown.join(found.unique("email"), on="email", how="left")
            if self._known.height > _REMEMBERED:
                self._known = wanted.join(self._known, on="email", how="inner")
            self._known = pl.concat([self._known, answered])
        return self._known


class MissingUsers:
    """Counts of the rows that name an e-mail which nobody has."""

    def __init__(self, folder: Path) -> None:
        self._buckets = Buckets(folder, "missing", _BUCKETS, "email", MISSING_USERS)

    def add(self, frame: pl.DataFrame) -> None:
        """Count in typed rows with the ids of their users."""
        for role in ROLES:
            email = f"{role}_email"
            found = frame.filter(f"{role}_not_found").group_by(email).agg(rows=pl.len().cast(pl.Int64))
            self._buckets.add(found.select(pl.col(email).alias("email"), pl.lit(role).alias("role"), "rows"))

    def close(self) -> None:
        self._buckets.close()

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Frames of `MISSING_USERS`, each e-mail and role in one of them."""
        for part in self._buckets:
            if part.height:
                yield part.group_by("email", "role").agg(pl.col("rows").sum()).sort("email", "role")
