"""The pages as people see them: Playwright on the system's Chromium.

Pictures go to the folder that SESSION_ASSETS_PICTURES names (`make pictures`: docs/pictures), else nowhere.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

from session_assets_tests.ui.conftest import Ui

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_LOCATION = "__repository__@session_assets"
_HOME = "/srv/session_assets"  # in pictures, instead of the folder of the test
_RENAME = """([from, to]) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(from, to);
}"""
_WAIT = 90_000  # ms; the pages are slow where the machine is busy


@dataclass
class Browser:
    """One window on a running `session-assets dev`."""

    page: Page
    ui: Ui

    def job(self, name: str) -> None:
        self.open(f"/locations/{_LOCATION}/jobs/{name}")

    def lineage(self, group: str) -> None:
        self.open(f"/locations/{_LOCATION}/asset-groups/{group}/lineage")

    def asset(self, name: str, view: str) -> None:
        self.open(f"/assets/{name}?view={view}")

    def backfill(self, job: str, first: str, last: str) -> None:
        """Launch a job over a range of partitions."""
        self.job(job)
        self.text("Materialize all").click()
        partitions = self.page.get_by_placeholder("No matching partitions")
        partitions.fill(f"[{first}...{last}]")
        partitions.press("Enter")
        self.page.get_by_role("button", name="Launch backfill").click()

    def open(self, path: str) -> None:
        self.page.goto(f"http://127.0.0.1:{self.ui.port}{path}")

    def text(self, text: str | re.Pattern[str], *, exact: bool = False) -> Locator:
        """The first place that shows a text, once it is there."""
        found = self.page.get_by_text(text, exact=exact).first
        found.wait_for(state="visible")
        return found

    def picture(self, name: str) -> None:
        """Keep what is seen as a picture of the docs."""
        folder = os.environ.get("SESSION_ASSETS_PICTURES")
        if folder:
            self.page.wait_for_timeout(1500)  # until nothing moves any more
            self.page.mouse.move(0, 0)
            self.page.evaluate(_RENAME, [str(self.ui.home), _HOME])
            self.page.screenshot(path=Path(folder) / f"{name}.png")


@contextmanager
def browsing(ui: Ui) -> Iterator[Browser]:
    """A window on a running UI; at its end the failed requests of its pages are errors."""
    with window() as page:
        yield Browser(page, ui)


@contextmanager
def window() -> Iterator[Page]:
    """An empty window; at its end the failed requests of its pages are errors."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1500, "height": 950})
        page.set_default_timeout(_WAIT)
        broken: list[str] = []
        page.on("response", lambda answer: broken.append(answer.url) if answer.status >= 500 else None)
        try:
            yield page
        except Exception as error:
            error.add_note(f"The page was {page.url}, and said:\n{page.inner_text('body')}")
            raise
        finally:
            chromium.close()
        assert not broken, broken
