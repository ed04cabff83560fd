"""One damaged file of a ledger never leads to a write that differs from the undamaged run, and stops only what depends on it.

Any byte flipped, a cut at any place, another file in its place, a file removed: the file is named in one line, by the work that
needs it and by `ledger check`.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import bson
import polars as pl
import pytest
from pymongo.collection import Collection

from session_assets.changes.change_set import Plan
from session_assets.changes.ledger_check import check_ledger
from session_assets.changes.session import apply_plans
from session_assets.changes.store import Written
from session_assets.errors import DamagedFile, SessionAssetsError
from session_assets.stores.mongo_changes import MongoStore
from session_assets_tests.changes.scenario import Change, Loop, doc, rows_of
from session_assets_tests.counts import times

KEYS = ("2025-01-01", "2025-01-02", "2025-01-03")
ROWS = 5  # of each partition: two batches of three and two


class Stopped(Exception):
    """As if the process was killed."""


class Stopping(MongoStore):
    """Stops after its first write in the last partition: an attempt that was killed there."""

    def write(self, changes: pl.DataFrame) -> Written:
        result = super().write(changes)
        if changes["partition"][0] == KEYS[-1]:
            raise Stopped
        return result


def changes(value: int, keys: tuple[str, ...]) -> list[Change]:
    """Changes of `n` from 0 to `value`."""
    found = []
    for place, key in enumerate(KEYS):
        for number in range(place * 10, place * 10 + ROWS):
            after = bson.encode({"n": value})
            if key in keys:
                found.append(Change("update", doc(number, n=0, p=key), after, (), key))
    return found


@dataclass
class World:
    """A ledger with an older plan that was never applied, a newer one that was: wholly in two partitions, half in the last."""

    loop: Loop
    older: Plan
    newer: Plan
    kept: Path
    documents: list[bytes]

    @property
    def base(self) -> Path:
        return Path(str(self.loop.storage.path("")))

    def reset(self) -> None:
        shutil.rmtree(self.base)
        shutil.copytree(self.kept, self.base)
        self.loop.fill(self.documents)
        self.loop.ledger = type(self.loop.ledger)(self.loop.storage, "web", self.loop.ledger.target)

    def files(self) -> list[str]:
        return sorted(str(file.relative_to(self.kept)) for file in self.kept.rglob("*") if file.is_file())


@pytest.fixture(params=["half applied", "pending", "applied", "half reverted"])
def world(request: pytest.FixtureRequest, collection: Collection[Any], tmp_path: Path) -> World:
    loop = Loop.new(collection, tmp_path, base=str(tmp_path / "storage"))
    whole = [doc(place * 10 + number, n=0, p=key) for place, key in enumerate(KEYS) for number in range(ROWS)]
    loop.fill(whole)
    older = loop.plan(rows_of(changes(1, KEYS)), KEYS)
    newer = loop.plan(rows_of(changes(2, KEYS)), KEYS)
    if request.param in ("half applied", "half reverted"):
        store = Stopping(collection, "WEB_MONGO_URI")
        report = apply_plans(loop.ledger, loop.ledger.pending(), store, run_id="apply", batch_size=3)
        assert [*report.failed] == [KEYS[-1]]
    if request.param in ("applied", "half reverted"):
        loop.apply()
    if request.param == "half reverted":
        loop.options = {}
        with pytest.raises(Stopped):
            revert_with(loop, newer, Stopping(collection, "WEB_MONGO_URI"))
    kept = tmp_path / "kept"
    shutil.copytree(tmp_path / "storage", kept)
    return World(loop, older, newer, kept, [*loop.now().values()])


def revert_with(loop: Loop, plan: Plan, store: MongoStore) -> None:
    from session_assets.changes.revert import revert

    revert(loop.ledger, plan, store, run_id="revert", batch_size=3)


def apply_pending(world: World) -> list[str]:
    """Errors of an apply of what waits."""
    loop = world.loop
    todo = loop.ledger.pending()
    damaged = {key: str(error) for key, error in loop.ledger.damaged.items()}
    report = apply_plans(loop.ledger, todo, loop.store, run_id="again", batch_size=3)
    return [*damaged.values(), *report.failed.values()]


def apply_named(world: World) -> list[str]:
    loop, plan = world.loop, world.loop.ledger.plan(world.newer.plan_id)
    todo = {plan.plan_id: [part.partition for part in plan.parts]}
    report = apply_plans(loop.ledger, todo, loop.store, run_id="again", batch_size=3)
    return [*report.failed.values()]


def revert_newer(world: World) -> list[str]:
    return [*world.loop.revert(world.loop.ledger.plan(world.newer.plan_id)).damaged.values()]


ACTIONS: list[Callable[[World], list[str]]] = [apply_pending, apply_named, revert_newer]


def run(world: World, action: Callable[[World], list[str]]) -> tuple[dict[str, bytes], list[str]]:
    """The documents after an action, and the errors that it told."""
    try:
        errors = action(world)
    except SessionAssetsError as error:
        errors = [str(error)]
    return world.loop.now(), errors


def flip(file: Path, chance: random.Random, _other: Path) -> None:
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def cut(file: Path, chance: random.Random, _other: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: chance.randrange(len(content))])


def swap(file: Path, _chance: random.Random, other: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(other.read_bytes())
    other.write_bytes(content)


def remove(file: Path, _chance: random.Random, _other: Path) -> None:
    file.unlink()


DAMAGES = [flip, cut, swap, remove]


def depends(name: str) -> set[str]:
    """The partitions of which a file tells something."""
    parts = unquote(name).split("/")
    return {key for key in KEYS if key in parts} or set(KEYS)


def is_like_a_kill(name: str, names: list[str]) -> bool:
    """Whether a ledger without this file is one of an attempt that was killed just before it was written."""
    folder = name.rpartition("/")[0]
    if name.endswith("/finished.json") or "/announced/" in name:
        return True
    is_batch = name.endswith(("-intent.json", "-outcome.json"))
    return is_batch and (f"{folder}/finished.json" not in names or name.endswith("-intent.json"))


def is_only_record(name: str, names: list[str]) -> bool:
    """Whether a file alone tells that a killed attempt had begun a batch: without it, its rows count as not ours, and stay."""
    return name.endswith("-intent.json") and name.replace("-intent", "-outcome") not in names


def test_one_damaged_file_stops_what_depends_on_it_and_nothing_else(world: World) -> None:
    names, chance = world.files(), random.Random(7)
    undamaged: dict[str, dict[str, bytes]] = {}
    for action in ACTIONS:
        world.reset()
        undamaged[action.__name__], errors = run(world, action)
        assert errors == []
    for _ in range(times(60, 2000)):
        damage, action, name = chance.choice(DAMAGES), chance.choice(ACTIONS), chance.choice(names)
        other = chance.choice([one for one in names if one != name and one.endswith(name[-5:])])
        world.reset()
        before = world.loop.now()
        if damage is swap and (world.base / name).read_bytes() == (world.base / other).read_bytes():
            continue
        damage(world.base / name, chance, world.base / other)
        hit = [name, other] if damage is swap else [name]
        case = (damage.__name__, action.__name__, *hit)
        if not (damage is remove and is_like_a_kill(name, names)):
            found = check_ledger(world.loop.storage, "web").damaged
            assert any(one in found for one in hit), (case, found)
        after, errors = run(world, action)
        is_told = not (damage is remove and is_only_record(name, names))
        assert_only_refused(before, after, undamaged[action.__name__], errors, hit, case, is_told=is_told)


def assert_only_refused(
    before: dict[str, bytes],
    after: dict[str, bytes],
    undamaged: dict[str, bytes],
    errors: list[str],
    hit: list[str],
    case: tuple[str, ...],
    *,
    is_told: bool,
) -> None:
    """Each document is as the undamaged run leaves it, or as it was; the latter only with an error that names a damaged file."""
    affected = {key for one in hit for key in depends(one)}
    for document, was in before.items():
        now, should = after[document], undamaged[document]
        assert now in (was, should), case
        if now != should:
            assert KEYS[int(bson.decode(was)["_id"]) // 10] in affected, case
            assert errors or not is_told, case
    for text in errors:
        assert "\n" not in text and "Restore it from a backup" in text, (case, text)
        assert any(one in text for one in hit), (case, text)


def test_a_damaged_part_is_planned_again_beside_the_old_one(world: World) -> None:
    """The remedy that each error names, if there is no backup: a new plan does not need the damaged file."""
    loop = world.loop
    (part,) = [part for part in world.newer.parts if part.partition == KEYS[1]]
    (world.base / loop.ledger.part_folder(part) / "000.parquet").write_bytes(b"PAR1")
    rows = rows_of(changes(2, KEYS))
    again = loop.plan(rows, KEYS)
    assert again.plan_id != world.newer.plan_id
    assert [one.copy for one in again.parts] == [0, 1, 0]
    with pytest.raises(DamagedFile, match=r"000\.parquet below SESSION_ASSETS_STORAGE is damaged"):
        list(loop.ledger.rows(part))
    assert [loop.ledger.plan(again.plan_id).part(KEYS[1]), [*loop.ledger.pending()]] == [
        again.parts[1],
        [again.plan_id],
    ]
    assert sum(rows.height for rows in loop.ledger.rows(again.parts[1])) == ROWS
