"""What a command can be told: which partitions, which sessions, which plan, how much, how far."""

from __future__ import annotations

import polars as pl
import pytest
from bson import ObjectId

from session_assets_tests.web.acceptance.documents import Web, add_duplicates, dump, fill, indexes, wrong_sessions
from session_assets_tests.web.acceptance.ledgers import open_ledger
from session_assets_tests.web.acceptance.terminal import Terminal

FIRST, SECOND, THIRD = "2025-03-01", "2025-03-02", "2025-03-05"


def wrong_days(web: Web) -> set[str]:
    return {one["first_event_at"].date().isoformat() for one in wrong_sessions(web).values()}


def test_only_the_named_partitions_are_visited(cli: Terminal, web: Web) -> None:
    fill(web)
    one = cli("verify", "web", "--partition", SECOND, "--json")
    assert (one.code, one.body["partitions"], one.body["read"]) == (1, [SECOND], 8)
    apart = ("--partition", THIRD, "--partition", FIRST)
    planned = cli("plan", "web", *apart, "--json")
    assert (planned.body["partitions"], planned.body["planned"]) == ([FIRST, THIRD], 8)
    assert cli("apply", "web", *apart, "--json").body["outcomes"]["applied"] == 8
    assert wrong_days(web) == {SECOND}
    assert cli("verify", "web", *apart).code == 0
    assert cli("apply", "web", "--partition", SECOND, "--json").body["outcomes"]["applied"] == 4
    assert cli("verify", "web").code == 0


def test_one_session_is_repaired_alone_and_taken_back(cli: Terminal, web: Web) -> None:
    chosen, other, *rest = sorted(fill(web))
    wiped = dump(web)
    one = ("--session", chosen, "--json")
    assert cli("verify", "web", *one).code == 1
    planned = cli("plan", "web", *one).body
    assert (planned["read"], planned["planned"]) == (1, 1)
    assert dump(web) == wiped
    applied = cli("apply", "web", *one)
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, 1)
    assert wrong_sessions(web).keys() == {other, *rest}
    assert cli("verify", "web", *one).code == 0
    undone = cli("revert", "web", "--plan-id", applied.body["plan_id"], "--json")
    assert (undone.code, undone.body["undoable"]) == (0, 1)
    assert dump(web) == wiped
    both = cli("apply", "web", "--session", chosen, "--session", other, "--json")
    assert both.body["outcomes"]["applied"] == 2
    assert wrong_sessions(web).keys() == set(rest)
    partly = cli("apply", "web", "--session", rest[0], "--session", "nobody", "--json")
    assert partly.code == 2 and "no session has the id nobody:" in partly.body["error"]
    assert wrong_sessions(web).keys() == set(rest)


def test_a_dry_run_writes_nothing_and_its_plan_can_be_applied(cli: Terminal, web: Web) -> None:
    wiped = fill(web)
    before = dump(web)
    foreseen = cli("apply", "web", "--dry-run", "--json").body
    assert foreseen["planned"] == len(wiped)
    assert dump(web) == before
    applied = cli("apply", "web", "--plan-id", foreseen["plan_id"], "--batch-size", "5", "--json")
    assert applied.body["outcomes"]["applied"] == len(wiped)
    (attempt,) = open_ledger(cli.home).attempts(foreseen["plan_id"])
    assert attempt.batch_size == 5
    repaired = dump(web)
    would = cli("revert", "web", "--plan-id", foreseen["plan_id"], "--dry-run", "--json")
    assert (would.code, would.body["undoable"]) == (0, len(wiped))
    assert dump(web) == repaired


def test_a_revert_leaves_what_was_edited_since_and_lists_it(cli: Terminal, web: Web) -> None:
    edited, *others = sorted(fill(web))
    plan_id = cli("apply", "web", "--json").body["plan_id"]
    web.sessions.update_one({"session_id": edited}, {"$set": {"note": "mine"}})
    for dry_run in (("--dry-run",), ()):
        report = cli("revert", "web", "--plan-id", plan_id, *dry_run, "--json")
        assert (report.code, report.body["undoable"]) == (0 if dry_run else 1, len(others))
        assert report.body["left"] == {"edited": 1}
        (left,) = report.body["left_sample"]
        assert (left["why"], edited in left["key"]) == ("edited", True)
    again = cli("revert", "web", "--plan-id", plan_id)
    assert again.code == 1
    assert f"edited {left['key']}" in again.out
    assert wrong_sessions(web).keys() == set(others)


