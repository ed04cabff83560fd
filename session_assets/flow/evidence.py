"""What a look at the database could say at all (E1): which tables are there, what they hold, and whether it is understood.

A plan or an apply of a database of which nothing is known would say *nothing to do*.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from session_assets.changes.evidence import Figures, Holding, Lack, worst
from session_assets.changes.target import Known
from session_assets.errors import UsageError
from session_assets.flow.model import SLICE, TARGET, VARIABLE, Migration
from session_assets.graph.environment import Environment
from session_assets.graph.evidence import Evidence, refuse, require_evidence
from session_assets.stores.flow_holdings import holdings, judgeable
from session_assets.stores.flow_migration import Flow
from session_assets.stores.postgres import Database
from session_assets.stores.postgres_target import postgres_target


class Look:
    """One look at the database: its target, and why it is no evidence, if it is none."""

    def __init__(self, environment: Environment, flow: Flow, run_id: str, tags: Mapping[str, str]) -> None:
        self._environment = environment
        self.figures = Figures()
        """Of all described tables: those of sessions and flows are what the linked ones are judged by."""
        self.is_blind = True
        """Whether there is nothing that could be counted: a table or a column is missing."""
        with flow.database.connected("flow evidence") as connection:
            self.known = environment.known(postgres_target(connection, TARGET))
            evidence = Evidence(environment, SLICE, VARIABLE, self.known)
            there = holdings(connection, flow.migration)
            relied_on = _relied_on(there, evidence.seen(), flow.migration)
            unmatched, odd, schema = 0, list[str](), None
            if all(one.documents is not None for one in relied_on):
                try:
                    with flow.reading() as work:
                        self.figures, unmatched, odd = judgeable(work)
                    self.is_blind = False
                except UsageError as error:  # a column is missing, or a table cannot be migrated
                    schema = _of_schema(error, self.known)
            found = evidence.look(
                relied_on, self.figures, unmatched, run_id=run_id, tags=tags, types=lambda: "; ".join(odd)
            )
        found = worst([schema, found])
        self.lack, self.unreadable = (found, None) if found is None or found.everywhere else (None, found)

    @property
    def worst(self) -> Lack | None:
        return self.lack or self.unreadable

    def report(self) -> dict[str, Any]:
        """For the terminal."""
        return {"unit": "rows", **self.figures.as_dict(), "lack": None if self.worst is None else self.worst.as_dict()}

    def refuse(self) -> None:
        """Raise `NoEvidence` where nothing may be written: nothing is known of the database, or too much is not understood."""
        refuse(self.lack, "the flow migration")
        require_evidence(self._environment, SLICE, self.known, [TARGET])


def known_database(environment: Environment, database: Database) -> Known:
    """A database as this home knows it, by what its server says."""
    with database.connected("flow target") as connection:
        return environment.known(postgres_target(connection, TARGET))


def _relied_on(found: list[Holding], seen: Mapping[str, int], migration: Migration) -> list[Holding]:
    """Without linked tables that never held a row, as long as another one holds some: an application need not use all."""
    linked = {one.name for one in migration.linked}
    if not any(one.documents for one in found if one.name in linked):
        return found
    return [one for one in found if one.name not in linked or one.documents != 0 or seen.get(one.name)]


def _of_schema(error: UsageError, known: Known) -> Lack:
    return Lack(
        f"{known.shown}: {error}".rstrip("."),
        f"Is it the database that you mean? {VARIABLE} names it. Correct it, or describe the schema, then verify again.",
    )
