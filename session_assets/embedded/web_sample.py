"""Sample web sessions with known, counted defects: what `verify` finds can be held against what was planted.

The truth is known by construction: a visit is made first, its document says exactly that, and a recipe then spoils it in a
known way. Nothing here asks `web.facts`. Shapes: seed S2 and its fact sheet. Nobody in here exists.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pymongo
from bson import Decimal128, Int64, ObjectId
from pymongo.database import Database

from session_assets.web.model import EVENTS, REASONS, SESSIONS

ORPHAN_EVENT, NULL_SESSION_ID = "orphan_event", "null_session_id"
KINDS = (*(reason.name for reason in REASONS), ORPHAN_EVENT, NULL_SESSION_ID)
GRACE_DAYS = 7

Document = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000  # ms
_SPAN_DAYS = 30
_BATCH = 20_000
_FEWEST = 100
_TYPES = (
    "pageview", "search", "product_view", "add_to_cart", "remove_from_cart", "checkout", "purchase", "login", "signup",
    "logout",
)  # fmt: skip
_PAGES = (
    "/home", "/search?q=shoes&sort=price", "/search?q=tea", "/cart", "/checkout", "/checkout?step=2", "/account",
    "/about", "/help/returns", *(f"/product/{number}" for number in range(1, 25)), "/category/garden?page=2",
)  # fmt: skip
_LATER_PAGES = (*_PAGES, *_PAGES, *_PAGES, None, None, "", "")
_NO_USER = (None, "", None)


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
    maker = _Maker(now, seed)
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
    maker = _Maker(now, seed)
    garden = _Garden(maker, 1.0)
    sizes = _sizes(maker.random, sessions - orphans, events)
    is_empty = [True] * (empty - orphans) + [False] * (sessions - empty)
    maker.random.shuffle(is_empty)

    def batches() -> Iterator[tuple[list[Document], list[Document]]]:
        for _ in range(orphans):
            at = maker.moment()
            on_the_edge = 0 <= at - (maker.now - GRACE_DAYS * _DAY) < _HOUR  # may outgrow the grace period in a test
            garden.plant_orphan(at - _HOUR if on_the_edge else at)
        garden.documents.extend(maker.login() for _ in range(logins))
        for size, spoiled in zip(sizes, is_empty, strict=True):
            garden.plant(maker.visit(size), _as_in_the_seed if spoiled else None)
            if len(garden.events) >= _BATCH:
                yield garden.hand_over()
        yield garden.hand_over()

    _insert(database, maker, batches())
    return Planted(sessions, logins, events, garden.old_orphans, _sorted(garden.ids))


# -- the truth ---------------------------------------------------------------------------------------------------------


@dataclass
class _Visit:
    """One session as it really was. `first` and `last` are ms since the epoch; `user` is null where no event names one."""

    session_id: str
    key: Any
    user: ObjectId | None
    client: str | None
    events: list[Document]
    pages: list[str]
    first: int
    last: int


class _Maker:
    """Makes visits, their documents, and ids. `now` and the seed decide everything."""

    def __init__(self, now: datetime, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = (now - _EPOCH) // timedelta(milliseconds=1)
        self._machine = self.random.randbytes(5)
        self._number = 0
        self._change = self.now - 14 * _DAY - 5 * _HOUR  # the application wrote other types from here on
        self._users = [self.object_id(self.now - 400 * _DAY) for _ in range(300)]

    def object_id(self, at: int) -> ObjectId:
        """Ids of one second ascend in the order in which they are made."""
        self._number += 1
        return ObjectId((at // _SECOND).to_bytes(4) + self._machine + (self._number & 0xFFFFFF).to_bytes(3))

    def text_id(self) -> str:
        """An id of 23 digits, as in the seed's sample: no ObjectId."""
        return f"{self.random.getrandbits(92):023x}"

    def moment(self) -> int:
        """A moment of the last 30 days, hours ago."""
        return self.random.randint(self.now - _SPAN_DAYS * _DAY, self.now - 6 * _HOUR)

    def user(self, *, other_than: ObjectId | None = None) -> ObjectId:
        return self.random.choice([user for user in self._users if user != other_than] if other_than else self._users)

    def client(self) -> str:
        return f"client_{self.random.getrandbits(32):08x}"

    def visit(self, size: int, *, end: int | None = None, paged: bool = True, rich: bool = False) -> _Visit:
        """A session of `size` events. `rich`: one user, one client, three pages or more, and a first before a last."""
        chance = self.random.random
        offsets = self._offsets(size)
        first = self.moment() if end is None else end - offsets[-1]
        if end is None and chance() < 0.5:
            first -= first % _SECOND
        key, session_id = self._ids(first)
        user = self.user() if rich or chance() < 0.8 else None
        client = self.client() if rich or chance() < 0.9 else None
        visit = _Visit(session_id, key, user, client, [], [], first, first + offsets[-1])
        start = self.random.sample(_PAGES, 3 if rich else 1)
        prefix = f"{self.random.getrandbits(96):024x}" if chance() < 0.05 else None  # events of an ingested file
        for number, offset in enumerate(offsets):
            at = first + offset
            event_id: Any = self.object_id(at)
            if prefix is not None:
                event_id = f"{prefix}{self._number:08x}"
            if number and offset == offsets[number - 1] and chance() < 0.5:
                event = {**visit.events[-1], "_id": event_id}  # a true repeat: it counts
            else:
                page = None if not paged else start[number] if number < len(start) else self.random.choice(_LATER_PAGES)
                event = self._event(visit, event_id, at, page, is_first=number == 0)
                if page and page not in visit.pages:
                    visit.pages.append(page)
            visit.events.append(event)
        return visit

    def _offsets(self, size: int) -> list[int]:
        """When the events happened, in ms since the first. The first three are apart; some later ones coincide."""
        offsets = [0]
        for number in range(1, size):
            kind = self.random.random()
            gap = self.random.randint(1, 90) * _SECOND if kind < 0.6 else self.random.randint(1, 90 * _SECOND)
            offsets.append(offsets[-1] + (0 if number > 2 and kind > 0.95 else gap))
        return offsets

    def _ids(self, at: int) -> tuple[Any, str]:
        key = self.object_id(at)
        if self.random.random() > 0.03:
            return key, str(key)
        text = self.text_id()
        return (key, text) if self.random.random() < 0.5 else (text, text)

    def _event(self, visit: _Visit, event_id: Any, at: int, page: str | None, *, is_first: bool) -> Document:
        chance = self.random.random
        new = (at >= self._change) != (chance() < 0.05)
        event: Document = {"_id": event_id, "session_id": visit.session_id}
        if not new and isinstance(visit.key, ObjectId):
            event["session_oid"] = visit.key
        event["timestamp"] = _epoch(at, chance()) if new else _moment(at)
        if page is not None or chance() < 0.8:
            event["page"] = page
        event["event_type"] = kind = self.random.choice(_TYPES)
        if visit.user is not None and (is_first or chance() < 0.93):
            text = str(visit.user)
            event["user_id"] = (text if chance() < 0.98 else text.upper()) if new else visit.user
        elif chance() < 0.9:
            event["user_id"] = self.random.choice(_NO_USER)
        if visit.client is not None and (is_first or chance() < 0.95):
            event["client_id"] = visit.client
        elif chance() < 0.3:
            event["client_id"] = None
        event["properties"] = {"sku": f"S-{event_id}"[-8:], "price": 12.5} if kind == "product_view" else {}
        return event

    def document(self, visit: _Visit) -> Document:
        """What the session's document should say, in one of the ways in which such documents are written."""
        chance = self.random.random
        document: Document = {"_id": visit.key, "session_id": visit.session_id}
        if visit.user is not None:
            document["user_id"] = visit.user if (visit.first < self._change) != (chance() < 0.1) else str(visit.user)
        elif chance() < 0.9:  # some are known from elsewhere: no event contradicts
            document["user_id"] = self.user() if chance() < 0.1 else self.random.choice(_NO_USER)
        if visit.client is not None:
            document["client_id"] = visit.client
        elif chance() < 0.2:
            document["client_id"] = None
        document["event_count"] = Int64(len(visit.events)) if chance() < 0.05 else len(visit.events)
        document["first_event_at"] = _moment(visit.first)
        document["last_event_at"] = _moment(visit.last)
        if visit.pages or chance() < 0.8:
            document["pages"] = list(visit.pages)
        if chance() < 0.7:
            document["created_at"] = _moment(visit.first)
        if chance() < 0.5:
            document["updated_at"] = _moment(visit.last)
        if chance() < 0.1:  # fields that no rule knows
            document["device"] = {"kind": "phone", "screen": [390, 844]}
            document["cart_total"] = Decimal128("12.30")
            document["visits"] = Int64(7)
        return document

    def login(self) -> Document:
        """A log-in: it shares the collection and is no browsing session."""
        at = self.moment()
        user = self.user()
        return {
            "_id": self.object_id(at),
            "user_id": user if at < self._change else str(user),
            "token": self.random.randbytes(16).hex(),
            "created_at": _moment(at),
            "expires_at": _moment(at + 14 * _DAY),
        }


