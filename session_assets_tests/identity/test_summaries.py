"""Summaries by GUID and by e-mail say the same, and what a recount of the documents says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from session_assets.embedded.identity_sample import sample
from session_assets.errors import UsageError
from session_assets.identity.answers import BY_GUID_FILE, session_summary
from session_assets.identity.assets import TABLES
from session_assets.storage import Storage
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, Document, session, user

NOW = datetime.now(UTC)
OTHER = "0b54ac0b-8d1f-4d2e-9a75-0a5f2b3f6c11"


def summarize(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(folder))
    assert dg.materialize(TABLES).success
    return Storage(str(folder / "storage"), folder / "tmp")


def recount(documents: list[Document]) -> dict[str, Any]:
    """What the endpoint of the seed counts, plainly."""
    recent = [one for one in documents if datetime.fromisoformat(one["created_at"]) >= NOW - timedelta(days=30)]
    lasted = [
        one.get("session_duration_seconds")
        or (datetime.fromisoformat(one["last_activity"]) - datetime.fromisoformat(one["created_at"])).total_seconds()
        for one in recent
    ]
    return {
        "total_sessions": len(recent),
        "active_sessions": sum(one["status"] == "active" for one in recent),
        "total_activity_events": sum(one["activity_count"] for one in recent),
        "total_requests": sum(len(one["endpoints_accessed"]) for one in recent),
        "average_session_duration": pytest.approx(sum(lasted) / len(lasted) / 60 if lasted else 0.0, abs=0.0051),
    }


def test_both_keys_answer_with_a_recount_of_the_documents(
    stored: Cosmos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = sample(250, seed=3, now=NOW)
    stored.fill(planted.documents, planted.auth)
    storage = summarize(tmp_path, monkeypatch)
    emails = {guid: one["user_id"] for one in planted.sessions if (guid := planted.guids.get(one["id"]))}
    assert len(emails) > 20
    resolved = {**planted.guids}
    for guid, email in emails.items():
        of_user = [one for one in planted.sessions if resolved.get(one["id"], str(one.get("user_id")).lower()) == guid]
        wanted = recount([*of_user, *_unsettled(planted.sessions, planted.reasons["unsettled"], planted.auth, guid)])
        for asked in (guid, guid.upper(), email, email.strip().swapcase()):
            assert session_summary(asked, storage)["summary"] == wanted, asked


def _unsettled(sessions: list[Document], ids: list[str], auth: list[Document], guid: str) -> list[Document]:
    """Sessions that wait are their user's all the same."""
    mails = {one["email"] for one in auth if one["id"].lower() == guid}
    return [one for one in sessions if one["id"] in set(ids) and one["user_id"] in mails]


def test_sessions_without_a_guid_are_found_by_their_email_alone(
    stored: Cosmos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recent = NOW.isoformat()
    stored.fill([session("gone@example.com", 1, created_at=recent, last_activity=recent)], [user()])
    storage = summarize(tmp_path, monkeypatch)
    assert session_summary("Gone@example.com", storage)["summary"]["total_sessions"] == 1
    assert session_summary(GUID, storage)["summary"]["total_sessions"] == 0
    assert session_summary(EMAIL, storage)["user_id"] == EMAIL


def test_a_session_that_stands_twice_counts_once_as_it_was_last_active(
    stored: Cosmos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created, later = (NOW - timedelta(hours=2)).isoformat(), (NOW - timedelta(hours=1)).isoformat()
    once = {"created_at": created, "last_activity": created}
    again = {"created_at": created, "last_activity": later, "activity_count": 7, "status": "closed"}
    both = [session(EMAIL, 1, **again), session(GUID.upper(), 1, **once)]  # re-created, and moved before
    broken = [session(f"{lone}mary@example.com", 2, id=f"{lone}1", **once) for lone in ("\ud800", "\ud801")]
    huge = session("huge@example.com", 4, created_at=created, activity_count=10**30)
    stored.fill(
        [*both, session(GUID, 3, **once), *broken, huge], [user(EMAIL.lower()), user("?mary@example.com", OTHER)]
    )
    storage = summarize(tmp_path, monkeypatch)
    for asked in (GUID, EMAIL):
        assert session_summary(asked, storage)["summary"] == {
            "total_sessions": 2,
            "active_sessions": 1,
            "total_activity_events": 10,
            "total_requests": 4,
            "average_session_duration": 30.0,
        }
    assert session_summary(OTHER, storage)["summary"]["total_sessions"] == 0
    (standing,) = {user_id for user_id in _users(storage) if user_id.startswith("\\ud800")}
    assert session_summary(standing, storage)["summary"]["total_sessions"] == 1


def _users(storage: Storage) -> list[str]:
    return storage.read_parquet(BY_GUID_FILE)["user_id"].to_list()


def test_without_summaries_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="identity_summaries"):
        session_summary(GUID, Storage(str(tmp_path), tmp_path))
