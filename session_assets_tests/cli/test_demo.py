"""The demo tells the truth: exact finds, its own data only, its own servers stopped, and an exit code to rely on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest

from session_assets.cli import demo as module
from session_assets.cli.demo.defects import Found, compare
from session_assets.cli.demo.web import kind_of
from session_assets.embedded.servers import Servers
from session_assets.embedded.web_sample import Planted
from session_assets_tests.alerts.receivers import free_port
from session_assets_tests.canaries import PASSWORD, assert_no_mail, assert_none
from session_assets_tests.cli.demo_looks import look_everywhere
from session_assets_tests.counts import FULL
from session_assets_tests.shared_home import SharedHome

OWN = f"mongodb://mary:{PASSWORD}@own.example.com:1/web"
PLANTED = Planted(9, 1, 20, 0, {"empty_pages": ["a", "b"], "duplicate_session": ["c", "c"], "orphan_session": ["d"]})
AFTER: Found = {"orphan_session": ["d"]}


def faults(before: Found, after: Found) -> dict[str, tuple[str, ...]]:
    return {one.name: one.faults for one in compare(PLANTED.ids, kind_of, before, after) if one.faults}


def test_exact_finds_are_no_fault() -> None:
    assert faults(PLANTED.ids, AFTER) == {}
    assert [(one.planted, one.before, one.after) for one in compare(PLANTED.ids, kind_of, PLANTED.ids, AFTER)] == [
        (2, 2, 0), (2, 2, 0), (1, 1, 1),
    ]  # fmt: skip


def test_same_number_of_other_documents_is_a_fault() -> None:
    (text,) = faults({**PLANTED.ids, "empty_pages": ["a", "x"]}, AFTER)["empty_pages"]
    assert "1 missed (such as b)" in text and "1 not expected (such as x)" in text


def test_document_counted_once_instead_of_twice_is_a_fault() -> None:
    assert set(faults({**PLANTED.ids, "duplicate_session": ["c"]}, AFTER)) == {"duplicate_session"}


def test_find_of_a_kind_that_was_not_planted_is_a_fault() -> None:
    assert set(faults({**PLANTED.ids, "user_mismatch": ["a"]}, AFTER)) == {"user_mismatch"}


def test_repairable_defect_that_is_left_is_a_fault() -> None:
    assert set(faults(PLANTED.ids, {**AFTER, "empty_pages": ["a"]})) == {"empty_pages"}


def test_listed_defect_that_vanished_is_a_fault() -> None:
    assert set(faults(PLANTED.ids, {})) == {"orphan_session"}


@pytest.mark.parametrize(("wrong", "code"), [([], 0), (["empty_pages: before the repair 1 missed"], 1)])
def test_exit_code_follows_the_verdict(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str], code: int
) -> None:
    @contextmanager
    def no_servers(_: Servers) -> Iterator[bool]:
        yield False

    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path))
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    monkeypatch.setattr(module, "_servers", no_servers)
    monkeypatch.setattr(module, "_enter", lambda *_: None)
    monkeypatch.setattr(module, "_loop", lambda: (wrong, {"web": ["0123"]}))
    assert module.demo.main(["--no-ui"], standalone_mode=False) == code
    printed = capsys.readouterr().out
    assert all(f"WRONG: {one}" in printed for one in wrong)
    assert "session-assets revert web --plan-id 0123" in printed


def test_sample_is_repaired_on_a_database_of_its_own_and_shown(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = Servers(home)
    port_of_mongodb = here.up(["mongodb"])["mongodb"].port
    assert port_of_mongodb is not None
    stale = leave_older_demo(here.mongodb.uri(port_of_mongodb, module.DATABASE), home)
    port = free_port()
    with run(home, "--port", str(port)) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/server_info", process)
            children = psutil.Process(process.pid).children(recursive=True)
            secrets = look_everywhere(home, f"http://127.0.0.1:{port}", monkeypatch, caplog)
        finally:
            process.send_signal(signal.SIGINT)
            printed = _ended(process)
    assert_none(printed, "terminal", *secrets)
    assert_no_mail(printed, "terminal")
    assert printed.endswith("exit 0\n"), printed
    assert "WEB_MONGO_URI is your own: the demo leaves it alone" in printed
    assert re.search(r"participant_not_found\D+14\D+14\D+14\D+0\D+exact", printed)
    assert re.search(r"empty_pages\D+79\D+79\D+0\D+repair", printed)
    assert re.search(r"email_resolved\D+170\D+170\D+0\D+repair", printed)
    assert re.search(r"old_name\D+38\D+38\D+0\D+repair", printed)
    assert re.search(r"session_created\D+150\D+150\D+0\D+exact", printed)
    assert re.search(r"metrics out of bounds\W+flow_creation_errors\W+flow_creation_errors\W+exact", printed)
    assert "Every planted defect was found exactly" in printed
    assert f"http://127.0.0.1:{port}" in printed and "session-assets revert web --plan-id" in printed
    assert not stale.exists()
    assert not psutil.wait_procs(children, timeout=10)[1], "the UI left processes behind"
    running = {name for name, state in here.status().items() if state.running}
    assert running == {"mongodb"}, "it stopped what it started, and nothing else"


@pytest.mark.skipif(not FULL, reason="a second demo, of a minute")
def test_demo_without_ui_works_again_in_the_same_home(home: Path) -> None:
    for _ in range(2):
        printed = run(home, "--no-ui").communicate(timeout=240)[0]
        assert printed.endswith("exit 0\n"), printed
        assert not any(state.running for state in Servers(home).status().values())


def _ended(process: subprocess.Popen[str]) -> str:
    """What it printed, once it is over; one that does not end fails its test, and is not waited for."""
    try:
        return process.communicate(timeout=60)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        raise


def leave_older_demo(uri: str, home: Path) -> Path:
    """What a demo must clear away first: a document of another run, and a ledger with a plan that was never applied."""
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        client.get_default_database()["sessions"].insert_one({"session_id": "older", "event_count": 5})
    stale = home / "demo" / "storage" / "ledger" / "web" / "plans" / "0.json"
    stale.parent.mkdir(parents=True)
    stale.write_text("{}")
    return stale


@pytest.fixture
def home(shared_home: SharedHome) -> Iterator[Path]:
    folder = shared_home.new_home()
    folder.chmod(0o755)
    yield folder
    Servers(folder).down()
    shutil.rmtree(folder, ignore_errors=True)


def run(home: Path, *options: str) -> subprocess.Popen[str]:
    """The demo in a process of its own, in the environment of somebody with a MongoDB and settings of their own."""
    script = (
        "import signal, sys; from session_assets.cli.main import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run in the background
        "try: main()\n"
        "except SystemExit as end: print('exit', end.code, flush=True)"
    )
    own = {"WEB_MONGO_URI": OWN, "SESSION_ASSETS_ALLOW_SHRINK": "true", "SESSION_ASSETS_HOME": str(home)}
    return subprocess.Popen(
        [sys.executable, "-c", script, "demo", *options],
        env={**os.environ, **own, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(url: str, process: subprocess.Popen[str], seconds: float = 480) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.5)
