"""The same work started twice: one works, the other says who does, and the counts are those of one run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from session_assets_tests.counts import some
from session_assets_tests.web.acceptance.documents import Web, dump, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

DAY, OTHER_DAY = "2025-03-01", "2025-03-02"


class Paused:
    """A command that stands still at a failpoint, with all its threads, until it is released."""

    def __init__(self, cli: Terminal, folder: Path, place: str, *arguments: str) -> None:
        self._marker, self._failpoints = folder / "paused", folder / "failpoints"
        self._failpoints.write_text(f"{place}=pause:{self._marker}")
        self.running = cli.start(*arguments, SESSION_ASSETS_FAILPOINTS=f"@{self._failpoints}")
        while not self._marker.exists():
            assert self.running.is_alive(), self.running.wait()
            time.sleep(0.01)

    def let_go(self) -> None:
        self._failpoints.write_text("")
        self._marker.unlink()

    def release(self) -> Answer:
        self.let_go()
        return self.running.wait()


@pytest.mark.parametrize("place", some(["web.after_documents", "web.before_record", "apply.after_intent"], 2))
def test_the_second_is_told_who_works(cli: Terminal, web: Web, tmp_path: Path, place: str) -> None:
    wiped = fill(web)
    first = Paused(cli, tmp_path, place, "apply", "web", "--json")
    for command in ("apply", "plan"):
        second = cli(command, "web", "--json")
        assert second.code == 4, second
        assert f"pid {first.running.pid} on " in second.body["error"], second
        assert command == "apply" or "web.sessions" in second.body["error"]
    answer = first.release()
    assert (answer.code, answer.body["outcomes"]["applied"]) == (0, len(wiped))
    assert wrong_sessions(web) == {}


def test_nobody_reverts_or_cleans_up_beside_an_apply(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web)
    plan_id = cli("plan", "web", "--json").body["plan_id"]
    first = Paused(cli, tmp_path, "apply.after_look", "apply", "web", "--json")
    middle = dump(web)
    for command in (("revert", "web", "--plan-id", plan_id), ("apply", "web/duplicates"), ("apply", "web/orphans")):
        assert cli(*command, "--json").code == 4
    assert dump(web) == middle
    assert first.release().code == 0


def test_other_partitions_can_be_worked_on(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web)
    first = Paused(cli, tmp_path, "apply.after_intent", "apply", "web", "--partition", DAY, "--json")
    assert cli("apply", "web", "--partition", OTHER_DAY, "--json").code == 0
    assert cli("apply", "web", "--partition", DAY, "--json").code == 4
    assert first.release().code == 0
    assert {one["first_event_at"].date().isoformat() for one in wrong_sessions(web).values()} == {"2025-03-05"}


def test_an_interrupted_apply_is_finished_by_the_same_command(cli: Terminal, web: Web, tmp_path: Path) -> None:
    fill(web)
    first = Paused(cli, tmp_path, "apply.after_intent", "apply", "web", "--json")
    os.kill(first.running.pid, signal.SIGTERM)  # as Ctrl-C does, which is ignored where the tests run in the background
    stopped = first.release()
    assert (stopped.code, "the same command goes on" in stopped.body["error"]) == (130, True), stopped
    assert cli("apply", "web", "--json").code == 0
    assert wrong_sessions(web) == {}


def test_both_started_at_the_same_moment(cli: Terminal, web: Web) -> None:
    wiped = fill(web, 120)
    running = [cli.start("apply", "web", "--json") for _ in range(2)]
    answers = [one.wait() for one in running]
    assert {answer.code for answer in answers} <= {0, 4}, answers
    assert sum(answer.body.get("outcomes", {}).get("applied", 0) for answer in answers) == len(wiped)
    assert wrong_sessions(web) == {}
