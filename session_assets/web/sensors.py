"""What happens by itself: dropped files are ingested, and each morning all sessions are verified."""

import dagster as dg

from session_assets.graph.automation import verify_schedule
from session_assets.graph.drop_sensor import DropTick
from session_assets.graph.environment import Environment
from session_assets.web.assets import SESSIONS, key
from session_assets.web.drop_assets import FILES_NAME, FOLDER
from session_assets.web.mapping import BESIDE_DROPS

DROP_JOB = dg.define_asset_job(
    "web_ingest", selection=dg.AssetSelection.assets(key("event_drops")), description="Ingest a dropped file of events."
)


@dg.sensor(
    job=DROP_JOB,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ingests event files from the drop folder once they are complete: a .done marker, or unchanged over two ticks.",
)
def web_event_drops_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One run a new file. A file with content that was ingested before is told, not run."""
    folder = Environment.load().settings.drops / FOLDER

    def earlier(partition: str) -> str | None:
        found = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key("event_drops"), asset_partitions=[partition]), limit=1
        )
        return partition if found.records else None

    return DropTick(context, folder, FILES_NAME, earlier, BESIDE_DROPS).run()


SENSORS = [web_event_drops_sensor]
SCHEDULES = [verify_schedule(SESSIONS, "0 6 * * *")]
