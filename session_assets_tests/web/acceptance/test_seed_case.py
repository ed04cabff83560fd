"""The seed's case at its own size: 45,291 sessions, 320,410 events, 12,847 empty sessions, of which 302 are orphans."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from session_assets.embedded.web_sample import plant_seed_case
from session_assets_tests.web.acceptance.documents import Web, dump, listed, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal


def test_all_that_can_be_repaired_is_and_orphans_stay_and_are_listed(cli: Terminal, web: Web) -> None:
    now = datetime.now(UTC)
    start = (now - timedelta(days=40)).date().isoformat()
    cli = Terminal(cli.home, {**cli.variables, "WEB_START_DATE": start}, cli.streams)
    planted = plant_seed_case(web, now=now)
    assert (planted.sessions, planted.events) == (45_291, 320_410)
    _assert_both_types_occur(web)
    empty = {one["session_id"] for one in web.sessions.find({"pages": [], "event_count": 0}, {"session_id": 1})}
    assert len(empty) == 12_847
    logins = {key: text for key, text in dump(web).items() if '"token"' in text}
    assert len(logins) == planted.logins

    found = cli("verify", "web", "--json")
    orphans = set(listed(found.check("sessions_have_events")))
    assert (found.code, len(orphans), found.check("sessions_have_events")["count"]) == (1, 302, 302)
    assert found.body["classes"]["not_applicable"] == planted.logins
    unsettled = set(listed(found.check("nothing_held_back"), "unsettled"))
    assert (
        set(listed(found.check("pages_present")))
        == empty - orphans - unsettled
        == wrong_sessions(web).keys() - unsettled
    )
    assert len(empty - orphans) == 12_545

    before = dump(web)
    applied = cli("apply", "web", "--json", SESSION_ASSETS_SETTLE_MINUTES="0")
    outcomes = {"applied": 12_545, "already_applied": 0, "conflicted": 0, "failed": 0}
    assert (applied.code, applied.body["outcomes"]) == (0, outcomes)
    assert wrong_sessions(web) == {}
    after = dump(web)
    assert sum(text != before[key] for key, text in after.items()) == 12_545
    assert {key: after[key] for key in logins} == logins

    healthy = cli("verify", "web", "--json")
    assert healthy.code == 0
    assert set(listed(healthy.check("sessions_have_events"))) == orphans
    assert [one["name"] for one in healthy.body["checks"] if not one["passed"]] == ["sessions_have_events"]


def _assert_both_types_occur(web: Web) -> None:
    for name in ("date", "number"):
        assert web.events.find_one({"timestamp": {"$type": name}}), name
    for name in ("objectId", "string"):
        assert web.events.find_one({"user_id": {"$type": name}}), name
        assert web.sessions.find_one({"session_id": {"$exists": True}, "user_id": {"$type": name}}), name
