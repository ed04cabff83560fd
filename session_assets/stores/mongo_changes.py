"""Guarded writes to MongoDB: the `Store` of the loop. A write happens only to a document that is exactly as planned.

Updates go many to a transaction that compares first (`mongo_snapshot`), else each with a guard on the whole document in its
query (`mongo_statements`). Looking compares bytes, and so tells all types apart.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference, ReplaceOne, UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collation import Collation
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, DocumentTooLarge, OperationFailure, WriteError

from session_assets.changes.store import TAKEN, Left, State, Written
from session_assets.errors import UsageError
from session_assets.failpoints import failpoint
from session_assets.stores.bson_documents import (
    RAW_VALUES,
    encode,
    equal_ids,
    from_elements,
    id_element,
    id_value,
    key_of,
    patched,
    split,
)
from session_assets.stores.mongo import attempt, unavailable
from session_assets.stores.mongo_recounts import Recount
from session_assets.stores.mongo_refusals import refusal
from session_assets.stores.mongo_snapshot import NO_TRANSACTIONS, Change, NoTransactions, groups, write_together
from session_assets.stores.mongo_statements import guard, is_altered, is_pipeline, statement

_RETRIES = 5
_FIRST_PAUSE = 0.2  # seconds
_MAX_DOCUMENT = 16 * 1024 * 1024
_MAX_COMMAND = 12 * 1024 * 1024
_NAME = 8  # bytes of an element's number in a list
_TOO_LARGE = "the document is too large: it, or its guard, would have more than MongoDB's 16 MiB"
_MISSED = "the document changed since it was planned"


class MongoStore:
    """Documents of one collection.

    `place` names fields that tell which place a document takes (for sessions, `session_id`): an insert that undoes a
    delete is refused when another document stands there. `recount` is asked before any delete.
    """

    def __init__(
        self, collection: Collection, variable: str, *, place: tuple[str, ...] = (), recount: Recount | None = None
    ) -> None:
        self._collection = collection.with_options(codec_options=RAW_VALUES)
        self._variable = variable
        self._place = place
        self._recount = recount
        self._transactions = True  # until the server says that it has none
        self._one_by_one = threading.Lock()  # two transactions that count what the other deletes would both go through
        self._collation = _simple_if_needed(collection, variable)
        self._collation_bytes = None if self._collation is None else encode(self._collation.document)

    def look(self, changes: pl.DataFrame) -> list[State]:
        columns = changes.select("key", "op", "before", "after", "removed").rows()
        ids = [id_element(after if before is None else before) for _, _, before, after, _ in columns]
        found = self._found(ids)
        taken = self._taken(changes.filter(pl.col("op") == "insert"))
        states: list[State] = []
        for one, (key, op, before, after, removed) in zip(ids, columns, strict=True):
            document = found.get(one)
            if document == before and key not in taken:
                states.append(State.BEFORE)
            elif document == (None if op == "delete" else self._wanted(op, before, after, removed)):
                states.append(State.AFTER)
            else:
                states.append(State.OTHER)
        return states

    def obstacles(self, changes: pl.DataFrame) -> list[Left]:
        columns = changes.select("op", "before", "after").rows()
        ids = [id_element(after if before is None else before) for _, before, after in columns]
        found = self._found(ids)
        return [
            Left.PLACE_TAKEN if op == "insert" else Left.EDITED if one in found else Left.GONE
            for one, (op, _, _) in zip(ids, columns, strict=True)
        ]

    def write(self, changes: pl.DataFrame) -> Written:
        result = Written()
        plain = (changes["op"].is_in(["update", "replace"])).arg_true().to_list()
        if plain:
            self._write_bulk(changes if len(plain) == changes.height else changes[plain], plain, result)
        for op, work in (("insert", self._insert), ("delete", self._delete)):
            for row in (changes["op"] == op).arg_true().to_list():
                work(changes.row(row, named=True), row, result)
        return result

    def image_after(self, before: bytes, after: bytes, removed: list[str]) -> bytes:
        return patched(before, after, removed)

    def _wanted(self, op: str, before: bytes, after: bytes, removed: list[str]) -> bytes:
        return patched(before, after, removed or []) if op == "update" else after

    def _found(self, ids: list[bytes]) -> dict[bytes, bytes]:
        """Documents as they are, by `_id` element."""

        def read(some: list[bytes]) -> dict[bytes, bytes]:
            values = [id_value(from_elements([one])) for one in some]
            cursor = self._collection.find_raw_batches({"_id": {"$in": values}}, batch_size=len(some))
            return {id_element(document): document for batch in cursor for document in split(batch)}

        found: dict[bytes, bytes] = {}
        for some in _queries(ids):
            found |= self._retried(lambda some=some: read(some))
        return found

    def _taken(self, inserts: pl.DataFrame) -> set[str]:
        """Keys of inserts whose place another document has taken."""
        columns = inserts.select("key", "after", "beside")
        return {key for key, after, beside in columns.iter_rows() if self._others(after, {key, *(beside or ())})}

    def _others(self, after: bytes, beside: set[str], session: ClientSession | None = None) -> bool:
        """Whether a document that is not `beside` stands in the place of `after`."""
        whole = _raw(after)
        if not self._place or not all(name in whole for name in self._place):
            return False
        query = {name: equal_ids(whole[name]) for name in self._place}

        def read() -> bool:
            found = self._collection.find(query, {"_id": 1}, session=session)
            return any(key_of(other.raw) not in beside for other in found)

        return read() if session is not None else self._retried(read)

    def _write_bulk(self, changes: pl.DataFrame, positions: list[int], result: Written) -> None:
        columns = changes.select("op", "before", "after", "removed").iter_rows()
        plain = (
            Change(position, op, before, after, tuple(removed or ()))
            for position, (op, before, after, removed) in zip(positions, columns, strict=True)
        )
        for group in groups(plain):
            if not self._write_together(group, result):
                self._write_guarded(group, result)

    def _write_together(self, group: list[Change], result: Written) -> bool:
        """Whether the group was dealt with in one transaction."""
        if not self._transactions:
            return False
        try:
            written = write_together(self._collection, group)
        except NoTransactions:
            self._transactions = False
            return False
        if written is not None:
            result.done |= written.done
            result.missed |= written.missed
            result.unknown |= written.unknown
        return written is not None

    def _write_guarded(self, group: list[Change], result: Written) -> None:
        """Each write with a guard in its own query: where a transaction cannot be had, or tells not which change is refused."""
        chunk: list[bytes] = []
        kept: list[int] = []
        size = 0
        for change in group:
            position, before, after = change.position, change.before, change.after
            if len(before) + len(after) + len(id_element(before)) + sum(map(len, change.removed)) > _MAX_DOCUMENT:
                if len(group) == 1 or not self._write_together([change], result):
                    result.errors[position] = _TOO_LARGE
                continue
            one = statement(change.op, before, after, change.removed, self._collation_bytes)
            if len(one) > _MAX_COMMAND:
                self._send_large(change.op, one, position, result)
                continue
            if size + len(one) > _MAX_COMMAND:
                self._send(chunk, kept, result)
                chunk, kept, size = [], [], 0
            chunk.append(one)
            kept.append(position)
            size += len(one) + 10
        if chunk:
            self._send(chunk, kept, result)

    def _send(self, statements: list[bytes], kept: list[int], result: Written) -> None:
        """One update command; what it matched in all tells whether each row was written, else rows are looked at."""
        collection = self._collection
        command: dict[str, Any] = {
            "update": collection.name,
            "updates": [RawBSONDocument(one, RAW_VALUES) for one in statements],
            "ordered": False,
        }
        if collection.write_concern.document:
            command["writeConcern"] = collection.write_concern.document
        try:
            reply = collection.database.command(command)
        except ConnectionFailure:
            result.unknown.update(kept)  # looked at again; what was not written stays for the next run
            return
        except OperationFailure as error:
            raise unavailable(self._variable, error) from error
        failures = reply.get("writeErrors", [])
        for failure in failures:
            result.errors[kept[failure["index"]]] = refusal(failure)
        certain = not failures and reply["n"] == len(kept) and "writeConcernError" not in reply
        (result.done if certain else result.unknown).update(one for one in kept if one not in result.errors)

    def _send_large(self, op: str, one: bytes, position: int, result: Written) -> None:
        """A statement that fills a message of its own: the driver sends it beside the command, not in it."""
        parts = RawBSONDocument(one, RAW_VALUES)
        kind = ReplaceOne if op == "replace" and not is_pipeline(one) else UpdateOne
        operation = kind(parts["q"], parts["u"], collation=self._collation)
        try:
            done = self._collection.bulk_write([operation])
        except BulkWriteError as error:
            result.errors[position] = refusal(error.details["writeErrors"][0])
            return
        except DocumentTooLarge:
            result.errors[position] = _TOO_LARGE
            return
        except ConnectionFailure:
            result.unknown.add(position)
            return
        except OperationFailure as error:
            raise unavailable(self._variable, error) from error
        (result.done if done.matched_count else result.unknown).add(position)

    def _insert(self, row: dict[str, Any], position: int, result: Written) -> None:
        """Put a deleted document back, where nothing took its place."""

        def transaction(session: ClientSession) -> str | None:
            if self._others(row["after"], set(row["beside"] or ()), session):
                return TAKEN
            self._collection.insert_one(_raw(row["after"]), session=session)
            if is_altered(row["after"]):
                query, whole = _raw(from_elements([id_element(row["after"])])), {"$literal": _raw(row["after"])}
                self._collection.update_one(query, [{"$replaceWith": whole}], session=session)
            return None

        self._in_transaction(transaction, position, result)

    def _delete(self, row: dict[str, Any], position: int, result: Written) -> None:
        """Delete a document that is exactly as planned, after a recount in the same transaction."""

        def transaction(session: ClientSession) -> str | None:
            if self._recount is not None:
                reasons = self._recount(session, [row["before"]])
                if reasons:
                    return reasons[0]
            failpoint("mongo.before_delete")
            deleted = self._collection.delete_one(
                _raw(guard(row["before"])), session=session, collation=self._collation
            ).deleted_count
            return None if deleted else _MISSED

        self._in_transaction(transaction, position, result)

    def _in_transaction(
        self, transaction: Callable[[ClientSession], str | None], position: int, result: Written
    ) -> None:
        try:
            with self._one_by_one, self._collection.database.client.start_session() as session:
                refused = session.with_transaction(transaction, read_preference=ReadPreference.PRIMARY)
        except WriteError as error:
            result.errors[position] = refusal(error.details or {"errmsg": str(error)})
            return
        except DocumentTooLarge:
            result.errors[position] = _TOO_LARGE
            return
        except ConnectionFailure:
            result.unknown.add(position)
            return
        except OperationFailure as error:
            if error.code == NO_TRANSACTIONS:
                raise UsageError(
                    f"{self._variable}: this server is not a member of a replica set, and so has no transactions. Documents"
                    " are deleted and put back in transactions only: make it a replica set (one node will do)."
                ) from error
            raise unavailable(self._variable, error) from error
        if refused is None:
            result.done.add(position)
        elif refused is _MISSED:
            result.missed.add(position)
        else:
            result.errors[position] = refused

    def _retried(self, action: Callable[[], Any]) -> Any:
        """Bounded retries with growing pauses for reads; then one clear error."""
        for number in range(_RETRIES):
            try:
                return action()
            except ConnectionFailure as error:
                if number == _RETRIES - 1:
                    raise unavailable(self._variable, error) from error
                time.sleep(_FIRST_PAUSE * 2**number)
        raise AssertionError("unreachable")


def _queries(ids: list[bytes]) -> Iterator[list[bytes]]:
    """`_id`s that one query holds: most are short, but some are texts of many KiB."""
    if sum(map(len, ids)) <= _MAX_COMMAND:
        yield from filter(None, [ids])
        return
    some: list[bytes] = []
    size = 0
    for one in ids:
        if some and size + len(one) + _NAME > _MAX_COMMAND:
            yield some
            some, size = [], 0
        some.append(one)
        size += len(one) + _NAME
    yield some


def _raw(document: bytes) -> RawBSONDocument:
    """A document to be sent as it is. The driver looks into it: without these options it stumbles over odd dates."""
    return RawBSONDocument(document, RAW_VALUES)


def _simple_if_needed(collection: Collection, variable: str) -> Collation | None:
    """Guards compare bytes: a collection whose default collation folds case is compared without it."""
    options = attempt(variable, collection.options)
    return Collation(locale="simple") if "collation" in options else None
