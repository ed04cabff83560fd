"""The code location on databases of a test's own, in this process, with a Dagster instance, and receivers of alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pymongo
import pytest
from pymongo.database import Database

from session_assets.cli.servers import packaged, prepare_dagster_home
from session_assets.definitions import defs
from session_assets.graph.runs import run_here
from session_assets_tests.alerts.receivers import Webhook, webhook
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    dagster_template,
    dagster_url,
)


@dataclass
class Location:
    """What the daemon does, tick by tick."""

    instance: dg.DagsterInstance
    database: str
    """URL of its database."""

    def asked(self, schedule: str) -> list[dg.RunRequest]:
        """Evaluate a schedule."""
        with dg.build_schedule_context(instance=self.instance) as context:
            return list(defs.resolve_schedule_def(schedule).evaluate_tick(context).run_requests or [])

    def tick(self, schedule: str) -> list[bool]:
        """Evaluate a schedule and execute what it asks for; whether each run went through."""
        job = defs.resolve_schedule_def(schedule).job_name
        return [self.run(job, request.tags) for request in self.asked(schedule)]

    def run(self, job: str, tags: Any = None, config: dict[str, Any] | None = None) -> bool:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        definition = defs.resolve_job_def(job)
        _, result = run_here(
            self.instance, definition, packaged("workspace.yaml"), tags=dict(tags or {}), config=quiet | (config or {})
        )
        return result.success

    def sensor(self, name: str, cursor: str | None) -> Any:
        """Evaluate a sensor."""
        with dg.build_sensor_context(instance=self.instance, cursor=cursor, definitions=defs) as context:
            return defs.resolve_sensor_def(name).evaluate_tick(context)


class Told:
    """A sensor with its cursor."""

    def __init__(self, location: Location, name: str) -> None:
        self._location, self._name = location, name
        self.cursor: str | None = None

    def tick(self) -> str:
        """What it says of the tick."""
        found = self._location.sensor(self._name, self.cursor)
        self.cursor = found.cursor
        return found.skip_message or ""


@pytest.fixture
def location(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dagster_url: str,  # noqa: F811
    mongo_uri: str,
) -> Iterator[Location]:
    home = tmp_path / "home"
    for name, value in {
        "SESSION_ASSETS_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_POSTGRES_URL": dagster_url,
        "WEB_MONGO_URI": mongo_uri,
        "SESSION_ASSETS_UI_URL": "https://dagster.example.com/",
    }.items():
        monkeypatch.setenv(name, value)
    for name in (
        "CONTEST_MONGO_URI",
        "KINTELL_DATABASE_URL",
        "AZURE_COSMOS_ENDPOINT",
        "SESSION_ASSETS_STORAGE",
        "NATS_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    prepare_dagster_home()
    with dg.DagsterInstance.get() as instance:
        yield Location(instance, dagster_url.replace("+psycopg2", ""))


@pytest.fixture
def web(mongo_uri: str) -> Iterator[Database[dict[str, Any]]]:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as found:
        monkeypatch.setenv("SESSION_ASSETS_ALERT_WEBHOOK_URL", found.url)
        yield found


@pytest.fixture
def checks(location: Location) -> Told:
    return Told(location, "failed_checks_alert")


@pytest.fixture
def runs(location: Location) -> Told:
    return Told(location, "failed_runs_alert")
