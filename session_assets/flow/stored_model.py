"""The nouns of stored validation files: folders, reasons, what a move leaves, and which names of a session become a flow's.

Reasons, their words and next steps come from the one table here. Source: S3.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

SLICE = "flow"
VARIABLE = "FLOW_VALIDATION_ROOT"
SESSIONS, FLOWS, QUARANTINE = "validation_sessions", "validation_flows", "validation_quarantine"
"""Folders below the root: where files lie, where they go, and where those go that cannot be used."""

NAMES = {
    "session_id": "flow_id",
    "import_session_id": "import_flow_id",
    "validation_session_id": "validation_flow_id",
    "sessionId": "flowId",
}
"""Names of JSON members that hold a session's id, and what they are called for a flow."""
OLD_KEY, NEW_KEY = "import_session_", "import_flow_"
"""What stored import keys begin with; the id follows."""

LARGEST = 64 * 1024 * 1024  # bytes of a file: its content goes into the change set, so that it can be taken back

STORED = pl.Schema(
    {
        "path": pl.String,  # below the root
        "session": pl.String,
        "flow": pl.String,
        "bytes": pl.Int64,
        "class": pl.String,
        "reason": pl.String,
        "target": pl.String,  # below the root, null where the file stays
        "rewritten": pl.Int64,  # strings inside that change: ids, and the names of their members
    }
)
"""One row a file of the folder of sessions."""


@dataclass(frozen=True)
class Reason:
    """Why a file is moved, quarantined or listed, and the check that counts it."""

    name: str
    check: str
    text: str
    repairable: bool
    next_step: str


_APPLY = "Run `session-assets apply flow/files`."
_LOOK = "Look at the file in validation_quarantine, or restore it from a backup."
REASONS = (
    Reason("to_move", "validation_files_moved", "files lie in validation_sessions", True, _APPLY),
    Reason(
        "empty",
        "validation_files_readable",
        "files are empty and go to validation_quarantine",
        True,
        f"{_APPLY} {_LOOK}",
    ),
    Reason(
        "truncated",
        "validation_files_readable",
        "files end in the middle of their JSON and go to validation_quarantine",
        True,
        f"{_APPLY} {_LOOK}",
    ),
    Reason(
        "not_json",
        "validation_files_readable",
        "files are named .json and are none; they go to validation_quarantine",
        True,
        f"{_APPLY} {_LOOK}",
    ),
    Reason(
        "target_taken",
        "validation_files_readable",
        "files would take the place of another; they go to validation_quarantine",
        True,
        f"{_APPLY} Then decide which of the two is right.",
    ),
    Reason(
        "unknown_session",
        "validation_files_known",
        "files belong to a session that has no flow, and stay",
        False,
        "Find out whose they are: complete the map (flow/session_flow_map), or move them by hand.",
    ),
    Reason(
        "several_sessions",
        "validation_files_known",
        "files name sessions of several flows and no owner, and stay",
        False,
        "Decide whose they are, and move them by hand, or into the folder of that session.",
    ),
    Reason(
        "unsafe_path",
        "validation_files_known",
        "names are links, devices or no UTF-8, and stay",
        False,
        "Replace a link by the file that it leads to, or move it by hand.",
    ),
    Reason(
        "too_large",
        "validation_files_known",
        f"files are larger than {LARGEST // 1024 // 1024} MB, and stay",
        False,
        "Move them by hand.",
    ),
    Reason(
        "too_deep",
        "validation_files_known",
        "files hold JSON that is nested too deeply to be read, and stay",
        False,
        "Move them by hand.",
    ),
    Reason(
        "unreadable",
        "validation_files_known",
        "files cannot be read, and stay",
        False,
        "Give the account the right to read.",
    ),
    Reason(
        "unsettled",
        "validation_files_settled",
        "files were written less than SESSION_ASSETS_SETTLE_MINUTES ago, and wait",
        False,
        "Run again later.",
    ),
)
REASON = {reason.name: reason for reason in REASONS}
CHECKS = tuple(dict.fromkeys(reason.check for reason in REASONS))
UNREADABLE = frozenset({"too_large", "too_deep", "unreadable"})
"""Reasons of files that nobody could look into."""
QUARANTINED = ("empty", "truncated", "not_json", "target_taken")
