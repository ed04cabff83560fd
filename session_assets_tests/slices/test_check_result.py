"""What the one builder of check results promises, whatever a check says besides."""

from __future__ import annotations

import dagster as dg
import pytest

from session_assets.changes.evidence import Figures, Lack
from session_assets.graph.check_result import ERROR, NO_EVIDENCE, WARN, CheckResult

LACK = Lack("the database is not there", "Correct the name.")


@pytest.mark.parametrize(
    ("figures", "count", "rightly", "lack", "passed", "severity"),
    [
        (Figures(judged=3), 0, "", None, True, ERROR),
        (Figures(judged=3), 1, "", None, False, WARN),
        (Figures(), 0, "", None, False, WARN),  # judged nothing
        (Figures(unreadable=2), 0, "", None, False, WARN),
        (Figures(), 0, "Nothing was imported so far.", None, True, ERROR),
        (Figures(judged=3), 0, "", LACK, False, ERROR),
        (Figures(), 0, "Nothing was imported so far.", LACK, False, ERROR),
    ],
)
def test_a_check_passes_only_if_it_judged_something_or_rightly_nothing(
    figures: Figures, count: int, rightly: str, lack: Lack | None, passed: bool, severity: dg.AssetCheckSeverity
) -> None:
    result = CheckResult("one", figures, count, "text", WARN, rightly=rightly, lack=lack)
    assert (result.passed, result.worst) == (passed, severity)
    assert (
        result.as_json()["passed"] == result.of_partition().passed == result.result(dg.AssetKey("a")).passed == passed
    )
    assert (NO_EVIDENCE in result.all_metadata) is (lack is not None)


def test_nothing_that_a_check_says_besides_changes_its_figures() -> None:
    said = {"unsettled": 9, "read": 1, "count": 5, "class_unsettled": 9}
    found = CheckResult("one", Figures(judged=2, unreadable=1), 0, "text", metadata=said).all_metadata
    figures = {name: found[name] for name in ("count", "read", "judged", "not_applicable", "unsettled", "unreadable")}
    assert figures == {"count": 0, "read": 3, "judged": 2, "not_applicable": 0, "unsettled": 0, "unreadable": 1}
    assert found["class_unsettled"] == 9
