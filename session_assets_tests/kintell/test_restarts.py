"""The database goes away underneath an import: it goes on by itself, or says what happened and can be resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from session_assets.embedded.servers import Servers
from session_assets.errors import StoreUnavailable
from session_assets.stores import postgres
from session_assets_tests.counts import times
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.kintell.test_kills_of_import import clear, file, uninterrupted
from session_assets_tests.shared_home import SharedHome


@pytest.fixture(scope="module")
def own_servers(shared_home: SharedHome) -> Iterator[Servers]:
    """A PostgreSQL of its own, since it is killed."""
    own = Servers(shared_home.new_home())
    own.up(["postgresql"])
    yield own
    own.down()


@pytest.fixture
def kintell(own_servers: Servers) -> Kintell:
    """A migrated database on the server that is killed."""
    return Kintell.new(own_servers.environment({})["KINTELL_DATABASE_URL"])


def kill(servers: Servers) -> None:
    """As an out-of-memory killer does."""
    state = servers.status()["postgresql"]
    assert state.pid is not None
    psutil.Process(state.pid).kill()


def test_an_import_survives_restarts(own_servers: Servers, kintell: Kintell) -> None:
    whole = file(kintell, times(600, 20_000))
    size = times(20, 500)
    goal = uninterrupted(kintell, whole, size)
    for number in range(times(1, 10)):
        with ThreadPoolExecutor(1) as pool:
            importing = pool.submit(kintell.run, whole, batch_size=size)
            while not importing.done() and (
                (begun := kintell.jobs.find(whole.source)) is None or (begun.last_processed_row or 0) <= number * size
            ):
                time.sleep(0.005)
            interrupted = not importing.done()
            kill(own_servers)
            own_servers.up(["postgresql"])
            assert importing.result(60).status == "completed"
        assert interrupted
        assert kintell.dump() == goal
        clear(kintell)


def test_a_database_that_stays_away_is_one_clear_error_and_the_job_resumes(
    own_servers: Servers, kintell: Kintell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_PAUSES", (0.1, 0.2))
    monkeypatch.setattr("session_assets.kintell.importing._PAUSES", (0.1, 0.2))
    whole = file(kintell, 600)
    goal = uninterrupted(kintell, whole, 20)
    with ThreadPoolExecutor(1) as pool:
        importing = pool.submit(kintell.run, whole, batch_size=20)
        while (begun := kintell.jobs.find(whole.source)) is None or not begun.last_processed_row:
            time.sleep(0.005)
        assert not importing.done()
        own_servers.down(["postgresql"])
        with pytest.raises(
            StoreUnavailable, match=r"PostgreSQL \(KINTELL_DATABASE_URL\) cannot be used: .* run the same command"
        ):
            importing.result(60)
    own_servers.up(["postgresql"])
    job = kintell.jobs.find(whole.source)
    assert job is not None
    assert job.stuck
    kintell.run(whole, batch_size=20)
    assert kintell.dump() == goal
