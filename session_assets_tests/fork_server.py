"""The one fork server of a test process: work in a process of its own begins with everything loaded.

Loading takes three of the four seconds of a command, and most of the time of a process that is to be killed. A Python process
has one fork server, so all that is loaded ahead is named in one place: `loaded`.
"""

from __future__ import annotations

import multiprocessing

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["session_assets_tests.loaded"])
READ_AT_IMPORT = {"WEB_START_DATE": "2025-01-01", "CONTEST_START_DATE": "2025-01-01"}
"""The variables that the code location reads when it is imported. A command that is given others imports it again."""
