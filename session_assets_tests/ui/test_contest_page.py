"""Performance by topic as it is looked at: a person materializes two months, and sees the plot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from session_assets.embedded.contest_sample import replant
from session_assets.graph.plots import WIDTH
from session_assets_tests.ui.browser import CHROMIUM, browsing
from session_assets_tests.ui.conftest import Ui

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: the pages were not looked at")
LAST = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).date().replace(day=1)  # whole months
FIRST = (LAST - timedelta(days=1)).replace(day=1)


@pytest.fixture
def contest(monkeypatch: pytest.MonkeyPatch, mongo_uri: str) -> None:
    monkeypatch.setenv("CONTEST_MONGO_URI", mongo_uri)
    monkeypatch.setenv("CONTEST_START_DATE", (FIRST - timedelta(days=70)).isoformat())
    replant(mongo_uri, now=datetime.now(UTC))


@pytest.mark.usefixtures("contest")
def test_the_accuracy_of_a_month_is_looked_at(ui: Ui) -> None:
    with browsing(ui) as browser:
        browser.backfill("contest_performance", FIRST.isoformat(), LAST.isoformat())
        browser.asset("contest/topic_performance", "partitions")
        browser.text("Materialized (2)")
        browser.asset("contest/topic_performance", f"partitions&partition={LAST.isoformat()}")
        browser.text("accuracy_by_topic", exact=True)
        browser.text("[Show Markdown]").click()
        plot = browser.page.locator("img[alt^='Accuracy by topic']")
        plot.wait_for()
        assert plot.evaluate("image => image.naturalWidth") == WIDTH
        browser.picture("contest_topics")
