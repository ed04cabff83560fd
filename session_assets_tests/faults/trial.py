"""One cell of the table: the step meets its fault, ends in time, says what is lost, and goes on when run again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import psycopg

from session_assets_tests.faults import modes
from session_assets_tests.faults.cells import Cell
from session_assets_tests.faults.home import LIMIT, OF_HOMES
from session_assets_tests.faults.record import Line, Outcome, record
from session_assets_tests.faults.stage import Play, Stage
from session_assets_tests.faults.steps import Step
from session_assets_tests.web.acceptance.terminal import Answer

DONE = "is completed already"  # by the first run, which could not say so
GO_ON = "Nothing is lost: mend it and run the same command again."
_TRIES = 3
_LONGEST_SECONDS = 180
_LOCK_SECONDS = 30
_LOCKS = """
    SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND d.datname = current_database()
"""


@dataclass
class Goal:
    """What a step ends in if nothing happens, and the chunks that it sends to each server."""

    state: Any
    chunks: dict[str, int]


def goal_of(stage: Stage, cell: Cell) -> Goal:
    play = stage.open(cell, "right", is_right=True)
    for proxy in play.proxies.values():
        proxy.at(0, lambda: None)
    play.scene.note(cell.step, play.scene.run(play.cli, cell.step))
    return Goal(play.scene.state(), {place: proxy.chunks for place, proxy in play.proxies.items()})


def try_cell(stage: Stage, cell: Cell, goal: Goal) -> None:
    """Asserts that the fault costs nothing. A step that was over before it began is tried again, with an earlier moment."""
    chance, reach = Random(str(cell)), 1.0
    for number in range(_TRIES):
        play = stage.open(cell, f"faulty-{number}")
        assert play.trouble is not None
        place, chunk = _moment(chance, cell, goal, reach)
        play.proxies[place].at(chunk, play.trouble.begin)
        line = Line(cell.slice_, cell.step_name, cell.place, cell.fault)
        with _told(line):
            answer = _run_in_trouble(play, cell, line)
            assert line.seconds < _LONGEST_SECONDS, (line.seconds, answer)
            line.outcome = _outcome(play, cell, answer, line.has_begun)
            assert play.scene.state() == goal.state, ("lost or doubled", cell, answer)
        if line.has_begun:
            return
        reach /= 2
    raise AssertionError(f"{cell}: the step was over before its fault began, {_TRIES} times")


def _moment(chance: Random, cell: Cell, goal: Goal, reach: float) -> tuple[str, int]:
    """A server, and the chunk to it at which the fault begins; that of a home begins anywhere."""
    places = [cell.place] if cell.place in goal.chunks else [*goal.chunks]
    sent = [(place, chunk) for place in places for chunk in range(1, max(1, round(goal.chunks[place] * reach)) + 1)]
    return chance.choice(sent)


@contextmanager
def _told(line: Line) -> Iterator[None]:
    """The line of a cell that fails says so."""
    try:
        yield
    except Exception:
        line.outcome = Outcome.FAILED
        raise
    finally:
        record(line)


def _run_in_trouble(play: Play, cell: Cell, line: Line) -> Answer:
    assert play.trouble is not None
    began = time.monotonic()
    try:
        if cell.fault == LIMIT:
            running = play.scene.start(play.cli, cell.step, **{modes.NO_OUTPUT: "1"})
        else:
            running = play.scene.start(play.cli, cell.step, "--json")
        play.trouble.meets(running)
        answer = running.wait()
        line.exit = answer.code
    finally:
        line.seconds = round(time.monotonic() - began, 1)
        line.has_begun = play.trouble.has_begun
        play.trouble.end()
        for proxy in play.proxies.values():
            proxy.mend()
    return answer


def _outcome(play: Play, cell: Cell, answer: Answer, has_begun: bool) -> Outcome:
    """What became of the work, after the same command was run again if the first one ended."""
    assert_clear(answer, cell.step)
    _await_free_locks(play.databases)
    outcome = Outcome.WENT_ON
    if answer.code == 3:
        again = play.scene.run(play.cli, cell.step)
        assert again.code == cell.step.code or DONE in str(again.body["error"]), ("again", again, "first", answer)
        outcome = Outcome.COMPLETED if again.code == cell.step.code else Outcome.WAS_COMPLETE
    if cell.fault in OF_HOMES:
        looked = play.cli("ledger", "check")
        assert looked.code == 0, looked
    return outcome if has_begun else Outcome.NOT_BEGUN


def assert_clear(answer: Answer, step: Step) -> None:
    """The command went on, or said in one line what is lost."""
    assert "Traceback" not in answer.err, answer
    errors = [one for one in answer.err.splitlines() if one.startswith("error: ")]
    errors += [str(body["error"]) for body in answer.bodies if body.get("error")]
    if answer.code == step.code:
        assert not errors, answer
        return
    assert answer.code == 3, answer
    assert errors and all(one.endswith(GO_ON) for one in errors), answer


def _await_free_locks(databases: list[str]) -> None:
    """Servers that were stopped see a moment later that the command is gone."""
    deadline = time.monotonic() + _LOCK_SECONDS
    for url in databases:
        with psycopg.connect(url, autocommit=True) as connection:
            while (found := connection.execute(_LOCKS).fetchone()) and found[0]:
                assert time.monotonic() < deadline, f"{found[0]} locks are still held"
                time.sleep(0.05)
