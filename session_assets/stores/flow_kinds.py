"""Kinds of objects that the record remembers: what contract dropped and added, and what its undo could not bring back."""

from __future__ import annotations

DROPPED_COLUMN, DROPPED_INDEX, DROPPED_CONSTRAINT = "dropped_column", "dropped_index", "dropped_constraint"
DROPPED_STATISTICS = "dropped_statistics"
ADDED_KEY = "added_key"
MISSING = "missing"
"""A constraint, a unique index or a NOT NULL for which rows do not hold: missing or not validated since the undo of contract."""
