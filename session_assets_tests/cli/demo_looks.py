"""Everything that people and programs can see of a running demo, after canaries were planted among its data."""

from __future__ import annotations

import json
import logging
import re
import shlex
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pymongo
import pytest
from starlette.testclient import TestClient

from session_assets.api.app import application
from session_assets.api.settings import ApiSettings
from session_assets.settings import Settings
from session_assets_tests.alerts.conftest import Location, Told
from session_assets_tests.alerts.receivers import webhook
from session_assets_tests.canaries import (
    MAILS,
    PASSWORD,
    assert_closed,
    assert_no_mail,
    assert_none,
    assert_private,
    dagster_rows,
)

_TOKEN = "canary-token-0123456789abcdef"
_PAGES = {
    "assets": """{ assetNodes { assetKey { path } description jobNames groupName owners { ... on UserAssetOwner { email } }
      metadataEntries { ...said }
      assetMaterializations(limit: 3) { label description metadataEntries { ...said } tags { key value } }
      assetObservations(limit: 2) { label description metadataEntries { ...said } }
      assetChecksOrError { ... on AssetChecks { checks { name description executionForLatestMaterialization { evaluation {
        description metadataEntries { ...said } } } } } } } }""",
    "runs": """{ runsOrError(limit: 100) { ... on Runs { results { runId jobName runConfigYaml tags { key value }
      eventConnection(limit: 1000) { events { ... on MessageEvent { message } ... on ErrorEvent { error { message stack causes {
        message stack } } } ... on DisplayableEvent { label description metadataEntries { ...said } } } } } } } }""",
    "automation": """{ repositoriesOrError { ... on RepositoryConnection { nodes {
      sensors { name description sensorState { ticks(limit: 5) { cursor skipReason error { message } instigationType } } }
      schedules { name description scheduleState { ticks(limit: 5) { skipReason error { message } } } } } } }
      instance { daemonHealth { allDaemonStatuses { daemonType lastHeartbeatErrors { message } } } info } }""",
}
_SAID = """ fragment said on MetadataEntry { label description
  ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr } ... on PathMetadataEntry { path }
  ... on JsonMetadataEntry { jsonString } ... on UrlMetadataEntry { url }
  ... on TableMetadataEntry { table { records } } ... on IntMetadataEntry { intRepr } ... on FloatMetadataEntry { floatRepr } }"""


