"""What belongs to the flow slice beside its database: code references, stored files, metrics. Merged by its definitions."""

import dagster as dg

from session_assets.flow import code_assets, metrics_assets, stored_assets

_PARTS = (code_assets, stored_assets, metrics_assets)

ASSETS = [asset for part in _PARTS for asset in part.ASSETS]
CHECKS = [check for part in _PARTS for check in part.CHECKS]
JOBS = [job for part in _PARTS for job in part.JOBS]
TARGETS = [target for part in _PARTS for target in part.TARGETS]
LOOPS = stored_assets.LOOPS

DEFINITIONS = dg.Definitions(assets=ASSETS, asset_checks=CHECKS, jobs=JOBS)
