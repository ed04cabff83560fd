"""What happens by itself: dropped files are imported, events that wait are published, and all imports are recounted each day."""

import dagster as dg

from session_assets.errors import SessionAssetsError
from session_assets.graph.automation import daily_verify
from session_assets.graph.drop_sensor import DropTick
from session_assets.graph.environment import Environment
from session_assets.kintell.assets import FILES_NAME, open_imports
from session_assets.kintell.files import FOLDER
from session_assets.kintell.model import SLICE, VARIABLE
from session_assets.masking import safe_lines
from session_assets.stores.kintell_outbox import lag


@dg.sensor(
    job_name="kintell_import",
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Imports CSV files from the drop folder once they are complete: a .done marker, or unchanged over two ticks.",
)
def kintell_session_drops_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """One run a new file. A file whose bytes were imported before is told, not run, unless that import was rolled back."""
    environment = Environment.load()
    try:
        imports = open_imports(environment)
    except SessionAssetsError as error:
        return dg.SkipReason(safe_lines(error))

    def earlier(partition: str) -> str | None:
        job = imports.job_of(partition)
        return f"job {job.id}" if job is not None and job.finished else None

    return DropTick(context, environment.settings.drops / FOLDER, FILES_NAME, earlier).run()


@dg.sensor(
    job_name="kintell_publish",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Publishes events that an import left waiting, for example because NATS was away.",
)
def kintell_waiting_events_sensor(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    try:
        waiting = lag(open_imports(Environment.load()).database).waiting
    except SessionAssetsError as error:
        return dg.SkipReason(safe_lines(error))
    return dg.RunRequest() if waiting else dg.SkipReason("no event waits")


SCHEDULES = [daily_verify(SLICE, VARIABLE, "30 6 * * *", "imports")]
SENSORS = [kintell_session_drops_sensor, kintell_waiting_events_sensor]
