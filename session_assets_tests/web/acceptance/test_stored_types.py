"""Collections of applications of other habits: ObjectIds as ids, times as text, other names; and what nobody can know."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId

from session_assets_tests.web.acceptance.documents import (
    Document,
    Web,
    add_duplicates,
    add_orphans,
    dump,
    fill,
    indexes,
)
from session_assets_tests.web.acceptance.terminal import Terminal

MAPPING = """
events:
  collection: clicks
  fields:
    session_id: visit
    timestamp: ts
    page: /{page_number}
    user_id: customer
  timestamp_unit: ms
sessions:
  collection: visits
  fields:
    session_id: visit
    user_id: customer
    event_count: clicks
    first_event_at: started
    last_event_at: ended
    pages: seen_pages
    created_at: made
  timestamp_unit: ms
"""


def as_text(value: Any) -> str:
    moment = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    return moment.isoformat()


def as_millis(value: Any) -> Int64:
    moment = value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
    return Int64(moment.timestamp() * 1000)


def as_they_are(value: Any) -> Any:
    return value


def rewrite(web: Web, name: str, target: str, changed: Callable[[Document], Document]) -> None:
    """Every document of a collection in another form, in another collection or the same."""
    documents = [changed(one) for one in web[name].find()]
    web[name].drop()
    web[target].insert_many(documents)


def wipe_times(document: Document) -> Document:
    """A wiped session lost its times, too."""
    return document | {"first_event_at": None, "last_event_at": None} if document.get("event_count") == 0 else document


@pytest.mark.parametrize("ids", ["both", "sessions", "events"])
def test_object_ids_and_times_with_an_offset_are_understood_and_kept(cli: Terminal, web: Web, ids: str) -> None:
    wiped = fill(web)

    def session(one: Document) -> Document:
        times = {name: as_text(one[name]) for name in ("first_event_at", "last_event_at", "created_at") if name in one}
        if "session_id" in one and ids in ("both", "sessions"):
            one = one | {"session_id": ObjectId(one["session_id"])}
        return wipe_times(one | times)

    def event(one: Document) -> Document:
        own = {"session_id": ObjectId(one["session_id"])} if ids in ("both", "events") else {}
        return one | own | {"timestamp": as_text(one["timestamp"])}

    rewrite(web, "sessions", "sessions", session)
    rewrite(web, "events", "events", event)
    before = dump(web)
    found = cli("verify", "web", "--json")
    assert (found.code, found.check("event_count_present")["count"]) == (1, len(wiped))
    assert found.body["classes"]["planned"] == len(wiped)
    applied = cli("apply", "web", "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, len(wiped))
    assert cli("verify", "web").code == 0
    kind = ObjectId if ids in ("both", "sessions") else str
    for one in web.sessions.find({"_id": {"$in": [ObjectId(wipe) for wipe in wiped]}}):
        assert isinstance(one["session_id"], kind)
        assert one["first_event_at"] == one["created_at"]  # text, as the field beside it
        assert one["last_event_at"] > one["first_event_at"]
    assert cli("revert", "web", "--plan-id", applied.body["plan_id"]).code == 0
    assert dump(web) == before
    one = sorted(wiped)[0]
    assert cli("apply", "web", "--session", one, "--json").body["outcomes"]["applied"] == 1


@pytest.mark.parametrize(
    ("form", "name", "type_"),
    [
        (as_millis, "timestamp", "long that is no time in s"),
        (lambda value: as_text(value).removesuffix("+00:00"), "timestamp", "string without an offset"),
        (as_they_are, "ts", "missing"),
    ],
)
def test_times_that_could_mean_several_things_are_no_evidence(
    cli: Terminal, web: Web, form: Callable[[Any], Any], name: str, type_: str
) -> None:
    fill(web)

    def event(one: Document) -> Document:
        when = form(one.pop("timestamp"))
        return one | {name: when}

    rewrite(web, "events", "events", event)
    answer = cli("verify", "web", "--json")
    assert answer.code == 1
    checks = [one for one in answer.body["checks"] if one["name"] == "event_count_matches"]
    assert not checks[0]["passed"]
    said = cli("verify", "web")
    assert f"events.timestamp: 72 {type_} (for example in _id 65" in said.out + said.err


@pytest.fixture
def mapped(cli: Terminal, web: Web, tmp_path: Path) -> tuple[Terminal, set[str]]:
    """A terminal with a mapping file, and collections of that shape; returns it and the sessions that are wrong."""
    wiped = fill(web)
    add_duplicates(web)
    add_orphans(web)

    def session(one: Document) -> Document:
        names = {
            "session_id": "visit", "user_id": "customer", "event_count": "clicks", "first_event_at": "started",
            "last_event_at": "ended", "pages": "seen_pages", "created_at": "made",
        }  # fmt: skip
        times = {
            name: as_millis(one[name]) for name in ("first_event_at", "last_event_at", "created_at") if name in one
        }
        return {names.get(name, name): value for name, value in wipe_times(one | times).items()}

    def event(one: Document) -> Document:
        page = one.pop("page")
        names = {"session_id": "visit", "user_id": "customer", "timestamp": "ts"}
        one = one | {"timestamp": as_millis(one["timestamp"]), "page_number": int(page[1:])}
        return {names.get(name, name): value for name, value in one.items()}

    rewrite(web, "sessions", "visits", session)
    rewrite(web, "events", "clicks", event)
    path = tmp_path / "mapping.yaml"
    path.write_text(MAPPING, encoding="utf-8")
    return Terminal(cli.home, {**cli.variables, "WEB_MAPPING": str(path)}, cli.streams), wiped


def test_the_whole_loop_works_under_a_mapping(mapped: tuple[Terminal, set[str]], web: Web) -> None:
    cli, wiped = mapped
    before = dump(web, "visits")
    found = cli("verify", "web", "--json")
    wrong = len(wiped) - 2  # two of them have a second document
    assert (found.code, found.body["classes"]["planned"]) == (1, wrong)
    assert found.check("sessions_have_events")["count"] == 4
    assert found.check("one_document_per_session")["count"] == 8
    assert found.check("events_have_session")["count"] == 0
    applied = cli("apply", "web", "--json")
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, wrong)
    folded = cli(
        "apply", "web/duplicates", "--plan-id", cli("plan", "web/duplicates", "--json").body["plan_id"], "--json"
    )
    assert (folded.code, folded.body["outcomes"]["failed"]) == (0, 0)
    orphans = cli("plan", "web/orphans", "--json").body
    removed = cli("apply", "web/orphans", "--plan-id", orphans["plan_id"], "--json")
    assert (removed.code, removed.body["outcomes"]["applied"]) == (0, 4)
    assert cli("verify", "web").code == 0
    for one in web.visits.find({"visit": {"$exists": True}}):
        assert (one["clicks"], isinstance(one["started"], Int64), isinstance(one["ended"], Int64)) == (3, True, True)
        assert set(one) <= {"_id", "visit", "customer", "clicks", "started", "ended", "seen_pages", "made", "seen"}
    assert sorted(web.list_collection_names()) == ["clicks", "visits"]
    assert cli("revert", "web/orphans", "--plan-id", orphans["plan_id"]).code == 0
    assert cli("revert", "web/duplicates", "--plan-id", folded.body["plan_id"]).code == 0
    assert cli("revert", "web", "--plan-id", applied.body["plan_id"]).code == 0
    assert dump(web, "visits") == before
    assert cli("index", "web").code == 0
    assert {"visit_1_ts_1"} <= web.clicks.index_information().keys()
    assert "visit_1" in web.visits.index_information()
    one = sorted(wiped)[-1]
    assert cli("apply", "web", "--session", one, "--json").body["outcomes"]["applied"] == 1


def test_a_plan_is_applied_only_under_the_mapping_that_it_was_made_under(
    mapped: tuple[Terminal, set[str]], web: Web, tmp_path: Path
) -> None:
    cli, wiped = mapped
    planned = cli("plan", "web", "--json").body
    before = dump(web, "visits")
    other = tmp_path / "other.yaml"
    other.write_text(MAPPING.replace("event_count: clicks", "event_count: amount"), encoding="utf-8")
    for options in (("--plan-id", planned["plan_id"]), ()):
        refused = cli("apply", "web", *options, WEB_MAPPING=str(other))
        assert refused.code == 2
        assert "another mapping file" in refused.err and "session-assets plan web" in refused.err
    assert dump(web, "visits") == before
    again = cli("plan", "web", "--json", WEB_MAPPING=str(other)).body
    assert again["plan_id"] != planned["plan_id"]
    done = cli("apply", "web", "--plan-id", planned["plan_id"], "--json")
    assert (done.code, done.body["outcomes"]["applied"]) == (0, len(wiped) - 2)


def test_events_are_not_ingested_under_a_mapping(mapped: tuple[Terminal, set[str]], web: Web, tmp_path: Path) -> None:
    cli, _ = mapped
    before = (dump(web, "clicks"), dump(web, "visits"), indexes(web))
    file = tmp_path / "events.csv"
    file.write_text("s,t\nx,2025-03-01T00:00:00Z\n", encoding="utf-8")
    (tmp_path / "events.csv.mapping.yaml").write_text(
        "session: s\ntimestamp: t\ntimestamp_unit: iso\nevent_type_value: view\n", encoding="utf-8"
    )
    refused = cli("ingest", str(file))
    assert refused.code == 2 and "WEB_MAPPING is set" in refused.err
    assert (dump(web, "clicks"), dump(web, "visits"), indexes(web)) == before


def test_a_mapping_file_that_is_missing_or_wrong_is_named(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web)
    missing = cli("verify", "web", WEB_MAPPING=str(tmp_path / "nowhere.yaml"))
    assert missing.code == 2 and "WEB_MAPPING" in missing.err and "nowhere.yaml" in missing.err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("events:\n  fields:\n    sesion_id: visit\n", encoding="utf-8")
    refused = cli("verify", "web", WEB_MAPPING=str(wrong))
    assert refused.code == 2
    assert f"{wrong}, line 3: unknown field of events 'sesion_id'. Known are session_id, timestamp" in refused.err
