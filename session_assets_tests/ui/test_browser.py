"""The first ten minutes in the UI, clicked: see what is wrong and why, repair three days, read each day's checks, drop a file."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pymongo
import pytest

from session_assets.embedded import contest_sample
from session_assets.embedded.web_sample import replant
from session_assets.graph.health import CLASSES
from session_assets.graph.plots import WIDTH
from session_assets_tests.conftest import with_database
from session_assets_tests.ui.browser import CHROMIUM, Browser, browsing
from session_assets_tests.ui.conftest import Ui

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: the pages were not looked at")
TODAY = datetime.now(UTC).date()
FIRST = TODAY - timedelta(days=35)  # the sample has 30 days
DAYS = [(TODAY - timedelta(days=back)).isoformat() for back in (12, 11, 10)]
_LAST = (TODAY.replace(day=1) - timedelta(days=1)).replace(day=1)
MONTHS = ((_LAST - timedelta(days=1)).replace(day=1), _LAST)  # whole ones
MAPPING = "session: visit\nuser: who\npage: page\ntimestamp: at\ntimestamp_unit: iso\nevent_type_value: pageview\n"


@pytest.fixture
def recent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_START_DATE", FIRST.isoformat())


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch, mongo_server: str) -> Iterator[None]:
    """Contest sessions in a database of their own."""
    uri = with_database(mongo_server, f"test_{secrets.token_hex(6)}")
    monkeypatch.setenv("CONTEST_MONGO_URI", uri)
    monkeypatch.setenv("CONTEST_START_DATE", (MONTHS[0] - timedelta(days=70)).isoformat())
    contest_sample.replant(uri, now=datetime.now(UTC))
    yield
    with pymongo.MongoClient[dict[str, Any]](uri) as client:
        client.drop_database(client.get_default_database().name)


@pytest.mark.usefixtures("recent", "contest")
def test_a_defect_is_seen_previewed_repaired_and_a_file_dropped(ui: Ui) -> None:
    planted = replant(ui.environment["WEB_MONGO_URI"], now=datetime.now(UTC))
    assert ui.cli("verify", "web").returncode == 1
    health = pl.read_parquet(ui.home / "storage" / "web" / "health" / "*.parquet")
    assert health["documents"].sum() == planted.documents
    assert health["documents"].to_list() == health.select(pl.sum_horizontal(CLASSES)).to_series().to_list()
    with browsing(ui) as browser:
        _read_a_failing_check(browser, planted.counts["zero_event_count"])
        _repair_three_days(browser)
        _look_at_each_day(browser)
        _drop_a_file(browser)
        _look_at_the_whole(browser)
        _look_at_performance(browser)
        _see_the_graph(browser)


def _read_a_failing_check(browser: Browser, count: int) -> None:
    """It tells the exact count, ids, and what to do next."""
    browser.asset("web/sessions", "checks")
    browser.text("event_count_present", exact=True).click()
    browser.text(re.compile(rf"^{count} of 2,200: ")).wait_for()
    browser.text("next_step", exact=True)
    browser.text("session-assets plan web")
    browser.picture("checks")


def _repair_three_days(browser: Browser) -> None:
    """A backfill of three days is one run; what it changed is shown with before and after."""
    browser.backfill("web_apply", DAYS[0], DAYS[-1])
    browser.asset("web/sessions", f"partitions&partition={DAYS[0]}")
    browser.text("Materialized (3)")
    browser.text("Failed (0)")
    browser.asset("web/session_changes", f"partitions&partition={DAYS[1]}")
    browser.text("preview", exact=True).scroll_into_view_if_needed()
    changes = browser.page.get_by_text("before → after", exact=True)
    browser.page.get_by_text("[Show Markdown]").or_(changes).first.click()  # Dagster shows a short table at once
    changes.evaluate("table => table.scrollIntoView({block: 'center'})")
    browser.picture("preview")


def _look_at_each_day(browser: Browser) -> None:
    """Repaired days pass, the others still fail."""
    browser.asset("web/sessions", "checks")
    browser.text("event_count_present", exact=True).click()
    browser.page.get_by_text("Partitions", exact=True).last.click()
    browser.text(re.compile(r"^Passed \(\d+\)$"))
    browser.page.get_by_text(DAYS[0], exact=True).first.click()
    browser.text("Passed", exact=True)
    browser.picture("backfill")


def _drop_a_file(browser: Browser) -> None:
    """The sensor takes a dropped file: its sessions are there, and it is a partition that was materialized."""
    folder = browser.ui.home / "drops" / "web_events"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mapping.yaml").write_text(MAPPING)
    (folder / "visits.csv").write_text(f"visit,who,page,at\ndropped-1,u1,/home,{DAYS[0]}T10:00:00Z\n")
    (folder / "visits.csv.done").touch()
    browser.asset("web/event_drops", "partitions")
    browser.text(re.compile(r"visits\.csv@"))
    browser.text("Materialized (1)")
    with pymongo.MongoClient(browser.ui.environment["WEB_MONGO_URI"]) as client:
        assert client.get_default_database().events.count_documents({"session_id": "dropped-1"}) == 1


def _look_at_the_whole(browser: Browser) -> None:
    """One more verify of everything tells what the repair of three days has left, and what is gone."""
    assert browser.ui.cli("verify", "web").returncode == 1
    browser.asset("web/session_health", "events")
    browser.text("failing_checks", exact=True)
    browser.page.get_by_text("[Show Markdown]").last.click()
    browser.page.locator("img[alt^='Defects by partition']").first.wait_for()
    browser.picture("health")


def _look_at_performance(browser: Browser) -> None:
    """The accuracy of a month by topic is a plot."""
    first, last = (month.isoformat() for month in MONTHS)
    browser.backfill("contest_performance", first, last)
    browser.asset("contest/topic_performance", "partitions")
    browser.text("Materialized (2)")
    browser.asset("contest/topic_performance", f"partitions&partition={last}")
    browser.text("accuracy_by_topic", exact=True)
    browser.text("[Show Markdown]").click()
    plot = browser.page.locator("img[alt^='Accuracy by topic']")
    plot.wait_for()
    assert plot.evaluate("image => image.naturalWidth") == WIDTH
    browser.picture("contest_topics")


def _see_the_graph(browser: Browser) -> None:
    browser.page.set_viewport_size({"width": 2300, "height": 900})
    browser.lineage("web")
    for name in ("event_drops", "session_facts", "session_changes", "sessions"):
        browser.text(name, exact=True)
    browser.picture("lineage")
