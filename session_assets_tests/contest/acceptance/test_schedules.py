"""New sessions are kept in the structure by a schedule, once it is switched on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from pymongo.database import Database

from session_assets.embedded.contest_sample import seed_session
from session_assets_tests.web.acceptance.terminal import Terminal

ASK = """
import json
import dagster as dg
from session_assets.definitions import defs
for name in ("contest_daily_repair", "contest_daily_verify"):
    schedule = defs.resolve_schedule_def(name)
    found = schedule.evaluate_tick(dg.build_schedule_context())
    print(json.dumps([schedule.job_name, [request.tags for request in found.run_requests]]))
"""


def asked(cli: Terminal) -> list[Any]:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", ASK], env=dict(cli.variables), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("[")]


def test_a_schedule_asks_for_the_months_that_hold_documents(cli: Terminal, goaime: Database[dict[str, Any]]) -> None:
    goaime.sessions.insert_many(
        [seed_session(), seed_session() | {"_id": 1, "created_at": "2025-07-01 00:00:00"}, {"_id": 2}]
    )
    repair, verify = asked(cli)
    assert (repair[0], verify[0]) == ("contest_apply", "contest_verify")
    for _, [tags] in (repair, verify):
        assert tags["session_assets/partitions"] == "2025-01-01,2025-05-01,2025-07-01"
        assert tags["dagster/asset_partition_range_end"] == "2025-07-01"
