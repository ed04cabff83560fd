"""Two databases in one home: a plan, its undo and its lock belong to the one that it was made on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pymongo
import pytest

from session_assets.stores.mongo_target import mongo_target
from session_assets_tests.web.acceptance.documents import Web, dump, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal


@pytest.fixture
def clone_uri(mongo_uri: str) -> Iterator[str]:
    """Another database on the same server."""
    path, _, options = mongo_uri.partition("?")
    uri = f"{path.rpartition('/')[0]}/clone_{secrets.token_hex(6)}?{options}"
    yield uri
    with pymongo.MongoClient(uri) as client:
        client.drop_database(client.get_default_database())


@pytest.fixture
def clone(clone_uri: str) -> Iterator[Web]:
    with pymongo.MongoClient(clone_uri, tz_aware=True) as client:
        yield client.get_default_database()


def test_apply_and_revert_work_on_each_clone_and_never_on_the_other(
    cli: Terminal, web: Web, clone: Web, clone_uri: str
) -> None:
    wiped = fill(web)
    assert fill(clone) == wiped
    before = dump(clone)
    plan_id = cli("apply", "web", "--json").body["plan_id"]
    for command in (["revert", "web", "--plan-id", plan_id], ["apply", "web", "--plan-id", plan_id]):
        refused = cli(*command, WEB_MONGO_URI=clone_uri)
        assert refused.code == 2 and "made on another target" in refused.out + refused.err
        assert "target accept" in refused.out + refused.err
    assert dump(clone) == before
    applied = cli("apply", "web", "--json", WEB_MONGO_URI=clone_uri)
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, len(wiped))
    assert applied.body["plan_id"] != plan_id
    for uri, plan in ((None, plan_id), (clone_uri, applied.body["plan_id"])):
        variables = {"WEB_MONGO_URI": uri} if uri else {}
        undone = cli("revert", "web", "--plan-id", plan, "--json", **variables)
        assert (undone.code, undone.body["undoable"]) == (0, len(wiped))
    assert wrong_sessions(web).keys() == wrong_sessions(clone).keys() == set(wiped)
    assert dump(clone) == before


def test_a_renamed_database_is_accepted_by_name_and_the_undo_goes_on_there(
    cli: Terminal, web: Web, clone: Web, clone_uri: str
) -> None:
    wiped = fill(web)
    plan_id = cli("apply", "web", "--json").body["plan_id"]
    for name in ("sessions", "events"):
        clone[name].insert_many(web[name].find())
    web.client.drop_database(web.name)
    listed = cli("target", "list", "--json", WEB_MONGO_URI=clone_uri).body["targets"]
    (new,) = (one["id"] for one in listed if "web" in one["now"])
    (old,) = (one["id"] for one in listed if web.name in one["is"])
    accepted = cli("target", "accept", old, new, "--note", "renamed", WEB_MONGO_URI=clone_uri)
    assert accepted.code == 0 and f"{old} is now {new}" in accepted.out
    undone = cli("revert", "web", "--plan-id", plan_id, "--json", WEB_MONGO_URI=clone_uri)
    assert (undone.code, undone.body["undoable"]) == (0, len(wiped))
    assert wrong_sessions(clone).keys() == set(wiped)


def test_another_spelling_of_the_address_is_the_same_target(cli: Terminal, web: Web, mongo_uri: str) -> None:
    wiped = fill(web)
    plan_id = cli("apply", "web", "--json").body["plan_id"]
    spelled = mongo_uri.replace("127.0.0.1", "localhost") + "&appName=other"
    undone = cli("revert", "web", "--plan-id", plan_id, "--json", WEB_MONGO_URI=spelled)
    assert (undone.code, undone.body["undoable"]) == (0, len(wiped))


def test_work_on_one_database_does_not_hold_up_another(cli: Terminal, web: Web, clone: Web, clone_uri: str) -> None:
    fill(web)
    wiped = fill(clone)
    marker = cli.home / "at_work"
    running = cli.start("apply", "web", SESSION_ASSETS_FAILPOINTS=f"apply.after_intent@1=pause:{marker}")
    while not marker.exists():
        assert running.is_alive(), running.wait()
        time.sleep(0.01)
    assert cli("apply", "web").code == 4
    applied = cli("apply", "web", "--json", WEB_MONGO_URI=clone_uri)
    assert (applied.code, applied.body["outcomes"]["applied"]) == (0, len(wiped))
    marker.unlink()
    assert running.wait().code == 0


def test_the_server_is_asked_who_it_is(mongo_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_MONGO_URI", mongo_uri)
    target = mongo_target("WEB_MONGO_URI", "web", "sessions")
    assert target.cluster == "rs0" and target.unique is not None and len(target.members) == 1
    assert target.database in mongo_uri and target.collection == "sessions"
