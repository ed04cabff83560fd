"""Real clicks of a news portal and of a music service, read and ingested. Skipped where the public data is not there."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable
from pathlib import Path

import pytest

from session_assets.stores.mongo_indexes import create_event_indexes_if_empty
from session_assets.stores.mongo_ingest import EventIngest, IngestResult
from session_assets.web.drops import read_drop
from session_assets.web.ingest import event_documents
from session_assets.web.mapping import DropMapping, parse_mapping
from session_assets_tests.web.ingested import assert_sessions_right, connect, stored

DATA = Path(__file__).parents[3] / "shared" / "data" / "web"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no public data at {DATA}")
GLOBO = parse_mapping(
    {
        "session": "session_id",
        "user": "user_id",
        "page": "/article/{click_article_id}",
        "timestamp": "click_timestamp",
        "timestamp_unit": "ms",
        "event_type_value": "pageview",
    }
)
SPARKIFY = parse_mapping(
    {
        "session": "sessionId",
        "user": "userId",
        "page": "/{page}",
        "timestamp": "ts",
        "timestamp_unit": "ms",
        "event_type_value": "pageview",
        "properties": ["song", "artist"],
    }
)


def ingest(store: EventIngest, files: Iterable[Path], how: DropMapping) -> IngestResult:
    result = IngestResult()
    for path in files:
        for batch in read_drop(path, how):
            assert batch.rejected.is_empty()
            result += store.ingest(event_documents(batch.events))
    return result


def test_portal_sessions_have_the_size_that_the_portal_published(mongo_uri: str, tmp_path: Path) -> None:
    files = sorted((DATA / "globo").glob("*.csv.gz"))
    published: dict[str, int] = {}
    for path in files:
        with gzip.open(path, "rt") as file:
            published.update({row["session_id"]: int(row["session_size"]) for row in csv.DictReader(file)})
    database = connect(mongo_uri)
    create_event_indexes_if_empty(database)
    store = EventIngest(database)
    assert ingest(store, files, GLOBO).inserted == 31_987
    assert {one["session_id"]: one["event_count"] for one in database["sessions"].find()} == published
    assert len(published) == 12_032
    overlap = tmp_path / "overlap.csv"
    with gzip.open(files[0], "rt") as one, gzip.open(files[1], "rt") as two:
        overlap.write_text(one.read() + "".join(two.read().splitlines(keepends=True)[1:]))
    again = ingest(store, [overlap, *files[:3]], GLOBO)
    assert (again.inserted, again.sessions_created, again.sessions_updated) == (0, 0, 0)
    assert_sessions_right(database)


def test_music_sessions_of_mixed_users_are_right(mongo_uri: str) -> None:
    database = connect(mongo_uri)
    create_event_indexes_if_empty(database)
    files = sorted((DATA / "sparkify").glob("*.json.gz"))
    assert ingest(EventIngest(database), files, SPARKIFY).inserted == 8_056
    sessions = stored(database)
    assert len(sessions) == 941
    assert sum(one["user_id"] is None for one in sessions.values()) == 30
    assert_sessions_right(database)
