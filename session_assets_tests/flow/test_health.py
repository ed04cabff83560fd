"""The migration at a glance: what it shows is what the tables hold."""

from __future__ import annotations

import base64
import re

from session_assets.flow.health import health
from session_assets_tests.flow.scenario import Guide


def looked_at(guide: Guide) -> tuple[dict[str, str], str]:
    """Words of the bars by column, and the table of steps."""
    with guide.flow().reading() as work:
        told = health(work).metadata
    picture = re.search(r"base64,(\S+)\)", str(told["ids_by_table"].value))
    assert picture
    bars = re.findall(r"<title>([a-z_.]+): ([\d,]+ of [\d,]+)</title>", base64.b64decode(picture[1]).decode())
    return dict(bars), str(told["steps"].value)


def test_bars_count_session_ids_and_flow_ids_before_and_after_the_backfill(guide: Guide) -> None:
    before, steps = looked_at(guide)
    rows, named = guide.all("SELECT count(*), count(session_id) FROM assets")[0]
    assert (before["assets.session_id"], steps) == (f"{named:,} of {rows:,}", "nothing")
    guide.flow().apply()
    after, steps = looked_at(guide)
    filled = guide.one("SELECT count(flow_id) FROM assets")
    assert filled > 0 and after["assets.flow_id"] == f"{filled:,} of {rows:,}"
    assert after["assets.session_id"] == before["assets.session_id"]
    assert "| backfill | completed |" in steps
