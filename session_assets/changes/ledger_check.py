"""Walks a ledger: what it can still apply and revert, and which files are damaged. Asks no store and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from session_assets.changes.change_set import Part, Plan
from session_assets.changes.ledger import Ledger
from session_assets.changes.recordings import LostRecording
from session_assets.changes.revert import to_undo
from session_assets.changes.target import Known
from session_assets.changes.targets import Targets
from session_assets.errors import DamagedFile, PlanRefused
from session_assets.sealed import read_sealed
from session_assets.storage import Storage


@dataclass(frozen=True)
class Able:
    """A plan, and the partitions that it can be applied to or undone in."""

    plan_id: str
    partitions: tuple[str, ...]


@dataclass
class LedgerReport:
    """What was found in the ledger of a loop. `without_digest` counts the files of versions that kept none."""

    loop: str
    files: int = 0
    without_digest: int = 0
    can_apply: list[Able] = field(default_factory=list[Able])
    can_revert: list[Able] = field(default_factory=list[Able])
    cannot: list[tuple[str, str, str, str]] = field(default_factory=list[tuple[str, str, str, str]])
    """What a damaged file stops: apply or revert, plan id, partition, why."""
    damaged: dict[str, str] = field(default_factory=dict[str, str])
    """File → what is wrong with it, and what to do."""

    def as_dict(self) -> dict[str, Any]:
        return {
            "ledger": self.loop,
            "files": self.files,
            "without_digest": self.without_digest,
            "can_apply": [{"plan_id": one.plan_id, "partitions": [*one.partitions]} for one in self.can_apply],
            "can_revert": [{"plan_id": one.plan_id, "partitions": [*one.partitions]} for one in self.can_revert],
            "cannot": [
                {"command": command, "plan_id": plan_id, "partition": partition, "why": why}
                for command, plan_id, partition, why in self.cannot
            ],
            "damaged": [{"file": name, "why": why} for name, why in sorted(self.damaged.items())],
        }


def loops_of(storage: Storage) -> list[str]:
    """The loops that have a ledger."""
    return [unquote(name) for name in storage.names("ledger")]


def check_targets(storage: Storage) -> dict[str, str]:
    """Damaged files of the targets that plans belong to → what to do."""
    targets = Targets(storage)
    found = {one.name: str(one) for one in targets.damaged()}
    try:
        targets.accepted()
    except DamagedFile as error:
        found[error.name] = str(error)
    return found


def check_ledger(storage: Storage, loop: str) -> LedgerReport:
    """Read every file of the ledger of a loop."""
    ledger, report = Ledger(storage, loop), LedgerReport(loop)

    def note(error: DamagedFile) -> None:
        report.damaged.setdefault(error.name, str(error))

    for name in _files(storage, ledger.base):
        report.files += 1
        if name.endswith(".json"):
            with _noted(note):
                report.without_digest += read_sealed(storage, name).sha256 is None
    plans = _plans(storage, ledger, note)
    for recording in ledger.recorded.newest_first():
        if isinstance(recording, LostRecording):
            note(recording.error)
    for plan in plans.values():
        for part in plan.parts:
            done = f"{ledger.part_folder(part)}/done.json"
            if not storage.exists(done):
                note(DamagedFile(done, "it is missing"))
            with _noted(note):
                ledger.parts.require(part)
    for plan_id in storage.names(f"{ledger.base}/attempts"):
        _look_at_attempts(ledger, plan_id, plans.get(plan_id), note)
    for target in _targets(ledger):
        _look_at_target(Ledger(storage, loop, target), plans, report)
    return report


@contextmanager
def _noted(note: Callable[[DamagedFile], None]) -> Generator[None]:
    """A block in which a damaged file is noted, and the walk goes on."""
    try:
        yield
    except DamagedFile as error:
        note(error)


def _files(storage: Storage, folder: str) -> Iterator[str]:
    for name in storage.names(folder):
        path = f"{folder}/{name}"
        if name.endswith((".json", ".parquet")):
            yield path
        else:
            yield from _files(storage, path)


def _plans(storage: Storage, ledger: Ledger, note: Callable[[DamagedFile], None]) -> dict[str, Plan]:
    """The plans that can be read; also those that only recordings or attempts name are asked for."""
    names = {name.removesuffix(".json") for name in storage.names(f"{ledger.base}/plans")}
    names.update(recording.plan_id for recording in ledger.recorded.newest_first())
    plans: dict[str, Plan] = {}
    for plan_id in sorted(names):
        with _noted(note):
            plans[plan_id] = ledger.stored_plan(plan_id)
    return plans


def _look_at_attempts(ledger: Ledger, plan_id: str, plan: Plan | None, note: Callable[[DamagedFile], None]) -> None:
    attempts, broken = ledger.all_attempts(plan_id)
    for one in broken:
        note(one.error)
    for attempt in attempts:
        for partition in attempt.partitions:
            part = plan.part(partition) if plan is not None and not attempt.is_revert else None
            with _noted(note):
                attempt.require(partition, part.rows if part else None)


def _targets(ledger: Ledger) -> Iterable[Known]:
    """The targets that plans were recorded on."""
    named = {(one.target, None if one.target else one.source) for one in ledger.recordings()}
    for target, source in sorted(named, key=str):
        yield Known(target or "", frozenset([target] if target else []), frozenset([source] if source else []))


def _look_at_target(ledger: Ledger, plans: dict[str, Plan], report: LedgerReport) -> None:
    pending = ledger.pending()
    report.cannot += [("apply", "", key, str(error)) for key, error in sorted(ledger.damaged.items())]
    for plan_id, keys in pending.items():
        able = [key for key in keys if _can_apply(ledger, plans[plan_id], key, report)]
        if able:
            report.can_apply.append(Able(plan_id, tuple(able)))
    for plan_id in dict.fromkeys(one.plan_id for one in ledger.recordings()):
        if plan_id in plans:
            found, damaged = to_undo(ledger, plans[plan_id])
            report.cannot += [("revert", plan_id, key, why) for key, why in damaged.items()]
            if found:
                report.can_revert.append(Able(plan_id, tuple(found)))


def _can_apply(ledger: Ledger, plan: Plan, partition: str, report: LedgerReport) -> bool:
    part: Part | None = plan.part(partition)
    try:
        if part is not None:
            ledger.parts.require(part)
        for attempt in ledger.attempts(plan.plan_id):
            if partition in attempt.partitions and not attempt.is_finished(partition):
                attempt.require(partition)
    except DamagedFile as error:
        report.cannot.append(("apply", plan.plan_id, partition, str(error)))
        return False
    except PlanRefused:
        return False
    return True
