"""The one code location: all slices, and who is told."""

from __future__ import annotations

import os

import dagster as dg

from session_assets.alerts.sensors import SENSORS as ALERTS
from session_assets.graph.source_links import with_source_links
from session_assets.housekeeping import definitions as housekeeping
from session_assets.slices import slices

# Dagster stores materializations of a range in batches of this size; read whenever it logs.
os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "1000")


def _everything() -> dg.Definitions:
    """In a function: a code location holds one `Definitions`, and no other beside it in its module."""
    parts = dg.Definitions.merge(*(slice_.definitions for slice_ in slices().values()), housekeeping.DEFINITIONS)
    return dg.Definitions(
        assets=with_source_links([*(parts.assets or ())]),
        asset_checks=parts.asset_checks,
        jobs=parts.jobs,
        schedules=parts.schedules,
        sensors=[*(parts.sensors or ()), *ALERTS],
        executor=dg.in_process_executor,
    )


defs = _everything()
