"""The same work started twice: one works, the other says who does, and the counts are those of one run."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from session_assets_tests.web.acceptance.documents import Web, dump, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Running, Terminal

DAY, OTHER_DAY = "2025-03-01", "2025-03-02"


def pause(cli: Terminal, marker: Path, place: str, *arguments: str) -> Running:
    """A command that stops at a failpoint, with all its threads, until the marker is removed."""
    running = cli.start(*arguments, SESSION_ASSETS_FAILPOINTS=f"{place}=pause:{marker}")
    while not marker.exists():
        assert running.is_alive(), running.wait()
        time.sleep(0.01)
    return running


@pytest.mark.parametrize("place", ["web.after_documents", "web.before_record", "apply.after_intent"])
def test_the_second_is_told_who_works(cli: Terminal, web: Web, tmp_path: Path, place: str) -> None:
    wiped = fill(web)
    first = pause(cli, tmp_path / "paused", place, "apply", "web", "--json")
    for command in ("apply", "plan"):
        second = cli(command, "web", "--json")
        assert second.code == 4, second
        assert f"pid {first.pid} on " in second.body["error"], second
        assert command == "apply" or "web.sessions" in second.body["error"]
    (tmp_path / "paused").unlink()
    answer = first.wait()
    assert (answer.code, answer.body["outcomes"]["applied"]) == (0, len(wiped))
    assert wrong_sessions(web) == {}


def test_nobody_reverts_or_cleans_up_beside_an_apply(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    first = pause(cli, tmp_path / "paused", "apply.after_look", "apply", "web", "--json")
    middle = dump(web)
    for command in (("revert", "web", "--plan-id", plan_id), ("apply", "web/duplicates"), ("apply", "web/orphans")):
        assert cli(*command, "--json").code == 4
    assert dump(web) == middle
    (tmp_path / "paused").unlink()
    assert first.wait().code == 0


def test_other_partitions_can_be_worked_on(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web)
    first = pause(cli, tmp_path / "paused", "apply.after_intent", "apply", "web", "--partition", DAY, "--json")
    assert cli("apply", "web", "--partition", OTHER_DAY, "--json").code == 0
    assert cli("apply", "web", "--partition", DAY, "--json").code == 4
    (tmp_path / "paused").unlink()
    assert first.wait().code == 0
    assert {one["first_event_at"].date().isoformat() for one in wrong_sessions(web).values()} == {"2025-03-05"}


def test_both_started_at_the_same_moment(cli: Terminal, web: Web) -> None:
    wiped = fill(web, 120)
    running = [cli.start("apply", "web", "--json") for _ in range(2)]
    answers = [one.wait() for one in running]
    assert {answer.code for answer in answers} <= {0, 4}, answers
    assert sum(answer.body.get("outcomes", {}).get("applied", 0) for answer in answers) == len(wiped)
    assert wrong_sessions(web) == {}
