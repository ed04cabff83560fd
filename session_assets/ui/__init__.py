"""Dagster's web server behind a guard: `python -m session_assets.ui` takes the options of `dagster-webserver`."""
