"""The undo of a job costs what its own events cost, whatever others have published since."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from session_assets.embedded.servers import Servers
from session_assets_tests.kintell.acceptance.test_imports import imported
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.shared_home import SharedHome
from session_assets_tests.web.acceptance.terminal import Terminal

_OTHERS = 1_500  # rows; each gives an event of some 500 bytes, or two
_MOST = 100_000  # bytes for the seven events of the small job, and for all questions and answers


@pytest.fixture(scope="module")
def nats(shared_home: SharedHome) -> Iterator[Servers]:
    own = Servers(shared_home.new_home(), tell=print)
    own.up(["nats"])
    yield own
    own.down()


@pytest.fixture(scope="module")
def own_nats(nats: Servers) -> str:
    return nats.environment({})["NATS_URL"]


def written(servers: Servers) -> int:
    """Bytes that the server has written so far, to its clients and to its files."""
    return psutil.Process(servers.status()["nats"].pid).io_counters().write_chars


def test_an_undo_does_not_read_what_others_published(
    cli: Terminal, tmp_path: Path, stored: Kintell, nats: Servers
) -> None:
    small = imported(cli("import", write(tmp_path / "small.csv", [clean(n) for n in range(4)]), "--json"))["job_id"]
    imported(cli("import", write(tmp_path / "large.csv", [clean(n) for n in range(10, 10 + _OTHERS)]), "--json"))
    before = written(nats)
    assert cli("revert", "kintell", "--plan-id", small).code == 0
    assert written(nats) - before < _MOST
    assert stored.one("SELECT events_total = events_published FROM backfill_jobs WHERE id = %s", small)