def test_a_plan_that_changes_too_much_needs_force(cli: Terminal, web: Web) -> None:
    cli.options["SESSION_ASSETS_MAX_CHANGE_SHARE"] = "0.3"
    wiped = fill(web)
    before = dump(web)
    refused = cli("apply", "web", "--json")
    assert refused.code == 2
    assert "SESSION_ASSETS_MAX_CHANGE_SHARE=0.3" in refused.body["error"]
    assert dump(web) == before
    assert cli("apply", "web", "--json", "--force").body["outcomes"]["applied"] == len(wiped)


def test_a_session_that_says_more_than_its_events_is_listed_until_allowed(cli: Terminal, web: Web) -> None:
    fill(web, wrong=None)
    web.sessions.update_one({"session_id": f"65{1:022x}"}, {"$set": {"event_count": 99}})
    before = dump(web)
    listed = cli("verify", "web", "--json")
    assert (listed.code, listed.body["reasons"]) == (0, {"would_shrink": 1})
    assert cli("apply", "web", "--json").body["planned"] == 0
    assert dump(web) == before
    assert cli("apply", "web", "--json", SESSION_ASSETS_ALLOW_SHRINK="true").body["outcomes"]["applied"] == 1
    assert wrong_sessions(web) == {}


def test_a_fold_says_whose_own_values_it_would_drop(cli: Terminal, web: Web) -> None:
    fill(web, wrong=None)
    add_duplicates(web, 3)
    twin, other, _ = (ObjectId(f"68{number:022x}") for number in range(3))
    web.sessions.update_one({"_id": twin}, {"$set": {"browser": "Lynx", "campaign": "spring"}})
    web.sessions.update_many({"session_id": f"65{0:022x}", "_id": {"$ne": twin}}, {"$set": {"browser": "Opera"}})
    web.sessions.update_one({"_id": other}, {"$set": {"campaign": "spring"}})
    planned = cli("plan", "web/duplicates", "--json").body
    assert planned["reasons"] == {"duplicate_session": 6, "other_values": 1}
    ledger = open_ledger(cli.home, "web/duplicates")
    parts = ledger.plan(planned["plan_id"]).parts
    rows = pl.concat(frame for part in parts for frame in ledger.rows(part)).filter(op="delete")
    reasons = dict(rows.select("key", "reasons").iter_rows())
    assert reasons[f'{{"$oid":"{twin}"}}'] == ["duplicate_session", "other_values: browser"]
    assert cli("apply", "web/duplicates", "--json").body["outcomes"]["applied"] == 5
    kept = web.sessions.find_one({"session_id": f"65{0:022x}"})
    assert kept is not None and (kept["browser"], kept["campaign"]) == ("Opera", "spring")


def test_a_client_id_that_is_no_text_is_listed_and_kept(cli: Terminal, web: Web) -> None:
    (chosen, *rest) = sorted(fill(web))
    web.sessions.update_one({"session_id": chosen}, {"$set": {"client_id": ["c1", "c2"]}})
    before = dump(web)
    applied = cli("apply", "web", "--json").body
    assert (applied["reasons"]["malformed_session"], applied["outcomes"]["applied"]) == (1, len(rest))
    changed = {key for key, document in dump(web).items() if document != before[key]}
    assert len(changed) == len(rest) and not any(chosen in key for key in changed)


@pytest.mark.parametrize("lookup_first", [False, True])
def test_the_unique_index_waits_for_the_fold(cli: Terminal, web: Web, lookup_first: bool) -> None:
    fill(web, wrong=None)
    add_duplicates(web)
    if lookup_first:
        assert cli("index", "web").code == 0
    built = indexes(web)
    refused = cli("index", "web", "--unique")
    assert refused.code == 2
    assert "session-assets apply web/duplicates" in refused.err
    assert indexes(web) == built
    found = cli("verify", "web", "--json")
    assert (found.code, found.body["reasons"]) == (1, {"duplicate_session": 8})
    assert cli("plan", "web/duplicates", "--json").body["planned"] == 4
    assert cli("apply", "web/duplicates", "--json").body["outcomes"]["applied"] == 4
    assert cli("index", "web", "--unique").code == 0
    assert cli("index", "web", "--unique").code == 0
    (cli.home / "mapping.yaml").write_text(
        '{"session": "s", "page": "p", "timestamp": "t", "timestamp_unit": "s", "event_type": "e"}'
    )
    drop = cli.home / "more.ndjson"
    known, row = f"65{0:022x}", '{{"s": "{}", "p": "/x", "t": {}, "e": "search"}}\n'
    drop.write_text(
        "".join(row.format(known if number % 2 else f"new-{number}", 1742000000 + number) for number in range(40))
    )
    ingested = cli("ingest", drop, "--json")
    assert (ingested.code, ingested.body["sessions_created"]) == (0, 20)
    assert cli("verify", "web").code == 0
    assert wrong_sessions(web) == {}
