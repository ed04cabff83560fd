"""What a command is about is chosen in one way."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from session_assets.cli.loop import apply, plan, verify
from session_assets.errors import UsageError


@pytest.mark.parametrize("command", [verify, plan, apply])
@pytest.mark.parametrize("other", ["--session", "--username"])
def test_a_partition_and_a_session_are_not_chosen_at_once(command: Any, other: str) -> None:
    result = CliRunner().invoke(command, ["contest", "--partition", "2025-01-01", other, "x"])
    assert isinstance(result.exception, UsageError)
    assert "--partition" in str(result.exception)
