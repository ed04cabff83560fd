"""Recipes that spoil a web session in a known way: each returns the reasons that verify then has to find."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from session_assets.embedded.web_visits import Document, Maker, Visit, moment_at

Recipe = Callable[[Maker, Visit, Document], tuple[str, ...]]
"""Spoils the document of a visit, or events of it; returns the reasons that it then has."""


def as_in_the_seed(_maker: Maker, visit: Visit, document: Document) -> tuple[str, ...]:
    document.update(
        event_count=0, pages=[], first_event_at=moment_at(visit.first), last_event_at=moment_at(visit.first)
    )
    late = ("timestamps_mismatch",) if visit.last != visit.first else ()
    return ("empty_pages", "zero_event_count", *late)


def _only(reason: str, **fields: Any) -> Recipe:
    """Fields set to a value, or made from the visit by a function, or dropped where that is None."""

    def spoil(maker: Maker, visit: Visit, document: Document) -> tuple[str, ...]:
        for name, value in fields.items():
            if value is None:
                document.pop(name, None)
            else:
                document[name] = value(maker, visit) if callable(value) else value
        return (reason,)

    return spoil


def _in_event(reason: str, name: str, value: Any) -> Recipe:
    """The last event gets a value, or one made from the visit."""

    def spoil(maker: Maker, visit: Visit, _document: Document) -> tuple[str, ...]:
        visit.events[-1][name] = value(maker, visit) if callable(value) else value
        return (reason,)

    return spoil


def _both(*recipes: Recipe) -> Recipe:
    def spoil(maker: Maker, visit: Visit, document: Document) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reason for recipe in recipes for reason in recipe(maker, visit, document)))

    return spoil


def unsettled(maker: Maker, visit: Visit, document: Document) -> tuple[str, ...]:
    as_in_the_seed(maker, visit, document)
    return ("unsettled",)


def _moved(share: float) -> Callable[[Maker, Visit], datetime]:
    """A moment between the first event (0) and the last (1)."""
    return lambda _, visit: moment_at(visit.first + int((visit.last - visit.first) * share))


def _value_null(_maker: Maker, _visit: Visit) -> None:
    return None


_LOW = _only("event_count_mismatch", event_count=lambda maker, visit: maker.random.randint(1, len(visit.events) - 1))
_LOW_DOUBLE = _only("event_count_mismatch", event_count=lambda _, visit: len(visit.events) - 1.0)
_PAGE_LOST = _only("pages_mismatch", pages=lambda _, visit: visit.pages[1:])
_USER_LOST = _only("user_mismatch", user_id=_value_null)
_OTHER_USER_IN_EVENT = _in_event("ambiguous_user", "user_id", lambda maker, visit: maker.user(other_than=visit.user))
_OTHER_CLIENT_IN_EVENT = _in_event("ambiguous_client", "client_id", lambda maker, _: maker.client())

RECIPES: tuple[tuple[int, Recipe], ...] = (  # how many in 2000 sessions
    (60, as_in_the_seed),
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
    (4, _both(as_in_the_seed, _OTHER_USER_IN_EVENT)),  # repaired, and still listed for its users
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
