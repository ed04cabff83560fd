"""Documents that tests put into Cosmos DB, and what stands there afterwards."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from session_assets.stores.cosmos import Container, Usage, container, plain
from session_assets.stores.cosmos_containers import create_containers, write_all

Document = dict[str, Any]
LONG_AGO = "2025-08-24T14:30:00.123456+00:00"
EMAIL = "Mary.Miller@example.com"
GUID = "ee661ad6-af09-4ae0-8502-ee78ca3febf7"


@dataclass(frozen=True)
class Cosmos:
    """The two containers of a test."""

    sessions: Container
    auth: Container

    @staticmethod
    def create(sessions_path: str = "/user_id") -> Cosmos:
        """Empty containers in the database that the environment names."""
        create_containers(sessions_path=sessions_path)
        return Cosmos(container("user_sessions"), container("auth"))

    def fill(self, sessions: Iterable[Document], auth: Iterable[Document]) -> None:
        write_all(self.sessions, sessions)
        write_all(self.auth, auth)

    def stored(self) -> list[Document]:
        """All documents of `user_sessions`, without what the server adds, by id."""
        found = [plain(one) for page in self.sessions.pages("SELECT * FROM c") for one in page]
        return sorted(found, key=lambda one: (one["id"], str(one.get("user_id"))))

    def clear(self) -> None:
        """Delete all sessions."""
        for one in self.stored():
            self.sessions.account.run(
                self.sessions.client.delete_item(one["id"], partition_key=self.sessions.partition_value(one))
            )

    @property
    def usage(self) -> Usage:
        return self.sessions.usage.copy()


def session(user_id: str | None = EMAIL, number: int = 0, **fields: Any) -> Document:
    """A session as the application writes it; the same number gives the same id."""
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"session {number}")),
        "type": "session",
        "user_id": user_id,
        "status": "active",
        "created_at": LONG_AGO,
        "last_heartbeat": LONG_AGO,
        "last_activity": LONG_AGO,
        "last_endpoint": "/api/jobs",
        "session_metadata": {"browser": "Firefox", "ip_address": "192.0.2.7"},
        "activity_count": 3,
        "endpoints_accessed": ["/api/jobs", "/api/upload"],
        **fields,
    }


def user(email: str = EMAIL, auth_id: str = GUID) -> Document:
    """An auth record."""
    return {"id": auth_id, "type": "user", "email": email, "permission": "Viewer", "is_active": True}
