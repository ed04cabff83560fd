"""What the application of the flow sample left on disk: stored validation files, source code, and figures of itself."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

_FILES, _TRUNCATED = 22, 8
_LONG_AGO = 1_700_000_000
_CODE = {
    "app/service.py": 'def load(session_id):  # the session_id of an import\n    return {"session_id": session_id}\n',
    "app/alembic/versions/0001.py": "session_id = 1\n",
    "web/api.ts": "const query = `?session_id=${session_id}` // session_id\n",
    "sql/report.sql": "SELECT session_id FROM imports; -- by session_id\n",
}
_REFERENCES = "6 active references (4 identifiers, 2 strings) in 3 files; comments 3, allowed 1"
_FIGURES = {
    "flow_creation_errors_total": 6, "flow_creation_success_rate": 0.99, "discovery_flow_completion_rate": 0.95,
    "data_import_success_rate": 0.99, "user_session_continuity": 0.99, "api_response_time_ratio": 1.05,
    "flow_execution_time_ratio": 1.01, "error_rate_ratio": 1.0,
}  # fmt: skip
"""One is out of bounds: more than 5 flows could not be created."""


@dataclass(frozen=True)
class PlantedApp:
    """What was planted, by what finds it."""

    moved: int = _FILES - _TRUNCATED
    quarantined: int = _TRUNCATED
    references: str = _REFERENCES
    out_of_bounds: tuple[str, ...] = ("flow_creation_errors",)


def app_variables(folder: Path) -> dict[str, str]:
    """The settings that lead to the sample in a folder."""
    return {
        "FLOW_VALIDATION_ROOT": str(folder / "data"),
        "FLOW_CODE_ROOT": str(folder / "code"),
        "FLOW_METRICS_PATH": str(folder / "figures.json"),
    }


def plant_app(folder: Path) -> PlantedApp:
    """Write the files; the sessions are those of `flow_sample`."""
    for number in range(1, _FILES + 1):
        session = str(uuid.UUID(hashlib.md5(f"session {number}".encode(), usedforsecurity=False).hexdigest()))
        text = json.dumps({"session_id": session, "rows": [*range(number)], "valid": True})
        path = _written(
            folder / "data/validation_sessions" / session / "result.json", text[:-9] if number <= _TRUNCATED else text
        )
        os.utime(path, (_LONG_AGO, _LONG_AGO))
    for name, text in _CODE.items():
        _written(folder / "code" / name, text)
    _written(folder / "figures.json", json.dumps(_FIGURES))
    return PlantedApp()


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
