"""The application: routes, errors, and the gate around them."""

from __future__ import annotations

from fastapi import APIRouter, Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from session_assets.api import analytics, health, imports, problems
from session_assets.api.gate import Gate
from session_assets.api.launcher import Launcher
from session_assets.api.settings import ApiSettings
from session_assets.errors import SessionAssetsError
from session_assets.settings import Settings

_ABOUT = (
    "Imports, health and analytics of session collections. Every call but `/livez` needs the token: choose *Authorize* and paste"
    " it. Errors are problem+json; `X-Request-ID` names a request in the log of the server."
)


def application(settings: ApiSettings, home: Settings) -> ASGIApp:
    """The application on the current environment."""
    app: FastAPI = FastAPIOffline(
        redoc_url=None,
        title="session-assets",
        description=_ABOUT,
        version="1",
    )
    app.add_exception_handler(SessionAssetsError, problems.of_error)  # pyright: ignore[reportArgumentType]
    app.add_exception_handler(HTTPException, problems.of_http)  # pyright: ignore[reportArgumentType]
    app.add_exception_handler(RequestValidationError, problems.of_validation)  # pyright: ignore[reportArgumentType]
    app.include_router(health.liveness())
    backfill = imports.router(settings, Launcher(home.home, settings.imports))
    for prefix in ("/v1/import/backfill", "/import/backfill"):
        _include(app, backfill, prefix)
    _include(app, health.router(settings))
    _include(app, analytics.router())
    return Gate(app, settings.token, settings.rate)


def _include(app: FastAPI, routes: APIRouter, prefix: str = "") -> None:
    """Routes that need the token."""
    token = HTTPBearer(auto_error=False, description="The gate checks it, for every address but those that are open.")
    app.include_router(
        routes, prefix=prefix, dependencies=[Depends(token)], responses=problems.documented(401, 422, 429)
    )
