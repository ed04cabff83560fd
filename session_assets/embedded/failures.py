"""What can go wrong with an embedded server, named by what the operator should do."""

from __future__ import annotations

from pathlib import Path

from session_assets.errors import SessionAssetsError, UsageError


class ServerFailed(SessionAssetsError):
    """An embedded server did not start: read the lines of its log, mend the cause, and call `up` again."""

    exit_code = 3

    def __init__(self, title: str, reason: str, log: Path | None = None, lines: list[str] | None = None) -> None:
        text = f"{title} (embedded): {reason}."
        if log is not None:
            shown = "".join(f"\n    {line}" for line in lines or ["(empty)"])
            text += f" Log: {log}. Its last lines:{shown}"
        super().__init__(f"{text}\nMend the cause, then run `session-assets up` again.")
        self.title = title
        self.log = log


class ServerMissing(UsageError):
    """The machine has no program for an embedded server: install the extra."""

    def __init__(self, title: str, looked: str) -> None:
        super().__init__(
            f"{title} (embedded): {looked}. Install it with `pip install 'session-assets[embedded]'`,"
            " or set the environment variables of a server of your own."
        )
        self.title = title


class SeveralFailed(SessionAssetsError):
    """More than one embedded server did not start: each message says what to do."""

    exit_code = 3

    def __init__(self, failures: list[SessionAssetsError]) -> None:
        super().__init__("\n".join(str(failure) for failure in failures))
        self.failures = failures
