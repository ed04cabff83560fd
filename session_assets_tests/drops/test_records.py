"""Every physical record of a file is accounted for by both uses of the reader, as an independent state machine has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.drops import content, limits
from session_assets.kintell.reader import CsvFile
from session_assets.web.drops import check_drop
from session_assets.web.mapping import parse_mapping
from session_assets.web.readers import Drop
from session_assets.web.reasons import OF_PROBLEM
from session_assets_tests.counts import FULL, times
from session_assets_tests.drops.generated import Made, generated
from session_assets_tests.drops.state_machine import Record, account

_PARTS = 10


def by_kintell(path: Path) -> list[Record]:
    found: list[Record] = []
    for _, frame in CsvFile(path, required=()).frames():
        for row, line, lines, problem, _, fields in frame.iter_rows():
            found.append(Record(line, lines, problem, None if fields is None else tuple(fields)))
            assert row == len(found)
    return found


def by_web(path: Path, delimiter: str) -> tuple[list[Record], int]:
    """The records, and the number of them that the check of the whole file counted."""
    names = {"session": "c0", "timestamp": "c0", "timestamp_unit": "s", "event_type_value": "pageview"}
    mapping = parse_mapping(names | {"delimiter": delimiter})
    found: dict[int, Record] = {}
    for read in Drop(path, mapping).records():
        for row, line, lines, fields in read.values.select("row", "line", "lines", "fields").iter_rows():
            found[row] = Record(line, lines, None, tuple(fields))
        for row, line, lines, reason in read.rejected.select("row", "line", "lines", "reason").iter_rows():
            found[row] = Record(line, lines, reason, None)
    summary = check_drop(path, mapping)
    assert summary.rows == summary.events + sum(summary.rejected.values())
    assert list(found) == sorted(found) or sorted(found) == [*range(1, len(found) + 1)]
    return [found[row] for row in sorted(found)], summary.rows


def assert_accounted(path: Path, made: Made) -> list[Record]:
    path.write_bytes(made.data)
    wanted = account(made.content, made.delimiter, made.width, limits.RECORD_LIMIT)
    assert by_kintell(path) == wanted
    in_words = [
        Record(one.line, one.lines, str(OF_PROBLEM[one.problem]) if one.problem else None, one.values) for one in wanted
    ]
    assert by_web(path, made.delimiter) == (in_words, len(wanted))
    return wanted


@pytest.mark.parametrize("part", range(_PARTS))
def test_generated_files_are_accounted_for(tmp_path: Path, part: int) -> None:
    """A sample; with SESSION_ASSETS_TEST_FULL=1 5,000 files."""
    for number in range(part, times(40, 5000), _PARTS):
        assert_accounted(tmp_path / f"{number}.csv", generated(number))
        (tmp_path / f"{number}.csv").unlink()


@pytest.mark.parametrize("number", range(40))
def test_neither_blocks_nor_limits_change_the_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """With tiny blocks every record crosses one, and with a tiny limit records are too large."""
    monkeypatch.setattr(limits, "BLOCK", (120, 700, 5_000)[number % 3])
    monkeypatch.setattr(content, "_READ", (60, 300)[number % 2])
    monkeypatch.setattr(limits, "RECORD_LIMIT", (limits.RECORD_LIMIT, 60, 400)[number % 3])
    made = generated(1_000_000 + number, 3_000)
    if len(made.header) < 120:
        assert_accounted(tmp_path / "a.csv", made)


@pytest.mark.skipif(not FULL, reason="the size of a full run")
@pytest.mark.parametrize("number", range(20))
def test_large_files_are_accounted_for(tmp_path: Path, number: int) -> None:
    assert_accounted(tmp_path / "a.csv", generated(2_000_000 + number, 130_000_000))
