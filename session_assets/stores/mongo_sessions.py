"""Session documents brought up to date inside the transaction that stores their events."""

from __future__ import annotations

import hashlib
from collections.abc import Set
from datetime import UTC, datetime
from typing import Any

import polars as pl
from bson import ObjectId
from pymongo import InsertOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.database import Database

from session_assets.errors import SessionAssetsError
from session_assets.masking import safe_text
from session_assets.stores.bson_documents import CODEC, LOWER_HEX, RAW_VALUES, encode, identifier, twin
from session_assets.stores.bson_frames import read_frame
from session_assets.web.model import EVENTS, SESSIONS
from session_assets.web.session_update import Facts, facts_by_session, fresh, grown, must_recount, recounted
from session_assets.web.stored import PLAIN, TIMES

EVENT_FIELDS = PLAIN.event_fields
EVENT_NAMES = tuple(field.name for field in EVENT_FIELDS)
_SESSION_NAMES = (
    "session_id", "user_id", "client_id", "event_count", "first_event_at", "last_event_at", "pages",
)  # fmt: skip


class SessionUpserts:
    """Finds the document of each session, makes those that are missing, and writes what new events change.

    Without an index on `session_id`, of sessions and of events, each call reads the collections from end to end.
    """

    def __init__(self, database: Database) -> None:
        self._events = database.get_collection(EVENTS, codec_options=CODEC)
        self._sessions = database.get_collection(SESSIONS, codec_options=CODEC)

    def write(
        self, news: dict[str, Facts], session: ClientSession, *, object_ids: Set[str] = frozenset()
    ) -> tuple[int, int]:
        """Add new events to their sessions, by session_id; the events themselves are stored already. Returns created, updated.

        `object_ids`: session ids that a new document holds as an ObjectId, as the events do.
        """
        if not news:
            return 0, 0
        stored = self._stored(list(news), session)
        missing = [one for one in news if one not in stored]
        unsure = [one for one, document in stored.items() if must_recount(_plain(document), news[one])]
        facts = self._facts_of_all([*missing, *unsure], session)
        now = datetime.now(UTC)
        claims = self._claims(missing, session)
        writes: list[InsertOne[Any] | UpdateOne] = [
            InsertOne(
                {
                    "_id": claims[one],
                    "session_id": ObjectId(one) if one in object_ids else one,
                    **_new_document(facts[one], now),
                }
            )
            for one in missing
        ]
        for one, document in stored.items():
            plain = _plain(document)
            fields = recounted(plain, facts[one]) if one in facts else None
            fields = grown(plain, news[one]) if fields is None else fields
            writes.append(
                UpdateOne({"_id": document["_id"]}, {"$set": {**_typed(fields, document), "updated_at": now}})
            )
        done = self._sessions.bulk_write(writes, session=session)
        if done.matched_count != len(stored):
            raise RuntimeError(
                f"{len(stored)} session documents were read in a transaction, {done.matched_count} written"
            )
        return len(missing), len(stored)

    def _stored(self, session_ids: list[str], session: ClientSession) -> dict[str, dict[str, Any]]:
        """The document of each session that has one; of several, text ids first, the one with the lowest `_id`."""
        found: dict[str, dict[str, Any]] = {}
        self._find(session_ids, "string", found, session)
        ids = [other for one in session_ids if one not in found and (other := twin(one)) is not None]
        if ids:
            self._find(ids, "objectId", found, session)
        return found

    def _find(self, values: list[Any], kind: str, found: dict[str, dict[str, Any]], session: ClientSession) -> None:
        query = {"session_id": {"$in": values, "$type": kind}}  # $type lets a partial index be used
        wanted = set(values)
        for document in self._sessions.find(query, dict.fromkeys(_SESSION_NAMES, 1), session=session):
            if isinstance(document["session_id"], list) or document["session_id"] not in wanted:
                continue
            one = str(document["session_id"])
            if one not in found or _id_order(document) < _id_order(found[one]):
                found[one] = document

    def _facts_of_all(self, session_ids: list[str], session: ClientSession) -> dict[str, Facts]:
        """Facts from all events of some sessions, those of this transaction among them."""
        if not session_ids:
            return {}
        raw = self._events.with_options(codec_options=RAW_VALUES)
        projection = {"_id": 0} | dict.fromkeys(EVENT_NAMES, 1)
        values = [*session_ids, *(other for one in session_ids if (other := twin(one)) is not None)]
        batches = raw.find_raw_batches({"session_id": {"$in": values}}, projection, session=session)
        frames = [read_frame(batch, EVENT_FIELDS) for batch in batches if batch]
        return facts_by_session(pl.concat(frames).filter(pl.col("session_id").is_in(session_ids)))

    def _claims(self, session_ids: list[str], session: ClientSession) -> dict[str, ObjectId]:
        """An `_id` for each new session document that any other writer would choose too."""
        candidates = {one: claimed_ids(one) for one in session_ids}
        everything = [candidate for several in candidates.values() for candidate in several]
        taken = {one["_id"] for one in self._sessions.find({"_id": {"$in": everything}}, {"_id": 1}, session=session)}
        claims: dict[str, ObjectId] = {}
        for one, several in candidates.items():
            free = [candidate for candidate in several if candidate not in taken]
            if not free:
                raise SessionAssetsError(
                    f"{SESSIONS}: the document {several[-1]} stands where that of session {safe_text(one)} belongs, and has"
                    " another session_id. Look at it and correct its session_id."
                )
            claims[one] = free[0]
        return claims


def claimed_ids(session_id: str) -> list[ObjectId]:
    """Where the document of a session may stand: its own hex, as in old data; else a hash of it."""
    derived = ObjectId(hashlib.sha256(session_id.encode()).digest()[:12])
    return [ObjectId(session_id), derived] if LOWER_HEX.fullmatch(session_id) else [derived]


def _new_document(facts: Facts, now: datetime) -> dict[str, Any]:
    return {**_typed(fresh(facts), {}), "created_at": now, "updated_at": now}


def _plain(document: dict[str, Any]) -> dict[str, Any]:
    """The document with its user as text and its times as dates, as the rules have it."""
    user = document.get("user_id")
    plain = {**document, "user_id": str(user) if user is not None else None}
    if texts := _time_texts(document):
        read = read_frame(encode(texts), tuple(one for one in PLAIN.session_fields if one.name in texts))
        plain |= {name: moment for name in texts if (moment := read[name][0]) is not None}
    return plain


def _time_texts(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in TIMES if isinstance(document.get(name), str)}


def _typed(fields: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """User and times in the types that the document uses, an ObjectId where it has none; a value that no rule covers stays."""
    if texts := _time_texts(document):
        fields = PLAIN.as_stored(fields, encode(texts))
    current = document.get("user_id")
    if not isinstance(current, ObjectId | str | None):
        return {name: value for name, value in fields.items() if name != "user_id"}
    if isinstance(user := fields.get("user_id"), str):
        fields["user_id"] = identifier(user, prefer_object_id=not (isinstance(current, str) and current))
    return fields


def _id_order(document: dict[str, Any]) -> tuple[int, str]:
    """The order of BSON for str and ObjectId; any other type comes after, in a fixed order."""
    value = document["_id"]
    return (0 if isinstance(value, str) else 1 if isinstance(value, ObjectId) else 2, str(value))
