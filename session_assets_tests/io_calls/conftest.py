"""Small targets of all slices, each on a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from session_assets_tests.io_calls.scenes import SCENES, Scene
from session_assets_tests.kintell.streams import fresh_stream
from session_assets_tests.slices.fresh import fresh_variables
from session_assets_tests.web.acceptance.conftest import (  # noqa: F401 - fixtures
    dagster_template,
    dagster_url,
    nothing_left,
    open_terminal,
)

Prepared = Callable[[str, str], Scene]
HASTY = "serverSelectionTimeoutMS=500&connectTimeoutMS=500"


@pytest.fixture
def prepared(
    request: pytest.FixtureRequest,
    dagster_url: str,  # noqa: F811
    tmp_path: Path,
) -> Iterator[Prepared]:
    """The target of a slice, ready for one of its steps."""
    made: list[Scene] = []
    ends = ExitStack()

    def prepare(slice_: str, step: str) -> Scene:
        variables = fresh_variables(slice_, request.getfixturevalue, ends)
        if slice_ in ("web", "contest"):
            variables = {name: f"{uri}&{HASTY}" for name, uri in variables.items()}
        if slice_ == "kintell":
            variables["NATS_URL"] = request.getfixturevalue("own_nats")
            fresh_stream(variables["NATS_URL"])
        variables["DAGSTER_POSTGRES_URL"] = dagster_url
        scene = SCENES[slice_](slice_, variables, tmp_path / "home", tmp_path / "kept")
        made.append(scene)
        scene.prepare(step)
        return scene

    yield prepare
    for scene in made:
        scene.close()
    ends.close()


@pytest.fixture
def short_transactions(mongo_server: str) -> Iterator[None]:
    """A transaction of a killed process holds its documents until the server gives it up: after 60 s, here sooner."""
    with MongoClient[dict[str, Any]](mongo_server) as client:
        usual = client.admin.command("getParameter", 1, transactionLifetimeLimitSeconds=1)
        client.admin.command("setParameter", 1, transactionLifetimeLimitSeconds=1)
        yield
        client.admin.command(
            "setParameter", 1, transactionLifetimeLimitSeconds=usual["transactionLifetimeLimitSeconds"]
        )
