"""`/api/analytics`: what the application's dashboards ask (seed S1), and how a contest user performed."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime
from typing import Annotated, Any

import polars as pl
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from session_assets.api.problems import documented
from session_assets.contest.answers import user_performance
from session_assets.errors import NotConfigured, StoreUnavailable, UsageError
from session_assets.graph.environment import Environment
from session_assets.identity.answers import live_tables
from session_assets.identity.assets import STORE, open_identity
from session_assets.identity.summaries import answer
from session_assets.masking import mask_user
from session_assets.stores.reachable import require_reachable

_SAMPLE = 5
_KEPT_SECONDS = 30.0  # a look at all sessions serves everybody who asks meanwhile
User = Annotated[str, Path(min_length=1, max_length=320, description="GUID or e-mail")]
Username = Annotated[str, Path(min_length=1, max_length=320, description="As contest sessions have it")]
Days = Annotated[int, Query(ge=1, le=366, description="How far back")]
Since = Annotated[date | None, Query(description="Leave earlier months out")]


class SessionsSeen(BaseModel):
    """What the sessions container holds. E-mails in `user_id` are masked: seeing one is enough to know that it is none."""

    has_sessions_container: bool
    container_available: bool
    total_sessions: int
    sample_sessions: list[dict[str, Any]] = Field(description="id, user_id, created_at, status of up to five")
    container_info: dict[str, Any]
    any_documents: bool
    total_documents: int


class Summary(BaseModel):
    """Figures of a user; `average_session_duration` is in minutes."""

    total_sessions: int
    active_sessions: int
    total_activity_events: int
    total_requests: int
    average_session_duration: float


class SessionSummary(BaseModel):
    """The sessions of a user in a period."""

    user_id: str
    period_days: int
    summary: Summary
    query_timestamp: str


class Topic(BaseModel):
    """A topic as a user attempted it; `accuracy` in percent."""

    topic: str
    sessions: int
    attempted: int
    correct: int
    accuracy: float


class Difficulty(BaseModel):
    """A difficulty as a user attempted it; `accuracy` in percent."""

    difficulty: str
    sessions: int
    attempted: int
    correct: int
    accuracy: float


class TopicPerformance(BaseModel):
    """The topics that a user attempted, the most attempted first."""

    username: str
    months: list[str]
    topics: list[Topic]


class DifficultyPerformance(BaseModel):
    """The difficulties that a user attempted, the most attempted first."""

    username: str
    months: list[str]
    difficulties: list[Difficulty]


class _Recent:
    """Summaries of all users by period, counted at most once in some seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[int, tuple[float, tuple[pl.DataFrame, pl.DataFrame]]] = {}

    def tables(self, days: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        with self._lock:
            now = time.monotonic()
            self._kept = {one: found for one, found in self._kept.items() if now - found[0] < _KEPT_SECONDS}
            if days not in self._kept:
                require_reachable(STORE)
                self._kept[days] = (now, live_tables(open_identity(Environment.load()).source, days))
            return self._kept[days][1]


def router() -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/analytics", tags=["analytics"], responses=documented(503))
    recent = _Recent()

    @routes.get("/debug/sessions")
    def debug_sessions() -> SessionsSeen:
        """Whether there are sessions, and under which user ids they stand."""
        return _seen()

    @routes.get("/users/{user}/session-summary")
    def session_summary(user: User, days: Days = 30) -> SessionSummary:
        """Sessions of a user, counted from the documents at most 30 seconds ago; the same for a GUID and its e-mail."""
        users, emails = recent.tables(days)
        return SessionSummary(**answer(users, emails, user, now=datetime.now(UTC), days=days))

    @routes.get("/users/{username}/topic-performance")
    def topic_performance(username: Username, since: Since = None) -> TopicPerformance:
        """Attempts and accuracy of a contest user by topic, from `contest/topic_performance` as it was materialized last."""
        return TopicPerformance(**user_performance(Environment.load().storage, username, "topics", since))

    @routes.get("/users/{username}/difficulty-performance")
    def difficulty_performance(username: Username, since: Since = None) -> DifficultyPerformance:
        """Attempts and accuracy of a contest user by difficulty, from `contest/difficulty_performance`."""
        return DifficultyPerformance(**user_performance(Environment.load().storage, username, "difficulties", since))

    return routes


def _seen() -> SessionsSeen:
    require_reachable(STORE)
    try:
        identity = open_identity(Environment.load())
    except (NotConfigured, StoreUnavailable):
        raise
    except UsageError as error:  # the container is not there
        return SessionsSeen(
            has_sessions_container=False,
            container_available=False,
            total_sessions=0,
            sample_sessions=[],
            container_info={"problem": str(error)},
            any_documents=False,
            total_documents=0,
        )
    sessions, documents, sample = identity.source.glimpse(_SAMPLE)
    shown = [{**one, "user_id": mask_user(str(one["user_id"]))} if one.get("user_id") else one for one in sample]
    return SessionsSeen(
        has_sessions_container=True,
        container_available=True,
        total_sessions=sessions,
        sample_sessions=shown,
        container_info=identity.source.container_info(),
        any_documents=documents > 0,
        total_documents=documents,
    )
