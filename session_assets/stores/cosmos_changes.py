"""Guarded writes to Cosmos DB: the `Store` of the loop. A row is all documents of one id, before and after.

A document whose partition key changes is moved: created in its new partition, read back and compared, and only then deleted
from the old one, on its ETag. Where the key stays it is one replace on the ETag. Several documents that become one, and the
undo of that, are written exactly as planned or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from session_assets.changes.store import Left, State, Written
from session_assets.failpoints import failpoint
from session_assets.stores.cosmos import Container
from session_assets.stores.cosmos_documents import Document, decode, plain, same
from session_assets.stores.cosmos_moves import Patch, Step, next_step
from session_assets.stores.cosmos_writes import Answer, Refused, Writes

_ROUNDS, _FIRST_PAUSE, _LONGEST_PAUSE = 12, 0.01, 2.0
_BUSY = (
    "not finished: somebody else keeps writing the same document, or a unique key of the container forbids it."
    " The next run goes on with it."
)
_Told = State | str
"""What came of a row: the state that it is left in, or why it is refused."""


@dataclass(frozen=True)
class Place:
    """The documents of one partition value before and after; None where there is none."""

    partition: Any
    before: Document | None
    after: Document | None


class CosmosStore:
    """Documents of one container. For `marker`, a field that a change gives a value of its own, and `born` see `next_step`."""

    def __init__(self, container: Container, marker: str | None = None, born: str | None = None) -> None:
        self._container = container
        self._writes = Writes(container)
        self._next_step = partial(next_step, marker=marker, born=born)

    def look(self, changes: pl.DataFrame) -> list[State]:
        return self._container.account.each(self._look, self._rows(changes))

    def obstacles(self, changes: pl.DataFrame) -> list[Left]:
        return self._container.account.each(self._obstacle, self._rows(changes))

    def write(self, changes: pl.DataFrame) -> Written:
        result = Written()
        told = self._container.account.each(self._write, self._rows(changes))
        for position, one in enumerate(told):
            if not isinstance(one, State):
                result.errors[position] = one
            else:
                (result.done if one is State.AFTER else result.missed).add(position)
        return result

    def image_after(self, before: bytes, after: bytes, removed: list[str]) -> bytes:
        return after

    def _rows(self, changes: pl.DataFrame) -> list[list[Place]]:
        columns = changes.select("before", "after").iter_rows()
        return [self._places(decode(before), decode(after)) for before, after in columns]

    def _places(self, before: Sequence[Document], after: Sequence[Document]) -> list[Place]:
        values, old, new = {}, {}, {}
        for documents, found in ((before, old), (after, new)):
            for document in documents:
                value = self._container.partition_value(document)
                values[repr(value)] = value
                found[repr(value)] = document
        return [Place(value, old.get(name), new.get(name)) for name, value in values.items()]

    async def _look(self, places: list[Place]) -> State:
        found = await self._read(places)
        move = _moved(places)
        if move is not None:
            source, target = (_plain(one) for one in found)
            return self._next_step(move, source, target).state
        if len(places) == 1 and (patch := _patch(places[0])) is not None:
            return _state(patch, found[0])
        return _state_of_several(places, found)

    async def _obstacle(self, places: list[Place]) -> Left:
        pairs = list(zip(places, await self._read(places), strict=True))
        ours = [(place, one) for place, one in pairs if place.before is not None]
        if ours and all(one is None for _, one in ours):
            return Left.GONE
        return Left.PLACE_TAKEN if all(_is(one, place.before) for place, one in ours) else Left.EDITED

    async def _write(self, places: list[Place]) -> _Told:
        try:
            move = _moved(places)
            if move is not None:
                return await self._move(move, *places)
            if len(places) == 1 and (patch := _patch(places[0])) is not None:
                return await self._replace(patch, places[0])
            return await self._write_several(places)
        except Refused as error:
            return f"{error}; nothing was deleted"

    async def _read(self, places: Sequence[Place]) -> list[Document | None]:
        return [await self._container.get(_id(place), place.partition) for place in places]

    # -- one document, another partition -------------------------------------------------------------------------------

    async def _move(self, patch: Patch, source: Place, target: Place) -> _Told:
        sent: Patch | None = None  # the copy that went out last: from which source, and what
        made: Patch | None = None  # the one that is known to be there
        for number in range(_ROUNDS):
            old = await self._container.get(_id(source), source.partition)
            new = None  # mostly so: if not, the create says it
            if number or old is None:
                new = await self._container.get(_id(target), target.partition)
            if sent is not None and _is(new, sent.after):
                made = sent
            step = self._next_step(patch, _plain(old), _plain(new), made=made)
            if step in (Step.CREATE, Step.REBUILD):
                assert old is not None
                sent = Patch(plain(old), patch.on(old))
                if await self._copy(sent.after, None if new is None else new["_etag"]) is not Answer.DONE:
                    await _pause(number)
                    continue
                made = sent
                new = await self._container.get(_id(target), target.partition)
                failpoint("cosmos.after_read_back")
                step = self._next_step(patch, sent.before, _plain(new), made=made)
            if step is Step.DELETE:
                assert old is not None
                failpoint("cosmos.before_delete")
                if await self._writes.delete(_id(source), source.partition, old["_etag"]) is Answer.DONE:
                    failpoint("cosmos.after_delete")
                    return State.AFTER
            elif step is Step.DONE:
                return State.AFTER
            elif step is Step.STOP:
                return State.OTHER
            await _pause(number)
        return _BUSY

    async def _copy(self, document: Document, etag: str | None) -> Answer:
        """Create the target, or replace the one that has the ETag."""
        failpoint("cosmos.before_create")
        answer = await (self._writes.create(document) if etag is None else self._writes.replace(document, etag))
        failpoint("cosmos.after_create")
        return answer

    # -- one document, the same partition ------------------------------------------------------------------------------

    async def _replace(self, patch: Patch, place: Place) -> _Told:
        sent = False
        for number in range(_ROUNDS):
            (found,) = await self._read((place,))
            state = _state(patch, found)
            if state is not State.BEFORE:
                return state if sent else State.OTHER
            assert found is not None
            failpoint("cosmos.before_replace")
            answer = await self._writes.replace(patch.on(found), found["_etag"])
            failpoint("cosmos.after_replace")
            if answer is Answer.DONE:
                return State.AFTER
            sent = sent or answer is Answer.UNSURE
            await _pause(number)
        return _BUSY

    # -- several documents ---------------------------------------------------------------------------------------------

    async def _write_several(self, places: list[Place]) -> _Told:
        """What stays is written, new documents first, and read back by the next round before anything is deleted."""
        for number in range(_ROUNDS):
            found = await self._read(places)
            if number:
                failpoint("cosmos.after_read_back")
            state = _state_of_several(places, found)
            if not state.is_open:
                return state
            to_do = [(place, one) for place, one in zip(places, found, strict=True) if not _is(one, place.after)]
            kept = [(place, one) for place, one in to_do if place.after is not None]
            for place, one in sorted(kept, key=lambda pair: pair[1] is not None) or to_do:
                if await self._write_one(place, one) is not Answer.DONE:
                    await _pause(number)
                    break
        return _BUSY

    async def _write_one(self, place: Place, found: Document | None) -> Answer:
        if place.after is not None:
            return await self._copy(place.after, None if found is None else found["_etag"])
        assert found is not None
        failpoint("cosmos.before_delete")
        answer = await self._writes.delete(_id(place), place.partition, found["_etag"])
        failpoint("cosmos.after_delete")
        return answer


def _moved(places: Sequence[Place]) -> Patch | None:
    """The change of one document that takes another place."""
    if len(places) == 2 and places[0].after is None and places[1].before is None:
        before, after = places[0].before, places[1].after
        if before is not None and after is not None:
            return Patch(before, after)
    return None


def _patch(place: Place) -> Patch | None:
    """The change of one document in its place."""
    return None if place.before is None or place.after is None else Patch(place.before, place.after)


def _state(patch: Patch, found: Document | None) -> State:
    if found is None:
        return State.OTHER
    if patch.is_before(found):
        return State.BEFORE
    return State.AFTER if patch.is_after(found) else State.OTHER


def _state_of_several(places: Sequence[Place], found: Sequence[Document | None]) -> State:
    """All as before, all as after, or some steps done and the others not begun; a delete is never the first."""
    pairs = list(zip(places, found, strict=True))
    open_ = [place for place, one in pairs if not _is(one, place.after)]
    if not all(_is(one, place.before) or _is(one, place.after) for place, one in pairs):
        return State.OTHER
    if not open_:
        return State.AFTER
    if all(_is(one, place.before) for place, one in pairs):
        return State.BEFORE
    deleted = any(place.after is None and one is None for place, one in pairs)
    return State.OTHER if deleted and any(place.after is not None for place in open_) else State.HALF


def _is(found: Document | None, wanted: Document | None) -> bool:
    if found is None or wanted is None:
        return found is wanted
    return same(plain(found), wanted)


def _plain(document: Document | None) -> Document | None:
    return None if document is None else plain(document)


def _id(place: Place) -> str:
    document = place.before or place.after
    assert document is not None
    return document["id"]


async def _pause(number: int) -> None:
    await asyncio.sleep(min(_FIRST_PAUSE * 2**number, _LONGEST_PAUSE))
