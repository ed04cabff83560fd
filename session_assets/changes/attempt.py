"""One attempt on a plan: per partition and batch an intent, written before the batch, and an outcome, written after it.

    {number}-{random}/started.json
    {number}-{random}/{partition}/{batch}-intent.json     how each row's document stood just before we wrote, a letter each
    {number}-{random}/{partition}/{batch}-outcome.json    what became of each row, one letter a row, and the errors
    {number}-{random}/{partition}/finished.json           totals of the partition

Batches are numbered in the fixed order of the plan's rows, so that a killed attempt goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from session_assets.storage import Storage, file_name


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

    @staticmethod
    def find(storage: Storage, folder: str) -> Attempt | None:
        """None where it was not begun, or is being purged."""
        stored: dict[str, Any] | None = storage.find_json(f"{folder}/started.json")
        if stored is None:
            return None
        stored["partitions"] = tuple(stored["partitions"])
        return Attempt(storage, folder, **stored)

    def save(self) -> None:
        self.storage.write_json(
            f"{self.folder}/started.json",
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
        summary = self.storage.find_json(self._name(partition, "finished"))
        return summary is not None and not summary.get("abandoned")

    def is_stopped_apply(self, partition: str) -> bool:
        """Whether this is an apply that was killed in this partition, or is at work in it now."""
        return not self.is_revert and not self.is_finished(partition)

    def finish(self, partition: str, summary: dict[str, Any]) -> None:
        self.storage.write_json(self._name(partition, "finished"), summary)

    def summary(self, partition: str) -> dict[str, Any]:
        return self.storage.read_json(self._name(partition, "finished"))

    def intent(self, partition: str, batch: int) -> str | None:
        """State letters of the rows as seen before the write, or None when the batch was never begun."""
        stored = self.storage.find_json(self._name(partition, f"{batch:06d}-intent"))
        return None if stored is None else stored["states"]

    def write_intent(self, partition: str, batch: int, states: str) -> None:
        self.storage.write_json(self._name(partition, f"{batch:06d}-intent"), {"states": states})

    def outcome(self, partition: str, batch: int) -> BatchOutcome | None:
        """What became of a batch, or None when it is not known yet."""
        stored = self.storage.find_json(self._name(partition, f"{batch:06d}-outcome"))
        if stored is None:
            return None
        return BatchOutcome(stored["letters"], {int(row): reason for row, reason in stored["errors"].items()})

    def write_outcome(self, partition: str, batch: int, outcome: BatchOutcome) -> None:
        self.storage.write_json(
            self._name(partition, f"{batch:06d}-outcome"),
            {"letters": outcome.letters, "errors": {str(row): text for row, text in outcome.errors.items()}},
        )

    def letters(self, partition: str) -> int:
        """How many rows of a partition have an outcome in the ledger."""
        return len(self.outcome_letters(partition))

    def outcome_letters(self, partition: str) -> str:
        """The outcomes in the ledger, in the fixed order of the rows: the same for any size of batches."""
        folder = f"{self.folder}/{file_name(partition)}"
        names = sorted(name for name in self.storage.names(folder) if name.endswith("-outcome.json"))
        return "".join(self.storage.read_json(f"{folder}/{name}")["letters"] for name in names)

    def undone(self, partition: str) -> set[int]:
        """The numbers of the applies of a partition that this revert takes back."""
        if self.undoes is None or partition not in self.undoes:
            return set()
        return {self.undoes[partition], *(self.undoes_too or {}).get(partition, [])}

    def _name(self, partition: str, name: str) -> str:
        return f"{self.folder}/{file_name(partition)}/{name}.json"
