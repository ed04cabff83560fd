"""Documents that servers refuse or change when they are put in whole: they are written, and come back, byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import bson
import pytest
from bson import Timestamp
from bson.raw_bson import RawBSONDocument

from session_assets.stores.bson_documents import RAW_VALUES, from_elements, id_element
from session_assets.stores.mongo_changes import MongoStore
from session_assets_tests.changes.scenario import Change, Loop, by_key, doc, outcomes, rows_of
from session_assets_tests.stores.scenario import element

ZEROS = element(17, "at", struct.pack("<Q", 0))
ODD = [
    doc(1, n=1, **{"$price": 5}),
    from_elements([id_element(doc(1)), ZEROS, bson.encode({"n": 1})[4:-1]]),
]


def put(loop: Loop, documents: Iterable[bytes]) -> None:
    """As `fill`, where the server would put the time in place of zeros."""
    loop.fill(documents)
    for document in documents:
        whole = RawBSONDocument(document, RAW_VALUES)
        loop.collection.update_one({"_id": whole["_id"]}, [{"$replaceWith": {"$literal": whole}}])
    assert loop.now() == by_key(documents)


@pytest.mark.parametrize("document", ODD, ids=["dollar", "zeros"])
@pytest.mark.parametrize("op", ["update", "replace", "delete"])
@pytest.mark.parametrize("together", [True, False])
def test_it_is_changed_and_comes_back(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, document: bytes, op: str, together: bool
) -> None:
    monkeypatch.setattr(MongoStore, "_write_together", MongoStore._write_together if together else lambda *_: False)
    other = doc(2, n=1)
    put(loop, [document, other])
    afters = {"update": bson.encode({"m": 2}), "replace": from_elements([document[4:-1], bson.encode({"m": 2})[4:-1]])}
    change = Change(op, document, afters.get(op))
    plan = loop.plan(rows_of([change, Change("update", other, bson.encode({"n": 2}))]))
    assert outcomes(loop.apply()) == {"applied": 2}
    assert loop.now() == by_key([left for left in (change.left, doc(2, n=2)) if left is not None])
    assert outcomes(loop.revert(plan)) == {"applied": 2}
    assert loop.now() == by_key([document, other])


def test_one_that_fills_a_message_of_its_own_is_changed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MongoStore, "_write_together", lambda *_: False)
    document = doc(1, n=1, at=Timestamp(1, 1), text="x" * (7 * 1024 * 1024), **{"$price": 5})
    put(loop, [document])
    change = Change("replace", document, document.replace(b"\x10n\0\1", b"\x10n\0\2"))
    loop.plan(rows_of([change]))
    assert outcomes(loop.apply()) == {"applied": 1}
    assert loop.now() == by_key([change.left or b""])
