"""What lies beside the database part loads by itself and says what it is."""

from __future__ import annotations

import dagster as dg

from session_assets.flow.extras import DEFINITIONS, JOBS

KEYS = {"flow/code_references", "flow/stored_validation_changes", "flow/stored_validations", "flow/metrics"}


def test_it_loads_by_itself() -> None:
    definitions = dg.Definitions.merge(DEFINITIONS, dg.Definitions(executor=dg.in_process_executor))
    dg.Definitions.validate_loadable(definitions)
    specs = {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}
    assert specs.keys() >= KEYS
    for spec in specs.values():
        assert spec.description
        assert spec.owners
        assert spec.kinds
        assert spec.metadata["dagster/column_schema"]
        assert spec.group_name == "flow"
    assert all(job.description for job in JOBS)
