"""Each call to a store or a file fails once, and is the last of its process once, as SQLite tests itself.

After each: the error is one clear line, and the same work, done again, ends as if nothing had happened. The full run tries every
call until a run makes fewer; the default one a call of one step of each slice, which the day chooses.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from session_assets.errors import StoreUnavailable
from session_assets_tests.counts import FULL
from session_assets_tests.io_calls.conftest import Prepared
from session_assets_tests.io_calls.scenes import STEPS, Scene
from session_assets_tests.io_calls.work import Call, Ended

GO_ON = "Nothing is lost: mend it and run the same command again."
FAILS = ("refused", "lost", "timeout", "full")
KILLS = ("kill", "kill-after")
CASES = [(slice_, step) for slice_, steps in STEPS.items() for step in steps]
TODAY = int(time.time()) // 86_400
CHOSEN = [(slice_, random.Random(f"{TODAY} {slice_}").choice(steps)) for slice_, steps in STEPS.items()]
_OWN = re.compile(r"[0-9a-f]{6,}|[0-9]+")  # ids of a run, of a plan, of a part
Recorded = Callable[[str, object], None]

pytestmark = pytest.mark.usefixtures("short_transactions")


@pytest.mark.parametrize(("slice_", "step"), CASES if FULL else CHOSEN)
def test_each_call_fails_once(prepared: Prepared, record_property: Recorded, slice_: str, step: str) -> None:
    scene = prepared(slice_, step)

    def fails(number: int) -> Ended:
        ended = scene.run(step, f"{number}={FAILS[number % len(FAILS)]}")
        if ended.code != 0:
            assert_clear(ended)
            assert scene.finish(step).code == 0
        return ended

    tried(scene, step, fails, record_property)


@pytest.mark.parametrize(("slice_", "step"), CASES if FULL else CHOSEN)
def test_each_call_is_once_the_last_of_its_process(
    prepared: Prepared, record_property: Recorded, slice_: str, step: str
) -> None:
    scene = prepared(slice_, step)

    def is_killed(number: int) -> Ended:
        ended = scene.run(step, f"{number}={KILLS[number % len(KILLS)]}")
        if ended.was_killed:
            assert scene.finish(step).code == 0
        else:
            assert ended.code == 0, ended
        return ended

    tried(scene, step, is_killed, record_property)


def tried(scene: Scene, step: str, attempt: Callable[[int], Ended], record_property: Recorded) -> None:
    """Try a step with a fault at each of the numbers; each time it ends as an uninterrupted one."""
    usual, met = scene.right[step].calls, set[tuple[str, str, str]]()
    number = 0
    for number in numbers(len(usual)):
        scene.go_back(step)
        ended = attempt(number)
        assert scene.state(step) == scene.goals[step], (number, ended)
        if len(ended.calls) < number:
            break  # it made fewer
        met |= named(ended.calls[number - 1 : number])
    record_property(
        "calls", f"{scene.slice_}, {step}: {len(usual)} calls if nothing fails, tried up to number {number}"
    )
    if FULL:
        assert named(usual) <= met, named(usual) - met


def numbers(count: int) -> Iterator[int]:
    """Which calls are tried: without an end in the full run."""
    if FULL:
        yield from range(1, 100_000)
    yield from random.Random(TODAY).sample(range(1, count + 1), 1)


def named(calls: Sequence[Call]) -> set[tuple[str, str, str]]:
    """Calls without what differs from run to run."""
    return {(one.server, one.kind, _OWN.sub("#", one.about)) for one in calls}


def assert_clear(ended: Ended) -> None:
    assert ended.code == StoreUnavailable.exit_code, ended
    assert ended.error.endswith(GO_ON), ended
    assert "\n" not in ended.error, ended
