"""What every request passes: a request id, the token, the rate limit, one line of log, and an answer whatever happens."""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import time
import traceback
import uuid
from typing import Any

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from session_assets.api.problems import problem
from session_assets.masking import safe_lines

log = logging.getLogger("session_assets.api")
REQUEST_ID = "X-Request-ID"
_OPEN = re.compile(r"/livez|/docs(/oauth2-redirect)?|/openapi\.json|/static-offline-docs/[a-z.-]+")
"""Whether the server is alive, for probes that hold no secret, and the page that explains the endpoints, so that a browser can
show it and ask for the token. They hold no data.
"""
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SHOWN = re.compile(r"[A-Za-z0-9._-]+")
_METHOD = re.compile(r"[A-Z]{1,12}")


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, token: str, rate: int) -> None:
        self._app = app
        self._token = hashlib.sha256(token.encode()).digest()
        self._limit = RateLimitItemPerMinute(rate)
        self._limiter = FixedWindowRateLimiter(MemoryStorage())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        scope["request_id"] = given.decode() if _GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        seen = _Seen(send, scope["request_id"])
        began = time.monotonic()
        try:
            given = [value for name, value in scope["headers"] if name == b"authorization"]
            refused = self._refusal(scope, given)
            await (refused or self._app)(scope, receive, seen.send)
        except ClientDisconnect:
            log.info("request_id=%s the caller went away", scope["request_id"])
        except Exception as error:  # a traceback of the server's own would show values
            text = safe_lines("".join(traceback.format_exception(error)))
            log.error("request_id=%s %s", scope["request_id"], text)
            if seen.status is None:
                detail = f"The request failed here ({type(error).__name__}). The log of the server says more."
                await problem(500, detail, scope["request_id"])(scope, receive, seen.send)
        finally:
            took = (time.monotonic() - began) * 1000
            method = scope["method"] if _METHOD.fullmatch(scope["method"]) else "?"
            parts = (scope["request_id"], method, shown_path(scope), seen.status or "-", took)
            log.info("request_id=%s %s %s %s %.0fms", *parts)

    def _refusal(self, scope: Scope, given_tokens: list[bytes]) -> Response | None:
        """Two tokens are refused: a proxy may have judged by the other one.

        Callers without the token are counted by their address, so that guessing does not shut those with it out.
        """
        if _OPEN.fullmatch(scope["path"]):
            return None
        scheme, _, given = (given_tokens[0] if given_tokens else b"").partition(b" ")
        digest = hashlib.sha256(given.strip()).digest()
        is_known = len(given_tokens) == 1 and hmac.compare_digest(digest, self._token) and scheme.lower() == b"bearer"
        who = "token" if is_known else f"address {(scope.get('client') or ('unknown',))[0]}"
        if not self._limiter.hit(self._limit, who):
            wait = max(1, round(self._limiter.get_window_stats(self._limit, who).reset_time - time.time()))
            detail = f"More than {self._limit.amount} requests in a minute. Wait {wait} seconds."
            return problem(429, detail, scope["request_id"], {"Retry-After": str(wait)})
        if is_known:
            return None
        if len(given_tokens) > 1:
            return problem(400, "The request has several Authorization headers. Send one.", scope["request_id"])
        detail = "The token is missing or wrong. Send it as `Authorization: Bearer TOKEN`."
        return problem(401, detail, scope["request_id"], {"WWW-Authenticate": "Bearer"})


class _Seen:
    """Passes messages on, adds the request id, and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._id = request_id.encode()
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = [(REQUEST_ID.encode(), self._id), (b"X-Content-Type-Options", b"nosniff")]
            message = {**message, "headers": [*message["headers"], *added, (b"Cache-Control", b"no-store")]}
        await self._send(message)


def shown_path(scope: Scope) -> str:
    """The path as a log may show it: of a user's page the route, of other segments those that cannot hold anything personal."""
    parameters: dict[str, Any] = scope.get("path_params", {})
    hidden = {str(parameters[name]) for name in ("user", "username") if name in parameters}
    segments = str(scope["path"]).split("/")[1:]
    shown = ["{user}" if one in hidden else one if _SHOWN.fullmatch(one) else "***" if one else "" for one in segments]
    return "/" + "/".join(shown)[:200]
