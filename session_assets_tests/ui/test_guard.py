"""What the guard before the UI lets through: its own page and programs, no other web page, and no other name."""

from __future__ import annotations

from typing import Any

import pytest

from session_assets.ui.guard import URL_VARIABLE, VARIABLE, hosts, refusal

PROXY = hosts(
    {VARIABLE: "Dagster.example.com, view.example.com:8443,", URL_VARIABLE: "https://alerts.example.com/dagster"}
)
JSON = {"content-type": "application/json"}
HERE = "127.0.0.1:3000"


def request(method: str, path: str, kind: str = "http", host: str | None = HERE, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()} | ({"host": host} if host else {})
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    return {"type": kind, "method": method, "path": path, "headers": pairs}


def post(path: str = "/graphql", host: str | None = HERE, **headers: str) -> dict[str, Any]:
    return request("POST", path, host=host, **{"content_type": "application/json", **headers})


def websocket(**headers: str) -> dict[str, Any]:
    return {name: value for name, value in request("", "/graphql", "websocket", **headers).items() if name != "method"}


OWN = {"origin": f"http://{HERE}", "sec_fetch_site": "same-origin"}
LINK = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
IMAGE = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"}


@pytest.mark.parametrize(
    "scope",
    [
        request("GET", "/"),
        request("GET", "/assets/web/sessions", **LINK),  # a link in an alert
        request("GET", "/runs", sec_fetch_site="none", sec_fetch_mode="navigate"),
        request("GET", "/assets/graphql", sec_fetch_site="same-origin"),
        post(),
        post(**OWN),
        post(content_type="Application/JSON; charset=utf-8"),
        post(host="localhost:8123", origin="http://localhost:8123"),  # a tunnel
        post(host="[::1]:3000", origin="http://[::1]:3000"),
        post(host="dagster.example.com", origin="https://dagster.example.com", sec_fetch_site="same-origin"),
        post(host="alerts.example.com", origin="https://alerts.example.com"),
        post(host="127.0.0.1:3000", origin="https://view.example.com:8443"),  # a proxy that keeps the host to itself
        websocket(),
        websocket(origin=f"http://{HERE}"),
    ],
)
def test_the_page_itself_programs_and_links_are_let_through(scope: dict[str, Any]) -> None:
    assert refusal(scope, PROXY) is None


@pytest.mark.parametrize(
    "scope",
    [
        request("GET", "/", host=None),
        request("GET", "/", host="evil.example:3000"),
        request("GET", "/", host="127.0.0.1.evil.example"),
        request("GET", "/", host="localhost.evil.example"),
        request("GET", "/", host="view.example.com"),  # without its port
        {**request("GET", "/"), "headers": [(b"host", HERE.encode()), (b"host", b"evil.example")]},
        request("GET", "/logs/a/b.err", **IMAGE),
        request("GET", "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate", sec_fetch_dest="iframe"),
        request("GET", "/", sec_fetch_site="same-site", sec_fetch_mode="no-cors", sec_fetch_dest="script"),
        request("POST", "/", **LINK),
        request("OPTIONS", "/graphql", origin="http://127.0.0.1:3001"),
        post(origin="http://127.0.0.1:3001"),
        post(origin="http://localhost:3000"),
        post(origin="null"),
        post(origin=f"http://{HERE}.evil.example"),
        post(sec_fetch_site="same-site"),
        post(host="dagster.example.com", origin="https://dagster.example.com.evil.example"),
        {**post(**OWN), "headers": [*post(**OWN)["headers"], (b"origin", b"http://evil.example")]},
        post(content_type="text/plain; application/json"),
        post(content_type="application/graphql"),
        post(content_type="application/jsonx"),
        {**post(), "headers": [(b"host", HERE.encode())]},
        {**post(), "headers": [*post()["headers"], (b"content-type", b"text/plain")]},
        request("GET", "/graphql"),
        request("GET", "/graphql", **LINK),
        request("HEAD", "/graphql/"),
        request("GET", "/graphql\n"),
        post("/report_asset_check/web/sessions"),
        post("/report_asset_materialization/web/sessions", **OWN),
        websocket(origin="http://localhost:3000"),
        websocket(origin="null"),
        websocket(host="evil.example"),
    ],
)
def test_everything_else_is_refused(scope: dict[str, Any]) -> None:
    assert refusal(scope, PROXY)


def test_a_prefix_of_the_path_changes_nothing() -> None:
    assert refusal(request("GET", "/ui/graphql"), PROXY, "/ui")
    assert refusal(post("/ui/report_asset_check/a"), PROXY, "/ui")
    assert refusal(post("/ui/graphql"), PROXY, "/ui") is None