# -- the defects -------------------------------------------------------------------------------------------------------

_Recipe = Callable[[_Maker, _Visit, Document], tuple[str, ...]]
"""Spoils the document of a visit, or events of it; returns the reasons that it then has."""


def _as_in_the_seed(_maker: _Maker, visit: _Visit, document: Document) -> tuple[str, ...]:
    document.update(event_count=0, pages=[], first_event_at=_moment(visit.first), last_event_at=_moment(visit.first))
    late = ("timestamps_mismatch",) if visit.last != visit.first else ()
    return ("empty_pages", "zero_event_count", *late)


def _only(reason: str, **fields: Any) -> _Recipe:
    """Fields set to a value, or made from the visit by a function, or dropped where that is None."""

    def spoil(maker: _Maker, visit: _Visit, document: Document) -> tuple[str, ...]:
        for name, value in fields.items():
            if value is None:
                document.pop(name, None)
            else:
                document[name] = value(maker, visit) if callable(value) else value
        return (reason,)

    return spoil


def _in_event(reason: str, name: str, value: Any) -> _Recipe:
    """The last event gets a value, or one made from the visit."""

    def spoil(maker: _Maker, visit: _Visit, _document: Document) -> tuple[str, ...]:
        visit.events[-1][name] = value(maker, visit) if callable(value) else value
        return (reason,)

    return spoil


