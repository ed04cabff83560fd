"""Partitions that cannot be computed are set aside, whatever is raised; the others go on."""

from __future__ import annotations

import polars as pl
import pytest

from session_assets.pipeline import facts_by_partition

DOCUMENTS = pl.DataFrame({"partition": ["a", "b", "a"], "value": [1, 2, 3]})


@pytest.mark.parametrize("error", [ValueError, pl.exceptions.PanicException])
def test_the_partition_at_fault_is_named_and_the_others_are_computed(error: type[BaseException]) -> None:
    def facts(frame: pl.DataFrame) -> pl.DataFrame:
        if 2 in frame["value"]:
            raise error("a value that nobody foresaw")
        return frame

    failures: dict[str, str] = {}
    (computed,) = facts_by_partition(DOCUMENTS, facts, failures)
    assert computed["value"].to_list() == [1, 3]
    assert failures == {"b": f"{error.__name__}: a value that nobody foresaw"}
    with pytest.raises(error):
        facts_by_partition(DOCUMENTS, facts, None)
