"""Metrics against their thresholds: from the database, from an endpoint, from a file, and where there is nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from session_assets.errors import UsageError
from session_assets.flow.metrics_assets import flow_metrics
from session_assets.flow.metrics_model import METRICS, metrics, terms
from session_assets.flow.metrics_samples import Samples, read_samples
from session_assets.graph.markdown import plain
from session_assets_tests.flow.compat_scenario import contract, plant

METRIC = {one.name: one for one in METRICS}
GOOD = {
    "flow_creation_errors_total": 2,
    "flow_creation_success_total": 99,
    "flow_creation_total": 100,
    "api_response_seconds": 0.2,
    "api_response_seconds_baseline": 0.19,
    "flow_execution_seconds": 10,
    "flow_execution_seconds_baseline": 10,
    "error_rate": 0.01,
    "error_rate_baseline": 0.01,
}
_STEPS = """
CREATE TABLE session_assets_flow_steps (
    id text PRIMARY KEY, kind text, state text, started_at timestamptz, finished_at timestamptz
);
INSERT INTO session_assets_flow_steps VALUES ('a', 'backfill', 'completed', now() - interval '9 s', now()),
    ('b', 'contract', 'completed', now() - interval '7 months', now() - interval '7 months')
"""


@pytest.fixture
def url(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    plant(postgres_url)
    monkeypatch.setenv("FLOW_DATABASE_URL", postgres_url)
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLOW_METRICS_PATH", _file(tmp_path / "good.json", GOOD))
    return postgres_url


def _file(path: Path, values: dict[str, float]) -> str:
    path.write_text(json.dumps(values))
    return str(path)


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def _run() -> tuple[dict[str, dg.AssetCheckEvaluation], dict[str, Any]]:
    result = dg.materialize([flow_metrics], raise_on_error=False)
    metadata = result.asset_materializations_for_node("flow__metrics")[0].metadata
    checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
    return checks, {name: value.value for name, value in metadata.items()}


def _failed(checks: dict[str, dg.AssetCheckEvaluation]) -> dict[str, str]:
    return {name: one.severity.value for name, one in checks.items() if not one.passed}


def test_a_healthy_migration_passes_all_of_them(url: str) -> None:
    _execute(url, _STEPS.replace("7 months", "1 month"))
    checks, metadata = _run()
    assert _failed(checks) == {}
    assert len(checks) == len(METRICS) + 1
    assert metadata["discovery_flow_completion_rate"] == 1.0
    assert metadata["user_session_continuity"] == 1.0
    assert "backfill" in metadata["steps"]


def test_each_failure_has_its_severity_value_threshold_and_next_step(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _execute(url, _STEPS.replace("'completed', now() - interval '9 s'", "'failed', now() - interval '9 s'"))
    _execute(url, "UPDATE discovery_flows SET status = 'failed' WHERE created_at > now() - interval '23.9 hours'")
    _execute(
        url, "INSERT INTO data_import_sessions (id, session_name, status) VALUES (gen_random_uuid(), 'x', 'failed')"
    )
    _execute(
        url,
        "ALTER TABLE assets DROP CONSTRAINT assets_session_id_fkey; INSERT INTO assets (session_id) VALUES (gen_random_uuid());"
        "ALTER TABLE assets ADD FOREIGN KEY (session_id) REFERENCES data_import_sessions (id) NOT VALID",
    )
    bad = GOOD | {"flow_creation_errors_total": 6, "flow_creation_success_total": 95, "api_response_seconds": 0.5}
    monkeypatch.setenv(
        "FLOW_METRICS_PATH", _file(tmp_path / "bad.json", bad | {"flow_execution_seconds": 10.5, "error_rate": 1})
    )
    checks, _ = _run()
    assert _failed(checks) == {
        "migration_errors": "ERROR",
        "foreign_key_violations": "ERROR",
        "flow_creation_errors": "WARN",
        "flow_creation_success_rate": "WARN",
        "discovery_flow_completion_rate": "WARN",
        "data_import_success_rate": "WARN",
        "user_session_continuity": "WARN",
        "api_response_time_ratio": "WARN",
        "flow_execution_time_ratio": "WARN",
        "error_rate_ratio": "WARN",
    }
    text = plain(str(checks["foreign_key_violations"].description))
    assert "assets.assets_session_id_fkey: 1, not validated" in text
    assert plain(str(checks["flow_creation_success_rate"].description)).startswith(
        "95.00% of flows were created; wanted above 95.00%."
    )
    assert "The old columns are there" in plain(str(checks["compatibility_is_due"].description)), "whatever a step says"


def test_no_data_is_a_warning_never_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLOW_DATABASE_URL", "FLOW_METRICS_PATH", "FLOW_METRICS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path))
    checks, _ = _run()
    assert _failed(checks) == {one.name: "WARN" for one in METRICS} | {"compatibility_is_due": "WARN"}
    assert all("no data" in plain(str(checks[one.name].description)) for one in METRICS)
    for name in ("foreign_key_violations", "user_session_continuity"):
        assert "FLOW_DATABASE_URL" in plain(str(checks[name].description))


def test_an_empty_database_and_one_after_contract_say_what_they_cannot_tell(url: str) -> None:
    contract(url)
    checks, metadata = _run()
    assert metadata["user_session_continuity"] == 1.0
    assert metadata["flow_creation_success_rate"] == 0.99  # the application's
    assert _failed(checks) == dict.fromkeys(
        ("migration_errors", "foreign_key_violations", "compatibility_is_due"), "WARN"
    )
    assert "no foreign keys" in plain(str(checks["foreign_key_violations"].description))
    assert "no completed contract is recorded" in plain(str(checks["compatibility_is_due"].description))
    _execute(url, _STEPS)
    assert "Remove it" in plain(str(_run()[0]["compatibility_is_due"].description))
    _execute(url, "DROP TABLE session_assets_flow_steps")
    steps = _STEPS.replace(
        "'b', 'contract', 'completed', now() - interval '7 months'", "'b', 'contract', 'completed', now()"
    )
    _execute(
        url, steps.replace("'completed', now() - interval '9 s', now()", "'failed', now() - interval '40 days', NULL")
    )
    _execute(
        url,
        "INSERT INTO data_import_sessions (id, session_name, created_at)"
        " VALUES (gen_random_uuid(), 'later', now() + interval '1 s')",
    )
    checks, metadata = _run()
    assert metadata["user_session_continuity"] == 1.0, "a session that came after contract needs no flow of its own"
    assert _failed(checks)["migration_errors"] == "ERROR", "a step that failed long ago and was not run again"
    _execute(
        url, "DROP TABLE data_import_sessions, assets, access_audit_log, flow_deletion_audit, llm_usage_logs CASCADE"
    )
    _execute(url, "TRUNCATE discovery_flows")
    _execute(url, "CREATE TABLE data_import_sessions (key int, status text, created_at timestamptz)")
    checks, _ = _run()
    assert _failed(checks)["migration_errors"] == "ERROR", "a figure that cannot be counted leaves the others"
    assert "s.id does not exist" in plain(str(checks["user_session_continuity"].description))
    assert checks["user_session_continuity"].description is not None
    assert {"user_session_continuity", "discovery_flow_completion_rate", "data_import_success_rate"} <= _failed(
        checks
    ).keys()


def test_samples_of_a_prometheus_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "# TYPE flow_creation_total counter\nflow_creation_total 100\nflow_creation_success_total 97\n"
        'http_seconds{quantile="0.5",path="/a"} 1\nhttp_seconds{quantile="0.9",path="/a"} 3\n'
        "error_rate NaN\nerror_rate_baseline 0\napi_response_time_ratio 1.5\n"
    )
    with _served(text, 200) as url:
        samples = read_samples({"FLOW_METRICS_URL": url})
    assert samples.value(METRIC["flow_creation_success_rate"]) == 0.97
    assert samples.value(METRIC["api_response_time_ratio"]) == 1.5
    assert samples.value(METRIC["error_rate_ratio"]) is None
    assert samples.value(METRIC["flow_creation_errors"]) is None
    assert samples._sum('http_seconds{quantile="0.9"}') == 3


def test_an_endpoint_that_cannot_be_read_is_a_reason_without_its_url() -> None:
    with _served("not { prometheus", 200) as url:
        broken = read_samples({"FLOW_METRICS_URL": url})
    with _served("", 500) as url:
        failing = read_samples({"FLOW_METRICS_URL": url})
    gone = read_samples({"FLOW_METRICS_URL": "http://user:secret@127.0.0.1:9/metrics"})
    for one in (broken, failing, gone):
        assert one.samples == []
        assert "FLOW_METRICS_URL cannot be read" in one.reason
        assert "secret" not in one.reason
    with pytest.raises(UsageError, match="http"):
        read_samples({"FLOW_METRICS_URL": "file:///etc/passwd"})


def test_samples_of_files(tmp_path: Path) -> None:
    table = tmp_path / "figures.csv"
    table.write_text("name,value\nflow_creation_errors_total,7\n")
    assert read_samples({"FLOW_METRICS_PATH": str(table)}).value(METRIC["flow_creation_errors"]) == 7
    table.write_text("metric,figure\nx,7\n")
    assert "no columns name and value" in read_samples({"FLOW_METRICS_PATH": str(table)}).reason
    assert "FileNotFoundError" in read_samples({"FLOW_METRICS_PATH": str(tmp_path / "none.json")}).reason
    table.write_text(
        "name,value\nflow_creation_total,0\nflow_creation_success_total,0\nerror_rate,nan\nerror_rate_ratio,nan\nversion,1.2.3\n"
        "data_import_success_rate,97.2\nflow_creation_errors,-1\n"
    )
    samples = read_samples({"FLOW_METRICS_PATH": str(table)})
    for name, why in {
        "flow_creation_success_rate": "no sample of flow_creation_success_rate, and flow_creation_total is 0",
        "data_import_success_rate": "the application says 97.2, but it must be a share between 0 and 1",
        "flow_creation_errors": "the application says -1, but it must be at least 0",
        "error_rate_ratio": "the sample error_rate_ratio is no number",
        "api_response_time_ratio": "no sample of api_response_time_ratio, and none of api_response_seconds that is a number",
    }.items():
        assert (samples.value(METRIC[name]), samples.why_not(METRIC[name])) == (None, why)
    assert read_samples({}) == Samples(reason="neither FLOW_METRICS_URL nor FLOW_METRICS_PATH is set")


def test_thresholds_are_configuration(tmp_path: Path) -> None:
    file = tmp_path / "metrics.toml"
    file.write_text(
        '[api_response_time_ratio]\nthreshold = 1.5\nseverity = "critical"\nformula = "a_sum / a_count / 0.25"\n'
    )
    changed = {one.name: one for one in metrics({"FLOW_METRICS_FILE": str(file)})}["api_response_time_ratio"]
    assert (changed.threshold, changed.severity, terms(changed.formula)) == (
        1.5,
        "critical",
        ["a_sum", "a_count", "0.25"],
    )
    for text in (
        "[no_such_metric]\nthreshold = 1",
        "[error_rate_ratio]\nlimit = 1",
        "[user_session_continuity]\nthreshold = 98",
        "[api_response_time_ratio]\ngoal = -1",
        '[error_rate_ratio]\nthreshold = "1"',
        '[error_rate_ratio]\nseverity = "awful"',
        '[error_rate_ratio]\nformula = "a + b"',
        "not toml",
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match="FLOW_METRICS_FILE"):
            metrics({"FLOW_METRICS_FILE": str(file)})


@contextmanager
def _served(text: str, status: int) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()
