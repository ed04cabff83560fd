"""Stored validation files: what lies in the folder of sessions, where each file goes, and what it says there.

Each file ends in one class. Reading changes nothing; what is planned goes through the loop of `changes`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain
from pathlib import Path

import polars as pl

from session_assets.changes.change_set import Plan
from session_assets.changes.evidence import Holding
from session_assets.changes.ledger import Ledger
from session_assets.changes.parts import PlanWriter
from session_assets.changes.tally import Tally
from session_assets.errors import BadInput, NotConfigured, SessionAssetsError, UsageError
from session_assets.flow.session_map import SessionMap
from session_assets.flow.stored_json import NotJson, flow_value, rewrite
from session_assets.flow.stored_model import FLOWS, LARGEST, QUARANTINE, SESSIONS, UNREADABLE, VARIABLE
from session_assets.masking import safe_text
from session_assets.storage import Storage
from session_assets.stores.files import FileStore, Image

PARTITION = "files"
_OURS = re.compile(r"\.[0-9a-f]{24}\.moving")
_FILES_AT_ONCE, _BYTES_AT_ONCE = 500, 32 << 20


@dataclass(frozen=True)
class Found:
    """One file: its class and reason, and where it is planned to be."""

    path: str
    size: int
    class_: str
    reason: str
    session: str | None = None
    rewritten: int = 0
    before: Image | None = None
    after: Image | None = None

    @property
    def target(self) -> str | None:
        return self.after.path if self.after else None


def validation_root(env: Mapping[str, str] | None = None) -> Path:
    """The folder that holds `validation_sessions`. Raises `NotConfigured` and `UsageError`."""
    given = (os.environ if env is None else env).get(VARIABLE)
    if not given:
        raise NotConfigured(VARIABLE, "Stored validation files", SESSIONS)
    root = Path(given).absolute()
    if not root.is_dir():
        raise UsageError(f"{VARIABLE} is no folder. It should hold {SESSIONS}.")
    if not any((root / name).exists() for name in (SESSIONS, FLOWS)):
        raise UsageError(f"{VARIABLE} holds neither {SESSIONS} nor {FLOWS}. Set it to the folder that does.")
    for name in (SESSIONS, FLOWS, QUARANTINE):
        if (root / name).is_symlink():
            raise UsageError(f"{name} in {VARIABLE} is a link. Set {VARIABLE} to the folder that it leads to.")
    return root


class StoredFiles:
    """The files below a root, judged by a map of sessions."""

    def __init__(self, root: Path, sessions: SessionMap, settle_minutes: float) -> None:
        self._root, self._map = root, sessions
        self._store = FileStore(root)
        self._settled_ns = time.time_ns() - int(settle_minutes * 60e9)

    def found(self) -> Iterator[Found]:
        """All files of the folder of sessions, by path; each with its one class."""
        taken: set[str] = set()
        for path, size in self._paths():
            one = self._judged(path, size)
            if one.after is not None:
                one = self._placed(one, taken)
                taken.add(one.after.path if one.after else "")
            yield one

    def quarantined(self) -> list[str]:
        """What lies in quarantine."""
        return [path for path, _ in _walk(self._root, QUARANTINE)]

    def holdings(self) -> list[Holding]:
        """The folder of sessions, and the one that its files go to, as the file system counts them: one of them may be empty."""
        there = [sum(1 for _ in _walk(self._root, top)) for top in (SESSIONS, FLOWS)]
        return [Holding(f"{SESSIONS} and {FLOWS}", sum(there))]

    def plan(
        self, ledger: Ledger, storage: Storage, run_id: str, made_with: Mapping[str, str] | None = None
    ) -> tuple[Plan, Tally, dict[str, str]]:
        """Record what would be done, and by the map of which database. Raises if a file is not accounted for."""
        with storage.scratch() as scratch:
            tally, writer = Tally(scratch), PlanWriter(scratch)
            for batch in _batches(chain(self.found(), self._moved())):
                _count(tally, batch)
                writer.add(PARTITION, _rows(batch))
            lists = self._judge(tally, storage, "plans", run_id)
            plan = ledger.record(writer, run_id, [PARTITION], tally.summary() | {"lists": lists, "map": made_with})
        return plan, tally, lists

    def inspect(self, storage: Storage, run_id: str) -> tuple[Tally, dict[str, str]]:
        """Recount, recording nothing."""
        with storage.scratch() as scratch:
            tally = Tally(scratch)
            for batch in _batches(chain(self.found(), self._moved())):
                _count(tally, batch)
            return tally, self._judge(tally, storage, "checks", run_id)

    def _judge(self, tally: Tally, storage: Storage, kind: str, run_id: str) -> dict[str, str]:
        tally.reads.setdefault(PARTITION, 0)
        if wrong := tally.unaccounted():
            raise SessionAssetsError(f"files are not accounted for, nothing is planned: {wrong}")
        lists: dict[str, str] = {}
        for reason, files in tally.finish().items():
            folder = f"flow/findings/{kind}/{run_id}/{reason}"
            for number, file in enumerate(files):
                storage.put(f"{folder}/{number:03d}.parquet", file)
            lists[reason] = str(storage.path(folder))
        return lists

    def _moved(self) -> Iterator[Found]:
        """Files that lie where they should: the store's own count is that of both folders."""
        return (Found(path, size, "unchanged", "") for path, size in _walk(self._root, FLOWS))

    # -- one file ------------------------------------------------------------------------------------------------------

    def _paths(self) -> Iterator[tuple[str, int]]:
        yield from _walk(self._root, SESSIONS)

    def _judged(self, path: str, size: int) -> Found:
        if _OURS.fullmatch(path.rpartition("/")[2]):
            return Found(path, size, "not_applicable", "left_by_us")
        if not path.isprintable() or not _is_text(path):
            return Found(path, size, "listed", "unsafe_path")
        if size > LARGEST:
            return Found(path, size, "listed", "too_large")
        try:
            image = self._store.read(path, LARGEST)
        except BadInput:
            return Found(path, size, "listed", "unsafe_path")
        except FileNotFoundError:
            return Found(path, size, "not_applicable", "gone")
        except OSError:
            return Found(path, size, "listed", "unreadable")
        if image.mtime_ns > self._settled_ns:
            return Found(path, size, "unsettled", "unsettled")
        return self._of_image(image)

    def _of_image(self, image: Image) -> Found:
        path, size = image.path, len(image.content)
        first = path.split("/")[1]
        session = _session_of(first) if "/" in path.removeprefix(f"{SESSIONS}/") else _session_of(_stem(first))
        content, rewritten, inside = image.content, 0, list[tuple[int, str]]()
        if path.lower().endswith(".json"):
            try:
                done = rewrite(content, self._map.to_flow)
            except NotJson as error:
                reason = _unusable(content, error)
                return self._aside(image, reason, session)
            except RecursionError:
                return Found(path, size, "listed", "too_deep", session)
            content, rewritten, inside = done.content, done.edits, done.sessions
        owners = {session: flow} if (flow := self._map.to_flow(session)) else self._owners(inside)
        if len(set(owners.values())) != 1:
            return Found(path, size, "listed", "several_sessions" if owners else "unknown_session", session)
        known, flow = next(iter(owners.items()))
        rest = path.split("/")[2:] or [first]
        target = "/".join((FLOWS, flow, *(self._renamed(one) for one in rest)))
        return Found(
            path, size, "planned", "to_move", known, rewritten, image, replace(image, path=target, content=content)
        )

    def _owners(self, inside: list[tuple[int, str]]) -> dict[str, str]:
        """Known sessions that a file names inside, with their flows: those of the outermost level that names one."""
        known = [(depth, one, flow) for depth, one in inside if (flow := self._map.to_flow(one))]
        outermost = min((depth for depth, *_ in known), default=0)
        return {one: flow for depth, one, flow in known if depth == outermost}

    def _aside(self, image: Image, reason: str, session: str | None) -> Found:
        """Into quarantine as it is, under a name that is free."""
        target = f"{QUARANTINE}/{image.path.removeprefix(f'{SESSIONS}/')}"
        if self._is_taken(replace(image, path=target)):
            target = f"{target}.{sha256(image.content).hexdigest()[:12]}"
        after = replace(image, path=target)
        return Found(image.path, len(image.content), "planned", reason, session, 0, image, after)

    def _placed(self, found: Found, taken: set[str]) -> Found:
        """A move as it is where its target is free, or holds just what we would write; else into quarantine."""
        assert found.before is not None
        assert found.after is not None
        if found.after.path in taken or self._is_taken(found.after):
            return self._aside(found.before, "target_taken", found.session)
        return found

    def _is_taken(self, image: Image) -> bool:
        try:
            if not self._store.exists(image.path):
                return False
            now = self._store.read(image.path, len(image.content))
        except (OSError, BadInput):
            return True
        return (now.content, now.mode) != (image.content, image.mode)

    def _renamed(self, name: str) -> str:
        stem, dot, suffix = name.partition(".")
        return f"{flow_value(stem, self._map.to_flow)}{dot}{suffix}"


