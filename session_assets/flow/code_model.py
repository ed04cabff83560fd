"""The nouns of code references: languages, kinds of tokens, columns, and why a file was not read to its end. Source: S3."""

from __future__ import annotations

import polars as pl

from session_assets.flow.code_tokens import COMMENT, IDENTIFIER, STRING

SLICE = "flow"
VARIABLE = "FLOW_CODE_ROOT"

IDENTIFIERS = ("session_id", "import_session_id", "validation_session_id")
ALLOWED = (
    "*alembic/versions/*",
    "*migrations/*",
    "*services/migration/session_to_flow.py",
)
"""Where the old names may stay: the compatibility layer and migrations. `*` also matches `/`."""
SKIPPED = (
    ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", ".mypy_cache",
    ".pytest_cache", ".ruff_cache", ".session_assets",
)  # fmt: skip
"""Folders that are no source of this tree."""
PROSE = (".md", ".markdown", ".rst", ".adoc", ".txt")
"""Texts for people: they may say the old names. Other kinds of files that hold one may be code that nobody counted."""

REFERENCES = pl.Schema(
    {
        "path": pl.String,  # below the root, `/` between folders
        "folder": pl.String,
        "language": pl.String,
        "line": pl.Int64,  # from 1: where the name stands in the token
        "kind": pl.Enum([IDENTIFIER, STRING, COMMENT]),
        "name": pl.String,  # the longest of the names that the token holds
        "names": pl.List(pl.String),  # all that it holds
        "exact": pl.Boolean,  # the token is the name and nothing else
        "allowed": pl.Boolean,  # the file is on the allow-list
        "active": pl.Boolean,  # identifier or string, and not allowed
    }
)
"""One row a token that holds a name."""

FILES = pl.Schema(
    {
        "path": pl.String,
        "folder": pl.String,
        "language": pl.String,
        "bytes": pl.Int64,
        "state": pl.String,  # scanned | partly | skipped
        "reason": pl.String,  # a name of `REASONS`, or null
        "problem_line": pl.Int64,
        "may_hold": pl.Boolean,  # what was not read to its end holds the bytes of a name
        "allowed": pl.Boolean,
        "identifiers": pl.Int64,
        "strings": pl.Int64,
        "comments": pl.Int64,
    }
)
"""One row a file of a language that can be scanned, and a file of any other kind that holds the bytes of a name."""

TREND = pl.Schema(
    {
        "revision": pl.String,
        "at": pl.Datetime("us", "UTC"),  # of the commit
        "files": pl.Int64,
        "identifiers": pl.Int64,  # active
        "strings": pl.Int64,  # active
        "comments": pl.Int64,
        "allowed": pl.Int64,  # identifiers and strings in files on the allow-list
        "unread": pl.Int64,  # files that were not read to their end
    }
)

REASONS = {
    "syntax_error": "cannot be tokenized from this line on; counted up to it",
    "undecodable": "holds bytes that are not of its encoding; counted with these replaced",
    "binary": "holds NUL bytes",
    "too_large": "is larger than FLOW_CODE_MAX_BYTES",
    "symlink": "is a symbolic link; its target counts where it lies in the tree",
    "not_a_file": "is no regular file",
    "unreadable": "cannot be opened",
    "other_language": "is of no language that is tokenized here, and holds a name",
}
"""Why a file was skipped, or not read to its end."""
LEFT_OUT = {
    "folder": "folders that cannot be opened",
    "link": "links that lead out of the tree, and are not followed",
    "submodule": "submodules that are not checked out, or cannot be read",
}
"""What else of a tree was not read."""
