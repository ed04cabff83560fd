"""A web page of somebody else, on a port of its own, that tries what pages can do against a running UI."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

from dagster_webserver.webserver import DagsterWebserver
from starlette.routing import BaseRoute

LAUNCH = """mutation { launchRun(executionParams: {mode: "default", runConfigData: {}, selector: {
  repositoryName: "__repository__",
  repositoryLocationName: "session_assets", jobName: "web_verify"}}) { __typename } }"""
_CHECK = "?check_name=documents_accounted&passed=true"
_FILLED = {
    "/report_asset_materialization/{asset_key:path}": [
        "/report_asset_materialization/web/sessions?partition=2025-03-01"
    ],
    "/report_asset_check/{asset_key:path}": [f"/report_asset_check/web/sessions{_CHECK}"],
    "/report_asset_observation/{asset_key:path}": ["/report_asset_observation/web/sessions"],
    "/graphql": [f"/graphql{path}?query={quote(LAUNCH)}" for path in ("", "/", "%0A")],
    "/{path:path}": ["/assets/web/sessions"],
}
ATTACK = """async (targets, body) => {
  const frames = document.body;
  const settled = promise => promise.then(() => 'answered', error => 'failed');
  const loaded = (tag, attributes) => new Promise(done => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.onload = () => done('loaded'); element.onerror = () => done('failed');
    frames.append(element);
  });
  const posted = (url, method, enctype) => new Promise(done => {
    const frame = Object.assign(document.createElement('iframe'), {name: 'f' + Math.random()});
    const form = Object.assign(document.createElement('form'), {action: url, method, enctype, target: frame.name});
    form.append(Object.assign(document.createElement('input'), {name: 'query', value: body}));
    frames.append(frame, form);
    frame.onload = () => done('loaded'); form.submit();
  });
  const opened = url => new Promise(done => {
    const socket = new WebSocket(url.replace('http', 'ws'), 'graphql-ws');
    socket.onopen = () => done('open'); socket.onerror = () => done('failed');
  });
  const ways = {
    get: url => settled(fetch(url, {mode: 'no-cors', credentials: 'include'})),
    text: url => settled(fetch(url, {method: 'POST', mode: 'no-cors', body: JSON.stringify({query: body})})),
    trick: url => settled(fetch(url, {method: 'POST', mode: 'no-cors', body: JSON.stringify({query: body}),
                                     headers: {'content-type': 'text/plain; application/json'}})),
    empty: url => settled(fetch(url, {method: 'POST', mode: 'no-cors'})),
    json: url => settled(fetch(url, {method: 'POST', headers: {'content-type': 'application/json'},
                                    body: JSON.stringify({query: body})})),
    image: url => loaded('img', {src: url}),
    script: url => loaded('script', {src: url}),
    style: url => loaded('link', {rel: 'stylesheet', href: url}),
    frame: url => loaded('iframe', {src: url}),
    form: url => posted(url, 'post', 'text/plain'),
    plain_form: url => posted(url, 'post', 'application/x-www-form-urlencoded'),
    get_form: url => posted(url, 'get', ''),
  };
  const results = [];
  for (const origin of new Set(targets.map(url => new URL(url).origin)))
    results.push(['websocket', origin, await opened(origin + '/graphql')]);
  for (const url of targets)
    await Promise.all(Object.entries(ways).map(async ([way, run]) => results.push([way, url, await run(url)])));
  return results;
}"""
"""Each attempt is waited for: what it brings about has happened when this ends."""


@dataclass
class ForeignPage:
    """Where it is, and what was asked of it."""

    port: int
    asked: list[str] = field(default_factory=list)


@contextmanager
def foreign_page() -> Iterator[ForeignPage]:
    """A server that answers everything with an empty page, and remembers what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.asked.append(self.path)
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><body></body>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    page = ForeignPage(server.server_port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield page
    finally:
        server.shutdown()
        server.server_close()


def targets() -> list[str]:
    """A path for each route of Dagster's server; one static file stands for all of them."""
    unbound = object.__new__(DagsterWebserver)
    unbound._app_path_prefix = ""
    routes: list[BaseRoute] = unbound.build_routes()
    paths = dict.fromkeys(
        "/favicon.ico" if getattr(route, "name", "") == "root_static" else str(getattr(route, "path", ""))
        for route in routes
    )
    return [
        filled
        for path in paths
        for filled in _FILLED.get(path, [path.replace("{path:path}", "a").replace("{run_id:str}", "a")])
    ]


def arguments(origins: list[str]) -> str:
    """What `ATTACK` takes, as JavaScript."""
    return f"{json.dumps([f'{origin}{path}' for origin in origins for path in targets()])}, {json.dumps(LAUNCH)}"
