"""A store that is down, refuses the log-in, or is not configured: one clear error, and the same command goes on later."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.embedded.servers import Servers
from session_assets_tests.web.acceptance.documents import Web, fill, wrong_sessions
from session_assets_tests.web.acceptance.ledgers import accounted
from session_assets_tests.web.acceptance.terminal import Answer, Terminal
from session_assets_tests.web.acceptance.test_two_at_once import Paused

SECRET = "hunter2-canary"


@pytest.fixture
def mongo_uri(own_mongo_uri: str) -> str:
    return own_mongo_uri


def assert_clear(answer: Answer, code: int, *named: str) -> None:
    """One line that names what it is about, no traceback, no secret."""
    assert answer.code == code, answer
    said = answer.err + answer.out
    assert all(name in said for name in named), said
    assert SECRET not in said
    assert "Traceback" not in said


def test_mongodb_stops_in_the_middle_of_an_apply(
    own_servers: Servers, cli: Terminal, web: Web, mongo_uri: str, tmp_path: Path
) -> None:
    cli.options["WEB_MONGO_URI"] = f"{mongo_uri}&serverSelectionTimeoutMS=500"
    wiped = fill(web)
    command = ("apply", "web", "--batch-size", "2", "--json")
    paused = Paused(cli, tmp_path, "apply.after_intent", *command)
    own_servers.down(["mongodb"])
    try:
        answer = paused.release()
        assert_clear(answer, 3, "MongoDB (WEB_MONGO_URI)")
        assert_clear(cli("verify", "web"), 3, "MongoDB (WEB_MONGO_URI)")
    finally:
        own_servers.up(["mongodb"])
    finished = cli(*command)
    assert finished.code == 0, finished
    assert accounted(cli.home, "web", finished.body["plan_id"]) == {"A": len(wiped)}
    assert wrong_sessions(web) == {}


@pytest.mark.parametrize("command", [("verify", "web"), ("plan", "web", "--json"), ("index", "web")])
def test_wrong_credentials(cli: Terminal, mongo_uri: str, command: tuple[str, ...]) -> None:
    uri = mongo_uri.replace("mongodb://", f"mongodb://mary:{SECRET}@")
    assert_clear(cli(*command, WEB_MONGO_URI=uri), 3, "MongoDB (WEB_MONGO_URI)")


def test_an_uri_that_cannot_be_read(cli: Terminal) -> None:
    for uri in (f"mongodb://mary:{SECRET}@@host:1:2/web", f"mary:{SECRET}@host"):
        assert_clear(cli("verify", "web", WEB_MONGO_URI=uri), 2, "WEB_MONGO_URI")


def test_what_is_not_configured_is_named(cli: Terminal) -> None:
    assert_clear(cli("verify", "web", WEB_MONGO_URI=None), 2, "WEB_MONGO_URI")
    assert_clear(cli("apply", "web", "--session", "x", WEB_MONGO_URI=None), 2, "WEB_MONGO_URI")
    assert_clear(cli("verify", "web", DAGSTER_POSTGRES_URL=None), 2, "DAGSTER_POSTGRES_URL")
    variables = {
        "web": "WEB_MONGO_URI", "identity": "AZURE_COSMOS_ENDPOINT", "contest": "CONTEST_MONGO_URI",
        "kintell": "KINTELL_DATABASE_URL", "flow": "FLOW_DATABASE_URL",
    }  # fmt: skip
    skipped = cli("verify", "all", **dict.fromkeys(variables.values()))
    *each, last = skipped.err.splitlines()
    assert each == [f"{slice_}: skipped, {variable} is not set" for slice_, variable in variables.items()]
    assert skipped.code == 2 and "no slice is configured, so there is nothing to verify" in last


def test_the_dagster_database_cannot_be_reached(cli: Terminal) -> None:
    url = f"postgresql+psycopg2://mary:{SECRET}@127.0.0.1:1/dagster"
    assert_clear(cli("verify", "web", DAGSTER_POSTGRES_URL=url), 3, "PostgreSQL (DAGSTER_POSTGRES_URL)")
    assert_clear(cli("verify", "web", DAGSTER_POSTGRES_URL=f"mary {SECRET}"), 2, "DAGSTER_POSTGRES_URL")


def test_names_that_do_not_exist(cli: Terminal, web: Web) -> None:
    fill(web)
    for command in (
        ("verify", "webb"),
        ("plan", "web/nothing"),
        ("verify", "web", "--partition", "2024-12-31"),
        ("plan", "web", "--partition", "yesterday"),
        ("apply", "web", "--partition", "2025-03-01", "--partition", "2035-01-01"),
        ("apply", "web", "--plan-id", "0123456789abcdef0123"),
        ("revert", "web", "--plan-id", "0123456789abcdef0123"),
        ("apply", "web/orphans", "--partition", "2025-03-01"),
        ("verify", "web", "--session", "no-such-session"),
        ("apply", "web", "--batch-size", "0"),
        ("apply", "web", "--dry-run", "--plan-id", "0123456789abcdef0123"),
        ("frobnicate", "web"),
    ):
        assert_clear(cli(*command), 2)


def test_a_file_that_cannot_be_ingested_is_named_as_the_user_named_it(cli: Terminal, web: Web, tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("session: s\ntimestamp: t\ntimestamp_unit: s\nevent_type: e\n")
    for name, content in (("empty.csv", b""), ("other.csv", b"a,b\n1,2\n"), ("cut.csv.gz", b"\x1f\x8b\x08\x00")):
        (tmp_path / name).write_bytes(content)
        refused = cli("ingest", tmp_path / name)
        assert_clear(refused, 1)
        assert str(tmp_path / name) in refused.err.replace("\n", "")


def test_a_setting_that_cannot_be_read_is_named(cli: Terminal) -> None:
    for name, value in (
        ("SESSION_ASSETS_SETTLE_MINUTES", "soon"),
        ("SESSION_ASSETS_ALLOW_SHRINK", "perhaps"),
        ("WEB_START_DATE", "2035-01-01"),
    ):
        assert_clear(cli("plan", "web", **{name: value}), 2, name)
