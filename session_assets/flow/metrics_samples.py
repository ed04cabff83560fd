"""What the application says of itself: samples from a Prometheus endpoint, or from a CSV or JSON file.

`FLOW_METRICS_URL` names the endpoint, `FLOW_METRICS_PATH` the file. What cannot be read gives no samples and a reason.
"""

from __future__ import annotations

import csv
import json
import math
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from session_assets.errors import UsageError
from session_assets.flow.metrics_model import Metric, terms
from session_assets.masking import safe_text

URL, PATH = "FLOW_METRICS_URL", "FLOW_METRICS_PATH"
_SECONDS, _LARGEST = 8, 16 * 1024 * 1024


@dataclass(frozen=True)
class Sample:
    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Samples:
    """Samples, and why there are none where there are none."""

    samples: list[Sample] = field(default_factory=list[Sample])
    reason: str = ""

    def value(self, metric: Metric) -> float | None:
        """A metric's value; None where a sample is missing, 0 divides, or it is not in the metric's range."""
        told = self.told(metric)
        return told if told is not None and metric.is_possible(told) else None

    def told(self, metric: Metric) -> float | None:
        """The sample of a metric's own name, else what its formula gives, whatever that is."""
        own = self._sum(metric.name)
        if own is not None or not metric.formula:
            return own
        first, *others = (self._term(term) for term in terms(metric.formula))
        if first is None:
            return None
        for other in others:
            if not other:
                return None
            first /= other
        return first

    def why_not(self, metric: Metric) -> str:
        """Why a metric has no value from the application."""
        if self.reason:
            return self.reason
        if (told := self.told(metric)) is not None:
            return f"the application says {told:g}, but it must be {metric.range}"
        if any(one.name == metric.name for one in self.samples):
            return f"the sample {metric.name} is no number"
        first, *others = terms(metric.formula)
        for term in (first, *others):
            if self._term(term) is None:
                return f"no sample of {metric.name}, and none of {term} that is a number"
        return f"no sample of {metric.name}, and {next((one for one in others if not self._term(one)), first)} is 0"

    def _term(self, term: str) -> float | None:
        return float(term) if term[0].isdigit() else self._sum(term)

    def _sum(self, selector: str) -> float | None:
        """The sum of the samples that a selector such as `name{label="value"}` chooses; None for none."""
        name, brace, _ = selector.partition("{")
        wanted: Mapping[str, str] = {}
        if brace:
            family = next(iter(text_string_to_metric_families(f"{selector} 0\n")), None)
            wanted = family.samples[0].labels if family and family.samples else {}
        found = [one.value for one in self.samples if one.name == name and wanted.items() <= one.labels.items()]
        return sum(found) if found and all(map(math.isfinite, found)) else None


def read_samples(env: Mapping[str, str]) -> Samples:
    """What the application says now. Raises `UsageError` only where the settings cannot be meant."""
    if env.get(URL) and env.get(PATH):
        raise UsageError(f"{URL} and {PATH} are both set: keep one of them.")
    if env.get(URL):
        return _endpoint(env[URL])
    if env.get(PATH):
        return _file(Path(env[PATH]))
    return Samples(reason=f"neither {URL} nor {PATH} is set")


def _endpoint(url: str) -> Samples:
    if not url.lower().startswith(("http://", "https://")):
        raise UsageError(f"{URL} must begin with http:// or https://. Correct it and try again.")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as response:
            text = response.read(_LARGEST + 1)
        if len(text) > _LARGEST:
            return Samples(reason=f"{URL} answers with more than {_LARGEST:,} bytes")
        return Samples(_parsed(text.decode("utf-8")))
    except (OSError, ValueError, HTTPException) as error:  # its text may show the URL
        return Samples(reason=f"{URL} cannot be read: {type(error).__name__}")


def _parsed(text: str) -> list[Sample]:
    families = text_string_to_metric_families(text)
    return [Sample(one.name, one.labels, float(one.value)) for family in families for one in family.samples]


def _file(path: Path) -> Samples:
    try:
        text = path.read_text(encoding="utf-8-sig")
        pairs = _from_json(text) if path.suffix == ".json" else _from_csv(text)
        return Samples([Sample(name, {}, _number(value)) for name, value in pairs])
    except (OSError, ValueError) as error:
        return Samples(reason=f"{PATH} cannot be read: {type(error).__name__}: {safe_text(error)[:200]}")


def _number(value: Any) -> float:
    """NaN for what is none, so that only the metric that needs it has no data."""
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _from_json(text: str) -> list[tuple[str, Any]]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("it is no object of names and numbers")
    return [*found.items()]


def _from_csv(text: str) -> list[tuple[str, Any]]:
    rows = csv.DictReader(text.splitlines())
    if not {"name", "value"} <= set(rows.fieldnames or ()):
        raise ValueError("it has no columns name and value")
    return [(row["name"], row["value"]) for row in rows]
