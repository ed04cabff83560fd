"""Summaries by GUID and by e-mail say the same, and what a recount of the documents says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from session_assets.embedded.identity_sample import sample
from session_assets.errors import UsageError
from session_assets.identity.answers import session_summary
from session_assets.identity.assets import TABLES
from session_assets.storage import Storage
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, Document, session, user

NOW = datetime.now(UTC)


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


def test_without_summaries_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="identity_summaries"):
        session_summary(GUID, Storage(str(tmp_path), tmp_path))
