"""Sample web sessions with known, counted defects: what `verify` finds can be held against what was planted.

The truth is known by construction: a visit is made first, its document says exactly that, and a recipe then spoils it in a
known way. Nothing here asks `web.facts`. Shapes: seed S2 and its fact sheet. Nobody in here exists.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pymongo
from pymongo.database import Database

from session_assets.embedded.web_defects import RECIPES, Recipe, as_in_the_seed, unsettled
from session_assets.embedded.web_visits import DAY, HOUR, MINUTE, Document, Maker, Visit, moment_at
from session_assets.web.model import EVENTS, REASONS, SESSIONS

ORPHAN_EVENT, NULL_SESSION_ID = "orphan_event", "null_session_id"
_NOT_PLANTED = "too_large"  # a document of 16 MiB
KINDS = (*(one.name for one in REASONS if one.name != _NOT_PLANTED), ORPHAN_EVENT, NULL_SESSION_ID)
GRACE_DAYS = 7
_BATCH = 20_000
_FEWEST = 100
_LEFT_OVER: tuple[Document, ...] = (
    {"event_count": 4, "pages": ["/home", "/cart"]}, {"event_count": 9}, {"event_count": 0, "pages": ["/home"]},
)  # fmt: skip
_UNNAMED: tuple[tuple[str, Document], ...] = (
    ("no_session_id", {"session_id": None, "event_count": 31, "pages": ["/home"]}),  # the events of nobody, collapsed
    ("no_session_id", {"session_id": ..., "event_count": 3, "pages": ["/cart"]}),
    ("malformed_session", {"session_id": 69_694, "event_count": 3, "pages": ["/cart"]}),
)


@dataclass(frozen=True)
class Planted:
    """What was planted. `ids`: for each reason the ids as verify lists them, sorted, one for each document or event."""

    sessions: int
    logins: int
    events: int
    old_orphans: int  # orphans older than the grace period of 7 days
    ids: dict[str, list[str]]

    @property
    def documents(self) -> int:
        """Documents of the collection `sessions`."""
        return self.sessions + self.logins

    @property
    def counts(self) -> dict[str, int]:
        """Documents (or events) of each reason; a document with several reasons counts for each."""
        return {reason: len(ids) for reason, ids in self.ids.items()}


def replant(uri: str, *, now: datetime, sessions: int = 2000, seed: int = 1) -> Planted:
    """Drop the database that the URI names, and plant it anew."""
    with pymongo.MongoClient[Document](uri, tz_aware=True) as client:
        database = client.get_default_database()
        client.drop_database(database.name)
        return plant(database, now=now, sessions=sessions, seed=seed)


def plant(database: Database[Document], *, now: datetime, sessions: int = 2000, seed: int = 1) -> Planted:
    """Sessions of the last 30 days with defects of every kind, log-ins, and loose events. Same arguments, same documents.

    `sessions` counts all documents but log-ins; at least 100. Defects grow with it.
    """
    if sessions < _FEWEST:
        raise ValueError(f"sessions must be at least {_FEWEST}: one of each kind of defect, and some right ones")
    maker = Maker(now, seed)
    garden = _Garden(maker, sessions / 2000)
    garden.plant_defects()
    for number in range(sessions - len(garden.documents)):
        garden.plant_healthy(number)
    logins = [maker.login() for _ in range(max(1, sessions // 10))]
    _insert(database, maker, [([*garden.documents, *logins], garden.events)])
    return Planted(sessions, len(logins), len(garden.events), garden.old_orphans, _sorted(garden.ids))


def plant_seed_case(
    database: Database[Document],
    *,
    now: datetime,
    sessions: int = 45_291,
    events: int = 320_410,
    empty: int = 12_847,
    orphans: int = 302,
    logins: int = 4_000,
    scale: int = 1,
    seed: int = 2,
) -> Planted:
    """The seed's case, exactly: `empty` of `sessions` say `pages: []` and `event_count: 0`, all but `orphans` have events.

    As in the seed's sample, an empty document keeps the moment of its creation as first and last event. Log-ins come on
    top. `scale` multiplies every figure. Memory does not grow with it, but for the ids.
    """
    sessions, events, empty, orphans, logins = (figure * scale for figure in (sessions, events, empty, orphans, logins))
    maker = Maker(now, seed)
    garden = _Garden(maker, 1.0)
    sizes = _sizes(maker.random, sessions - orphans, events)
    is_empty = [True] * (empty - orphans) + [False] * (sessions - empty)
    maker.random.shuffle(is_empty)

    def batches() -> Iterator[tuple[list[Document], list[Document]]]:
        for _ in range(orphans):
            at = maker.moment()
            on_the_edge = 0 <= at - (maker.now - GRACE_DAYS * DAY) < HOUR  # may outgrow the grace period in a test
            garden.plant_orphan(at - HOUR if on_the_edge else at)
        garden.documents.extend(maker.login() for _ in range(logins))
        for size, spoiled in zip(sizes, is_empty, strict=True):
            garden.plant(maker.visit(size), as_in_the_seed if spoiled else None)
            if len(garden.events) >= _BATCH:
                yield garden.hand_over()
        yield garden.hand_over()

    _insert(database, maker, batches())
    return Planted(sessions, logins, events, garden.old_orphans, _sorted(garden.ids))


@dataclass
class _Garden:
    """Documents and events as they are planted, and which of them are spoiled how."""

    maker: Maker
    share: float
    documents: list[Document] = field(default_factory=list)
    events: list[Document] = field(default_factory=list)
    ids: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    old_orphans: int = 0

    def plant(self, visit: Visit, recipe: Recipe | None = None) -> None:
        """A visit and its document, spoiled by a recipe."""
        document = self.maker.document(visit)
        for reason in recipe(self.maker, visit, document) if recipe else ():
            self.ids[reason].append(visit.session_id)
        self.documents.append(document)
        self.events.extend(visit.events)

    def plant_healthy(self, number: int) -> None:
        """A right document; now and then one of a session that goes on now, or one in which no event has a page."""
        size = self.maker.random.randint(1, 12)
        end = self.maker.now - 5 * MINUTE if number % 100 == 7 else None
        self.plant(self.maker.visit(size, end=end, paged=number % 40 != 11))

    def plant_defects(self) -> None:
        for count, recipe in RECIPES:
            for _ in self._times(count):
                self.plant(self._rich(), recipe)
        for _ in self._times(10):
            self.plant(self._rich(end=self.maker.now - 5 * MINUTE), unsettled)
        for copies, count in ((2, 12), (3, 4)):
            for number in self._times(count):
                self._plant_duplicates(copies, is_apart=number % 2 == 0)
        for _ in self._times(1):  # held back as a group: one of its documents would lose events
            self._plant_duplicates(2, is_apart=False, reason="would_shrink", more=5)
        for days, count in ((2, 6), (20, 9)):
            for number in self._times(count):
                fields: Document = {} if number % 3 < 2 else {"event_count": ..., "pages": ...}
                self.plant_orphan(self.maker.now - days * DAY, **fields)
        text = self.maker.text_id()
        self._add("orphan_session", {"_id": text, "session_id": text})  # nobody knows how old it is
        for number in self._times(5):
            self._add("orphan_with_data", self._begun(self.maker.moment(), **_LEFT_OVER[number % len(_LEFT_OVER)]))
        for reason, fields in _UNNAMED:
            for _ in self._times(2):
                self._add(reason, self._begun(self.maker.moment(), **fields))
        self._plant_loose_events()

    def plant_orphan(self, at: int, **fields: Any) -> None:
        """A session that began and has no events."""
        self._add("orphan_session", self._begun(at, **({"event_count": 0, "pages": []} | fields)))
        self.old_orphans += at < self.maker.now - GRACE_DAYS * DAY

    def hand_over(self) -> tuple[list[Document], list[Document]]:
        """What is planted so far, to be inserted and forgotten."""
        batch = self.documents, self.events
        self.documents, self.events = [], []
        return batch

    def _times(self, count: int) -> range:
        return range(max(1, round(count * self.share)))

    def _rich(self, *, end: int | None = None) -> Visit:
        return self.maker.visit(self.maker.random.randint(5, 12), end=end, rich=True)

    def _add(self, reason: str, document: Document) -> None:
        session_id, key = document.get("session_id"), document["_id"]
        self.ids[reason].append(session_id if isinstance(session_id, str) else f'{{"$oid":"{key}"}}')
        self.documents.append(document)

    def _begun(self, at: int, **fields: Any) -> Document:
        """A document as it is when a session begins, with some fields set, or dropped where they are `...`."""
        key = self.maker.object_id(at)
        document: Document = {"_id": key, "session_id": str(key), "user_id": None, "client_id": self.maker.client()}
        document |= dict.fromkeys(("first_event_at", "last_event_at", "created_at"), moment_at(at))
        return {name: value for name, value in (document | fields).items() if value is not ...}

    def _plant_duplicates(
        self, copies: int, *, is_apart: bool, reason: str = "duplicate_session", more: int = 0
    ) -> None:
        """The seeder's document of a session, and others of the same id that ingest made; each holds a part."""
        visit = self._rich()
        original = self.maker.document(visit)
        if self.maker.random.random() < 0.5:
            original |= {"event_count": 2, "pages": visit.pages[:1]}
        self._add(reason, original)
        for number in range(1, copies):
            begun = visit.first + (number * DAY if is_apart else number * MINUTE)
            count = len(visit.events) + more if more else self.maker.random.randint(0, len(visit.events) - 1)
            other = {
                "_id": self.maker.object_id(begun),
                "session_id": visit.session_id,
                "user_id": None,
                "event_count": count,
                "first_event_at": moment_at(begun),
                "last_event_at": moment_at(begun + MINUTE),
                "pages": visit.pages[1 : 1 + number],
                "referrer": "https://example.com/",
            }
            self._add(reason, other)
        self.events.extend(visit.events)

    def _plant_loose_events(self) -> None:
        """Events of sessions without a document, and events of nobody."""
        for _ in self._times(5):
            visit = self.maker.visit(5)
            self.ids[ORPHAN_EVENT].extend(visit.session_id for _ in visit.events)
            self.events.extend(visit.events)
        for number in self._times(8):
            events = self.maker.visit(5).events
            for event in events:
                event["session_id"] = None
                if number % 2:
                    del event["session_id"]
            self.ids[NULL_SESSION_ID].extend(str(event["_id"]) for event in events)
            self.events.extend(events)


def _sizes(rng: random.Random, sessions: int, events: int) -> list[int]:
    """How many events each session has: at least one, and `events` in all."""
    mean = events // sessions
    if mean < 1:
        raise ValueError("there must be an event for each session that is no orphan")
    sizes = [rng.randint(1, 2 * mean - 1) for _ in range(sessions)]
    missing = events - sum(sizes)
    while missing:
        place = rng.randrange(sessions)
        step = 1 if missing > 0 else -1
        if sizes[place] + step >= 1:
            sizes[place] += step
            missing -= step
    return sizes


def _insert(
    database: Database[Document], maker: Maker, batches: Iterable[tuple[list[Document], list[Document]]]
) -> None:
    """Insert in an order that says nothing: neither time nor session."""
    for documents, events in batches:
        for name, rows in ((SESSIONS, documents), (EVENTS, events)):
            maker.random.shuffle(rows)
            for start in range(0, len(rows), _BATCH):
                database[name].insert_many(rows[start : start + _BATCH], ordered=False)


def _sorted(ids: dict[str, list[str]]) -> dict[str, list[str]]:
    return {reason: sorted(some) for reason, some in ids.items()}