def look_everywhere(
    home: Path, ui: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> list[str]:
    """Nothing of what a demo shows, stores or sends has an unmasked e-mail or a secret; returns its secrets."""
    assert_closed(home)  # before this process, which has an umask of its own, runs jobs in it
    variables = dict(_exports(home / "demo" / "env"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    secrets = [variables["AZURE_COSMOS_KEY"], _TOKEN]
    secrets += re.findall(r"://[^:/@\s]+:([^@/\s]+)@", " ".join(variables.values()))
    _plant(variables)
    with webhook() as receiver, dg.DagsterInstance.get() as instance:
        monkeypatch.setenv("SESSION_ASSETS_ALERT_WEBHOOK_URL", receiver.url)
        monkeypatch.setenv("SESSION_ASSETS_ALERT_SEVERITY", "warn")
        _work(Location(instance, variables["DAGSTER_POSTGRES_URL"]), monkeypatch)
        told = [Told(Location(instance, ""), name) for name in ("failed_checks_alert", "failed_runs_alert")]
        said = [one.tick() for one in told]
        alerts = receiver.raw
        assert any("contest" in one for one in alerts) and any("kintell_verify" in one for one in alerts), alerts
        _clean(json.dumps([alerts, said, [one.cursor for one in told]]), "alerts", [*secrets, receiver.url])
    for where, text in _pages(ui):
        _clean(text, where, secrets)
    for where, text in _answers(caplog):
        _clean(text, where, secrets)
    for where, text in dagster_rows(variables["DAGSTER_POSTGRES_URL"]):
        _clean(text, where, secrets)
    for where, text in _files(home):
        _clean(text, where, secrets)
    assert_private(home / "demo" / "storage")
    return secrets


def _clean(text: str, where: str, secrets: list[str]) -> None:
    assert_none(text, where, *secrets)
    assert_no_mail(text, where)


def _plant(variables: dict[str, str]) -> None:
    """E-mails where the demo has none: as users, ids and fields of contest and web sessions."""
    for name in ("CONTEST_MONGO_URI", "WEB_MONGO_URI"):
        with pymongo.MongoClient[dict[str, Any]](variables[name]) as client:
            for number, mail in enumerate(MAILS):
                document = {
                    "_id": f"c{number}-{mail}",
                    "session_id": f"{number}-{mail}",
                    "username": mail,
                    "user_id": mail,
                }
                client.get_default_database()["sessions"].insert_one(
                    {**document, mail.replace(".", ""): mail, "pages": [mail]}
                )


def _work(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that meet the canaries: of sessions, and on a database that cannot be reached."""
    for name in ("contest", "web"):
        assert location.tick(f"{name}_daily_verify") == [True]
    with monkeypatch.context() as wrong:
        wrong.setenv("KINTELL_DATABASE_URL", f"postgresql://{MAILS[0]}:{PASSWORD}@127.0.0.1:1/k")
        assert not location.run("kintell_verify")


def _pages(ui: str) -> Iterator[tuple[str, str]]:
    """What the pages of the UI ask for, and how they answer."""
    for path in ("/", "/server_info"):
        with urllib.request.urlopen(f"{ui}{path}", timeout=60) as answer:
            yield f"page {path}", f"{answer.headers}{answer.read().decode()}"
    for name, query in _PAGES.items():
        body = json.dumps({"query": query + (_SAID if "...said" in query else "")}).encode()
        request = urllib.request.Request(f"{ui}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        assert not json.loads(text).get("errors"), text[:2000]
        assert name != "assets" or (
            "sessions_by_date" in text and "rejects_by_reason" in text
        )  # of kintell/session_health
        yield f"page data: {name}", text


def _answers(caplog: pytest.LogCaptureFixture) -> Iterator[tuple[str, str]]:
    """What the HTTP endpoints answer and log. An e-mail in an answer is that of the question."""
    settings = ApiSettings.from_env(_TOKEN)
    headers = {"Authorization": f"Bearer {_TOKEN}"}
    with caplog.at_level(logging.INFO), TestClient(application(settings, Settings.from_env()), headers=headers) as api:
        for path in ("/openapi.json", "/health", "/api/health/sessions", "/api/analytics/debug/sessions"):
            yield f"GET {path}", _said(api.get(path))
        for mail in MAILS:
            found = api.get(f"/api/analytics/users/{mail}/session-summary")
            assert found.status_code == 200
            yield "session-summary", _said(found).replace(mail, "")
            yield (
                "topic-performance",
                _said(api.get(f"/api/analytics/users/{mail}/topic-performance")).replace(mail, ""),
            )
            yield "status", _said(api.get(f"/import/backfill/{mail}/status"))
    ours = [
        one for one in caplog.records if not one.name.startswith(("httpx", "azure"))
    ]  # the command silences the latter
    yield "log of the API", "\n".join(map(logging.Formatter().format, ours))


def _said(answer: httpx.Response) -> str:
    return f"{answer.headers}{answer.text}"


def _files(home: Path) -> Iterator[tuple[str, str]]:
    """All files but those for their owner alone: documents as they were, error files, the environment, databases, drops."""
    for path in home.rglob("*"):
        parts = path.relative_to(home).parts
        is_data = parts[:2] in (("demo", "drops"), ("demo", "env")) or path.suffix in (".parquet", ".csv")
        is_server = parts[0] == "embedded" and (len(parts) != 3 or parts[2] != "log")
        if path.is_file() and not is_data and not is_server:
            yield str(path.relative_to(home)), path.read_text(errors="replace")


def _exports(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        yield name, shlex.split(value)[0]
