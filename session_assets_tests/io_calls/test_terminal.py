"""The same at the terminal: every twentieth call of a command fails, or is its last one.

The full run goes through each command in strides of twenty, the default one tries one call of one command, which a seed chooses.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from session_assets.io_calls import VARIABLE
from session_assets_tests.counts import FULL
from session_assets_tests.faults.trial import DONE, GO_ON
from session_assets_tests.io_calls.conftest import Prepared
from session_assets_tests.io_calls.scenes import Scene
from session_assets_tests.io_calls.test_calls import CASES, FAILS, KILLS, SEED
from session_assets_tests.io_calls.work import BATCH
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.terminal import KILLED, Answer, Terminal

STRIDE = 20
COMMANDS: dict[str, Callable[[Scene], tuple[str, ...]]] = {
    "plan": lambda scene: ("plan", scene.slice_),
    "apply": lambda scene: ("apply", scene.slice_, "--batch-size", str(BATCH)),
    "revert": lambda scene: ("revert", scene.slice_, "--plan-id", scene.ids["plan"], "--batch-size", str(BATCH)),
    "import": lambda scene: ("import", scene.file, "--batch-size", "7"),
    "revert of import": lambda scene: ("revert", "kintell", "--plan-id", scene.ids["import"]),
    "expand, backfill": lambda _: ("apply", "flow"),
    "contract": lambda _: ("apply", "flow/contract", "--waive-staging", "a test"),
    "revert of contract": lambda scene: ("revert", "flow", "--plan-id", scene.ids["contract"]),
    "revert of backfill": lambda scene: ("revert", "flow", "--plan-id", scene.ids["expand, backfill"]),
}
CODES = {"import": 1}  # a reject is open
_TERMINAL = [case for case in CASES if case[1] in COMMANDS]

pytestmark = pytest.mark.usefixtures("short_transactions")


@pytest.mark.parametrize(("slice_", "step"), _TERMINAL if FULL else random.Random(SEED).sample(_TERMINAL, 1))
def test_each_command_goes_on_after_a_call_that_failed(
    prepared: Prepared,
    open_terminal: Open,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
    slice_: str,
    step: str,
) -> None:
    scene = prepared(slice_, step)
    cli = open_terminal(
        None, "terminal", **scene.variables, FLOW_SETTLE_MINUTES="0", FLOW_BATCH_ROWS="6", FLOW_MAX_UNMAPPED_SHARE="1"
    )
    code, counted = CODES.get(step, 0), tmp_path / "counted"
    scene.go_back(step)
    right = attempt(cli, scene, step, f"count={counted}")
    assert right.code == code, right
    assert scene.state(step) == scene.goals[step]
    calls = len(counted.read_text().splitlines())
    record_property("calls", f"{slice_}, {step} at the terminal: {calls} calls if nothing fails")
    chance = random.Random(f"{SEED} {slice_} {step}")
    numbers = [*range(chance.randint(1, STRIDE), calls + 1, STRIDE)]
    for place, number in enumerate(numbers if FULL else [chance.choice(numbers)]):
        mode = (FAILS + KILLS)[place % len(FAILS + KILLS)] if FULL else chance.choice(FAILS + KILLS)
        scene.go_back(step)
        answer = attempt(cli, scene, step, f"{number}={mode}")
        if answer.code not in (code, KILLED):
            assert_clear(answer)
        if answer.code != code:
            again = attempt(cli, scene, step)
            assert again.code == code or DONE in str(again.body["error"]), (number, mode, again)
        assert scene.state(step) == scene.goals[step], (number, mode, answer)


def attempt(cli: Terminal, scene: Scene, step: str, fault: str = "") -> Answer:
    return cli(*COMMANDS[step](scene), "--json", **{VARIABLE: fault})


def assert_clear(answer: Answer) -> None:
    """The command said in one line which server is lost."""
    assert "Traceback" not in answer.err, answer
    assert answer.code == 3, answer
    lines = [*answer.err.splitlines(), *(str(body.get("error")) for body in answer.bodies)]
    assert [one for one in lines if one.endswith(GO_ON)], answer
