"""What the fork server loads: all that a command, or a process to be killed, needs, with the variables that most are given."""

import gc
import os

from session_assets_tests.fork_server import READ_AT_IMPORT

_BEFORE = dict(os.environ)
os.environ.update(READ_AT_IMPORT)
os.environ.pop("SESSION_ASSETS_SOURCE_URL", None)

import alembic.command  # noqa: E402
import alembic.config  # noqa: E402, F401
import dagster_postgres  # noqa: E402, F401
import psycopg2  # noqa: E402, F401
import pyarrow.compute  # noqa: E402, F401

import session_assets.cli.imports  # noqa: E402
import session_assets.cli.index  # noqa: E402
import session_assets.cli.ingest  # noqa: E402
import session_assets.cli.loop  # noqa: E402
import session_assets.cli.runner  # noqa: E402
import session_assets.cli.summary  # noqa: E402
import session_assets.definitions  # noqa: E402, F401
import session_assets_tests.changes.killed  # noqa: E402
import session_assets_tests.flow.killed  # noqa: E402
import session_assets_tests.flow.stored_killed  # noqa: E402
import session_assets_tests.io_calls.work  # noqa: E402
import session_assets_tests.kintell.killed  # noqa: E402
import session_assets_tests.stores.cosmos_loop  # noqa: E402
import session_assets_tests.web.acceptance.terminal  # noqa: E402, F401

SET_AT_IMPORT = {
    name: value for name, value in os.environ.items() if name not in _BEFORE and name not in READ_AT_IMPORT
}
os.environ.clear()
os.environ.update(_BEFORE)
gc.freeze()  # what is loaded by now is looked at by no collection of a command, nor copied for it
