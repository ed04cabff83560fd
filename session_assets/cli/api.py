"""`api`: the HTTP endpoints of the runbooks, on the current environment."""

from __future__ import annotations

import logging
import sys
import warnings

import click
import uvicorn

from session_assets.api.settings import TOKEN, ApiSettings, find_token
from session_assets.cli.servers import prepare_dagster_home
from session_assets.settings import Settings
from session_assets.stores.locks import require_dagster_database

_MOST_HEADER_BYTES = 32 * 1024
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Behind a proxy with TLS leave it on loopback.")
@click.option("--port", default=3002, show_default=True)
def api(host: str, port: int) -> None:
    """Imports, health and analytics over HTTP, until Ctrl-C. Every caller needs the token."""
    settings = Settings.from_env()
    token, path = find_token(settings)
    api_settings = ApiSettings.from_env(token)
    require_dagster_database()
    prepare_dagster_home()
    warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stderr)
    logging.getLogger("azure").setLevel(logging.WARNING)  # it logs headers of requests
    from session_assets.api.app import application

    click.echo(f"the token is {f'in {path}' if path else f'that of {TOKEN}'}", err=True)
    click.echo(f"http://{host}:{port}/docs explains the endpoints", err=True)
    uvicorn.run(
        application(api_settings, settings),
        host=host,
        port=port,
        access_log=False,  # it would show e-mails in paths
        log_config=None,
        server_header=False,
        http="h11",  # the other one, httptools, has no limit for headers
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        timeout_graceful_shutdown=20,
    )
