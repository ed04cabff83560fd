"""Sample sessions and auth records with known defects, for the demo, the tests and the benchmark.

What is planted is known from how it was made, not from the rules that find it. People use example.com. Deterministic for a seed.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

Document = dict[str, Any]
NIL = "00000000-0000-0000-0000-000000000000"
_WEIGHTS = {  # how often each kind of session is made, of 100
    "exact": 22, "mixed_case": 12, "unicode": 8, "spaces": 3, "plus_tag": 6, "kept_email": 4, "unsettled": 4,
    "guid": 14, "guid_upper": 4, "no_auth_record": 5, "plus_unknown": 2, "auth_id_not_guid": 4, "ambiguous": 3,
    "braces": 2, "urn": 2, "nil_guid": 2, "no_email": 2, "missing": 1,
}  # fmt: skip
_REASONS = {
    **dict.fromkeys(("exact", "mixed_case", "unicode", "spaces", "plus_tag", "kept_email"), "email_resolved"),
    "unsettled": "unsettled", "guid": None, "guid_upper": None, "no_auth_record": "no_auth_record",
    "plus_unknown": "no_auth_record", "auth_id_not_guid": "auth_id_not_guid", "ambiguous": "ambiguous_email",
    **dict.fromkeys(("braces", "urn", "no_email", "missing"), "not_an_email"), "nil_guid": "nil_guid",
}  # fmt: skip
_PAGES = ("/api/transcripts", "/api/upload", "/api/jobs", "/api/analytics/dashboard", "/api/prompts")
_NAMES = ("mary", "bob", "irène", "jürgen", "søren", "zoë", "straße", "πέτρος", "chloë", "andré", "li", "amir")


@dataclass
class Planted:
    """Documents, and what is known of them: `reasons` → ids, `guids` id → GUID of those that can be repaired."""

    sessions: list[Document] = field(default_factory=list[Document])
    audits: list[Document] = field(default_factory=list[Document])
    auth: list[Document] = field(default_factory=list[Document])
    reasons: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    guids: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def documents(self) -> list[Document]:
        return [*self.sessions, *self.audits]

    @property
    def counts(self) -> dict[str, int]:
        """Sessions by reason."""
        return {reason: len(ids) for reason, ids in sorted(self.reasons.items())}


def sample(sessions: int, seed: int = 1, *, now: datetime | None = None) -> Planted:
    """So many sessions, a twentieth as many audit documents, and the auth records of their users."""
    made = _Maker(Random(seed), now or datetime.now(UTC))
    kinds = made.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=sessions)
    for kind in kinds:
        made.session(kind)
    for _ in range(sessions // 20):
        made.audit()
    return made.planted


class _Maker:
    def __init__(self, random: Random, now: datetime) -> None:
        self.random = random
        self.now = now
        self.planted = Planted()
        self._users: dict[str, list[Document]] = defaultdict(list)
        self._counts: Counter[str] = Counter()

    def session(self, kind: str) -> None:
        """One session of a kind."""
        user_id, guid = self._user_id(kind)
        old = timedelta(days=self.random.uniform(0.1, 45))
        began = self.now - old
        active = self.now - timedelta(minutes=1) if kind == "unsettled" else began + timedelta(minutes=old.days % 90)
        endpoints = self.random.sample(_PAGES, self.random.randint(0, len(_PAGES)))
        document: Document = {
            "id": self._uuid(),
            "type": "session",
            "user_id": user_id,
            "status": self.random.choice(["active", "active", "expired", "closed"]),
            "created_at": began.isoformat(),
            "last_heartbeat": active.isoformat(),
            "last_activity": active.isoformat(),
            "last_endpoint": endpoints[-1] if endpoints else "/",
            "session_metadata": {
                "user_agent": "Mozilla/5.0",
                "ip_address": "192.0.2.7",
                "start_page": "/",
                "browser": "Firefox",
                "platform": "Linux",
            },
            "activity_count": self.random.randint(0, 200),
            "endpoints_accessed": endpoints,
        }
        if kind == "missing":
            del document["user_id"]
        if kind == "kept_email":
            document = {"id": document["id"], "user_email": "older@example.com", **document}
        if document["status"] == "expired":
            document |= {
                "expired_at": active.isoformat(),
                "expiry_reason": "inactivity",
                "session_duration_seconds": 90,
            }
        self.planted.sessions.append(document)
        reason = _REASONS[kind]
        if reason is not None:
            self.planted.reasons[reason].append(document["id"])
        if reason == "email_resolved" and guid is not None:
            self.planted.guids[document["id"]] = guid

    def audit(self) -> None:
        """A document that is no session, whose user id may be an e-mail."""
        user_id, _ = self._user_id(self.random.choice(["exact", "no_auth_record", "guid"]))
        self.planted.audits.append(
            {
                "id": self._uuid(),
                "type": "audit",
                "user_id": user_id,
                "action": "login",
                "timestamp": self.now.isoformat(),
            }
        )

    def _user_id(self, kind: str) -> tuple[str | None, str | None]:
        if kind in ("guid", "guid_upper"):
            return (self._uuid() if kind == "guid" else self._uuid().upper()), None
        plain: dict[str, Callable[[], str | None]] = {
            "braces": lambda: f"{{{self._uuid()}}}",
            "urn": lambda: f"urn:uuid:{self._uuid()}",
            "nil_guid": lambda: NIL,
            "no_email": lambda: self.random.choice(["", "anonymous", "user_1712345678901", "mary@", "a@b@example.com"]),
            "missing": lambda: None,
            "no_auth_record": lambda: f"gone{self.random.randint(1, 500)}@example.com",
            "plus_unknown": lambda: self._known("exact")["email"].replace("@", "+news@"),
        }
        if kind in plain:
            return plain[kind](), None
        record = self._known(kind)
        email, guid = record["email"], record["id"].lower()
        if kind == "mixed_case":
            email = "".join(self.random.choice([letter.upper(), letter.lower()]) for letter in email)
        if kind == "unicode":
            email = unicodedata.normalize("NFD", email)
        if kind == "spaces":
            email = f" {email}\t"
        if kind == "ambiguous":
            email = email.title()
        return email, guid

    def _known(self, kind: str) -> Document:
        """An auth record for a kind of session; a new one now and then."""
        users = self._users[kind]
        if len(users) < 3 or self.random.random() < 0.1:
            users.append(self._register(kind))
        return self.random.choice(users)

    def _register(self, kind: str) -> Document:
        self._counts[kind] += 1
        name = f"{self.random.choice(_NAMES)}.{kind.replace('_', '-')}{self._counts[kind]}"
        if kind == "plus_tag":
            name += "+work"
        if kind != "unicode":
            name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode() or "x"
        record = self._auth(f"{name}@example.com", local=kind == "auth_id_not_guid")
        if kind == "ambiguous":
            self._auth(record["email"].upper(), local=self._counts[kind] % 2 == 0)
        return record

    def _auth(self, email: str, *, local: bool) -> Document:
        epoch = int(self.now.timestamp() * 1000) - len(self.planted.auth)
        user_id = f"user_{epoch}" if local else self._uuid()
        if not local and self.random.random() < 0.2:
            user_id = user_id.upper()
        record = {
            "id": user_id,
            "type": "user",
            "email": email,
            "permission": "Viewer",
            "created_at": self.now.isoformat(),
            "is_active": True,
        }
        self.planted.auth.append(record)
        return record

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))
