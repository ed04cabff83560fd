"""A verify that judged nothing is not green: wrong names, empty collections, values that nobody understands (E1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bson import ObjectId

from session_assets.stores.mongo_indexes import create_event_indexes
from session_assets_tests.counts import some
from session_assets_tests.web.acceptance.documents import DAYS, Web, add_orphans, dump, fill
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

STATES = ("judged", "not_applicable", "unsettled", "unreadable")


def assert_no_evidence(answer: Answer, *said: str, code: int = 1) -> None:
    """No check passes but the accounts of the run, each carries its figures, and the text names what was found."""
    assert answer.code == code
    for check in answer.body["checks"]:
        assert check["read"] == sum(check[name] for name in STATES)
    assert answer.body["lack"] is not None
    for word in said:
        assert word in answer.body["lack"]["text"] + answer.body["lack"]["next_step"]


def none_passes(answer: Answer) -> bool:
    """Of the checks of sessions; those of events judge events by themselves."""
    return not any(one["passed"] for one in answer.body["checks"] if not one["name"].startswith("events_"))


def test_a_database_that_does_not_exist_is_an_error(cli: Terminal, web: Web) -> None:
    fill(web)
    wrong = cli.variables["WEB_MONGO_URI"].replace(web.name, "no_such_database")
    verified = cli("verify", "web", "--json", WEB_MONGO_URI=wrong)
    assert_no_evidence(verified, "no_such_database", "has no sessions and no events", "WEB_MONGO_URI")
    assert none_passes(verified)
    assert all(one["severity"] == "ERROR" for one in verified.body["checks"])
    shown = cli("verify", "web", WEB_MONGO_URI=wrong)
    assert shown.code == 1 and "0 documents read" in shown.out and "No evidence" in shown.out
    assert "apply" not in shown.out
    for command in ("plan", "apply"):
        refused = cli(command, "web", WEB_MONGO_URI=wrong)
        assert refused.code in (1, 2) and "no evidence" in refused.err


@pytest.mark.parametrize("gone", ["events", "sessions"])
def test_a_renamed_collection_is_an_error_and_nothing_is_written(cli: Terminal, web: Web, gone: str) -> None:
    fill(web)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    web[gone].rename("elsewhere")
    before = dump(web)
    assert_no_evidence(cli("verify", "web", "--json"), f"has no {gone}")
    assert cli("apply", "web").code != 0
    assert cli("apply", "web", "--plan-id", plan_id).code != 0
    assert dump(web) == before
    web["elsewhere"].rename(gone)
    assert cli("verify", "web", "--json").body["lack"] is None
    assert cli("apply", "web", "--plan-id", plan_id).code == 0


def test_a_look_at_one_day_does_not_lift_what_was_said_of_all_days(cli: Terminal, web: Web) -> None:
    """A verify of one day replaced the failure of the whole, and the other days could be applied again."""
    fill(web)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    web.events.rename("elsewhere")
    cli("verify", "web")
    before = dump(web)
    cli("verify", "web", "--partition", "2025-03-01")
    web.elsewhere.rename("events")
    cli("verify", "web", "--partition", "2025-03-01")
    refused = cli("apply", "web", "--plan-id", plan_id)
    assert refused.code == 2 and "no evidence" in refused.err, refused
    assert dump(web) == before
    cli("verify", "web")
    assert cli("apply", "web", "--plan-id", plan_id).code == 0


def test_an_empty_collection_is_a_warning_until_somebody_has_seen_documents_in_it(cli: Terminal, web: Web) -> None:
    for name in ("sessions", "events"):
        web.create_collection(name)
    first = cli("verify", "web", "--json")
    assert_no_evidence(first, "hold nothing", code=0)
    assert none_passes(first) and all(one["severity"] == "WARN" for one in first.body["checks"])
    for allowed in (
        cli("verify", "web", "--json", "--allow-empty"),
        cli("verify", "web", "--json", SESSION_ASSETS_ALLOW_EMPTY="contest, web"),
    ):
        assert allowed.code == 0 and allowed.body["lack"] is None
    fill(web)
    assert cli("verify", "web", "--json").body["judged"] > 0
    for name in ("sessions", "events"):
        web[name].delete_many({})
    assert_no_evidence(cli("verify", "web", "--json"), "when it was verified before")


def test_sessions_without_a_single_event_of_theirs_are_compared_with_nothing(cli: Terminal, web: Web) -> None:
    fill(web)
    web.events.update_many({}, {"$rename": {"session_id": "sid"}})
    verified = cli("verify", "web", "--json")
    assert_no_evidence(verified, "anything to be compared with")
    assert none_passes(verified)


def _text_without_offset(web: Web) -> None:
    for event in web.events.find():
        web.events.update_one({"_id": event["_id"]}, {"$set": {"timestamp": "2025-03-01T10:00:00"}})


def _milliseconds(web: Web) -> None:
    web.events.update_many({}, {"$set": {"timestamp": 1_740_823_200_000}})


def _renamed(web: Web) -> None:
    web.events.update_many({}, {"$rename": {"timestamp": "ts"}})


def _lists(web: Web) -> None:
    web.sessions.update_many({}, {"$set": {"session_id": ["a"]}})


@pytest.mark.parametrize("spoil", some([_text_without_offset, _milliseconds, _renamed, _lists], 2))
def test_values_that_nobody_understands_are_an_error(cli: Terminal, web: Web, spoil: Callable[[Web], None]) -> None:
    fill(web)
    spoil(web)
    before = dump(web)
    verified = cli("verify", "web", "--json")
    assert_no_evidence(verified, "unreadable")
    assert verified.body["judged"] == 0 and none_passes(verified)
    assert cli("apply", "web").code != 0
    assert dump(web) == before


def test_a_share_of_unreadable_documents_is_allowed_by_the_setting(cli: Terminal, web: Web) -> None:
    fill(web, wrong=None)
    (one,) = web.sessions.find().limit(1)
    web.sessions.update_one({"_id": one["_id"]}, {"$set": {"pages": 5}})
    verified = cli("verify", "web", "--json")
    assert_no_evidence(verified, "SESSION_ASSETS_MAX_UNREADABLE_SHARE")
    failed = {one["name"] for one in verified.body["checks"] if not one["passed"]}
    assert failed == {"nothing_held_back"}
    refused = cli("apply", "web")
    assert refused.code == 2 and "no evidence" in refused.err
    allowed = cli("verify", "web", "--json", SESSION_ASSETS_MAX_UNREADABLE_SHARE="0.5")
    assert (allowed.code, allowed.body["lack"], allowed.body["unreadable"]) == (0, None, 1)
    assert cli("apply", "web").code == 0


def test_a_plan_that_leaves_much_out_does_not_offer_to_apply_the_rest(cli: Terminal, web: Web) -> None:
    fill(web, 12)
    unread = [one["_id"] for one in web.sessions.find({"event_count": 3}).limit(3)]
    web.sessions.update_many({"_id": {"$in": unread}}, {"$set": {"pages": 5}})
    planned = cli("plan", "web")
    assert "No evidence" in planned.out and "Next: session-assets apply" not in planned.out, planned
    web.sessions.update_many({"_id": {"$in": unread}}, {"$set": {"pages": []}})
    assert "Next: session-assets apply" in cli("plan", "web").out


def test_only_log_ins_are_rightly_nothing_to_judge(cli: Terminal, web: Web) -> None:
    fill(web)
    cli("verify", "web")
    web.sessions.delete_many({})
    web.events.update_many({}, {"$unset": {"session_id": 1}})
    login = {"user_id": "u", "token": "t", "created_at": ObjectId().generation_time}
    web.sessions.insert_many([{**login, "expires_at": ObjectId().generation_time} for _ in range(3)])
    verified = cli("verify", "web", "--json")
    assert (verified.code, verified.body["not_applicable"], verified.body["lack"]) == (0, 3, None)


def test_sessions_that_all_look_like_log_ins_are_no_evidence_while_events_name_sessions(
    cli: Terminal, web: Web
) -> None:
    """`session_id` had another name, and the documents expire: verify judged none of them, and passed."""
    fill(web, wrong=None)
    web.sessions.update_many({}, {"$rename": {"session_id": "sid"}, "$set": {"expires_at": DAYS[0]}})
    verified = cli("verify", "web", "--json")
    assert_no_evidence(
        verified, "none of 25 documents", "events that name a session", "sessions.session_id: 25 missing"
    )
    assert none_passes(verified) and verified.body["judged"] == 0
    refused = cli("apply", "web")
    assert refused.code in (1, 2) and "no evidence" in refused.err, refused


def test_a_day_that_holds_nothing_and_a_session_that_nobody_has_are_usage_errors(cli: Terminal, web: Web) -> None:
    fill(web)
    for command in ("verify", "plan"):
        refused = cli(command, "web", "--partition", "2025-03-03")
        assert refused.code == 2 and "holds no document in 2025-03-03" in refused.err
    assert cli("verify", "web", "--partition", "2025-03-03", "--partition", "2025-03-01").code == 1
    assert cli("verify", "web", "--session", "nobody").code == 2


def test_a_single_session_that_nobody_understands_is_no_evidence(cli: Terminal, web: Web) -> None:
    """`verify --session` exited 0 with 0 of 1 judged, and `apply --session` said 0 changes while `events` was missing."""
    fill(web)
    one = web.sessions.find_one({"session_id": {"$type": "string"}})
    assert one is not None
    web.sessions.update_one({"_id": one["_id"]}, {"$set": {"pages": 5}})
    verified = cli("verify", "web", "--session", one["session_id"], "--json")
    assert_no_evidence(verified, "none of 1 documents", "unreadable")
    assert none_passes(verified)
    assert cli("apply", "web", "--session", one["session_id"]).code != 0
    web.sessions.update_one({"_id": one["_id"]}, {"$set": {"pages": one["pages"]}})
    web.events.rename("elsewhere")
    for command in ("verify", "plan", "apply"):
        refused = cli(command, "web", "--session", one["session_id"])
        assert refused.code == 1 and "has no events" in refused.out + refused.err, refused


@pytest.mark.parametrize("is_indexed", [False, True])
@pytest.mark.parametrize("odd", [7001, ["s"]], ids=["number", "array"])
def test_a_look_at_one_session_sees_that_events_are_odd(cli: Terminal, web: Web, odd: object, is_indexed: bool) -> None:
    """An index answers for numbers at once. It mixes arrays with texts, and says so: then the events are read."""
    fill(web, 6, wrong=1)
    chosen = ("plan", "web", "--session", f"65{0:022x}")
    if is_indexed:
        create_event_indexes(web)
    assert cli(*chosen).code == 0
    web.events.insert_one({"session_id": odd, "timestamp": DAYS[0], "page": "/"})
    refused = cli(*chosen)
    assert refused.code == 1 and "no evidence" in refused.err and "events.session_id" in refused.err, refused


def test_events_that_name_their_session_by_a_number_are_no_evidence(cli: Terminal, web: Web) -> None:
    """They counted as nothing at all: sessions that had events were deleted as orphans."""
    fill(web, 6, wrong=None)
    add_orphans(web)
    for number, one in enumerate(web.sessions.find({"session_id": {"$regex": "^orphan"}})):
        web.sessions.update_one({"_id": one["_id"]}, {"$set": {"session_id": str(7001 + number)}})
        web.events.insert_one({"session_id": 7001 + number, "timestamp": DAYS[0], "page": "/"})
    before = dump(web)
    verified = cli("verify", "web", "--json")
    assert_no_evidence(verified, "4 of 22", "events.session_id", "4 int")
    assert not any(one["passed"] for one in verified.body["checks"] if "event" in one["name"])
    named = verified.check("events_have_session_id")
    assert (named["unreadable"], named["judged"], named["count"]) == (4, 18, 4)
    for command in ("plan", "apply"):
        for loop in ("web", "web/orphans"):
            refused = cli(command, loop)
            assert refused.code in (1, 2) and "no evidence" in refused.err, refused
    few = {"SESSION_ASSETS_MAX_UNREADABLE_SHARE": "0.5"}
    assert cli("verify", "web", "--json", **few).body["lack"] is None
    assert cli("plan", "web/orphans", "--json", **few).body["planned"] == 4
    assert cli("apply", "web/orphans", "--json", **few).body["outcomes"]["applied"] == 0
    assert dump(web) == before
