"""The docs page of the HTTP endpoints in a browser: a person pastes the token, and downloads the errors of an import."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from session_assets_tests.api.conftest import (  # noqa: F401 - fixtures
    api,
    cli,
    dagster_template,
    dagster_url,
    kintell,
    nothing_left,
    open_terminal,
)
from session_assets_tests.api.server import TOKEN, Api
from session_assets_tests.kintell.files import clean, write
from session_assets_tests.ui.browser import CHROMIUM, window

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH: the pages were not looked at")


def test_an_error_file_is_downloaded_through_the_docs_page(api: Api, tmp_path: Path) -> None:  # noqa: F811
    sent = write(tmp_path / "a.csv", [clean(1), clean(2, participant_email="nobody@example.com")])
    job = api.upload("/import/backfill/start", sent).json()["jobId"]
    assert api.post(f"/import/backfill/{job}/resume").json()["failedRows"] == 1
    with window() as page:
        page.goto(f"{api.url}/docs")
        page.locator(".btn.authorize").click()
        dialog = page.locator(".modal-ux")
        dialog.locator("input").fill(TOKEN)
        dialog.locator("button[type=submit]").click()
        dialog.locator(".btn-done").click()
        errors = page.locator(".opblock").filter(has=page.locator("[data-path='/v1/import/backfill/{jobId}/errors']"))
        errors.locator(".opblock-summary-control").click()
        errors.get_by_role("button", name="Try it out").click()
        errors.locator("tr[data-param-name=jobId] input").fill(job)
        errors.get_by_role("button", name="Execute").click()
        with page.expect_download() as download:
            errors.locator(".live-responses-table").get_by_text("Download").first.click()
        (row,) = csv.DictReader(io.StringIO(download.value.path().read_text()))
    assert row["participant_email"] == "nobody@example.com"
    assert "Participant not found" in "".join(map(str, row.values()))
