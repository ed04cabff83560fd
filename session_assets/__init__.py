"""Repair and upkeep of session collections as a Dagster asset graph."""
