"""Events of an import: subjects, ids, and the envelope that is composed of an outbox row when it is published.

Source: SYSTEMS S4 and the contracts of the original event bus (ids are UUIDs, moments end in `Z`, absent values are left out).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

SUBJECTS = {
    "completed": "kintell.session.completed",
    "rated": "kintell.rating.created",
    "removed": "kintell.session.reverted",
    "restored": "kintell.session.reverted",
}
"""The subject of each kind of event, which is its `type` too.

`kintell.session.reverted` compensates what an import told of a session: `outcome` says whether the session was removed, then
the data are those that it had, or restored, then the data are those that it has again.
"""

_NAMESPACE = uuid.UUID("6f1c6a0e-5d0b-5c39-9a53-1a8f6b3d2f10")  # never change it: ids of events come from it


@dataclass(frozen=True)
class Event:
    """A row of the outbox: what was true of a session when the job wrote it.

    `rating` is on 0–1; `number` orders the events of a job.
    """

    job_id: str
    number: int
    kind: str
    session_id: str
    external_session_id: str | None
    session_type: str | None
    participant_id: str | None
    volunteer_id: str | None
    scheduled_at: datetime | None
    completed_at: datetime | None
    duration_minutes: int | None
    language_level: str | None
    rating: Decimal | None
    created_at: datetime

    @property
    def message_id(self) -> str:
        """The `Nats-Msg-Id`: the same for the same event whenever it is published, another one for another job."""
        return _message_id(self.job_id, self.session_id, self.kind)

    @property
    def subject(self) -> str:
        return SUBJECTS[self.kind]

    def envelope(self) -> dict[str, Any]:
        """`{type, data, metadata{id, version, timestamp, correlationId, causationId}}`.

        `correlationId` is the job. `causationId` is the job too; of a rating and of a compensation, the completed session.
        """
        caused_by_session = self.kind != "completed"
        cause = _event_id(_message_id(self.job_id, self.session_id, "completed")) if caused_by_session else self.job_id
        return {
            "type": self.subject,
            "data": {name: value for name, value in self._data().items() if value is not None},
            "metadata": {
                "id": _event_id(self.message_id),
                "version": "v1",
                "timestamp": _moment(self.created_at),
                "correlationId": self.job_id,
                "causationId": cause,
            },
        }

    def _data(self) -> dict[str, Any]:
        data = {
            "sessionId": self.session_id,
            "externalSessionId": self.external_session_id,
            "sessionType": self.session_type,
            "participantId": self.participant_id,
            "volunteerId": self.volunteer_id,
            "scheduledAt": _moment(self.scheduled_at),
            "completedAt": _moment(self.completed_at),
            "durationMinutes": self.duration_minutes,
            "languageLevel": self.language_level,
        }
        if self.kind == "rated":  # the contract asks who rated: in these files it is the participant
            data |= {
                "ratingId": _event_id(self.message_id),
                "fromRole": "participant",
                "rating": None if self.rating is None else float(self.rating),
                "createdAt": _moment(self.completed_at),
            }
        elif self.kind != "completed":
            data |= {"rating": None if self.rating is None else float(self.rating), "outcome": self.kind}
        return data


@dataclass(frozen=True)
class Lag:
    """How far the publication of a job's events is: numbers of events, and when the oldest unpublished one was written (UTC)."""

    total: int
    published: int
    oldest: datetime | None

    @property
    def waiting(self) -> int:
        return self.total - self.published


def _message_id(job_id: str, session_id: str, kind: str) -> str:
    return f"{job_id}:{session_id}:{kind}"


@lru_cache(16)  # the same one is asked for up to three times in a row
def _event_id(message_id: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, message_id))


@lru_cache(1024)
def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
