"""Files dropped while `session-assets dev` runs become events and sessions, once."""

from __future__ import annotations

import csv
import gzip
import shutil
import time
from collections import Counter
from pathlib import Path

import pymongo
import pytest

from session_assets_tests.counts import times
from session_assets_tests.ui.conftest import Ui

CLICKS = Path(__file__).parents[3] / "shared" / "data" / "web" / "globo"
MAPPING = """\
session: session_id
user: user_id
page: /article/{click_article_id}
timestamp: click_timestamp
timestamp_unit: ms
event_type_value: pageview
"""


@pytest.mark.skipif(not CLICKS.is_dir(), reason="the public click files are not beside this checkout")
def test_real_clicks_dropped_while_the_daemon_runs(ui: Ui) -> None:
    folder = ui.home / "drops" / "web_events"
    folder.mkdir(parents=True)
    (folder / "mapping.yaml").write_text(MAPPING)
    published: Counter[str] = Counter()
    for file in sorted(CLICKS.glob("*.csv.gz")):
        shutil.copyfile(file, folder / file.name)
        (folder / f"{file.name}.done").touch()
        with gzip.open(file, "rt") as lines:
            for row in csv.DictReader(lines):
                published[row["session_id"]] = int(row["session_size"])

    with pymongo.MongoClient(ui.environment["WEB_MONGO_URI"]) as client:
        database = client.get_default_database()
        _wait_for(lambda: database.events.estimated_document_count() >= 31_987, 400)
        _wait_for(lambda: _runs(ui) >= 12, 200)
        counts = {one["session_id"]: one["event_count"] for one in database.sessions.find()}
        before = list(database.sessions.find().sort("_id", 1))

        assert database.events.count_documents({}) == 31_987
        assert len(before) == 12_032
        assert counts == dict(published)

        again = sorted(folder.glob("*.csv.gz"))[: times(3, 12)]
        for file in again:  # dropped again: the same bytes, and once more under another name
            shutil.copyfile(file, folder / f"again_{file.name}")
            (folder / f"again_{file.name}.done").touch()
            file.touch()
        _wait_for(lambda: _runs(ui) >= 12 + len(again), 400)

        assert database.events.count_documents({}) == 31_987
        assert list(database.sessions.find().sort("_id", 1)) == before


def _runs(ui: Ui) -> int:
    """How many runs have succeeded; none may have failed."""
    found = ui.query("{ runsOrError(limit: 100) { ... on Runs { results { status jobName } } } }")["runsOrError"][
        "results"
    ]
    statuses = Counter(run["status"] for run in found if run["jobName"] == "web_ingest")
    assert not statuses["FAILURE"]
    return statuses["SUCCESS"]


def _wait_for(holds, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(1)
