"""Canaries in documents, files and URIs: e-mails and passwords reach neither Dagster, nor the terminal, nor any log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bson import ObjectId

from session_assets_tests.canaries import MAILS, PASSWORD, assert_none, assert_private, dagster_rows
from session_assets_tests.web.acceptance.documents import DAYS, Web, add_orphans, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

MAIL = MAILS[0]


@pytest.fixture
def mongo_uri(own_mongo_uri: str) -> str:
    return own_mongo_uri


@pytest.fixture
def guarded(cli: Terminal, web: Web, mongo_uri: str) -> Terminal:
    """A terminal whose URI holds a password that the server asks for."""
    web.command("createUser", "mary", pwd=PASSWORD, roles=["readWrite"])
    uri = mongo_uri.replace("mongodb://", f"mongodb://mary:{PASSWORD}@") + f"&authSource={web.name}"
    return Terminal(cli.home, {**cli.variables, "WEB_MONGO_URI": uri}, cli.streams)


def plant(web: Web) -> None:
    """E-mails as users and as ids of sessions and documents, right and wrong."""
    fill(web, 12)
    add_orphans(web)
    for number, session_id in enumerate((f"a-{MAIL}", f"b-{MAIL}", "plain")):
        user = f"{number}{MAIL}"
        event = {"_id": f"e{number}-{MAIL}", "session_id": session_id, "timestamp": DAYS[0], "page": f"/user/{MAIL}"}
        web.events.insert_one({**event, "event_type": "login", "user_id": user, "client_id": user})
        document = {
            "_id": f"s{number}-{MAIL}",
            "session_id": session_id,
            "user_id": None,
            "pages": [],
            "event_count": 0,
        }
        web.sessions.insert_one(document | {"created_at": DAYS[0]})
    web.sessions.insert_one({"_id": MAIL, "session_id": f"orphan-{MAIL}", "pages": [f"/{MAIL}"], "created_at": DAYS[0]})
    web.events.insert_one({"_id": MAIL, "session_id": f"nobody-{MAIL}", "timestamp": DAYS[0], "user_id": MAIL})


def test_canaries_stay_where_they_are(guarded: Terminal, web: Web, dagster_url: str, tmp_path: Path) -> None:
    plant(web)
    answers = [guarded("verify", "web", *json_) for json_ in ((), ("--json",))]
    answers += [guarded("plan", "web"), guarded("plan", "web", "--json")]
    web.sessions.update_one({"session_id": "plain"}, {"$set": {"user_id": MAIL}})  # a conflict
    web.sessions.create_index("client_id", unique=True, partialFilterExpression={"client_id": {"$type": "string"}})
    taken = f"0{MAIL}"
    web.sessions.insert_one(
        {"_id": ObjectId(), "client_id": taken, "user_id": taken, "token": "t", "expires_at": DAYS[0]}
    )
    applied = guarded("apply", "web", "--json")
    assert (applied.code, applied.body["outcomes"]["failed"], applied.body["outcomes"]["conflicted"]) == (1, 1, 1)
    web.sessions.drop_index("client_id_1")
    answers += [applied, guarded("apply", "web")]
    answers += [guarded(command, f"web/{loop}") for loop in ("orphans", "duplicates") for command in ("plan", "apply")]
    web.sessions.update_one({"session_id": f"b-{MAIL}"}, {"$set": {"user_id": f"x{MAIL}"}})  # refuses to be undone
    for more in ((), ("--json",)):
        answers.append(guarded("revert", "web", "--plan-id", applied.body["plan_id"], "--dry-run", *more))
    answers += [_bad_drop(guarded, tmp_path), guarded("index", "web", "--unique")]
    web.sessions.drop_index("session_id_unique")
    for number in range(2):
        web.sessions.insert_one({"_id": f"twin{number}", "session_id": f"twin-{MAIL}"})
    answers.append(guarded("index", "web", "--unique"))
    answers.append(
        guarded("verify", "web", WEB_MONGO_URI=guarded.variables["WEB_MONGO_URI"].replace(PASSWORD, f"x{PASSWORD}"))
    )
    assert wrong_sessions(web) != {}

    for answer in answers:
        assert "Traceback" not in answer.err
        assert_none(f"{answer.out}\n{answer.err}", "terminal")
    for table, text in dagster_rows(dagster_url):
        assert_none(text, table)
    for path in guarded.home.rglob("*"):
        if path.is_file() and not path.is_relative_to(guarded.home / "storage"):
            assert_none(path.read_text(errors="replace"), str(path))
    assert_private(guarded.home / "storage")


def _bad_drop(cli: Terminal, folder: Path) -> Answer:
    """A file with e-mails, of which some rows are rejected."""
    mapping = {"session": "s", "user": "u", "timestamp": "t", "timestamp_unit": "s", "event_type": "e"}
    (folder / "mapping.yaml").write_text(json.dumps(mapping))
    rows = [
        {"s": f"drop-{MAIL}", "u": MAIL, "t": 1740000000, "e": "login"},
        {"s": MAIL, "u": MAIL, "t": MAIL, "e": MAIL},
    ]
    (folder / "drop.ndjson").write_text("".join(json.dumps(row) + "\n" for row in rows) + f'{{"s": "{MAIL}" broken\n')
    return cli("ingest", folder / "drop.ndjson", "--json")
