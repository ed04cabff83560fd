"""The drop sensor: complete files only, each once, told by their bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from session_assets.definitions import defs
from session_assets.graph.environment import Environment
from session_assets.kintell.assets import FILES_NAME, open_imports
from session_assets.kintell.attempt import Options
from session_assets.kintell.sensors import kintell_session_drops_sensor
from session_assets_tests.kintell.files import SAMPLE, clean, write
from session_assets_tests.kintell.scenario import Kintell

Tick = Callable[[], list[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kintell: Kintell) -> Path:
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SESSION_ASSETS_DROPS", raising=False)
    monkeypatch.delenv("SESSION_ASSETS_STORAGE", raising=False)
    monkeypatch.setenv("KINTELL_DATABASE_URL", kintell.database.url)
    monkeypatch.delenv("NATS_URL", raising=False)
    drops = tmp_path / "home" / "drops" / "kintell"
    drops.mkdir(parents=True)
    return drops


@pytest.fixture
def shown() -> list[str]:
    """What the UI shows of each tick."""
    return []


@pytest.fixture
def run_keys() -> list[str]:
    """Dagster never runs one of them again."""
    return []


@pytest.fixture
def tick(folder: Path, shown: list[str], run_keys: list[str]) -> Iterator[Tick]:
    """One look of the sensor; the partitions that it asks to run."""
    with dg.DagsterInstance.ephemeral() as instance:
        cursor: str | None = None

        def look() -> list[str]:
            nonlocal cursor
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=defs.get_repository_def()
            )
            result = kintell_session_drops_sensor(context)
            if isinstance(result, dg.SkipReason):
                return []
            assert isinstance(result, dg.SensorResult)
            cursor = result.cursor
            shown.append(f"{cursor} {result.skip_reason}")
            run_keys.extend(str(request.run_key) for request in result.run_requests or [])
            for request in result.dynamic_partitions_requests or []:
                instance.add_dynamic_partitions(FILES_NAME, list(request.partition_keys))
            return [str(request.partition_key) for request in result.run_requests or []]

        yield look


def test_file_at_rest_over_two_looks_is_taken_once(folder: Path, tick: Tick) -> None:
    (folder / "a.csv").write_text(SAMPLE)
    assert tick() == []
    (partition,) = tick()
    assert partition.startswith("a.csv@")
    assert tick() == []


def test_slow_writer_is_waited_for(folder: Path, tick: Tick) -> None:
    path = folder / "a.csv"
    for number in range(5):
        with path.open("a") as file:
            file.write(SAMPLE[number * 20 : number * 20 + 20])
        assert tick() == []
    assert len(tick()) == 1


def test_marker_says_that_a_file_is_complete(folder: Path, tick: Tick) -> None:
    (folder / "a.csv.gz").write_bytes(b"anything")
    (folder / "a.csv.gz.done").touch()
    assert len(tick()) == 1


def test_links_and_unfinished_files_are_left(folder: Path, tick: Tick, tmp_path: Path) -> None:
    (tmp_path / "outside.csv").write_text(SAMPLE)
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "b.csv.part").write_text(SAMPLE)
    (folder / ".c.csv").write_text(SAMPLE)
    assert [tick(), tick(), tick()] == [[], [], []]


def test_imported_bytes_are_told_until_their_job_is_rolled_back(folder: Path, tick: Tick, kintell: Kintell) -> None:
    path = write(folder / "a.csv", [clean(1), clean(2)])
    tick()
    (partition,) = tick()
    imports = open_imports(Environment.load())
    job, worked = imports.run(imports.take(partition, None), Options(), say=print)
    assert (worked, job.inserted_rows) == (True, 2)
    os.utime(path, (1, 1))
    assert [tick(), tick()] == [[], []]
    with kintell.connect() as connection:
        connection.execute("UPDATE backfill_jobs SET status = 'failed', reason = 'rolled back'")
    os.utime(path, (2, 2))
    assert [tick(), tick()] == [[], [partition]]


def test_replaced_file_is_another_partition(folder: Path, tick: Tick) -> None:
    path = write(folder / "a.csv", [clean(1)])
    tick()
    first = tick()
    write(path, [clean(2)])
    tick()
    assert tick() not in ([], first)


def test_buffered_writer_is_waited_for(folder: Path, tick: Tick) -> None:
    """It writes 64 KiB once a minute: the file looks at rest for many ticks."""
    with (folder / "a.csv").open("w") as file:
        file.write(SAMPLE)
        file.flush()
        assert [tick(), tick(), tick()] == [[], [], []]
    assert len(tick()) == 1


def test_marker_of_an_earlier_file_says_nothing(folder: Path, tick: Tick) -> None:
    (folder / "a.csv.done").touch()
    os.utime(folder / "a.csv.done", (1, 1))
    (folder / "a.csv").write_text(SAMPLE[:200])
    assert tick() == []
    (folder / "a.csv").write_text(SAMPLE)
    assert tick() == []
    assert len(tick()) == 1


def test_file_that_vanished_is_taken_when_it_is_dropped_again(folder: Path, tick: Tick, run_keys: list[str]) -> None:
    """For example after its job was rolled back: a run key that was used before would never run."""
    path = write(folder / "a.csv", [clean(1)])
    tick()
    (partition,) = tick()
    path.unlink()
    assert tick() == []
    write(path, [clean(1)])
    tick()
    assert tick() == [partition]
    assert len(set(run_keys)) == 2


def test_what_is_no_file_is_left(folder: Path, tick: Tick) -> None:
    os.mkfifo(folder / "a.csv")  # opening it would wait for ever
    (folder / "b.csv").write_text(SAMPLE)
    tick()
    assert len(tick()) == 1


def test_names_are_shown_masked_and_kept_apart(folder: Path, tick: Tick, shown: list[str]) -> None:
    for name in ("mary@example.com.csv", "max@example.com.csv"):
        write(folder / name, [clean(len(name))])
    (folder / "mia@example.com.csv").symlink_to(folder / "max@example.com.csv")
    tick()
    assert len(tick()) == 2
    assert tick() == []
    assert not [text for text in shown if "mary@" in text or "max@" in text or "mia@" in text]


def test_names_in_another_encoding(folder: Path, tick: Tick) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.csv")).write_text(SAMPLE)
    tick()
    (partition,) = tick()
    imports = open_imports(Environment.load())
    job, _ = imports.run(imports.take(partition, None), Options(), say=print)
    assert job.failed_rows == 3
