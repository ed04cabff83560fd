"""Checks of user sessions: they follow from `model.REASONS` and the shares of the collection."""

from session_assets.graph.collection_checks import collection_checks
from session_assets.identity.assets import USER_SESSIONS

CHECKS = collection_checks(USER_SESSIONS)
