"""Performance by topic and by difficulty as assets: Parquet that Spark, DuckDB and Polars read, and plots in the metadata."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from session_assets.changes.session import raise_for
from session_assets.changes.target import Known
from session_assets.contest.assets import SESSIONS, open_contest
from session_assets.contest.model import SLICE, VARIABLE
from session_assets.contest.performance import NAMES, across_users, performance, schema_of, trend
from session_assets.contest.pipeline import Contest
from session_assets.errors import NoEvidence, StoreUnavailable
from session_assets.graph.automation import DAILY
from session_assets.graph.evidence import Evidence
from session_assets.graph.markdown import Markdown, md
from session_assets.graph.plots import Bar, share_bars, share_lines
from session_assets.graph.step import Step
from session_assets.storage import Storage

_BARS, _LINES = 20, 4
_MONTHS = 24  # of a trend


def _asset(kind: str) -> dg.AssetsDefinition:
    name = NAMES[kind]
    asset = f"{name}_performance"

    @SESSIONS.asset(
        asset,
        {"polars", "parquet"},
        schema_of(kind),
        deps=[SESSIONS.key("session_facts")],
        freshness_policy=DAILY,
        description=f"Sessions, attempts and accuracy per user and {name}, a Parquet file a month; plots across users and time.",
    )
    def performance_of(context: dg.AssetExecutionContext) -> None:
        step = Step(context, SESSIONS.key(asset))
        contest, storage = open_contest(step.environment), step.environment.storage
        known = SESSIONS.loop.known(step.environment)
        _require_sources(step, contest, known, context.run.tags, f"contest/{asset}")
        frames: dict[str, pl.DataFrame] = {}
        rows: dict[str, int] = {}
        failures: dict[str, str] = {}
        for partition in step.wanted():
            try:
                contest.stored.require(partition, known)
                frame = performance(contest.stored.frames(partition), partition, kind)
                storage.write_parquet(_file(asset, partition), frame)
                frames[partition], rows[partition] = across_users(frame, kind), frame.height
            except StoreUnavailable:  # not the fault of this partition
                raise
            except Exception as error:
                failures[partition] = f"{type(error).__name__}: {error}"
        totals = _stored_totals(storage, asset, kind, frames)
        metadata = {
            partition: {"rows": rows[partition]} | _metadata(storage, asset, kind, partition, frame, totals)
            for partition, frame in frames.items()
        }
        step.finish(metadata, failures)
        raise_for(failures, f"contest/{asset}")

    return performance_of


def _require_sources(step: Step, contest: Contest, known: Known, tags: Mapping[str, str], name: str) -> None:
    """Raise `NoEvidence` if sessions or problems are gone: months would be written with less than they hold, or with nothing."""
    evidence = Evidence(step.environment, SLICE, VARIABLE, known)
    lack = evidence.lack_of(contest.holdings(), tags)
    if lack is not None and lack.is_error:
        raise NoEvidence(f"{name} is left as it is: {lack.text.rstrip('.')}. {lack.next_step}")


def _file(asset: str, partition: str) -> str:
    return f"contest/{asset}/month={partition}/part-0.parquet"


def _stored_totals(storage: Storage, asset: str, kind: str, fresh: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Sums over users of every month that is stored."""
    months = [name.removeprefix("month=") for name in storage.names(f"contest/{asset}")]
    return {
        month: fresh[month] if month in fresh else across_users(storage.read_parquet(_file(asset, month)), kind)
        for month in months
    }


def _metadata(
    storage: Storage, asset: str, kind: str, partition: str, frame: pl.DataFrame, totals: dict[str, pl.DataFrame]
) -> dict[str, Any]:
    result: dict[str, Any] = {"path": dg.MetadataValue.path(str(storage.path(_file(asset, partition))))}
    if frame.is_empty():
        return result
    attempted, correct = int(frame["attempted"].sum()), int(frame["correct"].sum())
    until = [month for month in sorted(totals) if month <= partition][-_MONTHS:]
    return result | {
        f"accuracy_by_{NAMES[kind]}": md(_bars(frame, kind, partition)),
        "trend": md(_trend(pl.concat([totals[month] for month in until]), kind)),
        "attempts": attempted,
        "accuracy": round(100 * correct / attempted, 2),
        "all_months": dg.MetadataValue.path(str(storage.path(f"contest/{asset}"))),
    }


def _bars(frame: pl.DataFrame, kind: str, partition: str) -> Markdown:
    name = NAMES[kind]
    shown = frame.head(_BARS)
    bars = [
        Bar(label, accuracy, f"{correct:,} of {attempted:,}")
        for label, accuracy, correct, attempted in shown.select(name, "accuracy", "correct", "attempted").iter_rows()
    ]
    most = f", the {_BARS} with the most attempts" if frame.height > _BARS else ""
    return share_bars(f"Accuracy by {name}, {partition[:7]}{most}", bars)


def _trend(totals: pl.DataFrame, kind: str) -> Markdown:
    months, lines = trend(totals, kind, _LINES)
    return share_lines(f"Accuracy by month and {NAMES[kind]}", [f"{month:%Y-%m}" for month in months], lines)


ASSETS = [_asset(kind) for kind in NAMES]
JOBS = [
    dg.define_asset_job(
        "contest_performance",
        selection=dg.AssetSelection.assets(
            SESSIONS.key("session_facts"), *(SESSIONS.key(f"{name}_performance") for name in NAMES.values())
        ).without_checks(),
        description="Facts of sessions, and what they say of topics and difficulties.",
    )
]
