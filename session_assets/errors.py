"""Exceptions named by what the operator should do, each with the exit code of the terminal.

Every message says what was wrong, where, and what to do next. Settings are named, never shown.
"""

from __future__ import annotations

from urllib.parse import unquote


class SessionAssetsError(Exception):
    """Base of all errors that the terminal prints without a traceback."""

    exit_code = 1


class UsageError(SessionAssetsError):
    """The command or a setting is wrong: correct it and call again."""

    exit_code = 2


class NotConfigured(UsageError):
    """A slice's environment variable is unset. `folder` is what it should lead to, where that is no server."""

    def __init__(self, variable: str, what: str, folder: str = "") -> None:
        servers = 'Set it, or start local servers with `session-assets up` and run `eval "$(session-assets env)"`.'
        super().__init__(
            f"{what}: {variable} is not set. {f'Set it to the folder that holds {folder}.' if folder else servers}"
        )
        self.variable = variable


class StoreUnavailable(SessionAssetsError):
    """A store cannot be reached, or refused the credentials, after bounded retries: mend it, then run again."""

    exit_code = 3

    def __init__(self, store: str, variable: str, reason: str) -> None:
        super().__init__(
            f"{store} ({variable}) cannot be used: {reason}. Nothing is lost: mend it and run the same command again."
        )
        self.store = store
        self.variable = variable


class LockHeld(SessionAssetsError):
    """Somebody else works on the same collection and partition: wait, or stop them."""

    exit_code = 4


class BadInput(SessionAssetsError):
    """A file or a document cannot be read as what it claims to be: a rerun cannot change that."""


class DamagedFile(SessionAssetsError):
    """A stored file is not as it was written: cut, altered, gone, or another one. What depends on it is refused.

    `name` is the file, relative to SESSION_ASSETS_STORAGE; `what` is what was found.
    """

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name} below SESSION_ASSETS_STORAGE is damaged: {what}. {_remedy(name)}")
        self.name = name
        self.what = what


def _remedy(name: str) -> str:
    folder, _, rest = name.partition("/")
    if folder == "ledger":
        loop = unquote(rest.partition("/")[0]).removesuffix("/session")
        return (
            f"Restore it from a backup. Without one, `session-assets plan {loop}` makes a plan that does not need it; what the"
            " file told can then no longer be applied or undone."
        )
    if folder == "targets":
        return "Restore it from a backup (docs/reliability.md)."
    return "It is derived: run the command again that makes it, or materialize its asset again."


class PlanRefused(UsageError):
    """A plan is not applied as it stands (too large a share, unknown id, other slice): look at it first."""


class NoEvidence(SessionAssetsError):
    """What was read says nothing: a collection is missing or empty, or nobody can read its documents (docs/evidence.md)."""


class PlannedOnly(SessionAssetsError):
    """A plan that deletes was made now and is not applied by the same run: look at it, then apply it."""


class RowsLeft(SessionAssetsError):
    """An undo is done as far as it can be, and left rows: the run's report has each with a word."""

    def __init__(self, left: int, undone: int) -> None:
        super().__init__(
            f"{left:,} rows are left as they are, {undone:,} are undone: the run's log and report say why of each."
        )


class Paused(SessionAssetsError):
    """Somebody asked the work to stop: what is done is kept, and it can be resumed."""
