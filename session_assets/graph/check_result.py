"""The one builder of check results: for Dagster, for one partition, and for `--json`, from the same figures (E1).

A check that judged nothing does not pass, whatever it counted; why that may be right is said by whoever says it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from session_assets.changes.evidence import Figures, Lack
from session_assets.changes.tally import SAMPLE
from session_assets.graph.markdown import Markdown, escaped, prose, sentences
from session_assets.graph.partition_checks import PartitionResult
from session_assets.masking import safe_text, shown

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
_LONGEST = 4000  # characters of a description
NO_EVIDENCE = "no_evidence"
"""Marks a result that failed because too little was judged: it never starts a repair."""


@dataclass(frozen=True)
class CheckResult:
    """What one check found, over all that a run is about, or in one partition.

    `text` says it in a sentence or some; `severity` is that of a failure; `lists` are folders of Parquet files by reason;
    `rightly` says why it is right that nothing was judged.
    """

    name: str
    figures: Figures
    count: int
    text: str
    severity: dg.AssetCheckSeverity = ERROR
    next_step: str = ""
    sample: Sequence[str] = ()
    lists: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lack: Lack | None = None
    rightly: str = ""

    @property
    def passed(self) -> bool:
        return not self.count and self.lack is None and (self.figures.judged > 0 or bool(self.rightly))

    @property
    def worst(self) -> dg.AssetCheckSeverity:
        """The severity of the result: a lack of evidence may raise it."""
        if self.lack is not None and self.lack.is_error:
            return ERROR
        return self.severity if self.count else ERROR if self.passed else WARN

    @property
    def description(self) -> str:
        """What a person reads: what was found, why that is no evidence, and what to do."""
        return safe_text(" ".join(part for part in self._told() if part))

    @property
    def markdown(self) -> Markdown:
        """The same for Dagster, which renders descriptions: only commands of the next step are more than text."""
        found, step, more = self._told()
        return sentences((escaped(found, _LONGEST), prose(step), escaped(more, _LONGEST)))

    def _told(self) -> tuple[str, str, str]:
        """What was found, the next step, and what else there is to say."""
        if self.lack is not None:
            found = f"Besides: {self.text}" if self.count else ""
            return f"No evidence: {_sentence(self.lack.text)}", self.lack.next_step, found
        if self.count:
            return _sentence(self.text), self.next_step, ""
        if self.figures.judged:
            return self.text, "", ""
        return _sentence(self.text), "", self.rightly or "Nothing was judged, so nothing is known."

    def result(self, asset: dg.AssetKey | None = None) -> dg.AssetCheckResult:
        """For a step to yield."""
        return dg.AssetCheckResult(
            asset_key=asset,
            check_name=self.name,
            passed=self.passed,
            severity=self.worst,
            description=self.markdown,
            metadata=self.all_metadata,
        )

    def of_partition(self) -> PartitionResult:
        """For `log_partition_results`."""
        return PartitionResult(self.passed, self.worst, self.markdown, self.all_metadata)

    @property
    def all_metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self.metadata, "count": self.count, **self.figures.as_dict()}
        if self.lack is not None:
            found |= {NO_EVIDENCE: True, "next_step": self.lack.next_step.replace("`", "")}
        elif self.count and self.next_step:
            found["next_step"] = self.next_step.replace("`", "")
        found |= {f"full_list_{reason}": dg.MetadataValue.path(path) for reason, path in self.lists.items()}
        if self.sample:
            found["sample"] = ", ".join(map(shown, self.sample[:SAMPLE]))
        return found

    def as_json(self) -> dict[str, Any]:
        """The object of `--json`."""
        return {
            "name": self.name,
            "severity": self.worst.value,
            "passed": self.passed,
            "count": self.count,
            **self.figures.as_dict(),
            "sample": [shown(one) for one in self.sample[:SAMPLE]],
            "full_list": dict(self.lists),
            "description": self.description,
            **({NO_EVIDENCE: True} if self.lack is not None else {}),
        }


def reported(results: Iterable[CheckResult]) -> dict[str, Any]:
    """The report of a step that the terminal reads."""
    return {"checks": [one.as_json() for one in results]}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."
