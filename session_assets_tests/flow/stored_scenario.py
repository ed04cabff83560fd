"""A folder of stored validation files, a map, and the loop over them without Dagster."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from session_assets.changes.change_set import Plan
from session_assets.changes.ledger import Ledger
from session_assets.changes.outcomes import Outcomes
from session_assets.changes.revert import RevertReport, preview, revert
from session_assets.changes.session import apply_plans, chosen
from session_assets.changes.tally import Tally
from session_assets.changes.target import Known
from session_assets.flow.session_map import SessionMap
from session_assets.flow.stored_files import StoredFiles
from session_assets.storage import Storage
from session_assets.stores.files import FileStore

SESSIONS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(40)]
FLOWS = [f"11111111-1111-4111-8111-{number:012d}" for number in range(40)]
MAP = SessionMap.of(zip(SESSIONS[:30], FLOWS[:30], strict=True))
LONG_AGO = 1_700_000_000_123_456_789


@dataclass(frozen=True)
class Folder:
    """The root, and the storage beside it."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "root"

    @property
    def storage(self) -> Storage:
        return Storage(str(self.base / "storage"), self.base / "tmp")

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.storage, "flow/files", Known.named(str(self.root)))

    @property
    def store(self) -> FileStore:
        return FileStore(self.root)

    def put(self, path: str, content: bytes, mode: int = 0o640) -> Path:
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(content)
        full.chmod(mode)
        os.utime(full, ns=(LONG_AGO, LONG_AGO))
        return full

    def files(self) -> StoredFiles:
        return StoredFiles(self.root, MAP, 30)

    def plan(self) -> tuple[Plan, Tally]:
        plan, tally, _ = self.files().plan(self.ledger, self.storage, "run")
        return plan, tally

    def apply(self) -> Outcomes:
        todo = chosen(self.ledger, None, None)
        report = apply_plans(self.ledger, todo, self.store, run_id="run", batch_size=5)
        assert not report.failed, report.failed
        return report.totals()

    def revert(self, plan: Plan) -> RevertReport:
        return revert(self.ledger, plan, self.store, run_id="run", batch_size=5)

    def preview(self, plan: Plan) -> RevertReport:
        return preview(self.ledger, plan, self.store)

    def reasons(self) -> dict[str, tuple[str, str, str | None]]:
        return {one.path: (one.class_, one.reason, one.target) for one in self.files().found()}

    def tree(self) -> dict[str, tuple[bytes, int, int]]:
        """All files: bytes, permissions and time."""
        return {
            path.relative_to(self.root).as_posix(): (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_symlink()
        }


def plant(folder: Folder, whole: Iterable[int] = range(14), cut: Iterable[int] = range(14, 22)) -> None:
    """22 files of which 8 are truncated, in both layouts: a folder a session, and a file a session."""
    for number in whole:
        session = SESSIONS[number]
        path = f"{session}/validation_results.json" if number % 2 else f"file_{number}.json"
        text = f'{{"session_id": "{session}",\n "rows": 12345678901234567890123, "share": 1.10, "rows": 2}}\n'
        folder.put(f"validation_sessions/{path}", text.encode())
    for number in cut:
        text = f'{{"session_id": "{SESSIONS[number]}", "errors": [{{"row": 1}}, {{"ro'
        folder.put(f"validation_sessions/{SESSIONS[number]}/validation_results.json", text.encode()[: 20 + number])