def _both(*recipes: _Recipe) -> _Recipe:
    def spoil(maker: _Maker, visit: _Visit, document: Document) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for recipe in recipes for reason in recipe(maker, visit, document)))

    return spoil


def _unsettled(maker: _Maker, visit: _Visit, document: Document) -> tuple[str, ...]:
    _as_in_the_seed(maker, visit, document)
    return ("unsettled",)


def _moved(share: float) -> Callable[[_Maker, _Visit], datetime]:
    """A moment between the first event (0) and the last (1)."""
    return lambda _, visit: _moment(visit.first + int((visit.last - visit.first) * share))


def _value_null(_maker: _Maker, _visit: _Visit) -> None:
    return None


_LOW = _only("event_count_mismatch", event_count=lambda maker, visit: maker.random.randint(1, len(visit.events) - 1))
_LOW_DOUBLE = _only("event_count_mismatch", event_count=lambda _, visit: len(visit.events) - 1.0)
_PAGE_LOST = _only("pages_mismatch", pages=lambda _, visit: visit.pages[1:])
_USER_LOST = _only("user_mismatch", user_id=_value_null)
_OTHER_USER_IN_EVENT = _in_event("ambiguous_user", "user_id", lambda maker, visit: maker.user(other_than=visit.user))
_OTHER_CLIENT_IN_EVENT = _in_event("ambiguous_client", "client_id", lambda maker, _: maker.client())

