"""What the code location offers, held against a committed snapshot: a renamed asset is a visible decision.

After a change that is meant: SESSION_ASSETS_UPDATE_SNAPSHOT=1 .venv/bin/pytest -n 0 session_assets_tests/test_definitions.py
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from session_assets import definitions
from session_assets.definitions import defs
from session_assets.graph.source_links import with_source_links
from session_assets.graph.target import Target
from session_assets.slices import slices
from session_assets.web.assets import web_user_activity as user_activity_asset
from session_assets_tests.fork_server import READ_AT_IMPORT

SNAPSHOT = Path(__file__).with_name("definitions.json")


def specs() -> list[dg.AssetSpec]:
    return sorted(defs.resolve_all_asset_specs(), key=lambda spec: spec.key.to_user_string())


def snapshot() -> dict[str, Any]:
    repository = defs.get_repository_def()
    graph = repository.asset_graph
    return {
        "assets": {
            spec.key.to_user_string(): {
                "group": spec.group_name,
                "kinds": sorted(spec.kinds),
                "partitions": _partitions(spec.partitions_def),
                "deps": sorted(dep.asset_key.to_user_string() for dep in spec.deps),
                "checks": sorted(key.name for key in graph.get_check_keys_for_assets({spec.key})),
                "materializable": graph.get(spec.key).is_materializable,
            }
            for spec in specs()
        },
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
        "schedules": {one.name: one.cron_schedule for one in repository.schedule_defs},
    }


def _partitions(definition: dg.PartitionsDefinition | None) -> str | None:
    if definition is None:
        return None
    name = definition.name if isinstance(definition, dg.DynamicPartitionsDefinition) else None
    return f"{type(definition).__name__}({name})" if name else type(definition).__name__


def test_the_definitions_are_those_of_the_snapshot() -> None:
    now = snapshot()
    if os.environ.get("SESSION_ASSETS_UPDATE_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(now, indent=2, sort_keys=True) + "\n")
    assert now == json.loads(SNAPSHOT.read_text())


def test_the_module_is_one_code_location() -> None:
    (only,) = [one for one in vars(definitions).values() if isinstance(one, dg.Definitions)]
    assert only is defs


def test_the_terminal_finds_a_job_for_all_that_it_offers() -> None:
    jobs = {job.name for job in defs.get_repository_def().get_all_jobs()}
    for name, slice_ in slices().items():
        for target in slice_.targets:
            if isinstance(target, Target):
                wanted = {target.plan, target.apply, target.apply_pending, f"{target.revert or name}_revert"}
                assert wanted <= jobs, target.name
                assert target.verify is None or target.verify in jobs


def test_every_asset_says_what_it_is() -> None:
    for spec in specs():
        name = spec.key.to_user_string()
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        assert spec.metadata.get("dagster/column_schema"), name
        assert spec.group_name == spec.key.path[0], name


def test_every_job_sensor_and_schedule_says_what_it_is() -> None:
    repository = defs.get_repository_def()
    for one in (*repository.get_all_jobs(), *repository.sensor_defs, *repository.schedule_defs):
        assert one.description or one.name.startswith("__"), one.name


def test_check_names_can_be_used_everywhere() -> None:
    graph = defs.get_repository_def().asset_graph
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", key.name) for key in graph.asset_check_keys)


@pytest.mark.parametrize("url", [None, "https://github.com/example/repairs"])
def test_assets_say_where_they_are_written(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SESSION_ASSETS_SOURCE_URL", raising=False)
    if url:
        monkeypatch.setenv("SESSION_ASSETS_SOURCE_URL", url)
    (asset,) = with_source_links([user_activity_asset])
    (reference,) = asset.metadata_by_key[asset.key]["dagster/code_references"].code_references
    if url:
        assert reference.url.startswith(f"{url}/tree/main/session_assets/web/assets.py#L")
    else:
        assert reference.file_path.endswith("session_assets/web/assets.py")


_READ = """
import os
names = set()
class Noted(type(os.environ)):
    def __getitem__(self, name):
        names.add(name)
        return super().__getitem__(name)
os.environ.__class__ = Noted
import session_assets.definitions
print(*sorted(name for name in names if name.endswith("_START_DATE") or name.startswith("SESSION_ASSETS_")))
"""


def test_the_code_location_reads_these_variables_at_import() -> None:
    """The fork server of the terminal's tests loads it with them."""
    done = subprocess.run([sys.executable, "-c", _READ], capture_output=True, text=True, check=True)
    assert done.stdout.split() == sorted([*READ_AT_IMPORT, "SESSION_ASSETS_SOURCE_URL"])
