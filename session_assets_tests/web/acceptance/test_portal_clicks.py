"""A news portal's real clicks through the whole loop: ingested, spoiled, found, previewed, repaired, undone."""

from __future__ import annotations

import csv
import gzip
import json
import random
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pymongo
import pytest

from session_assets_tests.counts import FULL, times
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.documents import Web, dump, indexes, listed, wipe

PORTAL = Path(__file__).parents[4] / "shared" / "data" / "web" / "globo"
pytestmark = pytest.mark.skipif(not PORTAL.is_dir(), reason=f"no public data at {PORTAL}")
MAPPING = {
    "session": "session_id",
    "user": "user_id",
    "page": "/article/{click_article_id}",
    "timestamp": "click_timestamp",
    "timestamp_unit": "ms",
    "event_type_value": "pageview",
}


class Writes:
    """All that a server has written: its own counters, and its log of operations."""

    def __init__(self, client: pymongo.MongoClient[dict[str, Any]]) -> None:
        self._client = client
        self._log = client.local["oplog.rs"]

    def counters(self) -> dict[str, tuple[int, ...]]:
        totals = self._client.admin.command("top")["totals"]
        kinds = ("insert", "update", "remove", "commands")
        return {
            name: tuple(totals[name][kind]["count"] for kind in kinds[:3])
            for name in totals
            if name != "note" and not name.startswith(("config.", "local.", "admin."))
        }

    def last(self) -> Any:
        newest = self._log.find_one(sort=[("$natural", -1)])
        assert newest is not None
        return newest["ts"]

    def since(self, moment: Any) -> list[dict[str, Any]]:
        """Operations logged since, but for the server's own."""
        found = self._log.find({"ts": {"$gt": moment}, "op": {"$ne": "n"}})
        return [one for one in found if not one["ns"].startswith("config.")]


def test_portal_sessions_are_ingested_repaired_and_restored(
    own_mongo_uri: str, open_terminal: Open, tmp_path: Path
) -> None:
    cli = open_terminal(own_mongo_uri, WEB_START_DATE="2017-10-01")
    files = _copies(tmp_path)
    with pymongo.MongoClient[dict[str, Any]](own_mongo_uri, tz_aware=True) as client:
        web = client.get_default_database()

        first = cli("ingest", *files, "--json")
        assert first.code == 0, first
        published = _published()
        figures = sum(published.values()), len(published)
        assert figures == (31_987, 12_032) or not FULL
        assert sum(one["inserted"] for one in first.bodies) == web.events.estimated_document_count() == figures[0]
        assert {one["session_id"]: one["event_count"] for one in web.sessions.find()} == published

        ingested, events = dump(web), dump(web, "events")
        again = cli("ingest", *files, "--json")
        assert again.code == 0
        assert Counter((one["inserted"], one["already_there"] > 0) for one in again.bodies) == {(0, True): len(files)}
        assert (dump(web), dump(web, "events")) == (ingested, events)

        spoiled = set(random.Random(7).sample(sorted(published), round(0.3 * len(published))))
        wipe(web, sorted(spoiled))
        wiped = dump(web)
        _loop(cli, web, Writes(client), spoiled, wiped, ingested)
        assert dump(web, "events") == events


def _loop(cli: Any, web: Web, writes: Writes, spoiled: set[str], wiped: dict[str, str], right: dict[str, str]) -> None:
    found = cli("verify", "web", "--json")
    assert found.code == 1
    for check in ("pages_present", "event_count_present"):
        ids = listed(found.check(check))
        assert (len(ids), set(ids), found.check(check)["count"]) == (len(spoiled), spoiled, len(spoiled))
    assert sum(not one["passed"] for one in found.body["checks"]) == 2

    counters, moment, built = writes.counters(), writes.last(), indexes(web)
    planned = cli("plan", "web", "--json")
    assert (planned.code, planned.body["planned"]) == (0, len(spoiled))
    assert (writes.counters(), writes.since(moment), indexes(web), dump(web)) == (counters, [], built, wiped)

    applied = cli("apply", "web", "--json")
    assert applied.code == 0
    assert applied.body["plan_id"] == planned.body["plan_id"]
    assert applied.body["outcomes"] == _outcomes(applied=len(spoiled))
    repaired = dump(web)
    assert {key for key, document in repaired.items() if document != wiped[key]} == _keys(web, spoiled)
    assert repaired.keys() == wiped.keys()
    assert _sorted_fields(repaired) == _sorted_fields(right)

    assert cli("verify", "web", "--json").code == 0
    second = cli("apply", "web", "--json")
    assert (second.code, second.body["planned"], second.body["outcomes"]) == (0, 0, _outcomes())
    assert dump(web) == repaired

    undone = cli("revert", "web", "--plan-id", planned.body["plan_id"], "--json")
    assert (undone.code, undone.body["undoable"], undone.body["refused"]) == (0, len(spoiled), 0)
    assert dump(web) == wiped
    proposed = cli("plan", "web", "--json").body
    assert (proposed["plan_id"], proposed["planned"]) == (planned.body["plan_id"], len(spoiled))


def _outcomes(**counts: int) -> dict[str, int]:
    return dict.fromkeys(("applied", "already_applied", "conflicted", "failed"), 0) | counts


def _keys(web: Web, session_ids: set[str]) -> set[str]:
    found = web.sessions.find({"session_id": {"$in": list(session_ids)}}, {"_id": 1})
    return {json.dumps({"$oid": str(one["_id"])}) for one in found}


def _sorted_fields(documents: dict[str, str]) -> dict[str, Any]:
    return {key: sorted(json.loads(document).items()) for key, document in documents.items()}


def _published() -> dict[str, int]:
    published: dict[str, int] = {}
    for path in _files():
        with gzip.open(path, "rt") as file:
            published.update({row["session_id"]: int(row["session_size"]) for row in csv.DictReader(file)})
    return published


def _files() -> list[Path]:
    """All twelve in the full run, else a few."""
    return sorted(PORTAL.glob("*.csv.gz"))[: times(3, 12)]


def _copies(folder: Path) -> list[Path]:
    """The files with a mapping beside them, as somebody drops them."""
    drops = folder / "portal"
    drops.mkdir()
    (drops / "mapping.yaml").write_text(json.dumps(MAPPING))
    return [Path(shutil.copy(path, drops)) for path in _files()]
