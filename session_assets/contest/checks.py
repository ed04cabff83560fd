"""Checks of contest sessions: they follow from `model.REASONS`."""

from session_assets.contest.assets import SESSIONS
from session_assets.graph.collection_checks import collection_checks

CHECKS = collection_checks(SESSIONS)
