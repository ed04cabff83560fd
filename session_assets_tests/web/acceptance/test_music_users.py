"""A music service's real events: who a session belongs to, where its first events were logged out."""

from __future__ import annotations

import gzip
import json
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from bson import ObjectId

from session_assets_tests.web.acceptance.documents import Web, dump, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal

MUSIC = Path(__file__).parents[4] / "shared" / "data" / "web" / "sparkify"
pytestmark = pytest.mark.skipif(not MUSIC.is_dir(), reason=f"no public data at {MUSIC}")
MAPPING = {
    "session": "sessionId",
    "user": "userId",
    "page": "/{page}",
    "timestamp": "ts",
    "timestamp_unit": "ms",
    "event_type_value": "pageview",
}


def test_each_session_gets_its_one_real_user(cli: Terminal, web: Web, tmp_path: Path) -> None:
    cli = Terminal(cli.home, {**cli.variables, "WEB_START_DATE": "2018-10-01"}, cli.streams)
    drops = tmp_path / "music"
    drops.mkdir()
    (drops / "mapping.yaml").write_text(json.dumps(MAPPING))
    files = [Path(shutil.copy(path, drops)) for path in sorted(MUSIC.glob("*.json.gz"))]
    one, mixed, nobody = _users(files)
    assert (len(one | nobody.keys()), len(mixed), len(nobody)) == (941, 123, 30)

    assert cli("ingest", *files, "--json").code == 0
    assert web.events.count_documents({}) == 8_056
    assert _stored(web) == one | nobody

    ingested = dump(web)
    web.sessions.update_many({"session_id": {"$in": [*mixed, *nobody]}}, {"$set": {"user_id": None}})
    web.sessions.update_many({"session_id": {"$in": [*mixed][::2]}}, {"$set": {"user_id": ""}})
    web.sessions.update_many({"session_id": {"$in": [*mixed][::5]}}, {"$set": {"user_id": ObjectId()}})
    found = cli("verify", "web", "--json")
    assert (found.code, found.body["reasons"]) == (1, {"user_mismatch": 123})
    applied = cli("apply", "web", "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, 123)
    assert _stored(web) == one | nobody
    assert dump(web) == ingested
    assert cli("verify", "web", "--json").code == 0
    assert wrong_sessions(web) == {}


def _stored(web: Web) -> dict[str, str | None]:
    return {one["session_id"]: one["user_id"] for one in web.sessions.find()}


def _users(files: list[Path]) -> tuple[dict[str, str], set[str], dict[str, None]]:
    """From the raw files: sessions with their one user, those of them that were logged out at times, those of nobody."""
    users: defaultdict[str, set[str]] = defaultdict(set)
    for path in files:
        with gzip.open(path, "rt") as file:
            for line in file:
                event = json.loads(line)
                users[str(event["sessionId"])].add(event["userId"])
    assert all(len(some - {""}) <= 1 for some in users.values())
    one = {session: max(some) for session, some in users.items() if some != {""}}
    return one, {session for session in one if "" in users[session]}, dict.fromkeys(users.keys() - one.keys())
