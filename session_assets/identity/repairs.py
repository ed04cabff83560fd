"""From classified documents to change rows: one row an id, from all its documents to the one that shall be.

Frames in have the columns that `facts.classify` gives; frames out have `CHANGES`. `before` and `after` are arrays of all
sessions of the id, whole, in the store's encoding.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from session_assets.changes.change_set import conform, empty_changes
from session_assets.identity.facts import foldable, groups
from session_assets.identity.merge import folded, moved, shrinks
from session_assets.identity.model import CANONICAL, UPDATED
from session_assets.stores.cosmos import decode, encode

FOLDS = pl.Schema(
    {"key": pl.String, "fold": pl.Boolean, "shrinks": pl.Boolean, "before": pl.Binary, "after": pl.Binary}
)


def folds(documents: pl.DataFrame, updated_at: str) -> pl.DataFrame:
    """Sessions that share an id: columns of `FOLDS`, `fold` null where both sides were edited.

    `shrinks`: the one session that they become would say less than one of them.
    """
    rows: list[tuple[str, bool | None, bool, bytes | None, bytes | None]] = []
    for (key,), group in groups(documents).partition_by("key", as_dict=True, maintain_order=True).items():
        if not foldable(group):
            rows.append((str(key), False, False, None, None))
            continue
        group = group.sort("user_id")
        documents_of_it = [decode(document)[0] for document in group["document"]]
        one = _folded(group.to_dicts(), updated_at)
        before = encode(documents_of_it)
        if one is None:
            rows.append((str(key), None, False, before, None))
        else:
            rows.append((str(key), True, shrinks(one, documents_of_it), before, encode([one])))
    return pl.DataFrame(rows, schema=FOLDS, orient="row")


def _folded(rows: list[dict[str, Any]], updated_at: str) -> dict[str, Any] | None:
    target = next((row for row in rows if row["resolution"] == CANONICAL), None)
    sources = [(decode(row["document"])[0], row["modified"]) for row in rows if row is not target]
    if target is None:
        return folded(None, sources, 0, rows[0]["guid"], updated_at)
    return folded(decode(target["document"])[0], sources, target["modified"], target["user_id"], updated_at)


def change_rows(classified: pl.DataFrame) -> pl.DataFrame:
    """One `replace` for each id with documents that are `planned`. `planned_at` is what `backfill_updated_at` shall say."""
    planned = classified.filter(pl.col("class") == "planned")
    if planned.is_empty():
        return empty_changes()
    alone = planned.filter(pl.col("fold").is_null())
    several = planned.filter(pl.col("fold").is_not_null()).sort("key", "reasons").unique("key", keep="first")
    after = [
        encode([moved(decode(document)[0], guid, planned_at)])
        for document, guid, planned_at in alone.select("document", "guid", "planned_at").iter_rows()
    ]
    together = pl.concat(
        [
            alone.select("partition", "key", "reasons", before="document", after=pl.Series(after, dtype=pl.Binary)),
            several.select("partition", "key", "reasons", "before", "after"),
        ]
    )
    identity = [_without_time(document) for document in together["after"]]
    return conform(together.with_columns(pl.Series("identity", identity, dtype=pl.Binary), op=pl.lit("replace")))


def _without_time(after: bytes) -> bytes:
    """What the plan's id is made of: the time of the plan is none of it."""
    return encode([{name: value for name, value in one.items() if name != UPDATED} for one in decode(after)])
