"""Decides what is to be done next for a document that moves to another partition, seen from both places. Pure: no I/O.

The steps are: create in the target, read back and compare, delete the source on its ETag. Whoever is killed between any two
leaves both documents; whoever looks then must tell our copy from somebody else's document, and an edit from none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cached_property
from typing import Any

from session_assets.changes.store import State
from session_assets.stores.cosmos_documents import Document, plain, same

_ABSENT = object()


@dataclass(frozen=True)
class Patch:
    """One document changed in the fields in which `before` and `after` differ; others may be edited by anybody."""

    before: Document
    after: Document

    @cached_property
    def fields(self) -> tuple[str, ...]:
        names = dict.fromkeys((*self.before, *self.after))
        return tuple(name for name in names if not _agree(self.before, self.after, name))

    def is_before(self, document: Mapping[str, Any]) -> bool:
        """Whether the document has these fields as `before` has them."""
        return all(_agree(self.before, document, name) for name in self.fields)

    def is_after(self, document: Mapping[str, Any]) -> bool:
        """Whether the document has these fields as `after` has them."""
        return all(_agree(self.after, document, name) for name in self.fields)

    def on(self, document: Mapping[str, Any]) -> Document:
        """The document changed: exactly `after` where it is exactly `before`."""
        if same(plain(document), self.before):
            return dict(self.after)
        result = plain(document)
        for name in self.fields:
            if name in self.after:
                result[name] = self.after[name]
            else:
                result.pop(name, None)
        return result

    def sets(self, name: str | None) -> bool:
        """Whether the change gives a field a value."""
        return name in self.after and name in self.fields


class Step(Enum):
    """What is to be done next."""

    CREATE = auto()  # the target, from the source
    REBUILD = auto()  # the target, from a source that was edited after the target was made
    DELETE = auto()  # the source: the target holds all of it
    DONE = auto()
    STOP = auto()  # not as planned, or edited under both keys: nothing is written or deleted

    @property
    def state(self) -> State:
        """How the document stands where this is the next step."""
        return _STATES[self]


_STATES = {
    Step.CREATE: State.BEFORE,
    Step.REBUILD: State.HALF,
    Step.DELETE: State.HALF,
    Step.DONE: State.AFTER,
    Step.STOP: State.OTHER,
}


def next_step(
    patch: Patch,
    source: Document | None,
    target: Document | None,
    *,
    marker: str | None = None,
    born: str | None = None,
    made: Patch | None = None,
) -> Step:
    """The next step, from both documents without system fields.

    `made` is the copy that this process itself wrote: from which source, and what. `marker` names a field whose value, where
    the change sets it, nobody else gives: a target that has it is our copy, edited or not. `born` names a field that no edit
    changes: a source in which it differs, or that lacks a field, was made afresh after ours was deleted, and the copy alone
    says what that said.
    """
    if target is not None and not patch.is_after(target):
        return Step.STOP
    if source is None:
        return Step.STOP if target is None else Step.DONE
    if not patch.is_before(source):
        return Step.STOP
    if target is None:
        return Step.CREATE
    if same(target, patch.on(source)):
        return Step.DELETE
    base = made or patch
    if same(target, base.after):
        return Step.REBUILD if _is_edit(base.before, source, born) else Step.STOP
    if same(source, base.before) and (made is not None or patch.sets(marker)):
        return Step.DELETE  # only our copy was edited since
    return Step.STOP


def _is_edit(before: Document, source: Document, born: str | None) -> bool:
    return before.keys() <= source.keys() and (born is None or _agree(before, source, born))


def _agree(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return same(one.get(name, _ABSENT), other.get(name, _ABSENT))