def _session_of(name: str) -> str:
    return name.removeprefix("import_session_")


def _stem(name: str) -> str:
    return name.partition(".")[0]


def _unusable(content: bytes, error: NotJson) -> str:
    if not content:
        return "empty"
    return "truncated" if error.truncated or not content.strip(b"\0 \t\r\n") else "not_json"


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _walk(root: Path, top: str) -> Iterator[tuple[str, int]]:
    """Paths below the root and sizes, in order; a link to a folder counts as a file, and is not followed."""

    def failed(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError) or Path(error.filename) != root / top:
            raise SessionAssetsError(
                f"a folder in {VARIABLE} cannot be read, {safe_text(os.path.relpath(error.filename, root))}:"
                f" {safe_text(error.strerror)}. Nothing was planned or counted. Give the account the right, then run again."
            )

    for folder, folders, files in os.walk(root / top, onerror=failed):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(set(folders) - set(links))
        for name in sorted([*files, *links]):
            path = Path(folder, name)
            try:
                size = path.lstat().st_size
            except FileNotFoundError:
                continue  # gone meanwhile
            yield path.relative_to(root).as_posix(), size


def _batches(found: Iterator[Found]) -> Iterator[list[Found]]:
    batch: list[Found] = []
    size = 0
    for one in found:
        batch.append(one)
        size += 2 * one.size if one.after else 0
        if len(batch) >= _FILES_AT_ONCE or size > _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _count(tally: Tally, batch: list[Found]) -> None:
    rows = [
        (PARTITION, safe_text(one.path), safe_text(one.path), one.class_, one.reason or None, None, one.target)
        for one in batch
    ]
    names = ["partition", "key", "id", "class", "reason", "stored", "expected"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    tally.read(frame)
    tally.classify(frame)
    reason = pl.col("reason").fill_null("")
    states = frame.select(
        "partition", "class", unreadable=reason.is_in(list(UNREADABLE)), unmatched=reason == "unknown_session"
    )
    tally.look(states)
    tally.find(frame.drop_nulls("reason"))


def _rows(batch: list[Found]) -> pl.DataFrame:
    planned = [one for one in batch if one.before is not None and one.after is not None]
    return pl.DataFrame(
        {
            "partition": [PARTITION] * len(planned),
            "key": [one.path for one in planned],
            "op": ["replace"] * len(planned),
            "before": [one.before.encode() for one in planned if one.before],
            "after": [one.after.encode() for one in planned if one.after],
            "reasons": [[one.reason] for one in planned],
        },
        schema_overrides={
            "before": pl.Binary,
            "after": pl.Binary,
            "reasons": pl.List(pl.String),
            "partition": pl.String,
            "key": pl.String,
            "op": pl.String,
        },
    )
