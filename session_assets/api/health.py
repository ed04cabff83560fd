"""Health: of the service with the stores that it stands on, and of each session collection as its checks told last."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from dagster import AssetCheckSeverity, DagsterInstance
from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from session_assets.api.settings import ApiSettings
from session_assets.graph.check_states import CheckState, check_states, keys_of
from session_assets.graph.verified import last_verify, recounts_of_slices
from session_assets.masking import safe_text
from session_assets.slices import slices
from session_assets.stores.locks import require_dagster_database
from session_assets.stores.reachable import SHARED, reachable

_SERVICE = "session-assets"


class Health(BaseModel):
    """The service, and each store that is configured, by the variable that names it."""

    status: str = Field(description="ok, or unavailable where a store does not answer")
    service: str
    timestamp: str
    stores: dict[str, str]


class FailingCheck(BaseModel):
    """A check whose newest verdict is that something is wrong."""

    check: str
    severity: str = Field(description="ERROR can be repaired, WARN is for a person to decide")
    count: int
    description: str
    seen: str | None
    run_id: str | None


class CollectionHealth(BaseModel):
    """A session collection."""

    collection: str
    status: str = Field(description="healthy, failing, stale, or never verified")
    last_verify: str | None
    fresh: bool = Field(description="Whether all of it was verified within the hours that are allowed")
    failing_checks: list[FailingCheck]


class SessionsHealth(BaseModel):
    """All collections whose stores are configured."""

    status: str = Field(description="healthy, or unhealthy where one is not")
    timestamp: str
    verified_within_hours: float
    collections: list[CollectionHealth]


def router(settings: ApiSettings) -> APIRouter:
    """The two routes."""
    routes = APIRouter(tags=["health"])

    @routes.get("/health", responses={503: {"model": Health, "description": "A store does not answer"}})
    def health(response: Response) -> Health:
        """Whether the service works: asks each store that is configured."""
        found = reachable((*SHARED, *(store for slice_ in slices().values() for store in slice_.stores)))
        status = "unavailable" if any(found.values()) else "ok"
        response.status_code = 200 if status == "ok" else 503
        stores = {variable: why or "ok" for variable, why in found.items()}
        return Health(status=status, service=_SERVICE, timestamp=_text(datetime.now(UTC)) or "", stores=stores)

    @routes.get(
        "/api/health/sessions",
        responses={
            503: {"model": SessionsHealth, "description": "A check fails as ERROR, or the last verify is too old"}
        },
    )
    def sessions_health(response: Response) -> SessionsHealth:
        """Each collection as it was verified last: failing checks, and whether that is recent enough."""
        require_dagster_database()
        now, allowed = datetime.now(UTC), settings.verified_within
        with DagsterInstance.get() as instance:
            found = [_collection(name, *told, now, allowed) for name, told in _states(instance).items()]
        status = "healthy" if all(one.status == "healthy" for one in found) else "unhealthy"
        response.status_code = 200 if status == "healthy" else 503
        hours = allowed / timedelta(hours=1)
        return SessionsHealth(status=status, timestamp=_text(now) or "", verified_within_hours=hours, collections=found)

    return routes


def _states(instance: DagsterInstance) -> dict[str, tuple[list[CheckState], datetime | None]]:
    """By collection whose store is configured: the states of its checks, and its last verify."""
    from session_assets.definitions import defs

    repository = defs.get_repository_def()
    graph: Any = repository.asset_graph
    found: dict[str, tuple[list[CheckState], datetime | None]] = {}
    for name, recounts in recounts_of_slices(repository).items():
        assets = [key for key in graph.get_all_asset_keys() if key.path[0] == name]
        states = check_states(instance, keys_of(assets, graph))
        found[name] = (states, last_verify(states, recounts))
    return found


def _collection(
    name: str, states: list[CheckState], verified: datetime | None, now: datetime, allowed: timedelta
) -> CollectionHealth:
    failing = [one for one in states if one.passed is False]
    fresh = verified is not None and now - verified <= allowed
    if any(one.severity == AssetCheckSeverity.ERROR for one in failing):
        status = "failing"
    elif verified is None:
        status = "never verified"
    else:
        status = "healthy" if fresh else "stale"
    checks = [
        FailingCheck(
            check=one.name,
            severity=one.severity.value,
            count=one.count,
            description=safe_text(one.description),
            seen=_text(one.seen),
            run_id=one.run_id,
        )
        for one in failing
    ]
    return CollectionHealth(
        collection=name, status=status, last_verify=_text(verified), fresh=fresh, failing_checks=checks
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
