"""Repair and upkeep of session collections as a Dagster asset graph."""

from session_assets.memory import give_back

give_back()
