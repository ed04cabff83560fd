"""What lies between two attempts of an import: the private copy of its file, and how it was read."""

from __future__ import annotations

import dataclasses
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from session_assets.cli.files import partition_of
from session_assets.errors import LockHeld, SessionAssetsError, UsageError
from session_assets.failpoints import FailpointRaised
from session_assets.graph.environment import Environment
from session_assets.kintell.assets import open_imports
from session_assets.kintell.attempt import Options
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job, Source, SourceChanged
from session_assets.stores.kintell_revert import Undo
from session_assets_tests.conftest import with_database
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell

Run = Callable[..., Job]


@pytest.fixture
def run(imports: Imports) -> Run:
    def run(path: Path, **options: str | float) -> Job:
        taken = imports.take(partition_of(path), path)
        return imports.run(taken, Options(**{"batch_size": 2, **options}), say=print)[0]  # pyright: ignore[reportArgumentType]

    return run


@pytest.fixture
def latin_1(tmp_path: Path) -> Path:
    path = write(tmp_path / "a.csv", [clean(n, feedback_text=f"très bien {n}", date="" if n == 5 else "2024-01-15T10:00:00Z")
        for n in range(6)])  # fmt: skip
    path.write_bytes(path.read_text().encode("latin-1"))
    return path


def interrupted(run: Run, path: Path, monkeypatch: pytest.MonkeyPatch, **options: str | int) -> None:
    """An import that dies after its first batch."""
    with monkeypatch.context() as patch:
        patch.setenv("SESSION_ASSETS_FAILPOINTS", "kintell.committed=raise")
        with pytest.raises(FailpointRaised):
            run(path, **options)


def texts(kintell: Kintell) -> list[str]:
    return [one for (one,) in kintell.all("SELECT feedback_text FROM kintell_sessions ORDER BY external_session_id")]


