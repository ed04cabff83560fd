"""Locks: one that is held says who works; one whose holder vanished says so, and what an operator can do."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
import pytest

from session_assets import io_calls
from session_assets.errors import LockHeld, StoreUnavailable
from session_assets.stores import locks
from session_assets.stores.locks import VARIABLE, collection_lock
from session_assets_tests.faults.proxy import Proxy


@pytest.fixture
def env(postgres_url: str) -> dict[str, str]:
    return {VARIABLE: postgres_url}


def refusal(env: dict[str, str]) -> str:
    """What somebody else is told who wants the same lock."""
    with pytest.raises(LockHeld) as refused, collection_lock("web.sessions", ["p"], "plan web", env):
        raise AssertionError("two hold one lock")
    return str(refused.value)


def eventually(told: Callable[[], str], words: str) -> str:
    """The first message with these words: asked again until it comes."""
    while words not in (text := told()):
        pass
    return text


def test_a_lock_that_is_held_names_its_holder(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_BEAT", 0.01)
    monkeypatch.setattr(locks, "_SILENT", 5.0)
    with collection_lock("web.sessions", ["p", "q"], "apply web", env):
        for _ in range(3):
            text = refusal(env)
            assert re.search(
                r"is locked by: apply web pid \d+ on .* Wait until it has finished, then run again\.$", text
            )
            assert "pg_terminate_backend" not in text


def test_a_lock_whose_holder_is_silent_says_how_to_free_it(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the server, a host that was cut off looks like this one: connected, and no sign of life."""
    monkeypatch.setattr(locks, "_BEAT", 3600)
    monkeypatch.setattr(locks, "_SILENT", 0.2)
    with pytest.raises(StoreUnavailable), collection_lock("web.sessions", ["p"], "apply web", env):
        text = eventually(lambda: refusal(env), "has not been heard of for")
        pid = re.search(r"SELECT pg_terminate_backend\((\d+)\)", text)
        assert pid and "apply web pid" in text and VARIABLE in text
        with psycopg.connect(env[VARIABLE], autocommit=True) as operator:
            operator.execute("SELECT pg_terminate_backend(%s, 5000)", [int(pid[1])])
        with collection_lock("web.sessions", ["p"], "plan web", env):
            pass


@pytest.mark.parametrize("number", range(1, 7))
def test_a_database_that_is_lost_on_the_way_is_told(
    env: dict[str, str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """To connect, who we are, keep-alive, the lock, a sign of life, and the look at the end."""
    monkeypatch.setattr(io_calls, "_calls", io_calls._Calls())
    monkeypatch.setenv(io_calls.VARIABLE, f"{number}=lost")
    with pytest.raises(StoreUnavailable, match=VARIABLE), collection_lock("web.sessions", ["p"], "plan web", env):
        pass


def test_the_server_is_asked_to_look_after_the_connection(env: dict[str, str]) -> None:
    with psycopg.connect(env[VARIABLE]) as connection:
        connection.execute(locks._PROBED)
        shown = [connection.execute(f"SHOW tcp_keepalives_{name}").fetchone() for name in ("idle", "interval", "count")]
        assert shown == [("10",), ("10",), ("3",)]


def test_a_connection_that_is_lost_at_any_moment_of_a_lock_is_told(env: dict[str, str]) -> None:
    """One that was lost while the lock was taken ended `apply flow/contract` with a traceback."""
    server = urlsplit(env[VARIABLE])
    told, chunk, was_lost = 0, 0, True
    while was_lost:
        chunk += 1
        proxy = Proxy(server.hostname or "", server.port or 0)
        proxy.break_down("cut", after=chunk)
        try:
            with collection_lock("web.sessions", ["p"], "apply web", {VARIABLE: proxy.of(env[VARIABLE])}):
                pass
        except StoreUnavailable as error:
            assert VARIABLE in str(error)
            told += 1
        finally:
            proxy.close()
        _await_no_locks(env[VARIABLE])
        was_lost = proxy.chunks >= chunk
    assert told >= 5


def _await_no_locks(url: str) -> None:
    """The server sees a moment later that a connection is gone."""
    held = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    held += " WHERE l.locktype = 'advisory' AND d.datname = current_database()"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(held).fetchone() != (0,):
            connection.execute("SELECT pg_sleep(0.02)")
