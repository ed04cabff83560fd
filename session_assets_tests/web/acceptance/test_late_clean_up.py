"""An event for an orphan, or a write to a duplicate, that arrives while the clean-up deletes: the session stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.web.ingest import ingest_event
from session_assets_tests.counts import some
from session_assets_tests.web.acceptance.documents import (
    DAYS,
    Web,
    add_duplicates,
    add_orphans,
    dump,
    fill,
    wrong_sessions,
)
from session_assets_tests.web.acceptance.terminal import Terminal
from session_assets_tests.web.acceptance.test_two_at_once import Paused

PLACES = ["apply.after_look", "apply.after_intent", "mongo.before_delete"]


@pytest.mark.parametrize("place", some(PLACES, 2))
def test_an_orphan_that_gets_an_event_stays(cli: Terminal, web: Web, tmp_path: Path, place: str) -> None:
    fill(web, 6, wrong=None)
    add_orphans(web, 1)
    cli("plan", "web/orphans")
    paused = Paused(cli, tmp_path, place, "apply", "web/orphans", "--json")
    event = {"_id": "late", "session_id": "orphan-0", "timestamp": DAYS[1], "page": "/late", "event_type": "pageview"}
    ingest_event(event, web)
    answer = paused.release()
    assert answer.body.get("outcomes", {}).get("applied", 0) == 0, answer
    (document,) = web.sessions.find({"session_id": "orphan-0"})
    assert (document["event_count"], document["pages"]) == (1, ["/late"])
    assert cli("plan", "web/orphans", "--json").body["planned"] == 0
    assert cli("apply", "web/orphans", "--json").body["outcomes"]["applied"] == 0
    assert cli("verify", "web").code == 0


@pytest.mark.parametrize("place", some(PLACES, 2))
def test_a_duplicate_that_is_written_to_is_folded_by_the_next_run(
    cli: Terminal, web: Web, tmp_path: Path, place: str
) -> None:
    fill(web, 6, wrong=None)
    right = dump(web)
    add_duplicates(web, 1)
    (twin,) = web.sessions.find({"_id": {"$gt": web.sessions.find_one({"token": "t"}, {"_id": 1})["_id"]}})  # type: ignore[index]
    cli("plan", "web/duplicates")
    paused = Paused(cli, tmp_path, place, "apply", "web/duplicates", "--json")
    web.sessions.update_one({"_id": twin["_id"]}, {"$set": {"live": "kept"}})
    answer = paused.release()
    assert answer.body["outcomes"]["applied"] == 0, answer
    assert web.sessions.count_documents({"live": "kept"}) == 1
    cli("plan", "web/duplicates")
    assert cli("apply", "web/duplicates", "--json").code == 0
    assert wrong_sessions(web) == {}
    assert dump(web).keys() == right.keys()
    assert web.sessions.count_documents({"session_id": twin["session_id"], "live": "kept"}) == 1
