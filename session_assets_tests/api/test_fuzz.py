"""The server against requests that its own description makes up, right and wrong ones: it never fails itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import given, seed
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from session_assets_tests.api.server import TOKEN, Api, started
from session_assets_tests.counts import examples
from session_assets_tests.identity.scenario import Cosmos
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.kintell.scenario import Kintell
from session_assets_tests.web.acceptance.conftest import Open

_HEALTH = ("/health", "/api/health/sessions")  # the only ones that may answer 503 while the stores are up
_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
_EACH = 4  # examples of a route and kind; ten times as many when SESSION_ASSETS_TEST_FULL is set


@pytest.fixture
def all_stores(open_terminal: Open, kintell: Kintell, cosmos: dict[str, str]) -> Iterator[Api]:
    Cosmos.create()
    variables = {**cosmos, "SESSION_ASSETS_API_RATE": "1000000", "SESSION_ASSETS_API_WAIT_SECONDS": "0"}
    terminal = open_terminal(None, KINTELL_DATABASE_URL=kintell.database.url)
    with started(terminal, **variables) as api:
        yield api


def test_no_request_makes_it_fail(all_stores: Api, tmp_path: Any) -> None:
    api = all_stores
    job = api.upload("/import/backfill/start", write(tmp_path / "a.csv", [clean(1)])).json()["jobId"]
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations: list[Any] = [one.ok() for one in schema.get_all_operations() if isinstance(one, Ok)]
    assert len(operations) == 19
    seen: set[int] = set()
    for operation in operations:
        for mode in GenerationMode:
            if (mode, operation.path) == (GenerationMode.NEGATIVE, "/livez"):
                continue  # it takes nothing that could be wrong
            _probe(operation, mode, job, seen)
    assert {200, 404, 422} <= seen, seen  # 400 has tests of its own: these examples seldom send a form without a file
    assert "Traceback" not in api.log, api.log


def _probe(operation: Any, mode: GenerationMode, job: str, seen: set[int]) -> None:
    @seed(1)
    @examples(_EACH)
    @given(case=operation.as_strategy(generation_mode=mode), is_known=st.booleans())
    def probe(case: Any, is_known: bool) -> None:
        if is_known and "jobId" in case.path_parameters and not operation.path.endswith(("resume", "revert")):
            case.path_parameters["jobId"] = job
        case.headers["Authorization"] = f"Bearer {TOKEN}"
        response = case.call(timeout=60)
        seen.add(response.status_code)
        assert response.status_code < 500 or (response.status_code == 503 and operation.path in _HEALTH), response.text
        case.validate_response(response, checks=_CHECKS)

    probe()
