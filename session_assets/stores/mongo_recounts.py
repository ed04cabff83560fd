"""What is asked once more, inside the transaction of a delete, before a document goes: the reasons for it to stay."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from session_assets.stores.bson_documents import RAW_VALUES, equal_ids

_DIGITS = re.compile(r"-?[0-9]{1,18}")
Recount = Callable[[ClientSession, list[bytes]], dict[int, str]]
"""Asked inside the transaction of a delete: which documents, by position, must stay, and why."""


def stays_if_found(collection: Collection, field: str, reason: str, *, holder: str = "") -> Recount:
    """A document stays where another collection holds something for it, for example events for a session.

    `field` is that of the other collection; `holder` the field of the document, if its name is another one.
    """
    return _stays(collection, field, holder or field, reason, lambda found: found > 0, limit=1, named=_may_name)


def stays_if_empty(collection: Collection, recount: Recount) -> Recount:
    """Every document stays where the source is empty or missing: nobody can tell then what belongs to it."""

    def checked(session: ClientSession, documents: list[bytes]) -> dict[int, str]:
        if collection.find_one({}, {"_id": 1}, session=session) is None:
            reason = f"{collection.name} is empty or missing: nobody can tell what belongs to this document"
            return dict.fromkeys(range(len(documents)), reason)
        return recount(session, documents)

    return checked


def stays_if_last(collection: Collection, field: str, reason: str) -> Recount:
    """A document stays where no other of its collection has the same value."""
    return _stays(collection, field, field, reason, lambda found: found < 2, limit=2)


def _stays(
    collection: Collection,
    field: str,
    holder: str,
    reason: str,
    test: Callable[[int], bool],
    limit: int,
    named: Callable[[object], dict[str, object]] = equal_ids,
) -> Recount:
    """Counts documents with the value of each document, an ObjectId and its hex digits being one value."""

    def recount(session: ClientSession, documents: list[bytes]) -> dict[int, str]:
        found = {}
        for position, document in enumerate(documents):
            value = RawBSONDocument(document, RAW_VALUES)[holder]
            if test(collection.count_documents({field: named(value)}, limit=limit, session=session)):
                found[position] = reason
        return found

    return recount


def _may_name(value: object) -> dict[str, object]:
    """As `equal_ids`, and the number that a text of digits writes: nobody reads it as an id, but somebody may have meant it."""
    same = equal_ids(value)
    if not isinstance(value, str) or not _DIGITS.fullmatch(value):
        return same
    return {"$in": [*cast(list[object], same.get("$in", [value])), int(value)]}