_RECIPES: tuple[tuple[int, _Recipe], ...] = (  # how many in 2000 sessions
    (60, _as_in_the_seed),
    (10, _only("empty_pages", pages=None)),
    (5, _only("empty_pages", pages=_value_null)),
    (8, _only("zero_event_count", event_count=0)),
    (8, _only("zero_event_count", event_count=None)),
    (18, _LOW),
    (2, _LOW_DOUBLE),
    (15, _PAGE_LOST),
    (10, _only("pages_mismatch", pages=lambda _, visit: visit.pages[::-1])),
    (10, _only("timestamps_mismatch", last_event_at=_moved(0.5))),
    (6, _only("timestamps_mismatch", first_event_at=None)),
    (4, _only("timestamps_mismatch", first_event_at=_moved(0.3), last_event_at=_moved(1.7))),
    (8, _only("first_after_last", first_event_at=_moved(1), last_event_at=_moved(0))),
    (12, _USER_LOST),
    (3, _only("user_mismatch", user_id="")),
    (5, _only("user_mismatch", user_id=lambda maker, visit: maker.user(other_than=visit.user))),
    (6, _only("client_mismatch", client_id=lambda maker, _: maker.client())),
    (6, _only("client_mismatch", client_id=None)),
    (10, _both(_LOW, _PAGE_LOST, _USER_LOST)),
    (8, _OTHER_USER_IN_EVENT),
    (6, _OTHER_CLIENT_IN_EVENT),
    (4, _both(_as_in_the_seed, _OTHER_USER_IN_EVENT)),  # repaired, and still listed for its users
    (3, _both(_LOW, _OTHER_USER_IN_EVENT, _OTHER_CLIENT_IN_EVENT)),
    (5, _only("would_shrink", event_count=lambda _, visit: len(visit.events) + 3)),
    (4, _only("would_shrink", pages=lambda _, visit: [*visit.pages, "/archived"])),
    (2, _in_event("malformed_event", "page", 404)),
    (2, _in_event("malformed_event", "timestamp", "20 Oct, 15:33")),
    (1, _in_event("malformed_event", "user_id", 17)),
    (1, _in_event("malformed_event", "client_id", ["client_93ef11"])),
    (3, _only("malformed_session", user_id=17)),
    (1, _only("malformed_session", user_id=lambda _, visit: {"$oid": str(visit.user)})),
)

_LEFT_OVER: tuple[Document, ...] = (
    {"event_count": 4, "pages": ["/home", "/cart"]}, {"event_count": 9}, {"event_count": 0, "pages": ["/home"]},
)  # fmt: skip
_UNNAMED: tuple[tuple[str, Document], ...] = (
    ("no_session_id", {"session_id": None, "event_count": 31, "pages": ["/home"]}),  # the events of nobody, collapsed
    ("no_session_id", {"session_id": ..., "event_count": 3, "pages": ["/cart"]}),
    ("malformed_session", {"session_id": 69_694, "event_count": 3, "pages": ["/cart"]}),
)


