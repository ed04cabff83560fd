"""Work on the migration that materializes nothing: which gates of contract are shut, and the undo of a step."""

from collections import Counter
from typing import Any

import dagster as dg
import polars as pl

from session_assets.errors import RowsLeft
from session_assets.flow import model
from session_assets.flow.assets import POOL, open_flow
from session_assets.flow.twin_record import Waiver
from session_assets.graph.environment import Environment
from session_assets.masking import safe_text
from session_assets.stores.flow_kinds import MISSING
from session_assets.stores.flow_left import HARMLESS, Left
from session_assets.stores.flow_lost import LOST

LEFT = pl.Schema({"word": pl.String, "table": pl.String, "key": pl.String, "condition": pl.String})
"""One row a row that an undo leaves: why, and which."""
_SHOWN = 20


class GatesConfig(dg.Config):
    """By whom the proofs on staging and on a twin are waived, and which list of statements is deployed."""

    waive_staging: str | None = None
    waive_twin: str | None = None
    deployed: str | None = None


@dg.op(pool=POOL)
def look_at_gates(context: dg.OpExecutionContext, config: GatesConfig) -> None:
    """Looks at everything that contract asks for, and changes nothing."""
    gates = open_flow(context, config.waive_staging, Waiver(config.waive_twin, config.deployed)).gates()
    Environment.load().report(context.run_id, "gates", {"gates": [vars(one) for one in gates]})
    for one in gates:
        context.log.warning(safe_text(f"{one.name}: {one.reason}. {one.next_step}"))
    context.log.info(f"{len(gates)} gates are shut")


@dg.job(
    executor_def=dg.in_process_executor, description="The dry run of contract: which gates are shut, and what to do."
)
def flow_gates() -> None:
    look_at_gates()


class UndoConfig(dg.Config):
    """Which step to take back. Start with `dry_run`."""

    plan_id: str
    dry_run: bool = False


@dg.op(pool=POOL)
def revert_flow_step(context: dg.OpExecutionContext, config: UndoConfig) -> None:
    """Takes a step back: contract, then backfill, then expand."""
    environment = Environment.load()
    undone = open_flow(context).undo(config.plan_id, dry_run=config.dry_run)
    left: list[Left] = undone["left"]
    lost: dict[str, int] = undone.get(LOST, {})
    missing: list[str] = [safe_text(one) for one in undone.get(MISSING, [])]
    told = [_lost(table, count) for table, count in lost.items()] + missing + [one.text for one in left[:_SHOWN]]
    stays = sum(one.word not in HARMLESS for one in left) + sum(lost.values()) + len(missing)
    counts = {
        what: sum(undone[what].values()) if isinstance(undone[what], dict) else int(undone[what])
        for what in ("restored", "taken_back", "removed", "kept")
        if what in undone
    }
    total = sum(counts.values())
    environment.report(
        context.run_id,
        "revert",
        {
            "plan_id": config.plan_id,
            "step": undone["kind"],
            "dry_run": config.dry_run,
            "nothing": bool(undone.get("nothing")),
            "undoable": total,
            "refused": stays,
            "refused_sample": told,
            "left": dict(
                Counter(one.word for one in left) + Counter({LOST: sum(lost.values()), MISSING: len(missing)})
            ),
            "lists": _listed(environment, context.run_id, left),
            "classes": counts,
            "outcomes": {model.UNDONE: 0 if config.dry_run else total, "refused": stays},
        },
    )
    context.log.info(f"{undone['kind']}: {_told(counts)}; left: {len(left) + sum(lost.values()) + len(missing):,}")
    for text in told:
        context.log.warning(text)
    if stays and not config.dry_run:
        raise RowsLeft(stays, total)


@dg.job(
    name=f"{model.SLICE}_revert",
    executor_def=dg.in_process_executor,
    description="Take a step of the migration back: columns, values, indexes and keys as they were. Start with dry_run.",
)
def flow_revert() -> None:
    revert_flow_step()


def _lost(table: str, count: int) -> str:
    return (
        f"{LOST}: {table}: {count:,} values that contract archived are not in the archive any more: they cannot come back."
        " Restore them from a backup"
    )


def _listed(environment: Environment, run_id: str, left: list[Left]) -> dict[str, str]:
    """Every row that is left, as a Parquet file."""
    if not left:
        return {}
    name = f"{model.SLICE}/reverts/{run_id}.parquet"
    rows = [(one.word, one.table, one.key, one.condition or None) for one in left]
    environment.storage.write_parquet(name, pl.DataFrame(rows, schema=LEFT, orient="row"))
    return {"left": str(environment.storage.path(name))}


def _told(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()) or "nothing to do"


JOBS = [flow_gates, flow_revert]
