"""The jobs behind `verify`, `plan` and `apply` of a partitioned collection, and its target for the terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from session_assets.changes.ledger import Ledger
from session_assets.graph.collection import Collection
from session_assets.graph.collection_checks import ACCOUNTED, FINISHED, OUTCOMES
from session_assets.graph.environment import Environment
from session_assets.graph.keys import TAG, WHOLE_TAG, encode
from session_assets.graph.step import DEFER_TAG
from session_assets.graph.target import Target


def collection_jobs(collection: Collection, verified: Sequence[str] = ()) -> list[Any]:
    """Verify, plan, apply, apply what is pending. `verified` names assets whose checks recount, beside the collection."""
    slice_, key, name = collection.slice_, collection.key, collection.name
    of_apply = dg.AssetSelection.checks(dg.AssetCheckKey(key(name), OUTCOMES), dg.AssetCheckKey(key(name), FINISHED))
    accounts = dg.AssetSelection.checks(dg.AssetCheckKey(key("session_changes"), ACCOUNTED)) | of_apply
    plan = dg.AssetSelection.assets(key("session_facts"), key("session_changes"))
    sessions = dg.AssetSelection.assets(key(name)).without_checks()
    return [
        dg.define_asset_job(
            f"{slice_}_verify",
            selection=dg.AssetSelection.checks_for_assets(*map(key, (name, *verified))) - of_apply,
            description=collection.texts.verify,
        ),
        dg.define_asset_job(f"{slice_}_plan", selection=plan, description="Preview the repair: the dry run."),
        dg.define_asset_job(
            f"{slice_}_apply",
            selection=plan.without_checks() | sessions | accounts,
            description=collection.texts.apply,
        ),
        dg.define_asset_job(
            f"{slice_}_apply_pending", selection=sessions | of_apply, description="Apply the newest plan."
        ),
    ]


def collection_target(
    collection: Collection,
    one_session: str | None = None,
    *,
    knows_users: bool = False,
    checks: Sequence[str] = (),
    story: Callable[[Ledger, dict[str, Any]], Iterable[str]] | None = None,
) -> Target:
    """What the terminal can do with the collection. `checks` names step reports with results beside those of the sessions."""
    slice_ = collection.slice_
    return Target(
        collection.loop,
        collection.variable,
        plan=f"{slice_}_plan",
        apply=f"{slice_}_apply",
        apply_pending=f"{slice_}_apply_pending",
        verify=f"{slice_}_verify",
        one_session=one_session,
        knows_users=knows_users,
        checks=tuple(checks),
        story=story,
        standing=lambda environment: collection.open(environment).standing(),
        order=collection.partitions.get_partition_keys,
    )


def standing_request(collection: Collection) -> dg.RunRequest:
    """For a schedule: one run over the partitions that hold documents; of an empty collection over the first, to say so."""
    keys = collection.open(Environment.load()).standing() or collection.partitions.get_partition_keys()[:1]
    return partitions_request(collection, keys, {WHOLE_TAG: "true"})


def partitions_request(
    collection: Collection, keys: Sequence[str], tags: Mapping[str, str] | None = None
) -> dg.RunRequest:
    """One run over some partitions, whose keys are in the order of time."""
    return dg.RunRequest(
        tags={
            **(tags or {}),
            "dagster/asset_partition_range_start": min(keys),
            "dagster/asset_partition_range_end": max(keys),
            TAG: encode(keys, collection.partitions.get_partition_keys()),
            **DEFER_TAG,
        }
    )
