"""One attempt on a plan: per partition and batch an intent, written before the batch, and an outcome, written after it.

    {number}-{random}/started.json
    {number}-{random}/{partition}/{batch}-intent.json     how each row's document stood just before we wrote, a letter each
    {number}-{random}/{partition}/{batch}-outcome.json    what became of each row, one letter a row, and the errors
    {number}-{random}/{partition}/finished.json           totals of the partition

Batches are numbered in the fixed order of the plan's rows, so that a killed attempt goes on where it stopped. Each file carries a
digest of itself, and `finished.json` keeps those of the outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from session_assets.errors import DamagedFile
from session_assets.sealed import Sealed, find_sealed, read_sealed, write_sealed
from session_assets.storage import Storage, file_name

_STARTED = "started.json"
_NEEDS = ("number", "plan_id", "partitions", "batch_size", "run_id", "at_ns")


@dataclass(frozen=True)
class BatchOutcome:
    """Outcome letters of a batch's rows, in order, and reasons by row position."""

    letters: str
    errors: dict[int, str] = field(default_factory=dict[int, str])


@dataclass(frozen=True)
class Attempt:
    """An apply, or a revert where `undoes` maps each partition to the number of the attempt that is undone.

    A revert that takes back several applies of a partition names those before in `undoes_too`; one that goes on with what an
    earlier revert has left names that one in `rest_of`.
    """

    storage: Storage
    folder: str
    number: int
    plan_id: str
    partitions: tuple[str, ...]
    batch_size: int
    run_id: str
    at_ns: int
    undoes: dict[str, int] | None = None
    target: str | None = None  # the id of the target; None of version 0.1
    undoes_too: dict[str, list[int]] | None = None
    rest_of: dict[str, int] | None = None
    sealed: bool = True  # whether its files carry digests; not those of older versions
    digests: dict[tuple[str, int], str | None] = field(
        default_factory=dict[tuple[str, int], "str | None"], compare=False, repr=False
    )
    """Of the outcomes that were read or written through this object."""

    @staticmethod
    def find(storage: Storage, folder: str) -> Attempt | None:
        """None where it was not begun, or is being purged. Raises `DamagedFile`."""
        stored = find_sealed(storage, f"{folder}/{_STARTED}", *_NEEDS)
        if stored is None:
            return None
        said: dict[str, Any] = {**stored.body, "partitions": tuple(stored.body["partitions"])}
        try:
            return Attempt(storage, folder, **said, sealed=stored.sha256 is not None)
        except TypeError:  # a file without a digest that names other things
            raise DamagedFile(f"{folder}/{_STARTED}", "it is no attempt") from None

    def save(self) -> None:
        write_sealed(
            self.storage,
            f"{self.folder}/{_STARTED}",
            {
                "number": self.number,
                "plan_id": self.plan_id,
                "partitions": list(self.partitions),
                "batch_size": self.batch_size,
                "run_id": self.run_id,
                "at_ns": self.at_ns,
                "undoes": self.undoes,
                "target": self.target,
                **({"undoes_too": self.undoes_too} if self.undoes_too else {}),
                **({"rest_of": self.rest_of} if self.rest_of else {}),
            },
        )

    @property
    def is_revert(self) -> bool:
        return self.undoes is not None

    def is_finished(self, partition: str) -> bool:
        return self.storage.exists(self._name(partition, "finished"))

    def is_counted(self, partition: str) -> bool:
        """Whether this partition was gone through to its end, so that each of its rows has an outcome."""
        summary = self._find(partition, "finished", "outcomes")
        return summary is not None and not summary.body.get("abandoned")

    def is_stopped_apply(self, partition: str) -> bool:
        """Whether this is an apply that was killed in this partition, or is at work in it now."""
        return not self.is_revert and not self.is_finished(partition)

    def finish(self, partition: str, summary: dict[str, Any]) -> None:
        """Note the totals of a partition; each of its batches was read or written through this object."""
        batches = {str(batch): digest for (of, batch), digest in sorted(self.digests.items()) if of == partition}
        write_sealed(self.storage, self._name(partition, "finished"), {**summary, "batches": batches})

    def summary(self, partition: str) -> dict[str, Any]:
        name = self._name(partition, "finished")
        return read_sealed(self.storage, name, "outcomes", must=self.sealed).body

    def intent(self, partition: str, batch: int) -> str | None:
        """State letters of the rows as seen before the write, or None when the batch was never begun."""
        stored = self._find(partition, f"{batch:06d}-intent", "states")
        return None if stored is None else stored.body["states"]

    def write_intent(self, partition: str, batch: int, states: str) -> None:
        write_sealed(self.storage, self._name(partition, f"{batch:06d}-intent"), {"states": states})

    def outcome(self, partition: str, batch: int) -> BatchOutcome | None:
        """What became of a batch, or None when it is not known yet."""
        stored = self._find(partition, f"{batch:06d}-outcome", "letters", "errors")
        if stored is None:
            return None
        self.digests[partition, batch] = stored.sha256
        errors = {int(row): reason for row, reason in stored.body["errors"].items()}
        return BatchOutcome(stored.body["letters"], errors)

    def write_outcome(self, partition: str, batch: int, outcome: BatchOutcome) -> None:
        self.digests[partition, batch] = write_sealed(
            self.storage,
            self._name(partition, f"{batch:06d}-outcome"),
            {"letters": outcome.letters, "errors": {str(row): text for row, text in outcome.errors.items()}},
        )

    def letters(self, partition: str) -> int:
        """How many rows of a partition have an outcome in the ledger."""
        return len(self.outcome_letters(partition))

    def outcome_letters(self, partition: str) -> str:
        """The outcomes in the ledger, in the fixed order of the rows: the same for any size of batches. Raises `DamagedFile`."""
        found = {batch: self.outcome(partition, batch) for batch in self._batches(partition, "outcome")}
        finished = self._find(partition, "finished", "outcomes")
        told: dict[str, str | None] = {} if finished is None else finished.body.get("batches", {})
        for batch, digest in told.items():
            name = self._name(partition, f"{int(batch):06d}-outcome")
            if found.get(int(batch)) is None:
                raise DamagedFile(name, "it is missing")
            if self.digests[partition, int(batch)] != digest:
                raise DamagedFile(name, "it is not the one that the attempt wrote")
        return "".join(outcome.letters for _, outcome in sorted(found.items()) if outcome is not None)

    def require(self, partition: str, rows: int | None = None) -> None:
        """Raise `DamagedFile` if a file on which this partition depends is damaged; a finished one has an outcome of each row.

        `rows` is how many it has, where the caller knows. An intent counts only as long as its batch has no outcome.
        """
        letters = self.outcome_letters(partition)
        if rows is not None and self.is_finished(partition) and len(letters) != rows:
            raise DamagedFile(
                f"{self.folder}/{file_name(partition)}", f"{len(letters):,} of {rows:,} rows have an outcome"
            )
        for batch in set(self._batches(partition, "intent")) - set(self._batches(partition, "outcome")):
            self.intent(partition, batch)

    def undone(self, partition: str) -> set[int]:
        """The numbers of the applies of a partition that this revert takes back."""
        if self.undoes is None or partition not in self.undoes:
            return set()
        return {self.undoes[partition], *(self.undoes_too or {}).get(partition, [])}

    def _batches(self, partition: str, kind: str) -> list[int]:
        """The batches that have a file of a kind, in order."""
        end = f"-{kind}.json"
        names = self.storage.names(f"{self.folder}/{file_name(partition)}")
        return [int(name.removesuffix(end)) for name in names if name.endswith(end)]

    def _find(self, partition: str, name: str, *needs: str) -> Sealed | None:
        return find_sealed(self.storage, self._name(partition, name), *needs, must=self.sealed)

    def _name(self, partition: str, name: str) -> str:
        return f"{self.folder}/{file_name(partition)}/{name}.json"


@dataclass(frozen=True)
class BrokenAttempt:
    """An attempt of which nobody can tell what it was, since its first file is damaged or gone."""

    partitions: tuple[str, ...]  # in which it has begun
    at_ns: int | None  # None of versions that did not tell it in the name of the folder
    error: DamagedFile

    @staticmethod
    def look(storage: Storage, folder: str, error: DamagedFile | None = None) -> BrokenAttempt:
        error = error or DamagedFile(f"{folder}/{_STARTED}", "it is missing")
        partitions = tuple(unquote(name) for name in storage.names(folder) if name != _STARTED)
        named = folder.rpartition("/")[2].split("-")
        return BrokenAttempt(partitions, int(named[1]) if len(named) == 3 else None, error)
