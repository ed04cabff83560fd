"""Counts what was read and why documents are wrong, exactly, per partition, with a few examples of each reason.

The full lists go to Parquet; what stays in memory does not grow with the collection.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import polars as pl

from session_assets.changes.evidence import STATES, Figures
from session_assets.changes.outcomes import CLASSES, read_is_accounted
from session_assets.compact import compact
from session_assets.partition_files import PartitionWriter

SAMPLE = 20
FINDINGS = pl.Schema(
    {
        "partition": pl.String,
        "key": pl.String,
        "id": pl.String,  # what people call the document, e.g. its session_id
        "class": pl.String,
        "reason": pl.String,
        "stored": pl.String,
        "expected": pl.String,
    }
)
"""Columns of a full list: one row a document and reason."""


class Tally:
    """What one pass over a collection found. `reads` are counted by the reader, `classes` by the rules."""

    def __init__(self, scratch: Path | None = None) -> None:
        self.reads: Counter[str] = Counter()
        self.classes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.figures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.looked: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.samples: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._writer = PartitionWriter(scratch) if scratch is not None else None

    def read(self, documents: pl.DataFrame) -> None:
        """Count documents as they are read: column `partition`."""
        for partition, count in documents.group_by("partition").len().iter_rows():
            self.reads[partition] += count

    def classify(self, documents: pl.DataFrame) -> None:
        """Count classes: columns `partition`, `class`."""
        for partition, name, count in documents.group_by("partition", "class").len().iter_rows():
            self.classes[partition][name] += count

    def look(self, documents: pl.DataFrame) -> None:
        """Count what could be judged: columns `partition`, `class`, and Booleans `unreadable`, `unmatched`."""
        state = (
            pl.when("unreadable")
            .then(pl.lit("unreadable"))
            .when(pl.col("class").is_in(STATES))
            .then("class")
            .otherwise(pl.lit("judged"))
        )
        counted = documents.group_by("partition", state.alias("state")).agg(pl.len(), pl.col("unmatched").sum())
        for partition, name, count, unmatched in counted.iter_rows():
            self.looked[partition][name] += count
            self.looked[partition]["unmatched"] += unmatched if name == "judged" else 0

    def figures_of(self, partition: str) -> Figures:
        """What was looked at in a partition. Where nobody looked closer, all that was read was judged."""
        if partition not in self.looked:
            return Figures(judged=self.reads[partition])
        return Figures(**{name: self.looked[partition][name] for name in STATES})

    def all_figures(self) -> Figures:
        return sum((self.figures_of(partition) for partition in self.partitions), Figures())

    @property
    def unmatched(self) -> int:
        """Judged documents that nothing was compared with."""
        return sum(counts["unmatched"] for counts in self.looked.values())

    def find(self, findings: pl.DataFrame) -> None:
        """Count findings: columns of `FINDINGS`."""
        if findings.is_empty():
            return
        grouped = findings.group_by("partition", "reason").agg(pl.len(), pl.col("id").sort().head(SAMPLE))
        for partition, reason, count, ids in grouped.iter_rows():
            self.reasons[partition][reason] += count
            known = self.samples[partition][reason]
            known.extend(ids[: SAMPLE - len(known)])
        if self._writer is not None:
            kept = compact(findings.select(FINDINGS.names()))
            for (reason,), rows in kept.partition_by("reason", as_dict=True).items():
                self._writer.add(str(reason), rows)

    def measure(self, figures: pl.DataFrame) -> None:
        """Add what a slice counts beside classes and reasons: column `partition`, and a column of counts each."""
        for row in figures.to_dicts():
            self.figures[row.pop("partition")].update(row)

    def finish(self) -> dict[str, list[Path]]:
        """Local files of the full lists, by reason."""
        return self._writer.finish() if self._writer is not None else {}

    @property
    def partitions(self) -> list[str]:
        """Partitions that hold documents."""
        return sorted(self.reads)

    def drop(self, partition: str) -> None:
        """Forget a partition that failed half-way."""
        for counts in (self.reads, self.classes, self.reasons, self.figures, self.looked, self.samples):
            counts.pop(partition, None)

    def summary(self) -> dict[str, Any]:
        """All counts, per partition."""
        return {
            "read": dict(self.reads),
            "classes": {partition: dict(counts) for partition, counts in self.classes.items()},
            "reasons": {partition: dict(counts) for partition, counts in self.reasons.items()},
        }

    def unaccounted(self) -> dict[str, str]:
        """Partitions in which the documents read are not exactly those that ended in a class."""
        return {
            partition: f"{self.reads[partition]} read, but classes are {dict(self.classes[partition])}"
            for partition in sorted({*self.reads, *self.classes})
            if not read_is_accounted(self.reads[partition], self.classes[partition])
        }

    def total_classes(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for counts in self.classes.values():
            total.update(counts)
        return {name: total[name] for name in CLASSES}

    def total_reasons(self) -> dict[str, int]:
        total: Counter[str] = Counter()
        for counts in self.reasons.values():
            total.update(counts)
        return dict(sorted(total.items()))
