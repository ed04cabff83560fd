"""`SESSION_ASSETS_TEST_SHARD=k/n`: one of n parts of the tests. A test is in the same part on every machine."""

from __future__ import annotations

import hashlib
import os

import pytest

VARIABLE = "SESSION_ASSETS_TEST_SHARD"


def shard() -> tuple[int, int] | None:
    """Which part of how many; None for all tests. Raises `pytest.UsageError` for what is none."""
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    part, _, parts = text.partition("/")
    if not (part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise pytest.UsageError(f"{VARIABLE} must be k/n with 1 ≤ k ≤ n, for example 2/4.")
    return int(part), int(parts)


def is_in(node_id: str, part: int, parts: int) -> bool:
    digest = hashlib.sha256(node_id.encode()).digest()
    return int.from_bytes(digest[:8]) % parts == part - 1
