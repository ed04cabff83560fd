"""Every physical record of a file is accounted for by both uses of the reader, as an independent state machine has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from session_assets.drops import content, limits
from session_assets.kintell.reader import CsvFile
from session_assets.web.drops import check_drop
from session_assets.web.mapping import DropMapping, parse_mapping
from session_assets.web.readers import Drop
from session_assets.web.reasons import OF_PROBLEM
from session_assets_tests.counts import FULL, times
from session_assets_tests.drops.generated import Made, generated
from session_assets_tests.drops.state_machine import Record, account

_PARTS = 10


def by_kintell(path: Path) -> Iterator[Record]:
    number = 0
    for _, frame in CsvFile(path, required=()).frames():
        for row, line, lines, problem, _, fields in frame.iter_rows():
            number += 1
            assert row == number
            yield Record(line, lines, problem, None if fields is None else tuple(fields))


def mapping_with(delimiter: str) -> DropMapping:
    names = {"session": "c0", "timestamp": "c0", "timestamp_unit": "s", "event_type_value": "pageview"}
    return parse_mapping(names | {"delimiter": delimiter})


def by_web(path: Path, delimiter: str) -> Iterator[tuple[int, Record]]:
    """Each record with its number."""
    for read in Drop(path, mapping_with(delimiter)).records():
        for row, line, lines, fields in read.values.select("row", "line", "lines", "fields").iter_rows():
            yield row, Record(line, lines, None, tuple(fields))
        for row, line, lines, reason in read.rejected.select("row", "line", "lines", "reason").iter_rows():
            yield row, Record(line, lines, reason, None)


def counted_by_web(path: Path, delimiter: str) -> int:
    """How many records the check of the whole file counts."""
    summary = check_drop(path, mapping_with(delimiter))
    assert summary.rows == summary.events + sum(summary.rejected.values())
    return summary.rows


def assert_accounted(path: Path, made: Made) -> None:
    """Record by record, so that a large file is held once."""
    path.write_bytes(made.data)
    wanted = account(made.content, made.delimiter, made.width, limits.RECORD_LIMIT)
    for found, one in zip(by_kintell(path), wanted, strict=True):
        assert found == one
    seen = bytearray(len(wanted) + 1)
    for row, found in by_web(path, made.delimiter):
        one = wanted[row - 1]
        assert found == (one._replace(problem=str(OF_PROBLEM[one.problem])) if one.problem else one)
        seen[row] += 1
    assert seen[1:] == bytes([1]) * len(wanted)
    assert counted_by_web(path, made.delimiter) == len(wanted)


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
    made = generated(2_000_000 + number, 106_000_000)
    assert len(made.data) >= 100_000_000
    assert_accounted(tmp_path / "a.csv", made)
