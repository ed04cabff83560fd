"""Web sessions as they really were: visits, their documents, and ids, all decided by a seed. Nobody in here exists."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson import Decimal128, Int64, ObjectId

Document = dict[str, Any]

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000  # ms
SPAN_DAYS = 30
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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


@dataclass
class Visit:
    """One session as it really was. `first` and `last` are ms since the epoch; `user` is null where no event names one."""

    session_id: str
    key: Any
    user: ObjectId | None
    client: str | None
    events: list[Document]
    pages: list[str]
    first: int
    last: int


class Maker:
    """Makes visits, their documents, and ids. `now` and the seed decide everything."""

    def __init__(self, now: datetime, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = (now - _EPOCH) // timedelta(milliseconds=1)
        self._machine = self.random.randbytes(5)
        self._number = 0
        self._change = self.now - 14 * DAY - 5 * HOUR  # the application wrote other types from here on
        self._users = [self.object_id(self.now - 400 * DAY) for _ in range(300)]

    def object_id(self, at: int) -> ObjectId:
        """Ids of one second ascend in the order in which they are made."""
        self._number += 1
        return ObjectId((at // SECOND).to_bytes(4) + self._machine + (self._number & 0xFFFFFF).to_bytes(3))

    def text_id(self) -> str:
        """An id of 23 digits, as in the seed's sample: no ObjectId."""
        return f"{self.random.getrandbits(92):023x}"

    def moment(self) -> int:
        """A moment of the last 30 days, hours ago."""
        return self.random.randint(self.now - SPAN_DAYS * DAY, self.now - 6 * HOUR)

    def user(self, *, other_than: ObjectId | None = None) -> ObjectId:
        return self.random.choice([user for user in self._users if user != other_than] if other_than else self._users)

    def client(self) -> str:
        return f"client_{self.random.getrandbits(32):08x}"

    def visit(self, size: int, *, end: int | None = None, paged: bool = True, rich: bool = False) -> Visit:
        """A session of `size` events. `rich`: one user, one client, three pages or more, and a first before a last."""
        chance = self.random.random
        offsets = self._offsets(size)
        first = self.moment() if end is None else end - offsets[-1]
        if end is None and chance() < 0.5:
            first -= first % SECOND
        key, session_id = self._ids(first)
        user = self.user() if rich or chance() < 0.8 else None
        client = self.client() if rich or chance() < 0.9 else None
        visit = Visit(session_id, key, user, client, [], [], first, first + offsets[-1])
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
            gap = self.random.randint(1, 90) * SECOND if kind < 0.6 else self.random.randint(1, 90 * SECOND)
            offsets.append(offsets[-1] + (0 if number > 2 and kind > 0.95 else gap))
        return offsets

    def _ids(self, at: int) -> tuple[Any, str]:
        key = self.object_id(at)
        if self.random.random() > 0.03:
            return key, str(key)
        text = self.text_id()
        return (key, text) if self.random.random() < 0.5 else (text, text)

    def _event(self, visit: Visit, event_id: Any, at: int, page: str | None, *, is_first: bool) -> Document:
        chance = self.random.random
        new = (at >= self._change) != (chance() < 0.05)
        event: Document = {"_id": event_id, "session_id": visit.session_id}
        if not new and isinstance(visit.key, ObjectId):
            event["session_oid"] = visit.key
        event["timestamp"] = _epoch(at, chance()) if new else moment_at(at)
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

    def document(self, visit: Visit) -> Document:
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
        document["first_event_at"] = moment_at(visit.first)
        document["last_event_at"] = moment_at(visit.last)
        if visit.pages or chance() < 0.8:
            document["pages"] = list(visit.pages)
        if chance() < 0.7:
            document["created_at"] = moment_at(visit.first)
        if chance() < 0.5:
            document["updated_at"] = moment_at(visit.last)
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
            "created_at": moment_at(at),
            "expires_at": moment_at(at + 14 * DAY),
        }


def moment_at(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _epoch(ms: int, chance: float) -> float | int:
    """Epoch seconds as newer data have them: an int now and then, where the moment is a whole second."""
    return ms // SECOND if ms % SECOND == 0 and chance < 0.5 else ms / SECOND
