"""Many guarded writes in one transaction: each document is read in the snapshot that its write belongs to, and compared here.

The server refuses the transaction where somebody else changed one of the documents after the snapshot. So what is written
stands exactly as planned, byte for byte, and the server need not compare anything: a third of the cost of a guard in the
query (docs/decisions/0001). A transaction holds what it wrote for some 30 ms; who else writes these documents waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference
from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import ConfigurationError, DocumentTooLarge, OperationFailure, PyMongoError

from session_assets.changes.store import Written
from session_assets.failpoints import failpoint
from session_assets.stores.bson_documents import RAW_VALUES, id_element, id_value, split
from session_assets.stores.mongo_statements import unguarded

_ROWS, _BYTES = 1000, 8 * 1024 * 1024  # of a transaction: small enough to be over soon
_TRIES = 3
NO_TRANSACTIONS = 20  # IllegalOperation: a server that is not a member of a replica set


@dataclass(frozen=True)
class Change:
    """An update or a replace of one document, by its position in the batch."""

    position: int
    op: str
    before: bytes
    after: bytes
    removed: tuple[str, ...]


class NoTransactions(Exception):
    """The server has none."""


def groups(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Changes as they go into one transaction each."""
    group: list[Change] = []
    size = 0
    for change in changes:
        length = len(change.before) + len(change.after)
        if group and (len(group) == _ROWS or size + length > _BYTES):
            yield group
            group, size = [], 0
        group.append(change)
        size += length
    if group:
        yield group


def write_together(collection: Collection[Any], changes: Sequence[Change]) -> Written | None:
    """Write those that stand as planned, all in one transaction; None where that did not work, and nothing was written.

    That is so where others keep changing these documents, where one change is refused by the server, or where it cannot be
    reached. Raises `NoTransactions`.
    """
    for number in range(_TRIES):
        try:
            with collection.database.client.start_session() as session:
                return _transaction(collection, changes, session)
        except (OperationFailure, ConfigurationError) as error:
            if isinstance(error, ConfigurationError) or error.code == NO_TRANSACTIONS:
                raise NoTransactions from error
            if not error.has_error_label("TransientTransactionError"):
                return None  # which of the changes is refused, and why, is told by writing them one by one
        except DocumentTooLarge:
            return None  # one of the changes has more than the driver sends: alone, it fails with its id
        except PyMongoError as error:
            if not error.has_error_label("TransientTransactionError"):
                raise
        time.sleep(0.02 * 2**number)
    return None


def _transaction(collection: Collection[Any], changes: Sequence[Change], session: ClientSession) -> Written:
    session.start_transaction(read_preference=ReadPreference.PRIMARY)
    found = _snapshot(collection, changes, session)
    kept = [change for change in changes if found.get(id_element(change.before)) == change.before]
    failpoint("mongo.after_snapshot")
    if kept:
        command = {
            "update": collection.name,
            "updates": [
                RawBSONDocument(unguarded(one.op, one.before, one.after, one.removed), RAW_VALUES) for one in kept
            ],
            "ordered": True,
        }
        reply = collection.database.command(command, session=session)
        if reply.get("writeErrors") or reply["n"] != len(kept):
            session.abort_transaction()
            raise OperationFailure("not every change was taken", details=dict(reply))
    failpoint("mongo.before_commit")
    written = {change.position for change in kept}
    missed = {change.position for change in changes} - written
    if _is_committed(session):
        return Written(done=written, missed=missed)
    return Written(unknown=written, missed=missed)


def _snapshot(collection: Collection[Any], changes: Sequence[Change], session: ClientSession) -> dict[bytes, bytes]:
    ids = [id_value(change.before) for change in changes]
    batches = collection.find_raw_batches({"_id": {"$in": ids}}, batch_size=len(ids) + 1, session=session)
    return {id_element(document): document for batch in batches for document in split(batch)}


def _is_committed(session: ClientSession) -> bool:
    """Commit; False where nobody can tell, so that the documents must be looked at."""
    commit: Callable[[], None] = session.commit_transaction
    for _ in range(_TRIES):
        try:
            commit()
            return True
        except PyMongoError as error:
            if not error.has_error_label("UnknownTransactionCommitResult"):
                raise
    return False
