"""What the fork server of `terminal` loads: all that a command needs, but nothing that reads the environment at import."""

import dagster_postgres  # noqa: F401
import psycopg2  # noqa: F401

import session_assets.cli.index
import session_assets.cli.ingest
import session_assets.cli.loop
import session_assets.contest.pipeline
import session_assets.graph.preview
import session_assets.stores.mongo_changes
import session_assets.stores.mongo_indexes
import session_assets.web.drops
import session_assets.web.ingest
import session_assets.web.pipeline
import session_assets.web.repairs  # noqa: F401
