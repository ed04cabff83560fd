"""Files of a real ledger are cut or replaced: the terminal names them, goes on with the rest, and finishes when restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from session_assets_tests.web.acceptance.documents import dump, fill, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Answer, Terminal

Web = Database[dict[str, Any]]


def cut(file: Path) -> bytes:
    """Cuts a file in half; returns what it held."""
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    return whole


def assert_named(answer: Answer, file: Path, ledger: Path) -> None:
    """Exit 1, no trace, and the file with its remedy."""
    assert answer.code == 1, answer
    said = " ".join(f"{answer.out} {answer.err}".split())
    assert str(file.relative_to(ledger.parents[1])) in said, said
    assert "is damaged" in said and "Restore it from a backup" in said, said
    assert "Traceback" not in said, said


@pytest.fixture
def ledger(cli: Terminal) -> Path:
    return cli.home / "storage" / "ledger" / "web"


def test_a_part_that_is_replaced_is_not_applied_and_the_others_are(cli: Terminal, web: Web, ledger: Path) -> None:
    fill(web)
    wrong = len(wrong_sessions(web))
    assert cli("plan", "web").code == 0
    first, second = sorted(ledger.glob("parts/*/*/000.parquet"))[:2]
    whole = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert_named(cli("apply", "web"), first, ledger)
    partition = first.parts[-3]
    assert 0 < len(wrong_sessions(web)) < wrong
    checked = cli("ledger", "check", "web")
    assert_named(checked, first, ledger)
    assert f"cannot apply plan {next(ledger.glob('plans/*.json')).stem} in {partition}" in checked.out
    first.write_bytes(whole)
    assert cli("ledger", "check").code == 0
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


def test_an_outcome_that_is_cut_stops_the_undo_of_its_partition_alone(cli: Terminal, web: Web, ledger: Path) -> None:
    fill(web)
    before = dump(web)
    plan_id = cli("apply", "web", "--json").body["plan_id"]
    outcome = sorted(ledger.glob("attempts/*/*/*/000000-outcome.json"))[0]
    whole = cut(outcome)
    answer = cli("revert", "web", "--plan-id", plan_id, "--json")
    assert_named(answer, outcome, ledger)
    assert answer.body["undoable"] > 0
    assert list(answer.body["damaged"]) == [outcome.parts[-2]]
    report = cli("ledger", "check", "--json")
    (found,) = report.body["ledgers"]
    assert report.code == 1
    assert [one["file"] for one in found["damaged"]] == [str(outcome.relative_to(ledger.parents[1]))]
    assert [(one["command"], one["partition"]) for one in found["cannot"]] == [("revert", outcome.parts[-2])]
    outcome.write_bytes(whole)
    assert cli("revert", "web", "--plan-id", plan_id).code == 0
    assert dump(web) == before


@pytest.mark.parametrize("where", ["plans/*.json", "recorded/*.json", "attempts/*/*/started.json"])
def test_json_that_is_cut_gives_one_clear_line(cli: Terminal, web: Web, ledger: Path, where: str) -> None:
    """It gave a traceback. The remedy that it names works: a new plan does not need the file."""
    fill(web)
    assert cli("plan", "web").code == 0
    if where.startswith(
        "attempts"
    ):  # of one day, so that the new plan has something to do, however quick the others are
        cli.killed_at("apply.after_write", "apply", "web", "--partition", "2025-03-01")
    (file,) = ledger.glob(where)
    cut(file)
    assert_named(cli("ledger", "check"), file, ledger)
    plan_id = next(ledger.glob("plans/*.json")).stem
    assert_named(cli("apply", "web", "--plan-id", plan_id), file, ledger)
    assert_named(cli("revert", "web", "--plan-id", plan_id), file, ledger)
    assert cli("plan", "web").code == 0
    assert cli("apply", "web").code == 0
    assert wrong_sessions(web) == {}


def test_a_home_without_a_ledger_has_nothing_to_check(cli: Terminal) -> None:
    answer = cli("ledger", "check")
    assert (answer.code, answer.out) == (0, "nothing was planned so far: there is no ledger\n")
    assert cli("ledger", "check", "web").code == 2
