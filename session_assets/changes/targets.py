"""The targets that a home has worked on, and which of them are one and the same.

targets/{id}.json                    a target as its server named itself when it was seen last
targets/accepted/{time}-{old}.json   somebody said that OLD is now NEW: restored, renamed, moved or upgraded
targets/adopted/{digest}.json        the target of recordings of version 0.1, which name a source only; marked once
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from session_assets.changes.target import Known, Relation, StoreTarget
from session_assets.errors import DamagedFile, UsageError
from session_assets.sealed import read_sealed, write_sealed
from session_assets.storage import Storage

_BASE = "targets"
_ACCEPTED, _ADOPTED = f"{_BASE}/accepted", f"{_BASE}/adopted"
_SHORTEST = 6  # characters of an id that a person must type


@dataclass(frozen=True)
class Accepted:
    """Somebody's word that one target is now another."""

    old: str
    new: str
    note: str
    by: str
    at: str  # ISO 8601, UTC


class Targets:
    """The targets of one home."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def resolve(self, seen: StoreTarget) -> Known:
        """The target that answers now, with the id that it has here. A new one is entered; nothing else is written to the home.

        A target that was accepted as another keeps its own plans: the word goes one way, from the old to the new.
        """
        known, damaged = dict(self.all()), [*self.damaged()]
        same = [one for one, target in known.items() if target.relation(seen) is Relation.SAME]
        if damaged and not same:  # it may be the one that answers now, under another id
            raise damaged[0]
        target_id = max(same, key=lambda one: len({*known[one].members} & {*seen.members}), default=seen.id)
        now = known[target_id].joined(seen) if target_id in known else seen
        if now != known.get(target_id):
            write_sealed(self._storage, f"{_BASE}/{target_id}.json", now.as_dict())
        accepted = {one.old: one.new for one in self.accepted()}
        names = frozenset({target_id, *same} | {old for old in accepted if target_id in _chain(old, accepted)})
        before = frozenset(one for one, target in known.items() if now.is_in_place_of(target))
        shown = f"{now.shown} [{target_id}]"
        return Known(target_id, names, self._old_names(target_id, names, now), shown, now.coarse, before)

    def all(self) -> Iterator[tuple[str, StoreTarget]]:
        """Every target that was seen and can be read, by its id."""
        for name in self._names():
            with suppress(DamagedFile):
                yield name.removesuffix(".json"), self._target(f"{_BASE}/{name}")

    def damaged(self) -> Iterator[DamagedFile]:
        """What cannot be read of the targets."""
        for name in self._names():
            try:
                self._target(f"{_BASE}/{name}")
            except DamagedFile as error:
                yield error

    def accepted(self) -> list[Accepted]:
        """What people accepted, the oldest first. Raises `DamagedFile`."""
        names = self._storage.names(_ACCEPTED)
        return [Accepted(**read_sealed(self._storage, f"{_ACCEPTED}/{name}", "old", "new").body) for name in names]

    def _names(self) -> list[str]:
        return [name for name in self._storage.names(_BASE) if name.endswith(".json")]

    def _target(self, name: str) -> StoreTarget:
        return StoreTarget.from_dict(read_sealed(self._storage, name, "store", "members").body)

    def accept(self, old: str, new: str, *, note: str, by: str) -> Accepted:
        """Record that the target OLD is now NEW. Raises `UsageError` for ids that are not known, or that lead in a circle.

        OLD may also be what version 0.1 called a database, such as `mongodb://host:27017/web`.
        """
        known = dict(self.all())
        new = self._full(new, known)
        made = Accepted(old, new, note, by, datetime.now(UTC).isoformat(timespec="microseconds"))
        if "://" in old:
            self._adopt(old, new, note=note, by=by)
            return made
        made = replace(made, old=self._full(old, known))
        before = next((one for one in self.accepted() if one.old == made.old), None)
        if before is not None:  # plans of OLD may have been applied there: a second word would take their way back
            raise UsageError(
                f"target {made.old} was accepted as {before.new} by {before.by}: nothing was recorded. If that one has become"
                f" {new}: session-assets target accept {before.new} {new} --note WHY"
            )
        if made.old in _chain(new, {one.old: one.new for one in self.accepted()}):
            raise UsageError(f"target {new} is {made.old} already: nothing was recorded.")
        if known[made.old].store != known[new].store:
            raise UsageError(
                f"target {made.old} is of {known[made.old].store}, {new} of {known[new].store}: nothing was recorded."
            )
        write_sealed(self._storage, f"{_ACCEPTED}/{made.at}-{made.old}.json", vars(made))
        return made

    def shown(self, target_id: str) -> str:
        """A target for people, also one that only its id is known of."""
        stored = dict(self.all()).get(target_id)
        return target_id if stored is None else f"{stored.shown} [{target_id}]"

    # -- recordings of version 0.1 ------------------------------------------------------------------------------------

    def _old_names(self, target_id: str, names: frozenset[str], target: StoreTarget) -> frozenset[str]:
        """What version 0.1 called the target. The first target that a name leads to keeps it, whatever it leads to later."""
        files = [f"{_ADOPTED}/{name}" for name in self._storage.names(_ADOPTED)]
        stored = [read_sealed(self._storage, name, "source", "target").body for name in files]
        mine = {one["source"] for one in stored if one["target"] in names}
        source = target.old_name
        if source is not None and source not in {one["source"] for one in stored}:
            self._adopt(source, target_id)
            mine.add(source)
        return frozenset(mine)

    def _adopt(self, source: str, target_id: str, **said: str) -> None:
        name = f"{_ADOPTED}/{hashlib.sha256(source.encode()).hexdigest()[:24]}.json"
        at = datetime.now(UTC).isoformat(timespec="seconds")
        write_sealed(self._storage, name, {"source": source, "target": target_id, "at": at, **said})

    def _full(self, text: str, known: dict[str, StoreTarget]) -> str:
        found = [one for one in known if one == text or (len(text) >= _SHORTEST and one.startswith(text))]
        if len(found) != 1:
            raise UsageError(f"no target has the id {text}. `session-assets target list` prints those of this home.")
        return found[0]


def _chain(target_id: str, accepted: dict[str, str]) -> list[str]:
    """A target and what it was accepted as, one after the other."""
    chain = [target_id]
    while chain[-1] in accepted and accepted[chain[-1]] not in chain:
        chain.append(accepted[chain[-1]])
    return chain
