"""How a session document takes in new events: added to where the outcome is certain, recounted everywhere else. Pure.

Adding is certain only to a document that says everything, when all new events lie after its last one and bring no other
user or client. A recount never lowers a count or drops a page: the events may have been archived (DESIGN 1, rule 5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

import polars as pl

from session_assets.web.facts import session_facts
from session_assets.web.model import HEX24


@dataclass(frozen=True)
class Facts:
    """A row of `session_facts`; moments are UTC, cut to ms."""

    count: int
    pages: list[str]
    first: datetime | None
    last: datetime | None
    users: list[str]
    clients: list[str]
    malformed: int


def facts_by_session(events: pl.DataFrame) -> dict[str, Facts]:
    """Facts of each session_id. In: `EVENT_COLUMNS`, rows without a session_id, or with an empty one, count for nobody."""
    owned = events.filter(pl.col("session_id").fill_null("") != "")
    if owned.is_empty():
        return {}
    columns = ("event_count", "pages", "first", "last", "users", "clients", "malformed")
    rows = session_facts(owned).select("session_id", *(f"fact_{name}" for name in columns)).iter_rows()
    return {session_id: Facts(*facts) for session_id, *facts in rows}


def must_recount(document: Mapping[str, Any], new: Facts) -> bool:
    """Whether only all events of the session can tell what its document should say after `new` ones.

    `document`: the stored fields, `user_id` as text or None.
    """
    count, pages, last = document.get("event_count"), document.get("pages"), document.get("last_event_at")
    if not _is_number(count) or count <= 0 or not _is_texts(pages) or (new.pages and not pages):
        return True
    if not isinstance(document.get("first_event_at"), datetime) or not isinstance(last, datetime):
        return True
    if new.first is None or new.first <= last:
        return True
    user, client = user_text(document), document.get("client_id")
    return any(one != user for one in new.users) or any(one != client for one in new.clients)


def fresh(facts: Facts) -> dict[str, Any]:
    """The fields of a new document; `user_id` as text or None."""
    return {
        "user_id": _single(facts.users),
        "client_id": _single(facts.clients),
        "event_count": facts.count,
        "first_event_at": facts.first,
        "last_event_at": facts.last,
        "pages": facts.pages,
    }


def recounted(document: Mapping[str, Any], facts: Facts) -> dict[str, Any] | None:
    """The fields that differ from the facts of all events; None where the facts say less than the document, or are unsure.

    They are unsure where the document holds a count or pages of a type that no rule covers: what it says may be more.
    """
    pages, count = document.get("pages"), document.get("event_count")
    if facts.malformed or not (count is None or _is_number(count)) or not (pages is None or _is_pages(pages)):
        return None
    lost = {page for page in pages or () if page} - {*facts.pages}
    if lost or (count is not None and count > facts.count):
        return None
    target = fresh(facts)
    for name, current in (("user_id", user_text(document)), ("client_id", document.get("client_id"))):
        if target[name] is None or target[name] == current:
            del target[name]
    return {name: value for name, value in target.items() if name not in document or document[name] != value}


def grown(document: Mapping[str, Any], new: Facts) -> dict[str, Any]:
    """The fields that change when `new` events are added to what the document says; odd values stay as they are."""
    fields: dict[str, Any] = {}
    count, pages = document.get("event_count") or 0, document.get("pages") or []
    if _is_number(count):
        fields["event_count"] = int(count) + new.count
    if _is_list(pages) and (more := [page for page in new.pages if page not in pages]):
        fields["pages"] = [*pages, *more]
    for name, moment, pick in (("first_event_at", new.first, min), ("last_event_at", new.last, max)):
        current = document.get(name)
        if moment is not None and (current is None or isinstance(current, datetime)):
            best = moment if current is None else pick(current, moment)
            if best != current:
                fields[name] = best
    if not user_text(document) and len(new.users) == 1:
        fields["user_id"] = new.users[0]
    if not document.get("client_id") and len(new.clients) == 1:
        fields["client_id"] = new.clients[0]
    return fields


def user_text(document: Mapping[str, Any]) -> str | None:
    """The user as facts have it: hex in lower case, empty is none."""
    user = document.get("user_id") or None
    return user.lower() if user and re.match(HEX24, user) else user


def _single(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_pages(value: object) -> TypeGuard[list[str | None]]:
    return isinstance(value, list) and all(item is None or isinstance(item, str) for item in value)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
