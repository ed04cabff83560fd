"""Sessions in a Cosmos DB container, and change rows for them, for all tests of the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from session_assets.changes.change_set import conform
from session_assets.changes.store import Store, Written
from session_assets.changes.undo_rows import inverse
from session_assets.stores.cosmos import Container, container
from session_assets.stores.cosmos_changes import CosmosStore
from session_assets.stores.cosmos_containers import create_containers, write_all
from session_assets.stores.cosmos_documents import Document, encode, plain

MARKER, BORN = "backfill_updated_at", "created_at"
GUID = "ee661ad6-af09-4ae0-8502-ee78ca3febf7"
Stored = dict[tuple[str, str], Document]
"""Documents without system fields, by id and user_id."""


def sessions_of(settings: Mapping[str, str], path: str = "/user_id") -> Container:
    """The sessions of a fresh database, partitioned by a path."""
    create_containers(settings, sessions_path=path)
    return container("user_sessions", settings)


def session(number: int, **fields: Any) -> Document:
    """A session under an e-mail."""
    return {
        "id": f"{number:08x}",
        "type": "session",
        "user_id": f"user{number % 7}@example.com",
        "created_at": "2025-08-01T10:00:00.000000+00:00",
        "last_activity": "2025-08-01T10:30:00.000000+00:00",
        "activity_count": number,
        "endpoints_accessed": ["/", f"/{number}"],
        **fields,
    }


def repaired(document: Document, *, at: str = "2025-08-24T14:30:00+00:00", user: str = GUID) -> Document:
    """The session under its GUID."""
    email = document["user_id"]
    return {**document, "user_id": user, "user_email": email, "user_id_original": email, MARKER: at}


def row(before: Iterable[Document], after: Iterable[Document]) -> dict[str, Any]:
    old, new = list(before), list(after)
    return {"key": (old or new)[0]["id"], "before": encode(old), "after": encode(new)}


def rows(*changes: dict[str, Any]) -> pl.DataFrame:
    """Rows of a change set."""
    frame = pl.DataFrame(list(changes), schema={"key": pl.String, "before": pl.Binary, "after": pl.Binary})
    return conform(frame.with_columns(partition=pl.lit("0"), op=pl.lit("replace")))


def moves(documents: Iterable[Document]) -> pl.DataFrame:
    """The repair of each document."""
    return rows(*(row([one], [repaired(one)]) for one in documents))


def undone(changes: pl.DataFrame, store: Store) -> pl.DataFrame:
    return inverse(changes, store)


def store_of(sessions: Container) -> CosmosStore:
    return CosmosStore(sessions, MARKER, BORN)


def put(sessions: Container, *documents: Mapping[str, Any]) -> None:
    write_all(sessions, documents)


def stored(sessions: Container) -> Stored:
    """The container as it stands."""
    found = [one for page in sessions.pages("SELECT * FROM c") for one in page]
    result = {(one["id"], one["user_id"]): plain(one) for one in found}
    assert len(result) == len(found)
    return result


def by_place(documents: Iterable[Document]) -> Stored:
    return {(one["id"], one["user_id"]): one for one in documents}


def states(store: Store, changes: pl.DataFrame) -> str:
    return "".join(store.look(changes))


def all_done(changes: pl.DataFrame, written: Written) -> bool:
    return written.done == set(range(changes.height)) and not (written.missed or written.errors or written.unknown)