def test_resume_reads_with_the_encoding_that_the_job_began_with(
    run: Run, latin_1: Path, kintell: Kintell, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(run, latin_1, monkeypatch, encoding="latin-1")
    with pytest.raises(UsageError, match="began with the encoding latin-1"):
        run(latin_1, encoding="cp1252")
    job = run(latin_1, usual_encoding="utf-16", batch_size=3)
    assert (job.status, job.inserted_rows, job.failed_rows) == ("completed", 5, 1)
    assert texts(kintell) == [f"très bien {n}" for n in range(5)]


def test_a_job_of_an_earlier_version_asks_for_the_encoding_that_it_did_not_note(
    run: Run, latin_1: Path, kintell: Kintell, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(run, latin_1, monkeypatch, encoding="latin-1")
    with kintell.connect() as connection:
        connection.execute("UPDATE backfill_jobs SET encoding = NULL")
    with pytest.raises(UsageError, match=r"did not note the encoding.*--encoding E"):
        run(latin_1, usual_encoding="latin-1")
    assert run(latin_1, encoding="latin-1").inserted_rows == 5
    assert texts(kintell) == [f"très bien {n}" for n in range(5)]


def test_a_policy_counts_from_the_first_row_on(
    run: Run, tmp_path: Path, kintell: Kintell, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(write(tmp_path / "a.csv", [clean(n) for n in range(5)]))
    path = write(tmp_path / "b.csv", [clean(n, duration_min="700", rating="" if n else "9") for n in range(6)])
    with pytest.raises(UsageError, match="would be rejected"):
        run(path, max_rejected_share=0.1)
    interrupted(run, path, monkeypatch, policy="skip")
    with pytest.raises(UsageError, match="began with the policy skip: resume it without --policy"):
        run(path, policy="update")
    job = run(path)
    assert (job.inserted_rows, job.updated_rows, job.skipped_rows, job.failed_rows) == (1, 0, 4, 1)
    assert kintell.one("SELECT count(*) FROM kintell_sessions WHERE duration_minutes = 700") == 1


def test_an_encoding_may_be_told_while_nothing_is_imported(run: Run, latin_1: Path) -> None:
    with pytest.raises(UsageError, match="no text encoding"):
        run(latin_1, encoding="undefined")
    assert run(latin_1, encoding="latin-1").inserted_rows == 5


def test_error_file_is_read_as_it_was_written_whatever_its_source_was(
    run: Run, latin_1: Path, imports: Imports, kintell: Kintell, tmp_path: Path
) -> None:
    """KINTELL_ENCODING is set once for all dropped files, and error files are UTF-8."""
    errors = Path(imports.write_errors(run(latin_1, usual_encoding="latin-1")) or "")
    fixed = tmp_path / "fixed.csv"
    fixed.write_text(
        errors.read_text().replace(",mentorship,", ",Mentorship,").replace(",,", ",2024-01-15T10:00:00Z,", 1)
    )
    assert run(fixed, usual_encoding="latin-1").inserted_rows == 1
    assert "très bien 5" in texts(kintell)


def test_private_copy_that_was_changed_is_not_imported(
    run: Run, imports: Imports, tmp_path: Path, kintell: Kintell, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(6)])
    interrupted(run, path, monkeypatch)
    taken = imports.taken(partition_of(path))
    assert taken is not None
    copy = Path(taken.copy)
    copy.write_bytes(copy.read_bytes().replace(b"kintell-session-00005", b"kintell-session-00009"))
    with pytest.raises(SourceChanged, match="changed its private copy"):
        imports.run(taken, Options(), say=print)
    assert not copy.exists()
    assert run(path).inserted_rows == 6
    assert kintell.one("SELECT max(external_session_id) FROM kintell_sessions") == "kintell-session-00005"


def test_private_copies_do_not_stay_for_ever(
    run: Run, imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def age(days: float) -> list[str]:
        for path in folder.iterdir():
            os.utime(path, (0, time.time() - days * 86_400))
        run(write(tmp_path / "other.csv", [clean(1, rating=str(1 + days / 100))]))
        return [path.name.split("-")[-1] for path in folder.iterdir()]

    folder = imports.settings.home / "imports"
    path = write(tmp_path / "a.csv", [clean(n) for n in range(6)])
    interrupted(run, path, monkeypatch)
    (folder / "0123456789ab-nobody.csv").touch()
    assert sorted(age(0)) == ["a.csv", "nobody.csv"]
    assert age(2) == ["a.csv"]
    assert age(31) == []
    run(path)
    interrupted(run, write(tmp_path / "b.csv", [clean(n, rating="2") for n in range(6)]), monkeypatch)
    (job,) = [one for one in imports.jobs.newest() if one.status == "failed"]
    imports.forget(job)
    assert len([*folder.iterdir()]) == 1
    Undo(imports.jobs, job).run()
    imports.forget(job)
    assert [*folder.iterdir()] == []


def test_a_job_of_another_program_may_know_no_counts(imports: Imports, kintell: Kintell) -> None:
    with kintell.connect() as connection:
        connection.execute(
            "ALTER TABLE backfill_jobs ALTER processed_rows DROP NOT NULL; ALTER TABLE backfill_jobs DROP encoding"
        )
        connection.execute(
            "INSERT INTO backfill_jobs (file_name, processed_rows, status) VALUES ('old.csv', NULL, 'failed')"
        )
    assert [(job.processed_rows, job.encoding) for job in imports.jobs.newest()] == [(0, None)]


def test_errors_show_no_file_name_that_is_somebodys_address(run: Run, imports: Imports, tmp_path: Path) -> None:
    path = write(tmp_path / "mary.jane@example.com.csv", [clean(1, date="soon")])
    told = list[str]()
    for attempt in (
        lambda: run(path, max_rejected_share=0.1),
        lambda: run(path, encoding="klingon"),
        lambda: run(path, encoding="utf-16"),
        lambda: imports.jobs.newest()[0].require_same(dataclasses.replace(Source.of(path), byte_size=1)),
        lambda: Source.of(path.parent / "mary.jane@example.com.txt"),
    ):
        with pytest.raises(SessionAssetsError) as raised:
            attempt()
        told.append(str(raised.value))
    with imports.jobs.hold(imports.jobs.newest()[0]), pytest.raises(LockHeld) as held:
        run(path)
    told.append(str(held.value))
    assert not [text for text in told if "mary.jane" in text]
    assert sum("m***@example.com" in text for text in told) >= 4, told


def test_an_import_into_a_second_database_leaves_the_copy_that_a_job_of_the_first_goes_on_from(
    run: Run, imports: Imports, tmp_path: Path, postgres_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.csv", [clean(n) for n in range(6)])
    interrupted(run, path, monkeypatch)
    partition, name = partition_of(path), f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}".encode())
    try:
        second = Kintell.new(with_database(postgres_server, name))
        with monkeypatch.context() as patch:
            patch.setenv("KINTELL_DATABASE_URL", second.database.url)
            other = open_imports(Environment.load())
            done, _ = other.run(other.take(partition, path), Options(batch_size=2), say=print)
            other.sweep()
        assert (done.status, done.inserted_rows) == ("completed", 6)
        path.unlink()
        job = imports.job_of(partition)
        assert job and imports.partition_of(job) == partition
        resumed, _ = imports.run(imports.take(partition, None), Options(), say=print)
        assert (resumed.status, resumed.inserted_rows) == ("completed", 6)
        assert list(imports.copies.iterdir()) == []
    finally:
        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
