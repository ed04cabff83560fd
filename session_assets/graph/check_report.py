"""From a tally to check results: exact counts, up to 20 ids, the path of the full list, and the next step.

A slice gives its table of reasons; which reasons a check counts, and whether it fails as ERROR or WARN, follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from session_assets.changes.evidence import Figures, Lack
from session_assets.changes.tally import SAMPLE, Tally
from session_assets.graph.check_result import ERROR, WARN, CheckResult
from session_assets.graph.partition_checks import PartitionResult


@dataclass(frozen=True)
class Rule:
    """One reason as checks need it: `repairable` ones fail as ERROR, the others as WARN."""

    reason: str
    text: str
    repairable: bool
    next_step: str
    needs_person: bool = False
    """Repaired by a plan of its own that only a person starts, such as a fold of duplicates."""
    unreadable: bool = False
    """Documents that nobody can judge: a value was not understood."""


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
    """One check: over all that a run is about, and in each partition."""

    total: CheckResult
    partitions: Mapping[str, CheckResult]

    @property
    def name(self) -> str:
        return self.total.name

    @property
    def count(self) -> int:
        return self.total.count

    def partition_results(self) -> dict[str, PartitionResult]:
        """For `log_partition_results`."""
        return {partition: result.of_partition() for partition, result in self.partitions.items()}


def check_reports(
    checks: Mapping[str, Sequence[Rule]],
    tally: Tally,
    lists: Mapping[str, str],
    lack: Lack | None = None,
    unit: str = "documents",
) -> list[CheckReport]:
    """A report for each check, also for those that found nothing. `lack` is that of the whole run."""
    return [_report(name, rules, tally, lists, _concerns(lack, rules), unit) for name, rules in checks.items()]


def share_reports(shares: Iterable[Share], tally: Tally, lack: Lack | None = None) -> list[CheckReport]:
    """A report for each share: over all partitions, since a few documents of one say little."""
    everywhere = lack if lack is not None and lack.everywhere else None
    return [_share_report(share, tally, everywhere) for share in shares]


def _concerns(lack: Lack | None, rules: Sequence[Rule]) -> Lack | None:
    """Too many unreadable documents are the failure of the checks that list them."""
    return lack if lack is not None and (lack.everywhere or any(rule.unreadable for rule in rules)) else None


def _share_report(share: Share, tally: Tally, lack: Lack | None) -> CheckReport:
    part, whole = (sum(tally.figures[one][name] for one in tally.partitions) for name in (share.part, share.whole))
    reached = part / whole if whole else 1.0
    passed = reached >= share.least
    metadata = {"of": whole, "share": f"{reached:.2%}", "at_least": f"{share.least:.0%}"}
    total = CheckResult(
        share.check,
        tally.all_figures(),
        0 if passed else whole - part,
        f"{part:,} of {whole:,} ({reached:.2%}): {share.text}",
        WARN,
        share.next_step,
        metadata=metadata,
        lack=lack,
        rightly=_rightly(tally.all_figures()),
    )
    return CheckReport(total, dict.fromkeys(tally.partitions, total))


def severity_of(rules: Iterable[Rule], counts: Mapping[str, int]) -> dg.AssetCheckSeverity:
    """ERROR where something that rules can repair was found."""
    return ERROR if any(rule.repairable and counts.get(rule.reason, 0) for rule in rules) else WARN


def _report(
    name: str, rules: Sequence[Rule], tally: Tally, lists: Mapping[str, str], lack: Lack | None, unit: str
) -> CheckReport:
    totals: dict[str, int] = {rule.reason: 0 for rule in rules}
    partitions: dict[str, CheckResult] = {}
    sample: list[str] = []
    overall = tally.all_figures()
    elsewhere = "Other partitions of this run were judged." if overall.judged else _rightly(overall)
    for partition in tally.partitions:
        counts = {rule.reason: tally.reasons[partition][rule.reason] for rule in rules}
        ids = [one for rule in rules for one in tally.samples[partition][rule.reason]]
        for reason, count in counts.items():
            totals[reason] += count
        sample = list(dict.fromkeys([*sample, *ids]))[:SAMPLE]
        partitions[partition] = _result(
            name, rules, counts, tally.figures_of(partition), ids, lists, lack, unit, elsewhere
        )
    return CheckReport(_result(name, rules, totals, overall, sample, lists, lack, unit, _rightly(overall)), partitions)


def _result(
    name: str,
    rules: Sequence[Rule],
    counts: Mapping[str, int],
    figures: Figures,
    ids: list[str],
    lists: Mapping[str, str],
    lack: Lack | None,
    unit: str,
    rightly: str,
) -> CheckResult:
    found = [rule for rule in rules if counts.get(rule.reason)]
    total = sum(counts.values())
    share = f"{total / figures.read:.2%}" if figures.read else "0%"
    reasons = ", ".join(f"{rule.reason} {counts[rule.reason]:,}" for rule in found)
    return CheckResult(
        name,
        figures,
        total,
        ". ".join(f"{counts[rule.reason]:,} of {figures.read:,}: {rule.text}" for rule in found)
        or f"0 of {figures.judged:,} {unit} judged",
        severity_of(rules, counts),
        " ".join(dict.fromkeys(rule.next_step for rule in found)),
        ids,
        {rule.reason: lists[rule.reason] for rule in found if rule.reason in lists},
        {"share": share, **({"reasons": reasons} if found else {})},
        lack,
        rightly,
    )


def _rightly(figures: Figures) -> str:
    """Where all documents are of a kind that no rule is about, it is right that none was judged."""
    return "All of them are of a kind that no rule is about." if figures.read and not figures.applicable else ""
