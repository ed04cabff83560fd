"""Keeps other web pages away from Dagster's UI, which has no log-in and trusts anyone who reaches it.

Any page that an operator visits can send requests to their machine. Unguarded, an image `/graphql?query=mutation…` starts a run,
a form posts a passed check, another host name that resolves to 127.0.0.1 reads everything (DNS rebinding), and a websocket of
another page is accepted. Browsers say where a request comes from (`Origin`, `Sec-Fetch-Site`); programs send neither header.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

VARIABLE = "SESSION_ASSETS_UI_HOSTS"
URL_VARIABLE = "SESSION_ASSETS_UI_URL"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

_JSON = b"application/json"
_READS = ("GET", "HEAD")
_OWN_SITES = (b"same-origin", b"none")  # `none`: typed, a bookmark
_NAVIGATION = {b"sec-fetch-mode": b"navigate", b"sec-fetch-dest": b"document"}


class Guard:
    """An ASGI middleware. `hosts`: names (with their port, where it is not the usual one) under which a proxy serves the UI.

    `prefix`: the path under which Dagster serves it.
    """

    def __init__(self, app: Any, hosts: frozenset[str], prefix: str = "") -> None:
        self._app = app
        self._hosts = hosts
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        why = refusal(scope, self._hosts, self._prefix)
        if why is None:
            await self._app(scope, receive, _with_policy(send, _only(scope, b"host") or b""))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            await _refuse(send, why)


def hosts(env: Mapping[str, str]) -> frozenset[str]:
    """Names of the UI besides this machine's own: those of the variable, which commas separate, and that of links in alerts."""
    names = [*env.get(VARIABLE, "").split(","), urlsplit(env.get(URL_VARIABLE, "")).netloc]
    return frozenset(name.strip().lower() for name in names if name.strip())


def refusal(scope: Scope, hosts: frozenset[str], prefix: str = "") -> str | None:
    """Why a request is refused; None if it is let through."""
    host = (_only(scope, b"host") or b"").decode("latin-1").lower()
    if not (_is_loopback(host) or host in hosts):
        return f"The UI is not served under this host name. If it is yours, add it to {VARIABLE}."
    if _is_foreign(scope, host, hosts) and not _is_navigation(scope):
        return "This request comes from another web page."
    path = str(scope["path"]).removeprefix(prefix).strip()  # Starlette takes `/graphql%0A` for `/graphql`
    if path.startswith("/report_asset_"):
        return "Events are not taken over HTTP here. Report them in the UI, or with Dagster's Python API."
    if path.rstrip("/") == "/graphql" and scope["type"] == "http" and not _is_graphql_call(scope):
        return "GraphQL is taken by POST as application/json only."
    return None


def _is_loopback(host: str) -> bool:
    """Whether a Host header names this machine, with any port: tunnels choose their own."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def _is_foreign(scope: Scope, host: str, hosts: Iterable[str]) -> bool:
    """Whether a browser says that another page sent this. Another port is another origin."""
    own = {f"{scheme}://{name}".encode("latin-1") for scheme in ("http", "https") for name in (host, *hosts)}
    return any(origin.lower() not in own for origin in _all(scope, b"origin")) or any(
        site not in _OWN_SITES for site in _all(scope, b"sec-fetch-site")
    )


def _is_navigation(scope: Scope) -> bool:
    """Whether somebody follows a link to a page, in its own tab."""
    return (
        scope["type"] == "http"
        and scope["method"] in _READS
        and not _all(scope, b"origin")
        and all(_all(scope, name) == [value] for name, value in _NAVIGATION.items())
    )


def _is_graphql_call(scope: Scope) -> bool:
    """Dagster takes other media types, too, and then the query of the URL; browsers send those without asking."""
    kind = _only(scope, b"content-type") or b""
    return scope["method"] == "POST" and kind.partition(b";")[0].strip().lower() == _JSON


def _all(scope: Scope, name: bytes) -> list[bytes]:
    return [value.strip() for key, value in scope["headers"] if key.lower() == name]


def _only(scope: Scope, name: bytes) -> bytes | None:
    """A header that is there once."""
    values = _all(scope, name)
    return values[0] if len(values) == 1 else None


def _with_policy(send: Send, host: bytes) -> Send:
    """Adds a policy to those of Dagster: pages request nothing from elsewhere, whatever is in stored metadata."""
    policy = b"img-src 'self' data:; connect-src 'self' ws://%b wss://%b; frame-ancestors 'none'" % (host, host)
    added = [(b"content-security-policy", policy), (b"cross-origin-resource-policy", b"same-origin")]

    async def send_with_policy(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return send_with_policy


async def _refuse(send: Send, why: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cross-origin-resource-policy", b"same-origin")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"{why}\n".encode()})
