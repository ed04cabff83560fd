"""Users by e-mail, looked up in one set-based query at a time, and created on request."""

from __future__ import annotations

import polars as pl
import psycopg

from session_assets.errors import UsageError
from session_assets.masking import safe_text
from session_assets.stores.kintell_refusals import REFUSALS
from session_assets.stores.kintell_schema import Schema
from session_assets.stores.postgres import Database, lock_key

FOUND = pl.Schema({"email": pl.String, "id": pl.String})
# Compared and folded by characters, whatever the collation of the column: a Turkish one makes another letter of `I`.
_EMAIL = 'email COLLATE "C"'
_BLANKS = r"E' \t\n\r\f\v'"
_ASCII = rf"{_EMAIL} !~ '[^\x01-\x7f]'"
_FOLD = f"""
    CREATE TEMP TABLE folded AS
        SELECT fold AS email, (array_agg(id ORDER BY {_EMAIL} <> fold, id))[1] AS id,
            count(*) FILTER (WHERE {_EMAIL} = fold) AS exact, count(*) AS found
        FROM (SELECT id, email, lower(btrim({_EMAIL}, {_BLANKS})) AS fold FROM users WHERE {_ASCII}) AS u GROUP BY 1;
    CREATE INDEX ON folded (email);
    ANALYZE folded
"""
_OTHERS = f"SELECT email, id::text FROM users WHERE NOT ({_ASCII})"
_CREATE = f"""
    INSERT INTO users (id, email, role)
    SELECT DISTINCT ON (w.email) gen_random_uuid(), w.email, w.role FROM wanted w
    WHERE NOT EXISTS (SELECT FROM users u WHERE lower(btrim(u.{_EMAIL}, {_BLANKS})) = w.email)
    ORDER BY w.email, w.role
    ON CONFLICT DO NOTHING
"""


class Users:
    """A look at the users as they were when it was opened; close it with the import.

    E-mails are compared trimmed and without case. Where several users differ in case only, the one stored in lower case is
    meant; without such a one the e-mail counts as not found, since nobody can say who is meant.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection = database.connect("kintell users")
        with database.attempting():
            self._connection.execute(_FOLD)
            self._connection.execute("CREATE TEMP TABLE wanted (email text, role text)")
            others = pl.DataFrame(self._connection.execute(_OTHERS).fetchall(), schema=FOUND, orient="row")
        folded = others.with_columns(
            pl.Series("email", [_folded(email) for email in others["email"]], dtype=pl.String), stored=pl.col("email")
        )
        self._taken = folded["email"].unique()
        self._others = _unambiguous(folded)

    def __call__(self, emails: pl.Series) -> pl.DataFrame:
        """`email` as given (lower case), `id` (lower-case uuid) of the users that exist; others are left out."""
        with self._database.attempting():
            self._wanted(pl.DataFrame({"email": emails.unique(), "role": None}, schema_overrides={"role": pl.String}))
            rows = self._connection.execute(
                "SELECT w.email, f.id::text FROM wanted w JOIN folded f USING (email) WHERE f.exact = 1 OR f.found = 1"
            ).fetchall()
        ascii_ones = pl.DataFrame(rows, schema=FOUND, orient="row")
        others = self._others.filter(pl.col("email").is_in(emails.unique().implode()))
        return pl.concat([ascii_ones, others]).unique("email", keep="first", maintain_order=True)

    def create(self, missing: pl.DataFrame) -> int:
        """Create the users of a `MISSING_USERS` frame that still do not exist, with their roles; returns how many.

        An e-mail that is missing in both roles becomes a participant. They have no name and no password: inviting them is
        the user management's work. Raises `UsageError`, with none created, where the table wants more than that.
        """
        wanted = missing.select("email", "role").filter(~pl.col("email").is_in(self._taken.implode()))
        with self._database.attempting():
            _require_creatable(self._connection)
            try:
                with self._connection.transaction():
                    self._wanted(wanted)
                    self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock_key("kintell.users")])
                    return self._connection.execute(_CREATE).rowcount
            except REFUSALS as error:
                raise _not_created(f"the table users refuses one: {safe_text(error.diag.message_primary)}") from None

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Users:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wanted(self, frame: pl.DataFrame) -> None:
        self._connection.execute("TRUNCATE wanted")
        with self._connection.cursor().copy("COPY wanted FROM STDIN (FORMAT csv)") as copy:
            copy.write(frame.write_csv(include_header=False, quote_style="non_numeric").encode())


def require_creatable(database: Database) -> None:
    """Raises `UsageError` where a user has more to say than an e-mail and a role."""
    with database.connected("kintell users") as connection:
        _require_creatable(connection)


def _require_creatable(connection: psycopg.Connection) -> None:
    if unknown := Schema(connection).unknown_required("users"):
        raise _not_created(f"{', '.join(unknown)} must be given a value, and an e-mail does not tell it")


def _not_created(why: str) -> UsageError:
    return UsageError(
        f"No user was created, and nothing was imported: {why}. Give such columns a default or allow NULL. Or create the users"
        " yourself, as kintell/missing_users and `session-assets import FILE --dry-run` list them, and import without creating."
    )


def _folded(email: str) -> str:
    return email.strip().lower()


def _unambiguous(users: pl.DataFrame) -> pl.DataFrame:
    """Of users with the same folded e-mail, the one that is stored so; none where that does not tell."""
    exact = pl.col("stored") == pl.col("email")
    alone = pl.len().over("email") == 1
    return users.filter(alone | (exact & (exact.sum().over("email") == 1))).select(FOUND.names())
