"""In a real browser: another page cannot act on the UI, texts in documents do nothing, and the UI itself works as before."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pymongo
import pytest
from dagster_graphql import DagsterGraphQLClient
from psycopg import sql

from session_assets_tests.hostile import CONSTRUCTS, PAYLOADS
from session_assets_tests.ui.browser import CHROMIUM, Browser, browsing, window
from session_assets_tests.ui.conftest import Ui
from session_assets_tests.ui.foreign_page import ATTACK, LAUNCH, ForeignPage, arguments, foreign_page, targets

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: the pages were not looked at")
DAY = datetime(2025, 3, 1, 10, tzinfo=UTC)
_RECORDS: dict[str, LiteralString] = {
    **dict.fromkeys(("runs", "asset_keys", "asset_check_executions", "bulk_actions"), "true"),
    "event_logs": "dagster_event_type IS DISTINCT FROM 'FRESHNESS_STATE_CHANGE'",
}
_REPORT = """
import dagster as dg, sys
from session_assets.graph.markdown import md, md_table
from session_assets_tests.hostile import PAYLOADS
instance = dg.DagsterInstance.get()
for asset, text in {
    "user_activity": dg.MetadataValue.md(sys.argv[1]),
    "orphan_sessions": md(md_table([(text,) for text in PAYLOADS], ["all texts"])),
}.items():
    instance.report_runless_asset_event(dg.AssetMaterialization(["web", asset], metadata={"told": text}))
"""
_ELEMENTS = "img, a, iframe, script, form, svg, h1, h2, pre, li, blockquote, hr, input, del, em, strong"


def test_pages_and_texts_of_others_do_nothing(ui: Ui) -> None:
    plant(ui)
    assert ui.cli("plan", "web").returncode == 0
    with foreign_page() as other:
        report_markdown(ui, other)
        before = records(ui)
        results = try_every_route(ui, other, before)
        assert {result for way, _, result in results if way == "websocket"} == {"failed"}
        assert not [one for one in results if one[0] in ("image", "script", "style", "json") and one[2] != "failed"]
        assert set(other.asked) <= {"/", "/favicon.ico"}
        with browsing(ui) as browser:
            open_texts(browser)
            open_old_markdown(browser)
        assert records(ui) == before
        assert set(other.asked) <= {"/", "/favicon.ico"}
    with browsing(ui) as browser:
        launch_by_hand(browser)
    programs_still_work(ui)
    assert records(ui)["runs"] == before["runs"] + 2


def plant(ui: Ui) -> None:
    """A session whose visitor chose the names of its pages."""
    with pymongo.MongoClient[dict[str, Any]](ui.environment["WEB_MONGO_URI"]) as client:
        web = client.get_default_database()
        for number, text in enumerate(CONSTRUCTS):
            text = text.encode(errors="replace").decode()
            session_id = f"{number % 9}{text}"
            event = {
                "session_id": session_id,
                "user_id": text or None,
                "timestamp": DAY,
                "event_type": "pageview",
                "page": text,
            }
            web.events.insert_one(event)
            web.sessions.insert_one({"session_id": session_id, "pages": [], "event_count": 0, "created_at": DAY})


def report_markdown(ui: Ui, other: ForeignPage) -> None:
    """What an earlier version stored of such a page; and all texts as they are told now."""
    launch = "".join(f"%{byte:02x}" for byte in LAUNCH.encode())
    old = f"![](/graphql?query={launch}) ![](http://127.0.0.1:{other.port}/image) kept"
    folder = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", _REPORT, old], env=ui.environment, cwd=folder, check=True, timeout=120)


def records(ui: Ui) -> dict[str, int]:
    """How many runs, events, check results and backfills Dagster knows; its daemon adds what it thinks of freshness."""
    url = ui.environment["DAGSTER_POSTGRES_URL"].replace("postgresql+psycopg2://", "postgresql://", 1)
    with psycopg.connect(url) as connection:
        count = sql.SQL("SELECT count(*) FROM {} WHERE {}")
        queries = {name: count.format(sql.Identifier(name), sql.SQL(which)) for name, which in _RECORDS.items()}
        return {name: next(iter(connection.execute(query)))[0] for name, query in queries.items()}


def try_every_route(ui: Ui, other: ForeignPage, before: dict[str, int]) -> list[tuple[str, str, str]]:
    """From another port and from another name of this machine: the way, the URL, and what the page noticed."""
    assert len(targets()) > 12
    with window() as page:
        page.goto(f"http://127.0.0.1:{other.port}/")
        origins = [f"http://127.0.0.1:{ui.port}", f"http://localhost:{ui.port}"]
        results = page.evaluate(f"async () => await ({ATTACK})({arguments(origins)})")
        assert len(results) == len(origins) * (len(targets()) * 12 + 1)
        assert records(ui) == before
        return results


def open_texts(browser: Browser) -> None:
    """Texts are shown, nothing is requested for them, and no element comes of them."""
    requested: list[str] = []
    refused: list[str] = []
    browser.page.on("request", lambda request: requested.append(request.url))
    browser.page.on(
        "console", lambda line: refused.append(line.text) if "Content Security Policy" in line.text else None
    )
    browser.asset("web/session_changes", "partitions&partition=2025-03-01")
    browser.text("preview", exact=True).scroll_into_view_if_needed()
    browser.page.get_by_text("[Show Markdown]").last.click()
    for header, rows in (("before → after", 10), ("all texts", len(PAYLOADS))):
        if header == "all texts":
            browser.asset("web/orphan_sessions", "events")
            browser.text("[Show Markdown]").click()
        table = browser.page.locator("table", has=browser.page.get_by_text(header, exact=True)).last
        table.wait_for()
        assert table.locator("tbody tr").count() == rows
        assert "![](/graphql?query=" in table.inner_text()
        assert table.locator(_ELEMENTS).count() == 0
    own = f"http://127.0.0.1:{browser.ui.port}/"
    assert [url for url in requested if not url.startswith((own, "data:"))] == []
    assert [url for url in requested if "mutation" in url] == []
    assert refused == []


def open_old_markdown(browser: Browser) -> None:
    """The browser shows metadata that was stored before, and requests nothing for it."""
    browser.asset("web/user_activity", "events")
    browser.text("told", exact=True)
    kept = browser.page.get_by_text("kept", exact=True)
    browser.page.get_by_text("[Show Markdown]").or_(kept).first.click()
    kept.first.wait_for()
    image = browser.page.locator("img[src^='http://127.0.0.1']").first
    image.wait_for(state="attached")
    assert image.evaluate("image => image.decode().then(() => 'loaded', () => 'failed')") == "failed"


def launch_by_hand(browser: Browser) -> None:
    """The launchpad starts a run, and the page has its websocket."""
    sockets: list[str] = []
    browser.page.on("websocket", lambda socket: sockets.append(socket.url))
    browser.open("/locations/__repository__@session_assets/jobs/kintell_publish/playground")
    browser.page.get_by_role("button", name="Launch Run").click()
    browser.page.wait_for_url("**/runs/**")
    assert sockets
    opened = browser.page.evaluate(
        """() => new Promise(done => { const socket = new WebSocket(location.origin.replace('http', 'ws') + '/graphql',
           'graphql-ws'); socket.onopen = () => done(true); socket.onerror = () => done(false); })"""
    )
    assert opened


def programs_still_work(ui: Ui) -> None:
    """Dagster's own Python client sends neither `Origin` nor `Sec-Fetch-Site`."""
    client = DagsterGraphQLClient("127.0.0.1", port_number=ui.port)
    run_id = client.submit_job_execution("kintell_publish")
    assert client.get_run_status(run_id)