@dataclass
class _Garden:
    """Documents and events as they are planted, and which of them are spoiled how."""

    maker: _Maker
    share: float
    documents: list[Document] = field(default_factory=list)
    events: list[Document] = field(default_factory=list)
    ids: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    old_orphans: int = 0

    def plant(self, visit: _Visit, recipe: _Recipe | None = None) -> None:
        """A visit and its document, spoiled by a recipe."""
        document = self.maker.document(visit)
        for reason in recipe(self.maker, visit, document) if recipe else ():
            self.ids[reason].append(visit.session_id)
        self.documents.append(document)
        self.events.extend(visit.events)

    def plant_healthy(self, number: int) -> None:
        """A right document; now and then one of a session that goes on now, or one in which no event has a page."""
        size = self.maker.random.randint(1, 12)
        end = self.maker.now - 5 * _MINUTE if number % 100 == 7 else None
        self.plant(self.maker.visit(size, end=end, paged=number % 40 != 11))

    def plant_defects(self) -> None:
        for count, recipe in _RECIPES:
            for _ in self._times(count):
                self.plant(self._rich(), recipe)
        for _ in self._times(10):
            self.plant(self._rich(end=self.maker.now - 5 * _MINUTE), _unsettled)
        for copies, count in ((2, 12), (3, 4)):
            for number in self._times(count):
                self._plant_duplicates(copies, is_apart=number % 2 == 0)
        for _ in self._times(1):  # held back as a group: one of its documents would lose events
            self._plant_duplicates(2, is_apart=False, reason="would_shrink", more=5)
        for days, count in ((2, 6), (20, 9)):
            for number in self._times(count):
                fields: Document = {} if number % 3 < 2 else {"event_count": ..., "pages": ...}
                self.plant_orphan(self.maker.now - days * _DAY, **fields)
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
        self.old_orphans += at < self.maker.now - GRACE_DAYS * _DAY

    def hand_over(self) -> tuple[list[Document], list[Document]]:
        """What is planted so far, to be inserted and forgotten."""
        batch = self.documents, self.events
        self.documents, self.events = [], []
        return batch

    def _times(self, count: int) -> range:
        return range(max(1, round(count * self.share)))

    def _rich(self, *, end: int | None = None) -> _Visit:
        return self.maker.visit(self.maker.random.randint(5, 12), end=end, rich=True)

    def _add(self, reason: str, document: Document) -> None:
        session_id, key = document.get("session_id"), document["_id"]
        self.ids[reason].append(session_id if isinstance(session_id, str) else f'{{"$oid":"{key}"}}')
        self.documents.append(document)

    def _begun(self, at: int, **fields: Any) -> Document:
        """A document as it is when a session begins, with some fields set, or dropped where they are `...`."""
        key = self.maker.object_id(at)
        document: Document = {"_id": key, "session_id": str(key), "user_id": None, "client_id": self.maker.client()}
        document |= dict.fromkeys(("first_event_at", "last_event_at", "created_at"), _moment(at))
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
            begun = visit.first + (number * _DAY if is_apart else number * _MINUTE)
            count = len(visit.events) + more if more else self.maker.random.randint(0, len(visit.events) - 1)
            other = {
                "_id": self.maker.object_id(begun),
                "session_id": visit.session_id,
                "user_id": None,
                "event_count": count,
                "first_event_at": _moment(begun),
                "last_event_at": _moment(begun + _MINUTE),
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


# -- helpers -----------------------------------------------------------------------------------------------------------


def _moment(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _epoch(ms: int, chance: float) -> float | int:
    """Epoch seconds as newer data have them: an int now and then, where the moment is a whole second."""
    return ms // _SECOND if ms % _SECOND == 0 and chance < 0.5 else ms / _SECOND


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
    database: Database[Document], maker: _Maker, batches: Iterable[tuple[list[Document], list[Document]]]
) -> None:
    """Insert in an order that says nothing: neither time nor session."""
    for documents, events in batches:
        for name, rows in ((SESSIONS, documents), (EVENTS, events)):
            maker.random.shuffle(rows)
            for start in range(0, len(rows), _BATCH):
                database[name].insert_many(rows[start : start + _BATCH], ordered=False)


def _sorted(ids: dict[str, list[str]]) -> dict[str, list[str]]:
    return {reason: sorted(some) for reason, some in ids.items()}
