"""Health: whether the service lives, whether the stores of each slice answer, and what the checks of each collection found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from dagster import AssetCheckSeverity, DagsterInstance
from fastapi import APIRouter, Query, Response
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, Field

from session_assets.api.settings import ApiSettings
from session_assets.graph.check_states import CheckState, check_states, keys_of
from session_assets.graph.slice import Slice
from session_assets.graph.verified import last_verify, of_these_stores, recounts_of_slices
from session_assets.masking import safe_text
from session_assets.slices import NAMES, slices
from session_assets.stores.locks import require_dagster_database
from session_assets.stores.reachable import DAGSTER, SHARED, reachable, require_reachable

_SERVICE = "session-assets"
_OK, _UNAVAILABLE, _NOT_CONFIGURED = "ok", "unavailable", "not configured"


def _known(name: str) -> str:
    if name not in NAMES:
        raise ValueError(f"there is no such slice. Choose from: {', '.join(NAMES)}")
    return name


SliceName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [*NAMES]})]
Chosen = Annotated[
    list[SliceName] | None,
    Query(description="Only these slices decide; may be given more than once. Without it: all that are configured"),
]


class Alive(BaseModel):
    """The process answers requests. Nothing is said of any store."""

    status: str = "ok"


class SliceHealth(BaseModel):
    """A slice, and each store that it needs, by the variable that names the store."""

    status: str = Field(description=f"{_OK}, {_UNAVAILABLE} if a store does not answer, or {_NOT_CONFIGURED}")
    stores: dict[str, str] = Field(description="ok, or why the store does not answer, or what its unset variable means")


class Health(BaseModel):
    """The service for some slices, or for all that are configured."""

    status: str = Field(description=f"{_OK}, {_UNAVAILABLE} if a store does not answer, or {_NOT_CONFIGURED}")
    service: str
    timestamp: str
    stores: dict[str, str] = Field(description="Each store that was asked, by the variable that names it")
    slices: dict[str, SliceHealth]


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
    """Some collections, or all whose stores are configured."""

    status: str = Field(description=f"healthy, unhealthy if a collection is not, or {_NOT_CONFIGURED}")
    timestamp: str
    verified_within_hours: float
    collections: list[CollectionHealth]
    not_configured: dict[str, list[str]] = Field(
        description="Slices that are not looked at, and the variables that must be set for them"
    )


def liveness() -> APIRouter:
    """The route for probes: no token, no store, and none of the threads that wait for stores."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez")
    async def livez() -> Alive:
        """Whether the process answers requests."""
        return Alive()

    _allow_head(routes)
    return routes


def router(settings: ApiSettings) -> APIRouter:
    """Readiness, and the health of collections."""
    routes = APIRouter(tags=["health"])
    slices()  # loaded now: it would hold up the first request for seconds

    @routes.get("/health", responses={503: {"model": Health, "description": "A store does not answer, or is not set"}})
    async def health(response: Response, slice: Chosen = None) -> Health:
        """Whether the stores answer that some slices need, or all that are configured."""
        chosen = _chosen(slice)
        asked = [one for one in chosen if slice or one.is_configured()]
        found = await reachable(store for one in asked for store in (*SHARED, *one.stores))
        told = {one.name: _slice_health(one, found) for one in chosen}
        status = _worst([told[one.name].status for one in asked])
        response.status_code = 200 if status == _OK else 503
        stores = {variable: why or _OK for variable, why in found.items()}
        return Health(status=status, service=_SERVICE, timestamp=_now(), stores=stores, slices=told)

    @routes.get(
        "/api/health/sessions",
        responses={
            503: {"model": SessionsHealth, "description": "A check fails as ERROR, or the last verify is too old"}
        },
    )
    def sessions_health(response: Response, slice: Chosen = None) -> SessionsHealth:
        """Each collection as it was verified last: failing checks, and whether that is recent enough."""
        require_reachable(DAGSTER)
        require_dagster_database()
        now, allowed = datetime.now(UTC), settings.verified_within
        chosen = _chosen(slice)
        with DagsterInstance.get() as instance:
            told = _states(instance, [one.name for one in chosen])
            found = [_collection(name, *states, now, allowed) for name, states in told.items()]
        missing = {one.name: one.unset() for one in chosen if not one.is_configured()}
        if not found or (slice and missing):
            status = _NOT_CONFIGURED
        else:
            status = "healthy" if all(one.status == "healthy" for one in found) else "unhealthy"
        response.status_code = 200 if status == "healthy" else 503
        return SessionsHealth(
            status=status,
            timestamp=_now(),
            verified_within_hours=allowed / timedelta(hours=1),
            collections=found,
            not_configured=missing,
        )

    _allow_head(routes)
    return routes


def _allow_head(routes: APIRouter) -> None:
    """What answers GET answers HEAD, as monitors ask. The server leaves the body out; the page of endpoints shows GET only."""
    for route in [one for one in routes.routes if isinstance(one, APIRoute)]:
        routes.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


def _chosen(names: Sequence[str] | None) -> list[Slice]:
    every = slices()
    return [every[name] for name in names] if names else list(every.values())


def _slice_health(one: Slice, found: Mapping[str, str | None]) -> SliceHealth:
    """`found`: what each store said that was asked."""
    stores: dict[str, str] = {}
    for store in (*SHARED, *one.stores):
        if store.variable in found:
            stores[store.variable] = found[store.variable] or _OK
        elif not store.is_set:
            stores[store.variable] = f"not set: {store.optional or 'the slice cannot work without it'}"
    if not one.is_configured():
        return SliceHealth(status=_NOT_CONFIGURED, stores=stores)
    is_ready = all(found[store.variable] is None for store in (*SHARED, *one.stores) if store.is_set)
    return SliceHealth(status=_OK if is_ready else _UNAVAILABLE, stores=stores)


def _worst(statuses: list[str]) -> str:
    """Of the slices that count; none at all is no health."""
    if _UNAVAILABLE in statuses:
        return _UNAVAILABLE
    return _NOT_CONFIGURED if _NOT_CONFIGURED in statuses or not statuses else _OK


def _states(instance: DagsterInstance, chosen: Sequence[str]) -> dict[str, tuple[list[CheckState], datetime | None]]:
    """By collection that is chosen and whose store is configured: the states of its checks, and its last verify."""
    from session_assets.definitions import defs

    repository = defs.get_repository_def()
    graph: Any = repository.asset_graph
    found: dict[str, tuple[list[CheckState], datetime | None]] = {}
    for name, recounts in recounts_of_slices(repository).items():
        if name not in chosen:
            continue
        assets = [key for key in graph.get_all_asset_keys() if key.path[0] == name]
        states = of_these_stores(check_states(instance, keys_of(assets, graph)))
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


def _now() -> str:
    return _text(datetime.now(UTC)) or ""


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
