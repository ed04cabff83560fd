"""The application goes on while sessions are moved: nothing that it writes is lost, and in the end each session exists once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from session_assets.stores.cosmos import plain
from session_assets.stores.cosmos_containers import write_all
from session_assets_tests.counts import times
from session_assets_tests.identity.scenario import EMAIL, GUID, LONG_AGO, Cosmos, Document, session, user
from session_assets_tests.web.acceptance.terminal import Running, Terminal

NOW = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
OPTIONS = {"SESSION_ASSETS_SETTLE_MINUTES": "0"}
APPLY = ("apply", "identity", "--json")


def beat(stored: Cosmos, document: Document, number: int) -> None:
    """A heartbeat, as the application writes it: the whole session as it knows it, under the e-mail."""
    endpoints = [*document["endpoints_accessed"], f"/api/{number}"]
    fields: dict[str, Any] = {"last_activity": NOW, "activity_count": 10 + number, "endpoints_accessed": endpoints}
    write_all(stored.sessions, [{**document, **fields, "beats": number}])


def paused(cli: Terminal, failpoint: str, marker: Path, *arguments: str) -> Running:
    """A command that waits at a failpoint until somebody removes the marker."""
    running = cli.start(*arguments, SESSION_ASSETS_FAILPOINTS=f"{failpoint}=pause:{marker}", **OPTIONS)
    while not marker.exists():
        assert running.is_alive(), running.wait()
        time.sleep(0.02)
    return running


def test_what_a_heartbeat_writes_during_apply_stands_in_the_moved_session(
    cli: Terminal, stored: Cosmos, tmp_path: Path
) -> None:
    documents = [session(EMAIL, number) for number in range(4)]
    stored.fill(documents, [user(EMAIL.lower())])
    running = paused(cli, "cosmos.before_create@1", tmp_path / "marker", *APPLY)
    for number, document in enumerate(documents):
        beat(stored, document, number)
    (tmp_path / "marker").unlink()
    assert running.wait().code == 0
    cli(*APPLY, **OPTIONS)
    after = {one["id"]: one for one in stored.stored()}
    assert len(stored.stored()) == len(documents)
    for number, document in enumerate(documents):
        assert (after[document["id"]]["user_id"], after[document["id"]]["beats"]) == (GUID, number)


def test_a_session_that_comes_back_under_its_email_is_folded_by_the_next_run(cli: Terminal, stored: Cosmos) -> None:
    documents = [session(EMAIL, number) for number in range(4)]
    stored.fill(documents, [user(EMAIL.lower())])
    assert cli(*APPLY).code == 0
    for number, document in enumerate(documents[:3]):
        beat(stored, document, number)
    found = cli("verify", "identity", "--json", **OPTIONS)
    assert (found.code, found.check("ids_unique")["count"]) == (1, 6), found
    folded = cli(*APPLY, **OPTIONS)
    assert (folded.code, folded.body["outcomes"]["applied"]) == (0, 3), folded
    after = stored.stored()
    assert sorted(one["id"] for one in after) == sorted(one["id"] for one in documents)
    assert {one["user_id"] for one in after} == {GUID}
    assert {(one.get("beats"), one["activity_count"]) for one in after} == {(0, 10), (1, 11), (2, 12), (None, 3)}
    assert all(one["endpoints_accessed"][:2] == ["/api/jobs", "/api/upload"] for one in after)
    assert cli("verify", "identity", "--json", **OPTIONS).code == 0


def test_an_application_that_writes_all_the_time_loses_nothing(cli: Terminal, stored: Cosmos) -> None:
    documents = [session(EMAIL, number) for number in range(times(30, 200))]
    stored.fill(documents, [user(EMAIL.lower())])
    assert cli("plan", "identity", "--json", **OPTIONS).body["planned"] == len(documents)
    written: dict[str, int] = {}
    running = cli.start(*APPLY, "--batch-size", "10", **OPTIONS)
    chosen = Random(1)
    while running.is_alive():
        document = chosen.choice(documents)
        beat(stored, document, written.get(document["id"], 0) + 1)
        written[document["id"]] = written.get(document["id"], 0) + 1
    assert running.wait().code == 0
    assert len(written) > 5
    for _ in range(2):  # what was conflicted, then what came back under its e-mail
        assert cli(*APPLY, **OPTIONS).code == 0
    after = stored.stored()
    assert sorted(one["id"] for one in after) == sorted(one["id"] for one in documents)
    assert {one["user_id"] for one in after} == {GUID}
    assert {one["id"]: one["beats"] for one in after if "beats" in one} == written
    assert cli("verify", "identity", "--json", **OPTIONS).code == 0


def test_a_fold_can_be_undone(cli: Terminal, stored: Cosmos) -> None:
    document = session(EMAIL)
    stored.fill([document], [user(EMAIL.lower())])
    assert cli(*APPLY).code == 0
    beat(stored, document, 1)
    both = stored.stored()
    plan_id = cli(*APPLY, **OPTIONS).body["plan_id"]
    assert len(stored.stored()) == 1
    assert cli("revert", "identity", "--plan-id", plan_id, "--json").code == 0
    assert stored.stored() == both


def test_edits_since_the_apply_are_kept_by_revert(cli: Terminal, stored: Cosmos) -> None:
    kept, edited = session(EMAIL, 1), session(EMAIL, 2)
    stored.fill([kept, edited], [user(EMAIL.lower())])
    plan_id = cli(*APPLY).body["plan_id"]
    for one in stored.stored():
        fields = {"status": "closed"} if one["id"] == kept["id"] else {"user_email": "other@example.com"}
        write_all(stored.sessions, [{**one, **fields}])
    looked = cli("revert", "identity", "--plan-id", plan_id, "--dry-run", "--json")
    assert (looked.body["undoable"], looked.body["refused_sample"]) == (1, [edited["id"]])
    done = cli("revert", "identity", "--plan-id", plan_id, "--json")
    assert (done.code, done.body["undoable"], done.body["refused"]) == (1, 1, 1), done
    by_id = {one["id"]: plain(one) for one in stored.stored()}
    assert by_id[kept["id"]] == {**kept, "status": "closed"}
    assert by_id[edited["id"]]["user_id"] == GUID


def test_a_recently_active_session_waits(cli: Terminal, stored: Cosmos) -> None:
    active = session(EMAIL, 1, last_activity=datetime.now(UTC).isoformat())
    stored.fill([active, session(EMAIL, 2, last_activity=LONG_AGO)], [user(EMAIL.lower())])
    answer = cli(*APPLY)
    assert (answer.body["planned"], answer.body["classes"]["unsettled"]) == (1, 1)


def test_an_activity_that_is_no_iso_text_is_understood_or_told(cli: Terminal, stored: Cosmos) -> None:
    """Numbers and texts without an offset counted as settled: sessions at work were moved."""
    now = datetime.now(UTC)
    active = [now.timestamp(), int(now.timestamp() * 1000)]
    odd = [now.strftime("%Y-%m-%dT%H:%M:%S"), 17, [now.isoformat()], True]
    told = [*active, *odd, int(now.timestamp()) - 86400, None]
    stored.fill([session(EMAIL, number, last_activity=one) for number, one in enumerate(told)], [user(EMAIL.lower())])
    verified = cli("verify", "identity", "--json")
    assert (verified.code, verified.body["unreadable"], verified.body["unsettled"]) == (1, len(odd), len(active))
    planned = cli("plan", "identity", "--json").body
    assert planned["planned"] == 2
    assert planned["reasons"]["unreadable_activity"] == len(odd)
