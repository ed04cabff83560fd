"""The user's own variables win; ours, evaluated in a shell, do not pass for the user's."""

from __future__ import annotations

from pathlib import Path

from session_assets.embedded.environment import MARKER, is_users, needed_servers, offered
from session_assets.embedded.servers import Servers

ALL = ["mongodb", "postgresql", "nats", "cosmos"]
OURS = {"WEB_MONGO_URI": "mongodb://127.0.0.1:1/web", "NATS_URL": "nats://127.0.0.1:2"}


def test_empty_environment_needs_all_servers() -> None:
    assert needed_servers({}) == ALL
    assert needed_servers({"WEB_MONGO_URI": ""}) == ALL


def test_server_is_not_needed_once_the_user_set_all_its_variables() -> None:
    assert needed_servers({"WEB_MONGO_URI": "mongodb://mine/web"}) == ALL, "contest still needs MongoDB"
    both = {"WEB_MONGO_URI": "mongodb://mine/web", "CONTEST_MONGO_URI": "mongodb://mine/goaime"}
    assert needed_servers(both) == ["postgresql", "nats", "cosmos"]


def test_shell_that_evaluated_ours_still_needs_all_servers() -> None:
    shell = offered({}, OURS)
    assert needed_servers(shell) == ALL
    assert offered(shell, {**OURS, "NATS_URL": "nats://127.0.0.1:3"})["NATS_URL"] == "nats://127.0.0.1:3"


def test_variable_changed_after_evaluating_ours_is_the_users() -> None:
    shell = {**offered({}, OURS), "NATS_URL": "nats://mine"}
    assert is_users(shell, "NATS_URL") and not is_users(shell, "WEB_MONGO_URI")
    again = offered(shell, OURS)
    assert "NATS_URL" not in again and "NATS_URL" not in again[MARKER]


def test_marker_tells_no_secret() -> None:
    marker = offered({}, {"FLOW_DATABASE_URL": "postgresql://postgres:hidden@127.0.0.1:1/flow"})[MARKER]
    assert marker.startswith("FLOW_DATABASE_URL:") and "hidden" not in marker


def test_cosmos_key_is_not_offered_for_the_users_endpoint() -> None:
    ours = {"AZURE_COSMOS_ENDPOINT": "http://127.0.0.1:1", "AZURE_COSMOS_KEY": "k", "COSMOS_DATABASE_NAME": "identity"}
    assert set(offered({"AZURE_COSMOS_ENDPOINT": "https://mine"}, ours)) == {MARKER}
    named = offered({"COSMOS_DATABASE_NAME": "mine"}, ours)
    assert "AZURE_COSMOS_ENDPOINT" in named and "COSMOS_DATABASE_NAME" not in named


def test_up_and_env_follow_the_environment(home: Path) -> None:
    servers = Servers(home)
    mine = {
        "KINTELL_DATABASE_URL": "postgresql://mine/kintell",
        "FLOW_DATABASE_URL": "postgresql://mine/flow",
        "DAGSTER_POSTGRES_URL": "postgresql+psycopg2://mine/dagster",
        "WEB_MONGO_URI": "mongodb://mine/web",
        "CONTEST_MONGO_URI": "mongodb://mine/goaime",
        "AZURE_COSMOS_ENDPOINT": "https://mine",
    }
    assert list(servers.up(env=mine)) == ["nats"]
    ours = servers.environment(mine)
    assert set(ours) == {"SESSION_ASSETS_HOME", "DAGSTER_HOME", "NATS_URL", MARKER}
    assert ours["SESSION_ASSETS_HOME"] == str(home)

    shell = {**mine, **ours}
    servers.down()
    restarted = servers.up(env=shell)
    assert list(restarted) == ["nats"] and restarted["nats"].started_here, "its server was gone"
    assert servers.environment(shell) == ours
