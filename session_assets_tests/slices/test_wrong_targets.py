"""In every slice: a wrong target is never green, and nothing is written to a target that a plan was not made on (E1, E2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from session_assets.slices import NAMES
from session_assets_tests.counts import some, times
from session_assets_tests.slices.sql_worlds import FlowWorld, KintellWorld
from session_assets_tests.slices.worlds import CosmosWorld, MongoWorld, World
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

STATES = ("judged", "not_applicable", "unsettled", "unreadable")
KINDS = {
    "web": ("missing", "clone", "empty", "renamed", "types", "field"),
    "contest": ("missing", "clone", "empty", "renamed", "types", "field"),
    "identity": ("missing", "prefix", "empty", "types", "field"),
    "kintell": ("missing", "bare", "clone", "empty", "renamed", "schema", "types"),
    "flow": ("missing", "bare", "clone", "empty", "renamed", "schema", "types"),
}
OTHER = ("missing", "bare", "clone", "prefix")
"""Kinds of wrong targets that are others than the one that the work was begun on."""
GOES_ON = ("apply", "import", "resume")
"""Commands that need evidence. An undo guards each row by itself; what people decide of rejects is noted with their name."""
OF_WEB = ("session_id", "pages", "event_count", "client_id")
OF_CONTEST = ("session_id", "username", "contest", "problems_attempted", "year")
Opened = tuple[Terminal, World]


@pytest.fixture
def worlds(open_terminal: Open, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], Opened]]:
    made: list[World] = []

    def world(slice_: str) -> Opened:
        if slice_ == "identity":
            cosmos: dict[str, str] = request.getfixturevalue("cosmos")
            made.append(CosmosWorld(cosmos))
            return open_terminal(None, **cosmos), made[-1]
        if slice_ in ("kintell", "flow"):
            url: str = request.getfixturevalue("postgres_url")
            of_sql = FlowWorld(url) if slice_ == "flow" else KintellWorld(url, tmp_path)
            made.append(of_sql)
            return open_terminal(None, **of_sql.variables), of_sql
        uri: str = request.getfixturevalue("mongo_uri")
        if slice_ == "web":
            made.append(MongoWorld("web", "WEB_MONGO_URI", uri, OF_WEB, "events"))
            return open_terminal(uri), made[-1]
        made.append(MongoWorld("contest", "CONTEST_MONGO_URI", uri, OF_CONTEST, "problems"))
        return open_terminal(None, CONTEST_MONGO_URI=uri, CONTEST_START_DATE="2025-01-01"), made[-1]

    yield world
    for one in made:
        one.close()


def test_no_slice_is_left_out() -> None:
    assert set(KINDS) == set(NAMES)


CASES = [
    (slice_, kind, seed)
    for slice_, kinds in KINDS.items()
    for kind in some(kinds, 3)
    for seed in range(1 if kind in ("missing", "prefix") else times(1, 5))
]


@pytest.mark.parametrize(("slice_", "kind", "seed"), CASES)
def test_a_wrong_target_is_never_green_and_never_written_to(
    worlds: Callable[[str], Opened], slice_: str, kind: str, seed: int
) -> None:
    cli, world = worlds(slice_)
    chance = Random(f"{slice_} {kind} {seed}")
    world.fill()
    plan_id = world.prepare(cli)
    assert cli("verify", slice_, "--json").body["judged"] > 0
    wrong = world.spoil(kind, chance)
    exists = kind != "missing"
    before = world.dump(wrong) if exists else []
    seen = cli("verify", slice_, "--json", **wrong)
    green_only_if_seen(seen, lambda: world.held(wrong) if exists else 0)
    for command in world.uses(plan_id, chance):
        answer = cli(*command, **wrong)
        assert answer.code or kind not in OTHER, (command, answer)
        assert "Traceback" not in answer.out + answer.err, answer
        if exists and (kind in OTHER or world.guards_rows or (is_blind(seen) and command[0] in GOES_ON)):
            assert world.dump(wrong) == before, command


def green_only_if_seen(answer: Answer, held: Callable[[], int]) -> None:
    """What a verify says is either a failure, or it adds up to what the store holds, and enough was judged."""
    assert "Traceback" not in answer.out + answer.err, answer
    bodies = answer.bodies
    checks = bodies[0]["checks"] if bodies else []
    for check in checks:
        assert check["read"] == sum(check[name] for name in STATES), check
        assert not check["passed"] or check["judged"] or not check["count"], check
    if answer.code == 0:
        body = answer.body
        assert body["read"] == sum(body[name] for name in STATES) == held()
        applicable = body["read"] - body["not_applicable"]
        assert body["judged"] > 0 or applicable == 0
        assert body["unreadable"] <= 0.01 * applicable


def is_blind(answer: Answer) -> bool:
    """Whether a verify found no evidence: nothing may be written then."""
    if not answer.bodies:
        return answer.code != 0
    lack = answer.body["lack"]
    return lack is not None and lack["is_error"]
