"""The one code location: all slices, and who is told."""

from __future__ import annotations

import os

import dagster as dg

from session_assets.alerts.sensors import SENSORS as ALERTS
from session_assets.contest import definitions as contest
from session_assets.flow import definitions as flow
from session_assets.graph.source_links import with_source_links
from session_assets.housekeeping import definitions as housekeeping
from session_assets.identity import definitions as identity
from session_assets.kintell import definitions as kintell
from session_assets.web import definitions as web

# Dagster stores materializations of a range in batches of this size; read whenever it logs.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")

SLICES = {"web": web, "identity": identity, "contest": contest, "kintell": kintell, "flow": flow}

_all = dg.Definitions.merge(*(slice_.DEFINITIONS for slice_ in SLICES.values()), housekeeping.DEFINITIONS)
defs = dg.Definitions(
    assets=with_source_links([*(_all.assets or ())]),
    asset_checks=_all.asset_checks,
    jobs=_all.jobs,
    schedules=_all.schedules,
    sensors=[*(_all.sensors or ()), *ALERTS],
    executor=dg.in_process_executor,
)
