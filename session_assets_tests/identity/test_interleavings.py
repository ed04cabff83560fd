"""Plans, applies and undoes in any order, killed at any request, lost replies, and an application that writes in between.

In the end each session stands once, or is listed, and says all that the application was told is stored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from session_assets.changes.revert import revert
from session_assets.changes.session import apply_plans
from session_assets.graph.environment import Environment
from session_assets.identity.assets import USER_SESSIONS, open_identity, open_store
from session_assets.identity.repairs import change_rows
from session_assets_tests.counts import times
from session_assets_tests.identity.interleavings import Application, Died
from session_assets_tests.identity.scenario import EMAIL, GUID, Cosmos, Document, session, user
from session_assets_tests.stores.cosmos_faults import Faults, faulty

SESSIONS, WILD, QUIET = 8, 5, 3


@pytest.mark.parametrize("seed", range(times(2, 40)))
def test_nothing_is_lost_and_nothing_stands_twice_unsaid(
    stored: Cosmos, cosmos: Mapping[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setenv("SESSION_ASSETS_HOME", str(tmp_path))
    monkeypatch.setenv("SESSION_ASSETS_SETTLE_MINUTES", "0")
    documents = [session(EMAIL, number, endpoints_accessed=[]) for number in range(SESSIONS)]
    stored.fill(documents, [user(EMAIL.lower())])
    application = Application(stored, documents, seed)
    for number in range(WILD):
        application.has_killed = False
        with suppress(Died), faulty(cosmos, Faults(before=application.before, lost=0.05, seed=seed)):
            work(f"wild {number}", application)
    for number in range(QUIET):
        work(f"quiet {number}")

    standing: dict[str, list[Document]] = defaultdict(list)
    for one in stored.stored():
        standing[one["id"]].append(one)
    listed = listed_ids()
    for document_id, told in application.said.items():
        some = standing[document_id]
        assert some
        assert told <= {tag for one in some for tag in one["endpoints_accessed"]}, document_id
        assert ([one["user_id"] for one in some] == [GUID]) != (document_id in listed), some


def work(run_id: str, application: Application | None = None) -> None:
    """Plan where nothing is pending, and apply; with an application perhaps plan anew, or undo one of the last plans."""
    environment = Environment.load()
    identity, ledger, store = open_identity(environment), USER_SESSIONS.loop.ledger(environment), open_store()
    wild = application.chance.random if application else lambda: 1.0
    if not ledger.pending() or wild() < 0.4:
        identity.plan_now(ledger, identity.selection([], whole=True), change_rows, run_id)
    plans = [one.plan_id for one in ledger.recordings()][:3]
    if application and wild() < 0.35:
        revert(ledger, ledger.plan(application.chance.choice(plans)), store, run_id=run_id, batch_size=3)
    else:
        report = apply_plans(ledger, ledger.pending(), store, run_id=run_id, batch_size=3)
        if application is None:
            assert report.failed == {}


def listed_ids() -> set[str]:
    """Sessions that a person decides about."""
    environment = Environment.load()
    identity = open_identity(environment)
    with environment.storage.scratch() as scratch:
        frames = list(identity.buckets(identity.selection([], whole=True), scratch))
    return {key for one in frames for key in identity.classified(one).filter(pl.col("class") == "listed")["key"]}
