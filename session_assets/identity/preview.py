"""What a change does to the documents of an id, in words that fit a table."""

from __future__ import annotations

import polars as pl

from session_assets.graph.markdown import Markdown, md_table
from session_assets.identity.model import AUDIT, USER_ID
from session_assets.masking import mask_user
from session_assets.stores.cosmos import decode


def preview_moves(rows: pl.DataFrame) -> Markdown:
    """A Markdown table of change rows: the id, why, the user id before and after, and the other fields that are set."""
    lines = []
    for key, before, after, reasons in rows.select("key", "before", "after", "reasons").iter_rows():
        old, new = decode(before), decode(after)
        users = ", ".join(mask_user(str(one[USER_ID])) for one in old)
        audit = "; ".join(f"{name}: {mask_user(str(new[0].get(name)))}" for name in AUDIT)
        lines.append((key, ", ".join(reasons), f"{users} → {new[0][USER_ID]}", audit))
    return md_table(lines, ["id", "reasons", "user_id", "audit fields"])
