"""In every slice: a wrong target is never green, and nothing is written to a target that a plan was not made on (E1, E2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest

from session_assets_tests.counts import times
from session_assets_tests.slices.worlds import CosmosWorld, MongoWorld, World
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

STATES = ("judged", "not_applicable", "unsettled", "unreadable")
KINDS = {
    "web": ("missing", "clone", "empty", "renamed", "types", "field"),
    "contest": ("missing", "clone", "empty", "renamed", "types", "field"),
    "identity": ("missing", "prefix", "empty", "types", "field"),
}
OF_WEB = ("session_id", "pages", "event_count", "client_id")
OF_CONTEST = ("session_id", "username", "contest", "problems_attempted", "year")
Opened = tuple[Terminal, World]


@pytest.fixture
def worlds(
    open_terminal: Open, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], Opened]]:
    made: list[MongoWorld] = []

    def world(slice_: str) -> Opened:
        if slice_ == "identity":
            cosmos: dict[str, str] = request.getfixturevalue("cosmos")
            return open_terminal(None, **cosmos), CosmosWorld(cosmos)
        uri: str = request.getfixturevalue("mongo_uri")
        if slice_ == "web":
            made.append(MongoWorld("web", "WEB_MONGO_URI", uri, OF_WEB, "events"))
            return open_terminal(uri), made[-1]
        made.append(MongoWorld("contest", "CONTEST_MONGO_URI", uri, OF_CONTEST, "problems"))
        return open_terminal(None, CONTEST_MONGO_URI=uri, CONTEST_START_DATE="2025-01-01"), made[-1]

    yield world
    for one in made:
        one.close()


CASES = [(slice_, kind, seed) for slice_, kinds in KINDS.items() for kind in kinds for seed in range(times(1, 5))]


@pytest.mark.parametrize(("slice_", "kind", "seed"), CASES)
def test_a_wrong_target_is_never_green_and_never_written_to(
    worlds: Callable[[str], Opened], slice_: str, kind: str, seed: int
) -> None:
    cli, world = worlds(slice_)
    world.fill()
    assert cli("verify", slice_, "--json").body["judged"] > 0
    plan = cli("plan", slice_, "--json").body
    assert plan["planned"] > 0
    wrong = world.spoil(kind, Random(f"{slice_} {kind} {seed}"))
    exists = kind != "missing" and kind != "renamed"
    before = world.dump(wrong) if exists else []
    green_only_if_seen(cli("verify", slice_, "--json", **wrong), world.held(wrong) if exists else 0)
    if kind in ("missing", "clone", "prefix"):
        for command in ("apply", "revert"):
            refused = cli(command, slice_, "--plan-id", plan["plan_id"], **wrong)
            assert refused.code == 2, refused
    else:
        cli("apply", slice_, "--plan-id", plan["plan_id"], **wrong)
    if exists:
        assert world.dump(wrong) == before


def green_only_if_seen(answer: Answer, held: int) -> None:
    """What a verify says is either a failure, or it adds up to what the store holds, and enough was judged."""
    bodies = answer.bodies
    checks = bodies[0]["checks"] if bodies else []
    for check in checks:
        assert check["read"] == sum(check[name] for name in STATES), check
        assert not check["passed"] or check["judged"] or not check["count"], check
    if answer.code == 0:
        body = answer.body
        assert body["read"] == sum(body[name] for name in STATES) == held
        applicable = body["read"] - body["not_applicable"]
        assert body["judged"] > 0 or applicable == 0
        assert body["unreadable"] <= 0.01 * applicable
