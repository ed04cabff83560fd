"""The try of the whole road as an asset, and the check that it met no obstacle."""

from collections.abc import Iterator

import dagster as dg

from session_assets.changes.evidence import Figures
from session_assets.errors import PlanRefused
from session_assets.flow import model
from session_assets.flow.assets import OWNERS, POOL, key, open_flow
from session_assets.flow.evidence import Look
from session_assets.flow.twin import FLOORS
from session_assets.flow.twin_model import OBSTACLES
from session_assets.flow.twin_record import CHECK, STEP, checked, try_again
from session_assets.graph.check_result import WARN, CheckResult, reported
from session_assets.graph.environment import Environment
from session_assets.graph.markdown import md, md_table
from session_assets.graph.tables import column_schema
from session_assets.masking import safe_text

_SHOWN = 50


@dg.asset(
    key=key("twin"),
    deps=[key("session_inventory")],
    group_name=model.SLICE,
    owners=OWNERS,
    kinds={"postgresql"},
    pool=POOL,
    metadata={"dagster/column_schema": column_schema(OBSTACLES)},
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=key("twin"),
            blocking=True,
            description="The whole road and its way back work on a twin of the database.",
        )
    ],
)
def twin(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
    """The whole migration tried beforehand: schema and a sample of rows in a scratch database, each step, the way back, and
    statements of the application at each stage. The real database is only read."""
    environment, flow = Environment.load(), open_flow(context)
    Look(environment, flow, context.run_id, context.run.tags).refuse()
    if (state := flow.state()) not in FLOORS:
        raise PlanRefused(f"The migration is {state}: there is no road to try. Finish contract, or revert it, first.")
    report = try_again(environment, flow, context.run_id)
    if report is None:
        yield _waived(environment, context.run_id, flow.waived["twin_waived_by"])
        return
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": sum(report.rows.values()),
            "obstacles": report.met,
            "seconds": report.seconds,
            "schema": report.fingerprint,
            "preview": md(
                md_table(
                    [
                        [one.object, one.stage, one.statement, one.sqlstate, one.message, one.remedy]
                        for one in report.obstacles[:_SHOWN]
                    ],
                    ["object", "at", "what fails", "SQLSTATE", "PostgreSQL says", "what to do"],
                )
            ),
            "must_be_deployed": md(md_table([[one] for one in report.must_be_deployed[:_SHOWN]], ["before contract"])),
            "not_tried": md(md_table([[one] for one in report.notes[:_SHOWN]], ["what the twin lacks"])),
            "statements": md(
                md_table([[name, f"{count:,}"] for name, count in report.stages.items()], ["at", "statements"])
            ),
        },
        check_results=[checked(report).result(key("twin"))],
    )


def _waived(environment: Environment, run_id: str, by: str) -> dg.MaterializeResult:
    """Nothing was tried, so the check does not pass."""
    text = f"the road was not tried on a twin: waived by {safe_text(by)}"
    result = CheckResult(
        CHECK, Figures(), 1, text, WARN, "Unset FLOW_WAIVE_TWIN and plan again, to know before the first write."
    )
    environment.report(run_id, STEP, reported([result]))
    return dg.MaterializeResult(metadata={"waived_by": safe_text(by)}, check_results=[result.result(key("twin"))])
