"""Each call to a store or a file fails once, and is the last of its process once, as SQLite tests itself.

After each: the error is one clear line, and the same work, done again, ends as if nothing had happened. The full run tries every
call until a run makes fewer; the default one a call of one step of each slice, which a seed chooses.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence

import pytest

from session_assets.errors import StoreUnavailable
from session_assets_tests.counts import FULL
from session_assets_tests.io_calls.conftest import Prepared
from session_assets_tests.io_calls.scenes import STEPS, Scene
from session_assets_tests.io_calls.work import Call, Ended
from session_assets_tests.web.acceptance.terminal import KILLED

GO_ON = "Nothing is lost: mend it and run the same command again."
FAILS = ("refused", "lost", "timeout", "full")
KILLS = ("kill", "kill-after")
CASES = [(slice_, step) for slice_, steps in STEPS.items() for step in steps]
SEED = "every call"
"""Chooses the calls of the default run: the same on each day, so that a red run is that of a change."""
CHOSEN = [(slice_, random.Random(f"{SEED} {slice_}").choice(steps)) for slice_, steps in STEPS.items()]
_OWN = re.compile(
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{6,}|[0-9]+"
)  # ids of a run, of a plan, of a part
Recorded = Callable[[str, object], None]

pytestmark = pytest.mark.usefixtures("short_transactions")


@pytest.mark.parametrize(("slice_", "step"), CASES if FULL else CHOSEN)
def test_each_call_fails_once(prepared: Prepared, record_property: Recorded, slice_: str, step: str) -> None:
    tried(prepared(slice_, step), step, FAILS, record_property)


@pytest.mark.parametrize(("slice_", "step"), CASES if FULL else CHOSEN)
def test_each_call_is_once_the_last_of_its_process(
    prepared: Prepared, record_property: Recorded, slice_: str, step: str
) -> None:
    tried(prepared(slice_, step), step, KILLS, record_property)


def tried(scene: Scene, step: str, modes: Sequence[str], record_property: Recorded) -> None:
    """Try a step with a fault at each of the numbers; each time it ends as an uninterrupted one."""
    usual, met, wrong = scene.right[step].calls, set[tuple[str, str, str]](), list[str]()
    number = 0
    for number in numbers(len(usual)):
        fault = f"{number}={modes[number % len(modes)]}"
        scene.go_back(step)
        ended = scene.run(step, fault)
        if len(ended.calls) < number:
            assert (ended.code, scene.state(step)) == (0, scene.goals[step]), ended
            break
        met |= named(ended.calls[number - 1 : number])
        if why := fault_of(scene, step, ended):
            wrong.append(f"{fault}, {ended.calls[number - 1]}: {why}")
    told = f"{scene.slice_}, {step}: {len(usual)} calls if nothing fails, {modes[0]} … up to number {number}"
    record_property("calls", f"{told}, {len(wrong)} wrong")
    assert not wrong, "\n\n".join([told, *wrong])
    if FULL:
        assert named(usual) <= met, named(usual) - met


def fault_of(scene: Scene, step: str, ended: Ended) -> str:
    """What is wrong after a step in which a call failed, or was the last one; empty if nothing is."""
    if ended.code not in (0, KILLED) and not is_clear(ended):
        return f"not told in one clear line: {ended}"
    if ended.code != 0 and (again := scene.finish(step)).code != 0:
        return f"{ended}, then {again}"
    found, goal = repr(scene.state(step)), repr(scene.goals[step])
    if found == goal:
        return ""
    same = next((at for at, pair in enumerate(zip(found, goal, strict=False)) if pair[0] != pair[1]), 0)
    place = max(same - 100, 0)
    return f"{ended}; it ends as …{found[place : place + 400]}…, not as …{goal[place : place + 400]}…"


def is_clear(ended: Ended) -> bool:
    return ended.code == StoreUnavailable.exit_code and ended.error.endswith(GO_ON) and "\n" not in ended.error


def numbers(count: int) -> Iterator[int]:
    """Which calls are tried: without an end in the full run."""
    if FULL:
        yield from range(1, 100_000)
    yield from random.Random(SEED).sample(range(1, count + 1), 2)


def named(calls: Sequence[Call]) -> set[tuple[str, str, str]]:
    """Calls without what differs from run to run, as the order of lists of one folder."""
    return {(one.server, one.kind, "/".join(_OWN.sub("#", one.about).split("/")[:3])) for one in calls}
