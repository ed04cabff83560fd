"""The nouns of the flow migration: tables, steps, reasons, checks and limits. Source: seed S3.

`MIGRATION` describes the guide's schema. Types, keys, indexes and foreign keys are read from the catalogue, so that another
schema is another value of `Migration` and no other code: `flow.description` gives the one that the settings name.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from session_assets.settings import number

SLICE = "flow"
VARIABLE = "FLOW_DATABASE_URL"
STAGING_VARIABLE = "FLOW_STAGING_DATABASE_URL"
SCHEMA_VARIABLE = "FLOW_SCHEMA"
DESCRIBE = f"Describe the schema in the file that {SCHEMA_VARIABLE} names (docs/flow/migration.md, Another schema)"
"""What to do where the database is not as it is described."""

Fate = Literal["archive", "fill", "replace"]
"""What becomes of an old column: kept in the archive only; first followed into `flow_id`; or followed into a new `flow_id`
that takes the place, and the type, of the old column. All three are archived and dropped by contract."""

_NAMESPACE = uuid.UUID("a3f0c0de-5e55-5a55-8e75-f10e1d000003")


@dataclass(frozen=True)
class Sessions:
    """The table of sessions, which stays. Names of tables are written as `flow.table_names` says."""

    name: str
    key: str
    title: str  # names a flow that is made for a session
    created: str | None  # null means long ago


@dataclass(frozen=True)
class Flows:
    """The table of flows. `session` is the column that ties a flow to its session."""

    name: str
    flow: str
    session: str
    created: str
    status: str
    scope: tuple[str, ...]  # columns of whom a flow belongs to, of the same name in `Sessions` and linked tables
    active: tuple[str, ...]  # statuses of flows that run
    uuids: tuple[str, ...] = ()  # more columns of a flow that is made which take its id
    literals: Mapping[str, str] = field(default_factory=dict[str, str])  # its other columns, as PostgreSQL reads them
    titled: tuple[str, str] = ("", "{}")  # its name: the column, and a template of the session's title


@dataclass(frozen=True)
class Linked:
    """A table whose rows point at sessions."""

    name: str
    old: str
    fate: Fate
    flow: str = "flow_id"
    holds_flow_ids: bool = False  # the old column may hold ids of flows, too
    fallback: str | None = (
        None  # the time of a row; one without session then takes the latest flow of its scope until then
    )
    on_delete: str | None = (
        None  # a foreign key of `flow` to the flows that contract makes, and what a deleted flow does
    )
    named: bool = True  # each flow id must be the id of a flow


@dataclass(frozen=True)
class Migration:
    """A schema, and what becomes of its session ids."""

    sessions: Sessions
    flows: Flows
    linked: tuple[Linked, ...]

    @property
    def tables(self) -> tuple[Linked, ...]:
        """All tables with an old column: that of flows first."""
        flows = Linked(self.flows.name, self.flows.session, "archive", self.flows.flow)
        return (flows, *self.linked)


MIGRATION = Migration(
    sessions=Sessions("data_import_sessions", key="id", title="session_name", created="created_at"),
    flows=Flows(
        "discovery_flows",
        flow="flow_id",
        session="import_session_id",
        created="created_at",
        status="status",
        scope=("client_account_id", "engagement_id"),
        active=("active", "running", "in_progress", "processing", "executing", "started", "resuming", "initializing"),
        uuids=("id",),
        literals={
            "status": "migrated",
            "progress_percentage": "100",
            "user_id": "session_assets",
            "flow_description": "Made for an import session that had no flow.",
            "crewai_state_data": "{}",
        },
        titled=("flow_name", "Migration Flow: {}"),
    ),
    linked=(
        Linked("assets", "session_id", "fill", fallback="created_at", on_delete="SET NULL"),
        Linked("access_audit_log", "session_id", "fill"),
        Linked("flow_deletion_audit", "session_id", "archive", named=False),
        Linked("llm_usage_logs", "session_id", "replace", holds_flow_ids=True),
    ),
)


def made_flow_id(session: object) -> str:
    """The id of the flow that is made for a session: the same in every run and in every database."""
    return str(uuid.uuid5(_NAMESPACE, str(session)))


# -- steps -------------------------------------------------------------------------------------------------------------

EXPAND, BACKFILL, REHEARSAL, CONTRACT = "expand", "backfill", "rehearsal", "contract"
REVISIONS = {EXPAND: "0001", BACKFILL: "0002", CONTRACT: "0003"}
"""The Alembic revision that a step ends in."""
VERSION_TABLE = "session_assets_flow_version"
LOCK = "flow.migration"
"""The lock that whoever runs a step holds."""
TARGET = "migration"
"""What the target of the migration is called: it is about several tables of one database."""
UNDONE = "undone"
PROOF = ("migration", "shapes")
"""Digests that contract records beside its counts, for the database that it is the staging of."""


@dataclass(frozen=True)
class Limits:
    """How hard the migration presses on a database that is in use. Times in seconds."""

    batch: int = 5000  # rows of a transaction
    lock: float = 0.5  # longest wait for a lock, and so the longest that others queue behind us
    statement: float = 60.0
    tries: int = 60  # of a statement that could not have its lock
    lag: float = 10.0  # of replication, above which backfill pauses
    transaction: float = 300.0  # age of somebody's transaction, above which backfill pauses
    pause: float = 600.0  # longest pause, then the step stops and can be run again
    rehearsal_hours: float = 24.0
    unmapped_share: float = 0.05
    unreadable_share: float = 0.01  # of the rows that a check is about, above which contract is refused
    settle_minutes: float = 30.0  # a younger session without flow waits: its flow may be about to come

    @staticmethod
    def from_env(env: Mapping[str, str]) -> Limits:
        """Raises `UsageError` naming the setting that cannot be read."""
        default = Limits()
        return Limits(
            batch=max(1, int(number(env, "FLOW_BATCH_ROWS", default.batch))),
            lock=max(0.01, number(env, "FLOW_LOCK_TIMEOUT_MS", default.lock * 1000) / 1000),
            statement=max(0.1, number(env, "FLOW_STATEMENT_TIMEOUT_SECONDS", default.statement)),
            tries=max(1, int(number(env, "FLOW_LOCK_TRIES", default.tries))),
            lag=number(env, "FLOW_MAX_REPLICATION_LAG_SECONDS", default.lag),
            transaction=number(env, "FLOW_MAX_TRANSACTION_SECONDS", default.transaction),
            pause=number(env, "FLOW_MAX_PAUSE_SECONDS", default.pause),
            rehearsal_hours=number(env, "FLOW_REHEARSAL_HOURS", default.rehearsal_hours),
            unmapped_share=number(env, "FLOW_MAX_UNMAPPED_SHARE", default.unmapped_share),
            unreadable_share=number(env, "SESSION_ASSETS_MAX_UNREADABLE_SHARE", default.unreadable_share),
            settle_minutes=number(env, "SESSION_ASSETS_SETTLE_MINUTES", default.settle_minutes),
        )


# -- reasons -----------------------------------------------------------------------------------------------------------

PLANNED = {
    "session_mapped": "takes the flow of its session",
    "session_created": "takes the flow that is made for its session",
    "flow_named": "already named a flow instead of a session",
    "fallback": "has no session, and takes the latest flow of its scope, such as client and engagement",
    "kept": "gets back the flow that it had before an earlier downgrade",
}
LISTED = {
    "orphaned": "has no session, and no flow of its scope, such as client and engagement, is as old",
    "unknown_session": "names a session that does not exist",
    "unsettled": "belongs to a session that is too young to be given a flow",
}
"""Rows that no rule can repair, and those that wait for the next run."""

CHANGES = pl.Schema(
    {
        "table": pl.String,
        "key": pl.String,  # the primary key; parts of a longer one as a JSON array
        "session": pl.String,  # the old column as it stands
        "before": pl.String,  # the flow id as it stands
        "after": pl.String,
        "reason": pl.String,  # of PLANNED or LISTED
    }
)

MAP = pl.Schema(
    {
        "session_id": pl.String,
        "flow_id": pl.String,  # null where unsettled
        "flows": pl.Int64,  # how many flows name the session
        "state": pl.String,  # mapped | ambiguous | made | to_make | unsettled | cannot_be_made
    }
)

INVENTORY = pl.Schema(
    {
        "table": pl.String,
        "column": pl.String,
        "type": pl.String,
        "is_nullable": pl.Boolean,
        "role": pl.String,  # key | old | flow | scope
        "rows": pl.Int64,
        "non_null": pl.Int64,
        "indexes": pl.String,
        "foreign_keys": pl.String,
    }
)

# -- checks ------------------------------------------------------------------------------------------------------------


MAPPED_SHARE = 0.95
"""Below it `mapping_percentage` warns."""


@dataclass(frozen=True)
class Rule:
    """A check: what it counts, and what a person does about a finding."""

    name: str
    asset: str
    is_error: bool
    text: str
    next_step: str
    is_progress: bool = False  # counts what backfill has to do, so it warns before that is begun
    after_contract: str = ""  # the next step then, where it is another
    warns_after_contract: bool = False  # nothing can be applied again then
    goal: str = ""  # what is wanted, where that is not 0 of them
    shuts_contract: bool = True  # if it is an error

    @property
    def wanted(self) -> str:
        return self.goal or f"0 {self.text}"


_AGAIN = "Run `session-assets apply flow` again."
RULES = {
    rule.name: rule
    for rule in (
        Rule("values_are_understood", "session_flow_map", False, "rows hold ids that nobody can compare",
             f"Give the columns types that can be compared. {DESCRIBE}, if other columns are the right ones."),
        Rule("ambiguous_sessions", "session_flow_map", False, "sessions belong to several flows; the earliest is taken",
             "Look at flow/session_flow_map; where another flow is right, set the flow id of its rows before contract."),
        Rule("orphaned_sessions", "session_flow_map", False, "sessions have no flow",
             "`session-assets apply flow` makes one for each that is settled.", is_progress=True,
             after_contract="They were left out at contract; their rows have no flow."),
        Rule("unknown_sessions", "session_flow_map", False, "rows name a session that does not exist",
             "They get no flow; their value stays in the archive."),
        Rule("rows_follow_their_session", "backfilled_tables", True, "rows have no flow though their session has one",
             _AGAIN, is_progress=True, warns_after_contract=True,
             after_contract="Their flow was deleted or cleared since: set another by hand, or leave it."),
        Rule("flow_inconsistencies", "backfilled_tables", True, "rows name a flow that does not exist",
             "Correct or clear their flow ids, or restore the flow."),
        Rule("flows_agree_with_sessions", "backfilled_tables", False, "rows name a flow of another session",
             "Written by the application, left as it is: look at them before contract."),
        Rule("no_session_id_as_flow_id", "backfilled_tables", True, "rows hold the id of a session as their flow id",
             "Correct or clear their flow ids."),
        Rule("orphaned_assets", "backfilled_tables", False, "rows have no session, and no flow can be found for them",
             "Set their flow id by hand, or leave it empty.", is_progress=True),
        Rule("mapping_percentage", "backfilled_tables", False, "rows have no flow",
             "Look at flow/changes for what is not mapped, and why.", is_progress=True,
             goal=f"At least {MAPPED_SHARE:.0%} of the rows are mapped to a flow"),
        Rule("archive_holds_every_value", "backfilled_tables", True, "values are missing or different in the archive",
             _AGAIN, is_progress=True,
             after_contract="Somebody deleted them: restore them from a backup before a downgrade, which would lose them."),
        Rule("application_triggers", "backfilled_tables", False, "tables have triggers of yours that our writes set off",
             "What they write, such as updated_at, is no part of an undo: disable them while a step runs, or accept it."),
        Rule("row_counts", "backfilled_tables", False, "tables have fewer rows than when the migration began",
             "Only the application deletes rows: see that it meant to."),
        Rule("foreign_keys_valid", "schema", True, "foreign keys are violated or not validated",
             "Correct the rows, then ALTER TABLE … VALIDATE CONSTRAINT."),
        Rule("schema_is_as_its_step", "schema", True, "columns, triggers or indexes are not as the last step left them",
             "Somebody changed the schema by hand: compare with flow/session_inventory."),
        Rule("conditions_are_restored", "schema", True, "conditions on an old column did not come back with the undo of contract",
             "Correct the rows that the undo named, then run the statement.", shuts_contract=False),
    )
}  # fmt: skip
