"""The table of canonical users: what each e-mail of auth resolves to. Pure Polars, no I/O."""

from __future__ import annotations

import polars as pl

from session_assets.identity.lookup import folded, resolve

CANONICAL_USERS = pl.Schema(
    {
        "email": pl.String,  # as auth has it
        "folded": pl.String,  # as it is compared where it is not found exactly
        "auth_id": pl.String,
        "resolution": pl.String,  # email_resolved, auth_id_not_guid, ambiguous_email, not_an_email
        "user_id": pl.String,  # the GUID in lower case, where there is one
    }
)


def canonical_users(auth: pl.DataFrame) -> pl.DataFrame:
    """`AUTH_COLUMNS` → `CANONICAL_USERS`, one row a record."""
    found = resolve(auth["email"], auth)
    return (
        auth.with_columns(found["resolution"], found["guid"].alias("user_id"), folded(auth["email"]).alias("folded"))
        .sort("email", "auth_id")
        .select(CANONICAL_USERS.names())
    )
