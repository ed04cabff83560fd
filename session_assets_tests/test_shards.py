"""The parts of the full run: each test is in one of them, in the same one everywhere."""

from __future__ import annotations

import pytest

from session_assets_tests.shards import VARIABLE, is_in, shard

IDS = [f"session_assets_tests/web/test_{number}.py::test_it[{number}]" for number in range(2000)]


def test_each_test_is_in_one_part() -> None:
    sizes = [sum(is_in(one, part, 4) for one in IDS) for part in range(1, 5)]
    assert sum(sizes) == len(IDS) and min(sizes) > 400
    assert all(sum(is_in(one, part, 4) for part in range(1, 5)) == 1 for one in IDS)
    assert is_in("a", 3, 4)  # on every machine


def test_the_variable_names_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert shard() is None
    monkeypatch.setenv(VARIABLE, "2/4")
    assert shard() == (2, 4)


@pytest.mark.parametrize("text", ["4", "0/4", "5/4", "a/b", "1/-2", "/"])
def test_what_is_no_part_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(pytest.UsageError, match="k/n"):
        shard()
