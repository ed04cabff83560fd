"""What a plan belongs to: one collection of one database, as the server that holds it names itself (E2).

Without it an undo of plan X "worked" on a clone that was never repaired, and the only way back of the repaired one was gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

STARTED = "since "
"""Begins a member that says when a running server was started: it counts until the next start."""


class Relation(StrEnum):
    """How a target that is recorded relates to the one that answers now."""

    SAME = "same"
    CLONE = "clone"  # the same names on other hosts: a copy, whatever it holds
    OTHER = "other"


@dataclass(frozen=True)
class StoreTarget:
    """One collection, as its server says. Addresses are those of the server, not those of a URI.

    `unique` is an identifier of the set or the container, if the user may read it. `old_name` is what recordings of version 0.1
    call the database: the hosts of the URI, and the name.
    """

    store: str  # mongodb, cosmos, postgresql, files
    cluster: str  # the name of the set, the identifier of the system, the endpoint of the account
    members: tuple[str, ...]  # host:port of each member, sorted
    database: str
    collection: str
    unique: str | None = None
    old_name: str | None = None

    @property
    def coarse(self) -> str:
        """What locks are named after: the same for every spelling of the address, another for each database."""
        return f"{self.store}:{self.cluster}/{self.database}/{self.collection}"

    @property
    def shown(self) -> str:
        """For people: no credentials, no options."""
        parts = [
            f"{self.store} {self.cluster} ({', '.join(self.members)})",
            f"database {self.database}",
            self.collection,
        ]
        return ", ".join(part for part in parts if part)

    @property
    def id(self) -> str:
        """Of a target that was never seen before; one that is known keeps the id that it got first."""
        said = [self.store, self.cluster, sorted(self.members), self.database, self.collection, self.unique]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]

    def relation(self, other: StoreTarget) -> Relation:
        """The names are equal and the members intersect: aliases, failover and added members change nothing."""
        names = [(one.store, one.cluster, one.database, one.collection) for one in (self, other)]
        if names[0] != names[1]:
            return Relation.OTHER
        if self.unique is not None and other.unique is not None and self.unique != other.unique:
            return Relation.OTHER
        return Relation.SAME if set(self.members) & set(other.members) else Relation.CLONE

    def is_in_place_of(self, other: StoreTarget) -> bool:
        """Whether it has the names and a member of another one: the same, or made again after that was dropped."""
        return self.coarse == other.coarse and bool(set(self.members) & set(other.members))

    def joined(self, seen: StoreTarget) -> StoreTarget:
        """This target with what is known of it by now: the members of today, and an identifier that can be read by now.

        A server of PostgreSQL names one address at a time: those that led to it before are kept.
        """
        kept = [one for one in self.members if self.store == "postgresql" and not one.startswith(STARTED)]
        members = tuple(dict.fromkeys([*kept, *seen.members])) if kept else seen.members
        return replace(seen, members=members, unique=seen.unique or self.unique)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(stored: dict[str, Any]) -> StoreTarget:
        said: dict[str, Any] = {**stored, "members": tuple(stored["members"])}
        return StoreTarget(**said)


@dataclass(frozen=True)
class Known:
    """A target as the home knows it: its id, every id that was accepted as another name of it, and its old names.

    `before` are the ids of those that had its place: a container that is dropped and made again is another target.
    """

    id: str
    names: frozenset[str]
    old_names: frozenset[str] = frozenset()
    shown: str = ""
    coarse: str = ""
    before: frozenset[str] = frozenset()

    @staticmethod
    def named(target_id: str, old_names: Iterable[str] = ()) -> Known:
        """A target by its id alone."""
        return Known(target_id, frozenset([target_id]), frozenset(old_names), target_id, target_id)

    def owns(self, target: str | None, source: str | None) -> bool:
        """Whether a recording is of this target; those of version 0.1 have no target, but a source."""
        return target in self.names if target is not None else source in self.old_names
