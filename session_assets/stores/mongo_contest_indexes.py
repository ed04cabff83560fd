"""Indexes that the look-ups and analytics of contest sessions need, made by an explicit step alone."""

from __future__ import annotations

from typing import Any

from pymongo import ASCENDING
from pymongo.database import Database

from session_assets.contest.model import PROBLEMS, SESSIONS, USERS
from session_assets.stores.mongo import MongoSource, attempt

NEEDED = (
    (PROBLEMS, ("contest_id", "problem_number")),  # what an attempt lacks
    (USERS, ("username",)),  # user_id
    (SESSIONS, ("session_id",)),  # `--session`
    (SESSIONS, ("username",)),  # `--username`
    (SESSIONS, ("created_at",)),  # single months
)
"""Collection and fields; an index that leads with the first field will do."""


def missing_contest_indexes(database: Database[Any], variable: str) -> list[str]:
    """What is needed and not there, as `problems(contest_id, problem_number)`."""
    return [
        f"{name}({', '.join(fields)})"
        for name, fields in NEEDED
        if not MongoSource(database[name], variable).has_index(fields[0])
    ]


def create_contest_indexes(database: Database[Any], variable: str) -> list[str]:
    """Create what is needed; returns all names. Idempotent."""
    return [
        attempt(variable, lambda one=database[name], keys=fields: one.create_index([(key, ASCENDING) for key in keys]))
        for name, fields in NEEDED
    ]
