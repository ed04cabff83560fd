"""From a tally to check results: exact counts, up to 20 ids, the path of the full list, and the next step.

A slice gives its table of reasons; which reasons a check counts, and whether it fails as ERROR or WARN, follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from session_assets.changes.tally import SAMPLE, Tally
from session_assets.graph.partition_checks import PartitionResult
from session_assets.masking import safe_text


@dataclass(frozen=True)
class Rule:
    """One reason as checks need it: `repairable` ones fail as ERROR, the others as WARN."""

    reason: str
    text: str
    repairable: bool
    next_step: str
    needs_person: bool = False
    """Repaired by a plan of its own that only a person starts, such as a fold of duplicates."""


@dataclass(frozen=True)
class Share:
    """A share of what a slice counts that should reach a threshold; below it the check fails as WARN."""

    check: str
    part: str  # figures of the tally
    whole: str
    least: float
    text: str
    next_step: str


@dataclass(frozen=True)
class CheckReport:
    """One check over some partitions."""

    name: str
    partitions: Mapping[str, PartitionResult]
    count: int
    metadata: Mapping[str, Any]
    description: str
    sample: list[str]
    lists: dict[str, str]
    """Folders of Parquet files with every finding, by reason."""

    @property
    def severity(self) -> str:
        """The worst severity among the partitions that failed."""
        failed = {result.severity for result in self.partitions.values() if not result.passed}
        worst = dg.AssetCheckSeverity.WARN if failed == {dg.AssetCheckSeverity.WARN} else dg.AssetCheckSeverity.ERROR
        return worst.value

    def as_json(self, severity: str) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "name": self.name,
            "severity": severity,
            "passed": self.count == 0,
            "count": self.count,
            "sample": self.sample,
            "full_list": self.lists,
            "description": self.description,
        }


def check_reports(checks: Mapping[str, Sequence[Rule]], tally: Tally, lists: Mapping[str, str]) -> list[CheckReport]:
    """A report for each check, also for those that found nothing."""
    return [_report(name, rules, tally, lists) for name, rules in checks.items()]


def share_reports(shares: Iterable[Share], tally: Tally) -> list[CheckReport]:
    """A report for each share: over all partitions, since a few documents of one say little."""
    return [_share_report(share, tally) for share in shares]


def _share_report(share: Share, tally: Tally) -> CheckReport:
    part, whole = (sum(tally.figures[one][name] for one in tally.partitions) for name in (share.part, share.whole))
    reached = part / whole if whole else 1.0
    passed = reached >= share.least
    text = f"{part:,} of {whole:,} ({reached:.2%}): {share.text}"
    metadata = {"count": part, "of": whole, "share": f"{reached:.2%}", "at_least": f"{share.least:.0%}"}
    result = PartitionResult(
        passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=text if passed else f"{text}. {share.next_step}",
        metadata=metadata,
    )
    count = 0 if passed else whole - part
    partitions = dict.fromkeys(tally.partitions, result)
    return CheckReport(share.check, partitions, count, metadata, result.description or text, [], {})


def severity_of(rules: Iterable[Rule], counts: Mapping[str, int]) -> dg.AssetCheckSeverity:
    repairable = any(rule.repairable and counts.get(rule.reason, 0) for rule in rules)
    return dg.AssetCheckSeverity.ERROR if repairable else dg.AssetCheckSeverity.WARN


def _report(name: str, rules: Sequence[Rule], tally: Tally, lists: Mapping[str, str]) -> CheckReport:
    partitions: dict[str, PartitionResult] = {}
    totals: dict[str, int] = {}
    sample: list[str] = []
    for partition in tally.partitions:
        counts = {rule.reason: tally.reasons[partition][rule.reason] for rule in rules}
        ids = [one for rule in rules for one in tally.samples[partition][rule.reason]]
        for reason, count in counts.items():
            totals[reason] = totals.get(reason, 0) + count
        sample = list(dict.fromkeys([*sample, *ids]))[:SAMPLE]
        found = sum(counts.values())
        partitions[partition] = PartitionResult(
            passed=not found,
            severity=severity_of(rules, counts),
            description=_describe(rules, counts, tally.reads[partition]),
            metadata=_metadata(rules, counts, ids[:SAMPLE], tally.reads[partition], lists),
        )
    read = sum(tally.reads.values())
    return CheckReport(
        name,
        partitions,
        sum(totals.values()),
        _metadata(rules, totals, sample, read, lists),
        _describe(rules, totals, read),
        [safe_text(one) for one in sample],
        {reason: lists[reason] for reason, count in totals.items() if count and reason in lists},
    )


def _describe(rules: Sequence[Rule], counts: Mapping[str, int], read: int) -> str:
    found = [rule for rule in rules if counts.get(rule.reason)]
    if not found:
        return f"0 of {read:,} documents"
    parts = [f"{counts[rule.reason]:,} of {read:,}: {rule.text}" for rule in found]
    steps = dict.fromkeys(rule.next_step for rule in found)
    return ". ".join(parts) + ". " + " ".join(steps)


def _metadata(
    rules: Sequence[Rule], counts: Mapping[str, int], ids: list[str], read: int, lists: Mapping[str, str]
) -> dict[str, Any]:
    found = [rule for rule in rules if counts.get(rule.reason)]
    total = sum(counts.values())
    result: dict[str, Any] = {"count": total, "documents": read, "share": f"{total / read:.2%}" if read else "0%"}
    if found:
        result["reasons"] = ", ".join(f"{rule.reason} {counts[rule.reason]:,}" for rule in found)
        for rule in found:
            if rule.reason in lists:
                result[f"full_list_{rule.reason}"] = dg.MetadataValue.path(lists[rule.reason])
        result["sample"] = safe_text(", ".join(ids))
        result["next_step"] = " ".join(dict.fromkeys(rule.next_step for rule in found)).replace("`", "")
    return result
