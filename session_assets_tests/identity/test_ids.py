"""Document ids: which no client can use, and the shard of each."""

from __future__ import annotations

import polars as pl

from session_assets.identity.facts import shard
from session_assets.identity.model import UNUSABLE_ID


def test_ids_that_no_client_sends_or_that_lead_elsewhere_are_unusable() -> None:
    unusable = ["a/b", "a\\b", "a?b", "a#b", "a\tb", "a\n", "a ", ".", ".."]
    usable = ["a'b\"c", "é", " a b", "a%2Fb", "a+b", "...", "a.", "mary@example.com", "a|b&c=d", "x" * 255]
    column = pl.Series([*unusable, *usable])
    assert column.filter(column.str.contains(UNUSABLE_ID)).to_list() == unusable


def test_the_shard_is_the_first_character_in_lower_case() -> None:
    ids = pl.DataFrame({"key": ["0a", "Fa", "f", "g", "é", "Ａ", ""]})
    assert ids.select(shard(pl.col("key"))).to_series().to_list() == ["0", "f", "f", *["other"] * 4]
