"""Which targets are one and the same: by the word of the server, and by that of a person (E2)."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from session_assets.changes.target import Known, Relation, StoreTarget
from session_assets.changes.targets import Targets
from session_assets.errors import UsageError
from session_assets.storage import Storage

SET = StoreTarget("mongodb", "rs0", ("a:27017", "b:27017"), "web", "sessions", old_name="mongodb://a:27017/web")


@pytest.fixture
def targets(tmp_path: Path) -> Targets:
    return Targets(Storage(f"memory://{secrets.token_hex(8)}", tmp_path))


@pytest.mark.parametrize(
    ("seen", "relation"),
    [
        (replace(SET, members=("b:27017", "c:27017")), Relation.SAME),  # one member was replaced
        (replace(SET, unique="x"), Relation.SAME),  # the id of the set can be read by now
        (replace(SET, members=("c:27017", "d:27017")), Relation.CLONE),
        (replace(SET, database="web2"), Relation.OTHER),
        (replace(SET, collection="sessions2"), Relation.OTHER),
        (replace(SET, cluster="rs1"), Relation.OTHER),
    ],
)
def test_names_and_members_say_whether_two_targets_are_one(seen: StoreTarget, relation: Relation) -> None:
    assert SET.relation(seen) is relation


def test_another_set_on_the_same_hosts_is_another_target() -> None:
    assert replace(SET, unique="x").relation(replace(SET, unique="y")) is Relation.OTHER


def test_a_target_keeps_its_id_while_members_come_and_go(targets: Targets) -> None:
    first = targets.resolve(SET)
    moved = [replace(SET, members=("b:27017", "c:27017")), replace(SET, members=("c:27017", "d:27017"))]
    assert [targets.resolve(one).id for one in moved] == [first.id, first.id]
    assert targets.resolve(replace(SET, members=("x:27017",))).id != first.id


def test_plans_of_an_accepted_target_belong_to_the_new_one_and_not_the_other_way(targets: Targets) -> None:
    old, new = targets.resolve(SET), targets.resolve(replace(SET, members=("c:27017",)))
    assert not targets.resolve(replace(SET, members=("c:27017",))).owns(old.id, None)
    targets.accept(old.id, new.id[:8], note="restored", by="somebody")
    assert targets.resolve(replace(SET, members=("c:27017",))).owns(old.id, None)
    assert not targets.resolve(SET).owns(new.id, None)
    assert [(one.old, one.new, one.note) for one in targets.accepted()] == [(old.id, new.id, "restored")]


@pytest.mark.parametrize("wrong", ["nonsense", "", "0"])
def test_an_unknown_target_is_not_accepted(targets: Targets, wrong: str) -> None:
    known = targets.resolve(SET).id
    for pair in ((wrong, known), (known, wrong), (known, known)):
        with pytest.raises(UsageError):
            targets.accept(*pair, note="restored", by="somebody")


def test_a_target_is_accepted_once_and_goes_on_from_there(targets: Targets) -> None:
    one, two, three = (targets.resolve(replace(SET, database=name)).id for name in ("web", "web2", "web3"))
    targets.accept(one, two, note="renamed", by="somebody")
    with pytest.raises(UsageError, match=f"target accept {two} {three}"):
        targets.accept(one, three, note="renamed", by="somebody")
    targets.accept(two, three, note="renamed again", by="somebody")
    assert targets.resolve(replace(SET, database="web3")).owns(one, None)
    assert targets.resolve(replace(SET, database="web2")).owns(one, None)


def test_targets_are_not_accepted_in_a_circle(targets: Targets) -> None:
    one, two = targets.resolve(SET).id, targets.resolve(replace(SET, database="web2")).id
    targets.accept(one, two, note="renamed", by="somebody")
    with pytest.raises(UsageError, match="already"):
        targets.accept(two, one, note="renamed back", by="somebody")


def test_a_recording_without_a_target_belongs_to_the_first_that_its_source_leads_to(targets: Targets) -> None:
    assert targets.resolve(SET).owns(None, SET.old_name)
    elsewhere = replace(SET, members=("c:27017",))  # the same URI leads to another server by now
    assert not targets.resolve(elsewhere).owns(None, SET.old_name)
    assert not targets.resolve(SET).owns(None, "mongodb://alias:27017/web")
    targets.accept("mongodb://alias:27017/web", targets.resolve(SET).id, note="an alias of old", by="somebody")
    assert targets.resolve(SET).owns(None, "mongodb://alias:27017/web")


def test_locks_do_not_care_for_the_spelling_of_an_address() -> None:
    assert SET.coarse == replace(SET, members=("z:1",), unique="x").coarse != replace(SET, database="web2").coarse


def test_another_way_to_the_same_running_server_is_the_same_target(targets: Targets) -> None:
    first = StoreTarget("postgresql", "741", ("127.0.0.1:5432", "since 2026-01-01T00:00:00Z"), "flow", "migration")
    by_socket = replace(first, members=("socket:5432", "since 2026-01-01T00:00:00Z"))
    known = targets.resolve(first)
    assert targets.resolve(by_socket).id == known.id
    restarted = [
        replace(first, members=(one, "since 2026-02-02T00:00:00Z")) for one in ("127.0.0.1:5432", "socket:5432")
    ]
    assert [targets.resolve(one).id for one in restarted] == [known.id, known.id]
    copied = replace(first, members=("10.0.0.2:5432", "since 2026-03-03T00:00:00Z"))
    assert targets.resolve(copied).id != known.id and first.relation(copied) is Relation.CLONE


def test_nothing_belongs_to_a_target_by_chance() -> None:
    assert not Known.named("one").owns(None, None)
