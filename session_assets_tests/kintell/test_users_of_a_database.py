"""Users found by e-mail whatever its case and blanks, and created on request."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from session_assets.cli.files import partition_of
from session_assets.errors import PlanRefused, UsageError
from session_assets.kintell.attempt import Options
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job
from session_assets.kintell.model import MISSING_USERS
from session_assets.stores.kintell_users import Users
from session_assets_tests.kintell.files import Row, clean, write
from session_assets_tests.kintell.scenario import Kintell


def find(kintell: Kintell, *emails: str) -> dict[str, str]:
    """Stored e-mail of the user that each e-mail finds."""
    stored = dict(kintell.all("SELECT id::text, email FROM users"))
    with Users(kintell.database) as users:
        first = users(pl.Series(emails, dtype=pl.String))
        assert users(pl.Series(emails, dtype=pl.String)).sort("email").equals(first.sort("email"))
    return {email: stored[user] for email, user in first.iter_rows()}


def add(kintell: Kintell, *emails: str) -> None:
    with kintell.connect() as connection, connection.cursor() as cursor:
        cursor.executemany("INSERT INTO users (email, role) VALUES (%s, 'participant')", [(one,) for one in emails])


def test_case_and_blanks_do_not_matter(kintell: Kintell) -> None:
    add(kintell, " Mary.Jane@Example.com\t", "STRASSE@example.com", "Müller@example.com", "GROẞ@example.com")
    assert find(kintell, "mary.jane@example.com", "strasse@example.com", "müller@example.com", "groß@example.com") == {
        "mary.jane@example.com": " Mary.Jane@Example.com\t",
        "strasse@example.com": "STRASSE@example.com",
        "müller@example.com": "Müller@example.com",
        "groß@example.com": "GROẞ@example.com",
    }
    assert find(kintell, "gross@example.com", "straße@example.com") == {}, "another letter is another person"
    assert find(kintell, "nobody@example.com") == {}
    assert find(kintell) == {}


def test_of_users_that_differ_in_case_only_the_lower_one_is_meant(kintell: Kintell) -> None:
    with kintell.connect() as connection:
        connection.execute('ALTER TABLE users ALTER email TYPE varchar(255) COLLATE "POSIX"')
    add(
        kintell,
        "Two@example.com",
        "two@example.com",
        "Amb@example.com",
        "AMB@example.com",
        "Ö@example.com",
        "ö@example.com",
    )
    assert find(kintell, "two@example.com", "amb@example.com", "ö@example.com") == {
        "two@example.com": "two@example.com",
        "ö@example.com": "ö@example.com",
    }


def test_missing_users_are_created_once_with_their_roles(kintell: Kintell) -> None:
    add(kintell, "Known@example.com", "Größe@example.com")
    missing = pl.DataFrame(
        [
            ("new@example.com", "volunteer", 3),
            ("both@example.com", "volunteer", 1),
            ("both@example.com", "participant", 1),
            ("known@example.com", "participant", 1),
            ("größe@example.com", "participant", 1),
            ("grösse@example.com", "participant", 1),
        ],
        schema=MISSING_USERS,
        orient="row",
    )
    for expected in (3, 0):
        with Users(kintell.database) as users:
            assert users.create(missing) == expected
    created = kintell.all(
        "SELECT email, role, password_hash FROM users WHERE email LIKE 'new%%' OR email LIKE 'both%%' ORDER BY 1"
    )
    assert created == [("both@example.com", "participant", None), ("new@example.com", "volunteer", None)]
    assert find(kintell, "größe@example.com", "grösse@example.com") == {
        "größe@example.com": "Größe@example.com",
        "grösse@example.com": "grösse@example.com",
    }
    assert find(kintell, "new@example.com") == {"new@example.com": "new@example.com"}


def test_users_that_have_more_to_say_are_not_created(kintell: Kintell, imports: Imports, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(1), clean(2, participant_email="new@example.com")])
    taken = imports.take(partition_of(path), path)
    before = kintell.dump()

    def run(alteration: str, *, create: bool = False) -> tuple[int, int]:
        with kintell.connect() as connection:
            connection.execute(alteration.encode())
        job, _ = imports.run(taken, Options(create_users=create), say=print)
        return job.inserted_rows, job.failed_rows

    with pytest.raises(
        UsageError, match=r"^No user was created.*: users.tenant, users.born must be given a value.*--dry-run"
    ):
        run("ALTER TABLE users ADD tenant int NOT NULL DEFAULT 1, ADD born date NOT NULL DEFAULT now();"
            "ALTER TABLE users ALTER tenant DROP DEFAULT, ALTER born DROP DEFAULT", create=True)  # fmt: skip
    with pytest.raises(UsageError, match=r'^No user was created.*: the table users refuses one: .*"company"'):
        run("ALTER TABLE users DROP tenant, DROP born; ALTER TABLE users ADD CONSTRAINT company"
            " CHECK (email NOT LIKE 'new@%') NOT VALID", create=True)  # fmt: skip
    assert kintell.dump() | {"jobs": []} == before
    assert run("SELECT") == (1, 1)
    with kintell.connect() as connection, pytest.raises(UsageError, match="No user was created"):
        connection.execute(
            "ALTER TABLE users ADD tenant int; UPDATE users SET tenant = 1; ALTER TABLE users ALTER tenant SET NOT NULL"
        )
        imports.create_users(imports.missing_users(taken.partition))


def test_nobody_is_created_for_an_import_that_is_refused(kintell: Kintell, imports: Imports, tmp_path: Path) -> None:
    new = [clean(n, participant_email=f"new{n}@example.com") for n in range(8)]

    def run(name: str, *bad: Row, most: float) -> Job:
        path = write(tmp_path / name, [*new, *bad])
        options = Options(create_users=True, max_rejected_share=most)
        return imports.run(imports.take(partition_of(path), path), options, say=print)[0]

    users = "SELECT count(*) FROM users"
    before = kintell.one(users)
    with pytest.raises(PlanRefused, match=r"2 of 10 rows \(20.0%\) would be rejected"):
        run("a.csv", clean(8, rating="9"), clean(9, rating="9", participant_email="new9@example.com"), most=0.1)
    assert (kintell.one(users), kintell.one("SELECT count(*) FROM kintell_sessions")) == (before, 0)
    status, reason = kintell.one("SELECT status, reason FROM backfill_jobs")
    assert status == "failed" and "would be rejected" in reason
    assert (run("b.csv", most=0).inserted_rows, kintell.one(users)) == (8, before + 8)
