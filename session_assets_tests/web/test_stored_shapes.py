"""Other names and types say the same: facts, classes and repairs under a mapping are those of the plain shape."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from session_assets.changes.ledger import Ledger
from session_assets.changes.revert import revert
from session_assets.changes.session import apply_plans
from session_assets.changes.target import Known
from session_assets.selection import Selection
from session_assets.settings import Settings
from session_assets.storage import Storage
from session_assets.web.assets import open_store
from session_assets.web.cleanups import _duplicate_store
from session_assets.web.pipeline import Web
from session_assets.web.repairs import fold_rows, repair_rows
from session_assets_tests.counts import examples
from session_assets_tests.stores.scenario import stored
from session_assets_tests.web.shapes import SESSION_IDS, Document, Shape, collections, shapes

FIRST = date(2025, 1, 1)
COMPARED = (
    "key", "partition", "session_id", "class", "reasons", "notes", "event_count", "first_event_at", "last_event_at", "pages",
    "fact_event_count", "fact_pages", "fact_first", "fact_last", "fact_users", "fact_clients", "fact_malformed",
)  # fmt: skip


@dataclass
class Home:
    """A database, and what works on it with or without a mapping."""

    database: Database[Any]
    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def fill(self, collections: dict[str, tuple[str, list[Document]]], *, index: dict[str, Any] | None) -> None:
        """Fill collections, by name: the field of session ids, and the documents. `index`: options of one on that field."""
        for name, (session_id, documents) in collections.items():
            self.database[name].drop()
            self.database.create_collection(name)
            if documents:
                self.database[name].insert_many(documents)
            if index is not None:
                only: dict[str, Any] = {"partialFilterExpression": {session_id: {"$type": "string"}}} if index else {}
                self.database[name].create_index(session_id, **only)

    def web(self, mapping: str | None) -> Web:
        if mapping is None:
            self.monkeypatch.delenv("WEB_MAPPING", raising=False)
        else:
            path = self.folder / f"{secrets.token_hex(6)}.yaml"
            path.write_text(mapping, encoding="utf-8")
            self.monkeypatch.setenv("WEB_MAPPING", str(path))
        storage = Storage(str(self.folder / secrets.token_hex(4)), self.folder / "scratch")
        return Web.open(Settings.from_env({}), storage, FIRST)

    def classified(self, web: Web, selection: Selection | None = None) -> pl.DataFrame:
        with web.storage.scratch() as scratch:
            frames = [web.classified(frame) for frame in web.buckets(selection or Selection(), scratch)]
        return pl.concat(frames, how="diagonal_relaxed").select(COMPARED).sort("key")

    def changed(self, web: Web, rows_of: Any, store: Any) -> tuple[int, Any]:
        """Plan and apply; returns how many documents were written, and the undo."""
        ledger = Ledger(web.storage, "web", Known.named("test"))
        plan = web.plan_now(ledger, Selection(), rows_of, "run").plan
        keys = [part.partition for part in plan.parts]
        report = apply_plans(ledger, {plan.plan_id: keys}, store, run_id="run", batch_size=5)
        outcomes = report.totals().as_dict()
        assert outcomes["applied"] == plan.rows, outcomes
        return plan.rows, lambda: revert(ledger, plan, store, run_id="undo").outcomes.as_dict()


@pytest.fixture
def home(mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("WEB_MONGO_URI", mongo_uri)
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        yield Home(client.get_default_database(), tmp_path, monkeypatch)


@examples(25)
@given(
    drawn=collections(), shape=shapes(), seed=st.integers(0, 999), index=st.sampled_from([None, {}, {"texts": True}])
)
def test_another_shape_gives_the_same_facts_and_its_repair_can_be_taken_back(
    home: Home, drawn: tuple[list[Document], list[Document]], shape: Shape, seed: int, index: dict[str, Any] | None
) -> None:
    sessions, events = drawn
    choose = random.Random(seed)
    named = {name: (shape.names[name]["session_id"], f"my_{name}") for name in ("sessions", "events")}
    plain_ones = {"sessions": sessions, "events": events}
    home.fill({name: ("session_id", documents) for name, documents in plain_ones.items()}, index=index)
    home.fill(
        {
            named["sessions"][1]: (named["sessions"][0], [shape.session(one, choose) for one in sessions]),
            named["events"][1]: (named["events"][0], [shape.event(one, choose) for one in events]),
        },
        index=index,
    )
    plain = home.classified(home.web(None))
    mapped = home.web(shape.text)
    assert mapped.mapping_digest
    found = home.classified(mapped)
    assert found.to_dicts() == plain.to_dicts()
    chosen = Selection(sessions=(SESSION_IDS[0], "s1"))
    assert home.classified(mapped, chosen).to_dicts() == home.classified(home.web(None), chosen).to_dicts()

    mapped = home.web(shape.text)
    before, types = stored(home.database.my_sessions), _types(home.database, shape)
    repaired, undo = home.changed(mapped, repair_rows, open_store())
    assert repaired == (plain["class"] == "planned").sum()
    now = home.classified(mapped)
    assert "planned" not in now["class"].to_list()
    assert _types(home.database, shape).items() >= types.items()
    after = stored(home.database.my_sessions)
    folded, undo_fold = home.changed(mapped, fold_rows, _duplicate_store())
    assert "duplicate_session" not in home.classified(mapped)["reasons"].explode().to_list()
    if folded:
        assert undo_fold()["applied"] == folded
        assert stored(home.database.my_sessions) == after
    if repaired:
        assert undo()["applied"] == repaired
    assert stored(home.database.my_sessions) == before


def _types(database: Database[Any], shape: Shape) -> dict[tuple[Any, str], type]:
    """The types of ids and times that hold something; numbers of any size are one type."""
    result: dict[tuple[Any, str], type] = {}
    for document in database.my_sessions.find():
        for name in ("session_id", "first_event_at", "last_event_at", "created_at"):
            value = document.get(shape.names["sessions"][name])
            if value is not None:
                result[document["_id"], name] = float if isinstance(value, int | float) else type(value)
    return result
