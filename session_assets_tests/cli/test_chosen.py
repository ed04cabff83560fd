"""What a command is about is chosen in one way."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from session_assets.cli import steps
from session_assets.cli.loop import apply, plan, verify
from session_assets.errors import UsageError
from session_assets.graph.target import StepTarget


@pytest.mark.parametrize("command", [verify, plan, apply])
@pytest.mark.parametrize("other", ["--session", "--username"])
def test_a_partition_and_a_session_are_not_chosen_at_once(command: Any, other: str) -> None:
    result = CliRunner().invoke(command, ["contest", "--partition", "2025-01-01", other, "x"])
    assert isinstance(result.exception, UsageError)
    assert "--partition" in str(result.exception)


def test_what_a_step_cannot_do_is_answered_with_the_command_that_can() -> None:
    runner: Any = None  # nothing is run
    step = StepTarget("flow/rehearsal", "FLOW_DATABASE_URL", apply="flow_rehearsal")
    with pytest.raises(UsageError, match="Run: session-assets verify flow"):
        steps.work(runner, step, "verify", (), {})
    with pytest.raises(UsageError, match="session-assets revert flow --plan-id abc"):
        steps.revert(runner, step, "abc", dry_run=True)
