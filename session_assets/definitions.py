"""The one code location: all slices, and who is told."""

from __future__ import annotations

import os

import dagster as dg

from session_assets.alerts.sensors import SENSORS as ALERTS
from session_assets.contest import definitions as contest
from session_assets.housekeeping import definitions as housekeeping
from session_assets.identity import definitions as identity
from session_assets.kintell import definitions as kintell
from session_assets.web import definitions as web

# Dagster stores materializations of a range in batches of this size; read whenever it logs.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")

SLICES = {"web": web, "identity": identity, "contest": contest, "kintell": kintell}

defs = dg.Definitions.merge(
    *(slice_.DEFINITIONS for slice_ in SLICES.values()),
    housekeeping.DEFINITIONS,
    dg.Definitions(executor=dg.in_process_executor, sensors=ALERTS),
)
