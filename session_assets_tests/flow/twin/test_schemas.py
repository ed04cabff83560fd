"""Schemas of real teams: either the plan names what is in the way, or the whole road there and back works on the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.flow.twin import try_road
from session_assets.storage import Storage
from session_assets_tests.counts import some
from session_assets_tests.flow.scenario import Guide, contracted, downgraded
from session_assets_tests.flow.twin.schemas import CASES

_FEW = 8


@pytest.mark.parametrize("name", some(list(CASES), _FEW))
def test_a_plan_knows_whether_there_is_a_road(postgres_url: str, tmp_path: Path, name: str) -> None:
    guide, case = Guide.new(postgres_url), CASES[name]
    guide.run(case.sql)
    catalogue, rows = guide.catalogue(), guide.rows()
    report = try_road(guide.flow(), Storage(str(tmp_path / "storage"), tmp_path / "scratch"), "a test", {})
    assert (guide.catalogue(), guide.rows()) == (catalogue, rows), "a try writes nothing"
    assert not guide.all("SELECT FROM pg_class WHERE relname LIKE 'session_assets%'")
    told = [one.text for one in report.obstacles]
    if case.names:
        assert any(case.names in one for one in told), told
        return
    assert not told
    contracted(guide.flow())
    downgraded(guide.flow())
    assert guide.catalogue() == catalogue
    stamped = {"updated_at"} if "updated_at" in case.sql else set[str]()
    assert _without(guide.rows(), stamped) == _without(rows, stamped)


def _without(rows: dict[str, list[tuple[dict[str, object]]]], columns: set[str]) -> dict[str, list[dict[str, object]]]:
    return {
        table: [{name: value for name, value in row.items() if name not in columns} for (row,) in found]
        for table, found in rows.items()
    }
