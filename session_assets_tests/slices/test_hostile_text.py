"""Hostile texts in documents and files of each slice: inert in all Markdown of its runs, in the terminal, and in its logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pymongo
import pytest
from dagster._core.events.log import EventLogEntry
from dagster._serdes import deserialize_value

from session_assets.embedded.contest_sample import replant as plant_contest
from session_assets_tests.flow.scenario import Guide
from session_assets_tests.hostile import PAYLOADS, assert_inert, text_of, tokens
from session_assets_tests.identity.scenario import Cosmos, session, user
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.conftest import Open
from session_assets_tests.web.acceptance.documents import DAYS, Web, add_orphans, fill
from session_assets_tests.web.acceptance.terminal import Answer

TEXTS = tuple(text.encode(errors="replace").decode() for text in PAYLOADS)  # as stores hold them
FORGED = "x\nFORGED every check passed\u2028FORGED too\r\u202eFORGED again\x1b[2J"
"""An id that looks like lines of ours."""
_ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def web(mongo_uri: str) -> Iterator[Web]:
    with pymongo.MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client.get_default_database()


def test_texts_of_web_documents(
    open_terminal: Open, mongo_uri: str, web: Web, dagster_url: str, tmp_path: Path
) -> None:
    cli = open_terminal(mongo_uri)
    fill(web, 6)
    add_orphans(web)
    for number, text in enumerate((FORGED, *TEXTS)):
        session_id, day = f"{number}{text}" if number else text, DAYS[number % 3]
        event = {"session_id": session_id, "user_id": text or None, "event_type": "pageview", "timestamp": day}
        web.events.insert_one({**event, "page": text})
        web.sessions.insert_one({"session_id": session_id, "pages": [], "event_count": 0, "created_at": day})
        web.sessions.insert_one({"session_id": f"gone{text}", "pages": [], "created_at": day})
    answers = [cli("verify", "web"), cli("plan", "web/orphans")]
    applied = cli("apply", "web", "--json")
    web.sessions.update_many({"event_count": 1}, {"$set": {"client_id": FORGED}})
    answers += [applied, cli("revert", "web", "--plan-id", applied.body["plan_id"])]
    mapping = {"session": "s", "user": "u", "page": "p", "timestamp": "t", "timestamp_unit": "s", "event_type": "e"}
    (tmp_path / "mapping.yaml").write_text(json.dumps(mapping))
    drop = tmp_path / f"drop {FORGED[:40]}.ndjson"
    drop.write_text(
        "".join(json.dumps({"s": text, "u": text, "p": text, "t": text, "e": text}) + "\n" for text in TEXTS)
    )
    answers.append(cli("ingest", drop))
    assert_nothing_acts(answers, dagster_url, TEXTS, least=12)


def test_texts_of_contest_documents(open_terminal: Open, mongo_uri: str, web: Web, dagster_url: str) -> None:
    cli = open_terminal(None, CONTEST_MONGO_URI=mongo_uri, CONTEST_START_DATE="2025-01-01")
    plant_contest(mongo_uri, now=datetime.now(UTC), sessions=100)
    ids = [one["_id"] for one in web.sessions.find({}, {"_id": 1})]
    for number, text in enumerate((FORGED, *TEXTS)):
        changed = {"session_id": f"{text}{number}", "contest": text, "username": text, "session_status": text}
        web.sessions.update_one({"_id": ids[number % len(ids)]}, {"$set": changed})
    for number, problem in enumerate(list(web.problems.find({}, {"_id": 1}))):
        named = {"topics": [TEXTS[number % len(TEXTS)], FORGED], "difficulty": TEXTS[-number]}
        web.problems.update_one({"_id": problem["_id"]}, {"$set": named})
    answers = [cli(command, "contest") for command in ("verify", "apply")]
    assert_nothing_acts(answers, dagster_url, (), least=6)


def test_texts_of_identity_documents(open_terminal: Open, cosmos: dict[str, str], dagster_url: str) -> None:
    cli, store = open_terminal(None, **cosmos), Cosmos.create()
    sessions = [
        session(f"{text} m@example.com", n, last_endpoint=text) for n, text in enumerate((FORGED, *TEXTS[:100]))
    ]
    store.fill([*sessions, session(FORGED, 999)], [user(one["user_id"], f"{n}-guid") for n, one in enumerate(sessions)])
    answers = [cli(command, "identity") for command in ("verify", "apply")]
    assert_nothing_acts(answers, dagster_url, (), least=3)


def test_texts_of_kintell_files(open_terminal: Open, postgres_url: str, dagster_url: str, tmp_path: Path) -> None:
    Kintell.new(postgres_url)
    cli = open_terminal(None, KINTELL_DATABASE_URL=postgres_url)
    rows = [
        clean(n, participant_email=f"{text}@example.com", session_type=text, language_level=text, date=text)
        if n % 2
        else clean(n, session_id=text, participant_email=text)
        for n, text in enumerate((FORGED, *TEXTS))
    ]
    good = [clean(1000 + n) | {"note <b>": text} for n, text in enumerate(TEXTS)]
    columns = [*clean(0), "note <b>"]
    path = write(
        tmp_path / "a\u202e<b>b\nFORGED.csv", [{"note <b>": ""} | row for row in [*rows, *good]], columns=columns
    )
    bad = write(tmp_path / "bad.csv", [dict.fromkeys(TEXTS[:20], "1")], columns=TEXTS[:20])
    answers = [cli("import", path, "--dry-run"), cli("import", path), cli("import", bad), cli("jobs")]
    assert_nothing_acts([*answers, cli("verify", "kintell")], dagster_url, (), least=8)


def test_texts_of_flow_files(open_terminal: Open, postgres_url: str, dagster_url: str, tmp_path: Path) -> None:
    Guide.new(postgres_url)
    code, stored = tmp_path / "code", tmp_path / "stored"
    for number, text in enumerate((FORGED, *TEXTS)):
        name = f"{text.replace('/', '_').replace(chr(0), '')[:40]}{number}"
        for path in (code / name / f"{name}.py", stored / name / f"{name}.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"session_id = {text!r}\n")
    cli = open_terminal(
        None, FLOW_DATABASE_URL=postgres_url, FLOW_CODE_ROOT=str(code), FLOW_VALIDATION_ROOT=str(stored)
    )
    answers = [cli("plan", "flow"), *(cli("verify", f"flow{part}") for part in ("", "/code", "/files", "/metrics"))]
    assert_nothing_acts([*answers, cli("plan", "flow/files")], dagster_url, (), least=8)


def assert_nothing_acts(answers: list[Answer], dagster_url: str, texts: tuple[str, ...], least: int) -> None:
    """Terminal, log lines and Markdown. At least so many pieces of Markdown hold more than names of ours."""
    for answer in answers:
        assert "Traceback" not in answer.err
        for line in f"{answer.out}\n{answer.err}".splitlines():
            assert not line.lstrip().startswith("FORGED"), answer
        assert not _ACTS.search(answer.out + answer.err), _ACTS.search(answer.out + answer.err)
    found = list(markdown_of(dagster_url))
    assert len(found) >= least
    for where, text in found:
        assert_inert(text, where)
    seen = " ".join(" ".join(text_of(tokens(text)).split()) for _, text in found)
    assert not texts or "![](/graphql?query=mutation" in seen


def markdown_of(dagster_url: str) -> Iterator[tuple[str, str]]:
    """Everything that Dagster's pages render as Markdown, of all events; log lines must hold no control characters."""
    with psycopg.connect(dagster_url.replace("postgresql+psycopg2://", "postgresql://", 1)) as connection:
        for (event,) in connection.execute("SELECT event FROM event_logs ORDER BY id"):
            entry = deserialize_value(event, EventLogEntry)
            assert not _ACTS.search(entry.user_message), entry.user_message
            data: Any = entry.dagster_event.event_specific_data if entry.dagster_event else None
            for told in (data, *(getattr(data, name, None) for name in ("materialization", "asset_observation"))):
                where = f"{entry.step_key} {type(told).__name__}"
                if description := getattr(told, "description", None):
                    yield where, description
                for name, value in (getattr(told, "metadata", None) or {}).items():
                    if isinstance(value, dg.MarkdownMetadataValue):
                        yield f"{where} {name}", value.value or ""
