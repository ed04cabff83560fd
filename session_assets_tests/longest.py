"""Files that take longest. They begin first: short ones fill the time that they wait, and none is left alone at the end."""

from __future__ import annotations

LONGEST = (
    "upgrade/test_upgrade.py",
    "cli/test_demo.py",
    "web/acceptance/test_seed_case.py",
    "changes/test_kills.py",
    "slices/test_wrong_targets.py",
    "ui/test_browser.py",
    "ui/test_backfill.py",
    "ui/test_other_pages.py",
    "cli/test_lost_stores.py",
    "web/acceptance/test_portal_clicks.py",
    "web/acceptance/test_kills_of_ingest.py",
    "flow/acceptance/test_migration.py",
    "kintell/acceptance/test_imports.py",
    "web/acceptance/test_evidence.py",
    "kintell/acceptance/test_what_is_open.py",
    "web/acceptance/test_music_users.py",
    "web/acceptance/test_kills_of_apply.py",
    "web/acceptance/test_live_traffic.py",
    "flow/test_downgrades.py",
    "flow/test_kills.py",
    "flow/test_steps.py",
    "ui/test_drop_sensor.py",
    "ui/test_nginx.py",
    "alerts/test_drift.py",
    "kintell/test_dirty_files.py",
    "slices/test_hostile_text.py",
)
