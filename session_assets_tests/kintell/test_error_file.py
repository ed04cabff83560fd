"""Error files: the documented format, inert in a spreadsheet, and lossless when imported again."""

from __future__ import annotations

import base64
import csv
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.drops.error_file import write_error_file
from session_assets.kintell.model import COLUMNS
from session_assets_tests.counts import examples
from session_assets_tests.kintell.files import Judged, checked, clean, judged, plant, read, write

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
HIDDEN = (
    " =1",
    "  +1",
    "\xa0-1",
    "\u3000@a",
    "\u200b=1",
    "\ufeff=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠a",
    " ＝1",
    "\u202e=1",
    "﹦1",
    "⁼1",
)
"""Spreadsheets trim some blanks, and Excel reads full-width signs as signs."""


def errors_of(path: Path, scratch: Path, name: str = "errors.csv") -> tuple[Path, Judged]:
    validated = checked(path, scratch)
    found = judged(validated)
    target = scratch / name
    write_error_file(target, validated.header, [found.rejected], with_raw=validated.has_raw)
    return target, found


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, strict=True))


def test_runbook_example_gives_the_documented_row(tmp_path: Path) -> None:
    lines = [
        "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level",
        *(",".join(clean(number, feedback_text="Good").values()) for number in range(41)),
        "session-123,Language Connect,nobody@example.com,volunteer@example.com,2024-01-01T10:00:00Z,60,5,Good,B1",
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    path, _ = errors_of(tmp_path / "a.csv", tmp_path)
    assert path.read_text() == (
        f"{lines[0]},_error_row,_error_line,_error_message\n{lines[-1]},42,43,Participant not found: nobody@example.com\n"
    )


def test_error_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path, _ = errors_of(write(tmp_path / "a.csv", [clean(0, date="soon")]), tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*.part"))


def test_formulas_are_inert_and_come_back_unchanged(tmp_path: Path) -> None:
    values = [f"{mark}cmd|'/c calc'!A1" for mark in FORMULAS] + [
        "'=1",
        "''",
        "'x",
        "'",
        "plain",
        " x",
        "x =1",
        "\ufeffx",
        *HIDDEN,
        "' =1",
        "'＝1",
    ]
    first, extra = "\ufeff=", "=HYPERLINK(1)"  # a byte order mark that is none
    rows = [
        {first: value, **clean(number, date="soon", feedback_text=value), extra: value}
        for number, value in enumerate(values)
    ]
    path, found = errors_of(write(tmp_path / "a.csv", rows, columns=[first, *COLUMNS, extra]), tmp_path)
    for row in cells(path):
        assert not [cell for cell in row if cell.startswith(FORMULAS)]
        assert not [cell for cell in row if cell in HIDDEN]
    again, found_again = errors_of(path, tmp_path, "again.csv")
    assert (
        found_again.rejected["fields"].to_list()
        == found.rejected["fields"].to_list()
        == [list(row.values()) for row in rows]
    )
    assert cells(again)[0] == cells(path)[0]


def test_record_that_cannot_be_split_stands_in_raw_until_it_is_repaired(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", [clean(0)])
    source.write_bytes(source.read_bytes() + b"a,b\n\xff" + b",".join([b""] * 9) + b"\n")
    path, found = errors_of(source, tmp_path)
    header, *rows = cells(path)
    assert header[-4:] == ["_raw", "_error_row", "_error_line", "_error_message"]
    assert [base64.b64decode(row[-4]) for row in rows] == [b"a,b", b"\xff,,,,,,,,"]
    _, again = errors_of(path, tmp_path, "again.csv")
    assert again.reasons == {1: ["still_raw"], 2: ["still_raw"]}
    assert again.rejected["raw"].to_list() == found.rejected["raw"].to_list()
    repaired = [[*clean(n).values(), *row[-4:]] for n, row in enumerate(rows)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *repaired])
    assert checked(path, tmp_path).accepted == 2


def test_repaired_rejects_make_up_the_clean_file(tmp_path: Path) -> None:
    planted = plant(1500)
    path, found = errors_of(write(tmp_path / "a.csv", planted.rows), tmp_path)
    header, *rows = cells(path)
    for row in rows:
        row[: len(COLUMNS)] = planted.repaired[int(row[-3]) - 1].values()
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    again = judged(checked(path, tmp_path))
    wanted = judged(checked(write(tmp_path / "clean.csv", planted.repaired), tmp_path))
    ids = sorted([*found.accepted["external_session_id"], *again.accepted["external_session_id"]])
    assert ids == sorted(wanted.accepted["external_session_id"])
    assert again.rejected.is_empty()


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
            min_size=10,
            max_size=10,
        ),
        min_size=1,
        max_size=5,
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
)
@examples(12)
def test_any_values_come_back_from_an_error_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], name: str
) -> None:
    folder = tmp_path_factory.mktemp("errors")
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([[*COLUMNS, f"extra {name}"], *rows])
    path, found = errors_of(folder / "a.csv", folder)
    assert found.rejected["fields"].to_list() == rows
    again, found_again = errors_of(path, folder, "again.csv")
    assert found_again.rejected["fields"].to_list() == rows
    assert again.read_bytes() == errors_of(again, folder, "third.csv")[0].read_bytes()
    assert read(again)[0][3] == [*rows[0], *cells(again)[1][-3:]]
