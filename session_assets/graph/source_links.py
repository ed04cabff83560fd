"""Where each asset is written: the UI links to the file here, or in the repository that SESSION_ASSETS_SOURCE_URL names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

_ROOT = Path(__file__).parents[2]


def with_source_links(assets: Sequence[Any]) -> Sequence[Any]:
    """The assets with `dagster/code_references`; repositories on GitHub or GitLab, at SESSION_ASSETS_SOURCE_BRANCH (main)."""
    linked = dg.with_source_code_references(assets)
    url = os.environ.get("SESSION_ASSETS_SOURCE_URL")
    if not url:
        return linked
    branch = os.environ.get("SESSION_ASSETS_SOURCE_BRANCH", "main")
    place = dg.AnchorBasedFilePathMapping(local_file_anchor=_ROOT, file_anchor_path_in_repository="")
    return dg.link_code_references_to_git(linked, url, branch, place)
