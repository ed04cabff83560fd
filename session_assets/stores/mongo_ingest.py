"""Web events into MongoDB: each event and the session it belongs to in one transaction.

Two writers of one session always meet at its document: both write it, or both claim the same `_id` for it, so that the
server makes one of them start again. No unique index is needed for that, only welcome.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import Any

import bson
import polars as pl
import pymongo
from bson import ObjectId
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from session_assets.errors import BadInput, SessionAssetsError, StoreUnavailable, UsageError
from session_assets.failpoints import failpoint
from session_assets.masking import safe_text
from session_assets.stores.bson_documents import CODEC, RAW_VALUES
from session_assets.stores.bson_frames import read_frame
from session_assets.stores.mongo import attempt, reason_of, unavailable
from session_assets.stores.mongo_sessions import EVENT_FIELDS, EVENT_NAMES, SessionUpserts
from session_assets.web.model import EVENTS, SESSIONS
from session_assets.web.session_update import facts_by_session

_CHUNK = 1000  # events a transaction
_TRIES = 8  # transactions that lost a claim; the driver itself repeats transient errors
_PATIENCE_SECONDS = 120  # a killed writer's transaction stays open for 60 to 90 s (transactionLifetimeLimitSeconds)
_MAX_EVENT = 16 * 1024 * 1024 - 16 * 1024
_NAMESPACE_EXISTS, _ILLEGAL_OPERATION, _DUPLICATE_KEY = 48, 20, 11000


@dataclass(frozen=True)
class IngestResult:
    """What the transactions did. A session that several chunks touch counts once for each."""

    inserted: int = 0
    already_there: int = 0
    sessions_created: int = 0
    sessions_updated: int = 0

    def __add__(self, other: IngestResult) -> IngestResult:
        return IngestResult(
            self.inserted + other.inserted,
            self.already_there + other.already_there,
            self.sessions_created + other.sessions_created,
            self.sessions_updated + other.sessions_updated,
        )


def is_object_id(value: object) -> bool:
    """For callers that may not import the driver."""
    return isinstance(value, ObjectId)


@dataclass(frozen=True)
class _Chunk:
    ids: list[Any]
    documents: list[RawBSONDocument]
    frame: pl.DataFrame  # EVENT_COLUMNS, one row a document
    object_ids: frozenset[str]  # session ids that are ObjectIds


class EventIngest:
    """Stores events and keeps their sessions right, as `web.facts.session_facts` would have them."""

    def __init__(self, database: Database, variable: str = "WEB_MONGO_URI") -> None:
        self._database = database
        self._events = database.get_collection(EVENTS, codec_options=CODEC)
        self._upserts = SessionUpserts(database)
        self._variable = variable
        self._ready = False

    def ingest(self, events: list[dict[str, Any]]) -> IngestResult:
        """Store events, 1000 a transaction, each transaction with its sessions.

        An event without `_id` is given one, in the caller's dict and before the first try: calling again with the same
        dicts after any error adds what is missing and nothing twice. An `_id` that is already there adds nothing.
        Raises `BadInput` (nothing is written), `UsageError`, `StoreUnavailable`.
        """
        self.give_ids(events)
        chunks = [self._encoded(events, start) for start in range(0, len(events), _CHUNK)]
        self._prepare()
        result = IngestResult()
        for chunk in chunks:
            result += self._committed(chunk)
            failpoint("ingest.after_commit")
        return result

    @staticmethod
    def give_ids(events: list[dict[str, Any]]) -> None:
        """Give each event that has no `_id` one, in place."""
        for event in events:
            if event.get("_id") is None:
                event["_id"] = ObjectId()

    def _encoded(self, events: list[dict[str, Any]], start: int) -> _Chunk:
        part = events[start : start + _CHUNK]
        documents, projected = [], []
        for number, event in enumerate(part, start + 1):
            try:
                document = bson.encode(event, codec_options=CODEC)
                projected.append(bson.encode({name: event[name] for name in EVENT_NAMES if name in event}))
            except (BSONError, OverflowError, RecursionError, UnicodeEncodeError, ValueError) as error:
                raise BadInput(f"event {number} cannot be stored: {safe_text(error)[:200]}. Correct it.") from error
            if len(document) > _MAX_EVENT:
                raise BadInput(
                    f"event {number} cannot be stored: it takes {len(document)} bytes, MongoDB holds 16 MiB."
                )
            documents.append(RawBSONDocument(document, RAW_VALUES))
        frame = read_frame(b"".join(projected), EVENT_FIELDS)
        wrong = (frame["malformed"] | frame["timestamp"].is_null()).arg_true()
        if len(wrong):
            raise BadInput(
                f"event {start + wrong[0] + 1} has a value of a type that sessions cannot be computed from. Accepted are"
                " page, client_id: str; session_id, user_id: ObjectId or str; timestamp: datetime or epoch seconds."
            )
        sessions = (event.get("session_id") for event in part)
        object_ids = frozenset(str(one) for one in sessions if isinstance(one, ObjectId))
        return _Chunk([event["_id"] for event in part], documents, frame, object_ids)

    def _prepare(self) -> None:
        """Make the collections: a transaction that makes one fights with the others that do."""
        if self._ready:
            return
        present = attempt(self._variable, self._database.list_collection_names)
        for name in {EVENTS, SESSIONS}.difference(present):
            try:
                self._database.create_collection(name, check_exists=False)
            except OperationFailure as error:
                if error.code != _NAMESPACE_EXISTS:  # else somebody was quicker
                    raise unavailable(self._variable, error) from error
            except ConnectionFailure as error:
                raise unavailable(self._variable, error) from error
        self._ready = True

    def _committed(self, chunk: _Chunk) -> IngestResult:
        trial = 1
        with pymongo.timeout(_PATIENCE_SECONDS):
            while True:
                try:
                    with self._database.client.start_session() as session:
                        return session.with_transaction(
                            lambda running: self._written(chunk, running),
                            read_concern=ReadConcern("snapshot"),
                            read_preference=ReadPreference.PRIMARY,
                        )
                except PyMongoError as error:
                    if trial == _TRIES or not _may_pass(error):
                        raise self._explained(error) from error
                time.sleep(random.uniform(0, 0.02) * trial)
                trial += 1

    def _written(self, chunk: _Chunk, session: ClientSession) -> IngestResult:
        known = {one["_id"] for one in self._events.find({"_id": {"$in": chunk.ids}}, {"_id": 1}, session=session)}
        new = []
        for position, event_id in enumerate(chunk.ids):
            if event_id not in known:
                known.add(event_id)
                new.append(position)
        created = updated = 0
        if new:
            self._events.insert_many([chunk.documents[position] for position in new], session=session)
            failpoint("ingest.after_events")
            created, updated = self._upserts.write(
                facts_by_session(chunk.frame[new]), session, object_ids=chunk.object_ids
            )
            failpoint("ingest.after_sessions")
        return IngestResult(len(new), len(chunk.ids) - len(new), created, updated)

    def _explained(self, error: PyMongoError) -> Exception:
        if isinstance(error, OperationFailure) and error.code == _ILLEGAL_OPERATION:
            return UsageError(
                f"{self._variable}: events are stored in transactions, which need a replica set (one member is enough):"
                f" {safe_text(error)[:200]}"
            )
        if _is_duplicate_key(error):
            return SessionAssetsError(
                f"{self._database.name} ({self._variable}): an event or a session could not be stored in {_TRIES} tries, a"
                f" unique index forbids it: {safe_text(_first_message(error))[:300]}. Nothing of this call's last 1000 events"
                " was written. Look at that index."
            )
        if error.timeout:
            return StoreUnavailable("MongoDB", self._variable, reason_of(error))
        return unavailable(self._variable, error)


def _may_pass(error: PyMongoError) -> bool:
    """Whether another transaction can succeed: somebody else claimed the same document, or the connection broke."""
    labels = ("TransientTransactionError", "UnknownTransactionCommitResult")
    return not error.timeout and (
        _is_duplicate_key(error) or isinstance(error, ConnectionFailure) or any(map(error.has_error_label, labels))
    )


def _is_duplicate_key(error: PyMongoError) -> bool:
    if isinstance(error, BulkWriteError):
        return any(one.get("code") == _DUPLICATE_KEY for one in error.details.get("writeErrors", []))
    return isinstance(error, DuplicateKeyError)


def _first_message(error: PyMongoError) -> str:
    if isinstance(error, BulkWriteError):
        return str(error.details["writeErrors"][0].get("errmsg"))
    return str(error)
