"""Errors as the caller reads them: problem+json (RFC 9457), one shape for all, with nothing personal or secret in it."""

from __future__ import annotations

import http
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from session_assets.errors import BadInput, LockHeld, PlanRefused, SessionAssetsError, StoreUnavailable, UsageError
from session_assets.kintell.jobs import NotResumable, SourceChanged, UnknownJob
from session_assets.kintell.preflight import PreflightFailed
from session_assets.masking import safe_lines

MEDIA_TYPE = "application/problem+json"
_STATUS: list[tuple[type[SessionAssetsError], int]] = [  # the first that fits
    (UnknownJob, 404),
    (NotResumable, 409),
    (SourceChanged, 409),
    (LockHeld, 409),
    (PlanRefused, 409),
    (BadInput, 422),
    (PreflightFailed, 503),
    (StoreUnavailable, 503),
    (UsageError, 503),  # what is left of these are settings of the server
    (SessionAssetsError, 500),
]


class Problem(BaseModel):
    """What went wrong, and what to do next."""

    type: str = "about:blank"
    title: str = Field(description="The meaning of the status code.")
    status: int
    detail: str = Field(description="What was wrong with this request, and what to do next.")
    request_id: str | None = Field(description="Names the request in the server's log.")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of a route that are problems, for its documentation."""
    body = {"content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}
    return {one: {"description": http.HTTPStatus(one).phrase, **body} for one in statuses}


def problem(status: int, detail: object, request_id: str | None, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response."""
    title = http.HTTPStatus(status).phrase
    body = Problem(title=title, status=status, detail=safe_lines(detail), request_id=request_id)
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


def of_error(request: Request, error: SessionAssetsError) -> JSONResponse:
    """One of our errors."""
    status = next(status for kind, status in _STATUS if isinstance(error, kind))
    return problem(status, error, request_id(request))


def of_http(request: Request, error: HTTPException) -> JSONResponse:
    """An error with a status code of its own: no such route, wrong method, and those that routes raise."""
    detail = error.detail
    if error.status_code == 404 and detail == "Not Found":
        detail = "There is no such address. /docs lists those that there are."
    elif error.status_code == 405:
        detail = "This address takes another method. /docs lists them."
    headers = {name: value for name, value in (error.headers or {}).items() if name.lower() != "content-type"}
    return problem(error.status_code, detail, request_id(request), headers)


def of_validation(request: Request, error: RequestValidationError) -> JSONResponse:
    """Parameters that do not fit. What was sent is not repeated: it may be personal."""
    found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10])
    return problem(422, f"{found}. Correct the request and send it again.", request_id(request))


def request_id(request: Request) -> str | None:
    return request.scope.get("request_id")
