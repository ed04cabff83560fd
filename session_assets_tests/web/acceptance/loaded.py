"""What the fork server of `terminal` loads: all that a command needs, but nothing that reads the environment at import."""

import gc

import dagster_postgres  # noqa: F401
import psycopg2  # noqa: F401
import pyarrow.compute  # noqa: F401

import session_assets.cli.imports
import session_assets.cli.index
import session_assets.cli.ingest
import session_assets.cli.loop
import session_assets.cli.summary
import session_assets.contest.pipeline
import session_assets.flow.definitions
import session_assets.graph.preview
import session_assets.identity.definitions
import session_assets.kintell.definitions
import session_assets.stores.mongo_changes
import session_assets.stores.mongo_indexes
import session_assets.web.drops
import session_assets.web.ingest
import session_assets.web.pipeline
import session_assets.web.repairs  # noqa: F401

gc.freeze()  # what stands here is looked at by no collection of a command, nor copied for it
