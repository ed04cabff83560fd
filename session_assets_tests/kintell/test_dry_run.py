"""A dry run says what an import would do, and does nothing of it; checks say what a later import repaired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from session_assets.cli.files import partition_of
from session_assets.cli.imports import import_files
from session_assets.errors import UsageError
from session_assets.kintell.attempt import Options
from session_assets.kintell.imports import Imports
from session_assets.kintell.jobs import Job
from session_assets.stores.kintell_recount import rejected_reasons
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell


def run(imports: Imports, path: Path, **options: Any) -> Job:
    return imports.run(imports.take(partition_of(path), path), Options(**options), say=print)[0]


def would(imports: Imports, path: Path, **options: Any) -> dict[str, int]:
    report = imports.dry_run(path, Options(batch_size=3, **options))
    return {name.removeprefix("would_"): count for name, count in report.items() if name.startswith("would_")}


def test_what_a_dry_run_does_not_do_is_not_asked_of_it() -> None:
    for option in (["--create-users"], ["--resume", "1"]):
        result = CliRunner().invoke(import_files, ["a.csv", "--dry-run", *option])
        assert isinstance(result.exception, UsageError)


def test_dry_run_counts_what_the_import_then_does(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    run(imports, write(tmp_path / "a.csv", [clean(n) for n in range(10)]))
    rows = [clean(n, **({"rating": "2"} if n in (4, 6) else {"date": "soon"} if n == 8 else {})) for n in range(4, 14)]
    path = write(tmp_path / "b.csv", [*rows, rows[0]])
    before = kintell.dump()
    assert would(imports, path) == {"insert": 4, "update": 2, "leave": 3, "keep": 0}
    assert would(imports, path, policy="skip") == {"insert": 4, "update": 0, "leave": 5, "keep": 0}
    assert kintell.dump() == before
    job = run(imports, path)
    assert (job.inserted_rows, job.updated_rows, job.skipped_rows) == (4, 2, 3 + 1)


def test_dry_run_says_what_the_threshold_would_refuse(imports: Imports, tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(1), clean(2, date="soon")])
    (told,) = imports.dry_run(path, Options(max_rejected_share=0.1))["obstacles"][1:]  # the first: NATS_URL is not set
    assert "50.0% would be rejected" in told.replace("(50.0%)", "50.0%")


def test_dry_run_on_a_table_that_an_import_would_mend_counts_nothing(
    imports: Imports, kintell: Kintell, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.csv", [clean(1)])
    with kintell.connect() as connection:
        connection.execute("ALTER TABLE kintell_sessions DROP COLUMN metadata")
        assert would(imports, path) == {}
        connection.execute("DROP TABLE kintell_sessions")
        assert would(imports, path) == {"insert": 1, "update": 0, "leave": 0, "keep": 0}


def test_rejects_whose_sessions_came_later_are_repaired(imports: Imports, kintell: Kintell, tmp_path: Path) -> None:
    run(imports, write(tmp_path / "a.csv", [clean(1), clean(2)]))
    rows = [clean(n, date="soon") for n in range(2, 6)] + [clean(9, session_id="")]
    job = run(imports, write(tmp_path / "b.csv", rows))
    assert rejected_reasons(imports.database, [job.id]) == {"date_invalid": (4, 0), "session_id_missing": (1, 0)}
    fixed = run(imports, write(tmp_path / "c.csv", [clean(2, rating="2"), clean(3), clean(4)]))
    assert rejected_reasons(imports.database) == {"date_invalid": (1, 3), "session_id_missing": (1, 0)}
    kintell.revert(fixed.id)
    assert rejected_reasons(imports.database, [job.id]) == {"date_invalid": (4, 0), "session_id_missing": (1, 0)}
