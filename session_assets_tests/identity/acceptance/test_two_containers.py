"""One home that serves two containers: what was applied to one says nothing of the other."""

from __future__ import annotations

from typing import Any

import pytest

from session_assets.stores.cosmos import container
from session_assets.stores.cosmos_account import disconnect
from session_assets.stores.cosmos_containers import create_containers, drop_database
from session_assets.stores.cosmos_settings import DATABASE, PREFIX
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, Document, session, user
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Terminal

APPLY = ("apply", "identity", "--json")
OTHER_NAMES = {"prefix": {PREFIX: "voice_"}, "database": {DATABASE: "other"}}


class Two:
    """Two containers, and a terminal that speaks to one of them at a time."""

    def __init__(self, cli: Terminal, cosmos: dict[str, str], other: dict[str, str]) -> None:
        self._cli = cli
        self._variables = ({}, other)
        environments = [{**cosmos, **some} for some in self._variables]
        for env in environments:
            create_containers(env)
        self.stores = [Cosmos(container("user_sessions", env), container("auth", env)) for env in environments]

    def fill(self, at: int, numbers: range) -> None:
        self.stores[at].fill([session(EMAIL, number) for number in numbers], [user(EMAIL.lower())])

    def run(self, at: int, *words: str) -> Any:
        return self._cli(*words, **self._variables[at])

    def gone(self, at: int) -> list[str]:
        """The sessions that a verify misses."""
        return self.run(at, "verify", "identity", "--json").check("sessions_conserved")["sample"]

    def users(self, at: int) -> set[Any]:
        return {one["user_id"] for one in self.stores[at].stored()}


@pytest.fixture(params=sorted(OTHER_NAMES))
def two(request: pytest.FixtureRequest, open_terminal: Open, cosmos: dict[str, str]) -> Any:
    other = dict(OTHER_NAMES[request.param])
    if DATABASE in other:
        other[DATABASE] = f"{cosmos[DATABASE]}_other"
    yield Two(open_terminal(None, **cosmos), cosmos, other)
    if DATABASE in other:
        drop_database({**cosmos, **other})
    disconnect({**cosmos, **other})


def test_sessions_of_one_container_are_not_missed_in_the_other(two: Two) -> None:
    two.fill(0, range(30))
    two.fill(1, range(100, 130))
    assert [two.run(at, *APPLY).body["outcomes"]["applied"] for at in (0, 1)] == [30, 30]
    assert [two.gone(at) for at in (0, 1)] == [[], []]
    lost: Document = session(EMAIL, 7)
    sessions = two.stores[0].sessions
    sessions.account.run(sessions.client.delete_item(lost["id"], partition_key=GUID))
    assert [two.gone(at) for at in (0, 1)] == [[lost["id"]], []]


def test_the_same_sessions_in_both_are_applied_and_reverted_in_each(two: Two) -> None:
    plans = []
    for at in (0, 1):
        two.fill(at, range(3))
        applied = two.run(at, *APPLY).body
        assert applied["outcomes"]["applied"] == 3
        plans.append(applied["plan_id"])
    undone = two.run(1, "revert", "identity", "--plan-id", plans[1], "--json")
    assert (undone.code, undone.body["undoable"]) == (0, 3)
    assert (two.users(0), two.users(1)) == ({GUID}, {EMAIL})
    undone = two.run(0, "revert", "identity", "--plan-id", plans[0], "--json")
    assert (undone.code, undone.body["undoable"]) == (0, 3)
    assert (two.users(0), two.users(1)) == ({EMAIL}, {EMAIL})


@pytest.mark.parametrize("two", ["prefix"], indirect=True)
def test_a_container_that_was_dropped_and_made_again_is_missed(two: Two, cosmos: dict[str, str]) -> None:
    """It is another target by its `_rid`: an empty one would be a warning only, as if nothing had ever been there."""
    two.fill(0, range(3))
    assert two.run(0, "verify", "identity", "--json").body["read"] == 3
    drop_database(cosmos)
    disconnect(cosmos)
    create_containers(cosmos)
    found = two.run(0, "verify", "identity", "--json")
    assert found.code == 1, found
    assert "held 3 when it was verified before" in found.body["lack"]["text"]
