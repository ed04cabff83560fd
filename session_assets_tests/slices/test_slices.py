"""The records of the slices: what everybody outside a slice knows of it, and that nobody lists the slices again."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import session_assets
from session_assets.definitions import defs
from session_assets.slices import NAMES, slices

_LISTING = re.compile("|".join(rf"""["']{name}["']""" for name in NAMES))
_OWN = {*NAMES, "demo", "embedded", "slices"}


def test_each_record_has_the_name_under_which_it_is_listed() -> None:
    assert tuple(slices()) == NAMES
    for name, slice_ in slices().items():
        assert slice_.name == name
        assert slice_.main.name == name
        assert {target.name.split("/")[0] for target in slice_.targets} == {name}
        assert {loop.name.split("/")[0] for loop in slice_.loops} <= {name}


def test_the_code_location_holds_the_assets_of_all_slices_and_no_others() -> None:
    assert {spec.key.path[0] for spec in defs.resolve_all_asset_specs()} == set(NAMES)


def test_a_slice_needs_the_store_that_its_main_target_works_on() -> None:
    for slice_ in slices().values():
        needed = [store.variable for store in slice_.stores if not store.optional]
        assert slice_.main.variable in needed
        assert slice_.unset({}) == needed
        assert slice_.unset(dict.fromkeys(needed, "x")) == []
        named = {store.variable for store in slice_.stores}
        assert {target.variable for target in slice_.targets} <= named, slice_.name


def test_nobody_else_lists_the_slices() -> None:
    package = Path(session_assets.__file__).parent
    for path in package.rglob("*.py"):
        if not _OWN.intersection(path.relative_to(package).parts):
            named = {found[1:-1] for found in _LISTING.findall(path.read_text())}
            assert len(named) < 3, (path, named)


def test_the_names_are_known_without_loading_dagster() -> None:
    code = "import sys, session_assets.slices; print('dagster' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.strip() == "False"
