"""Every physical record of a file comes out, with its row and line, whatever the file looks like."""

from __future__ import annotations

import csv
import gzip
import io
import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.drops import content, limits
from session_assets.drops.limits import RAW_KEPT, RECORD_LIMIT
from session_assets.errors import BadInput, UsageError
from session_assets.kintell.model import FIELD_LIMIT, REQUIRED
from session_assets.kintell.reader import CsvFile
from session_assets_tests.counts import examples
from session_assets_tests.kintell.files import SAMPLE, checked, clean, judged, read, write

SPECTRUM = Path(__file__).parents[3] / "shared" / "data" / "csv" / "csv_spectrum"


def given_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "a.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.skipif(not SPECTRUM.is_dir(), reason=f"no csv_spectrum at {SPECTRUM}")
def test_csv_spectrum_reads_as_its_json() -> None:
    paths = sorted((SPECTRUM / "csvs").glob("*.csv"))
    assert len(paths) >= 11
    for path in paths:
        rows = []
        for header, frame in CsvFile(path, required=()).frames():
            rows += [dict(zip(header.names, values[-1], strict=True)) for values in frame.iter_rows()]
        assert rows == json.loads((SPECTRUM / "json" / f"{path.stem}.json").read_text()), path.name


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiter_and_line_ends_are_told_by_the_header(tmp_path: Path, delimiter: str, end: str) -> None:
    rows = [clean(number) for number in range(9)]
    found = read(write(tmp_path / "a.csv", rows, delimiter=delimiter, end=end), required=REQUIRED)
    assert [one[3] for one in found] == [list(row.values()) for row in rows]
    assert [one[1] for one in found] == [2, 3, 4, 5, 7, 8, 9, 10, 12]  # every fourth row stands on two lines


@pytest.mark.parametrize(
    ("encoding", "told"),
    [("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("utf-16-le", "utf-16-le"), ("latin-1", "latin-1")],
)
def test_encodings(tmp_path: Path, encoding: str, told: str | None) -> None:
    text = SAMPLE.replace("Excellent", "Réussi")
    path = given_file(tmp_path, text.encode(encoding))
    accepted = judged(checked(path, tmp_path, encoding=told)).accepted
    assert accepted["feedback_text"][0] == "Réussi session!"
    assert accepted.height == 3


def test_utf_16_without_a_mark_asks_for_the_order_of_its_bytes(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be read as utf-16: .*does not start with BOM. Say another.*utf-16-le"):
        read(given_file(tmp_path, SAMPLE.encode("utf-16-le")), encoding="utf-16")


def test_latin_1_that_nobody_told_is_rejected_with_its_bytes(tmp_path: Path) -> None:
    found = judged(checked(given_file(tmp_path, SAMPLE.replace("Excellent", "Réussi").encode("latin-1")), tmp_path))
    assert found.reasons == {1: ["wrong_encoding"]}
    assert found.rejected["raw"][0] == SAMPLE.replace("Excellent", "Réussi").encode("latin-1").splitlines()[1]
    assert found.accepted.height == 2


def test_unknown_encoding_is_a_usage_error(tmp_path: Path) -> None:
    for name in ("klingon", "base64"):
        with pytest.raises(UsageError, match="no text encoding"):
            CsvFile(tmp_path / "a.csv" if given_file(tmp_path, SAMPLE) else tmp_path, encoding=name)


def test_header_in_any_order_and_case(tmp_path: Path) -> None:
    columns = [*reversed(clean(0))]
    path = write(tmp_path / "a.csv", [clean(0), clean(1)], columns=columns)
    path.write_text(path.read_text().replace('"session_id"', '" Session_ID "').replace("rating", "RATING"))
    assert judged(checked(path, tmp_path)).accepted["external_session_id"].to_list() == [
        "kintell-session-00000",
        "kintell-session-00001",
    ]


def test_file_without_a_required_column_names_what_is_missing_and_what_is_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [clean(0)], columns=[*clean(0)])
    path.write_text(path.read_text().replace("date", "when, mary@example.com").replace("volunteer_email", "mentor"))
    with pytest.raises(BadInput) as error:
        checked(path, tmp_path)
    assert "missing: volunteer_email, date" in str(error.value)
    assert "Found: session_id, session_type, participant_email, mentor, when, m***@example.com, duration_min" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "a.csv: empty"),
        (b"\n\r\n", "no header: it holds empty lines alone"),
        (b"PK\x03\x04 rest", "a ZIP archive or an Excel workbook"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", r"line 1: the header is not valid in the encoding of the file"),
        (b"a,\0,b\n", "line 1: the header holds NUL bytes: this is a binary file"),
        (SAMPLE.encode("utf-16-le"), "line 1: the header holds NUL bytes: this is UTF-16 .* --encoding utf-16-le"),
        (
            SAMPLE.replace("rating", "né").encode("latin-1"),
            "line 1: .*not valid .* It may be cp1252: Say --encoding cp1252",
        ),
        (SAMPLE.replace("rating", "Date", 1), "names columns more than once: date"),
        (SAMPLE.replace("rating", "_raw", 1), "_raw is reserved for error files"),
        ("x,x," + SAMPLE, "names columns more than once: x"),
        ('"session_id,' + SAMPLE, "line 1: the quotes of the header do not match"),
        (SAMPLE.replace(",session_type", ',"session_type', 1), "line 1: the quotes of the header do not match"),
        (
            SAMPLE.replace("session_id", 'session_id"', 1),
            'missing: session_id. The quotes .* do not match, see session_id"',
        ),
        ("\n" + SAMPLE.replace("session_id", '"session_id"x', 1), "line 2: the quotes of the header do not match"),
        ("x" * (RECORD_LIMIT + 1), "line 1: no CSV header: the line is longer than"),
        (SAMPLE.replace(",", "|"), r"separated by `\|`; it was read with comma or semicolon or tab"),
        (SAMPLE.replace(",", " "), "separated by space; it was read with comma or semicolon or tab"),
        (",".join(f"c{n}" for n in range(50_000)), "its header has 50,000 columns; at most 10,000 are read"),
        ("a" * 5000 + ",b\n", f"Found: {'a' * 39}…, b"),
    ],
)
def test_files_that_cannot_be_used_say_the_one_reason_why(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(BadInput, match=message) as failure:
        checked(given_file(tmp_path, text), tmp_path)
    assert len(str(failure.value)) < 700


def test_header_alone_is_a_file_without_rows(tmp_path: Path) -> None:
    assert checked(given_file(tmp_path, SAMPLE.splitlines()[0]), tmp_path).total_rows == 0


HEAD, GOOD = "a,b,c\n", "1,2,3\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1,2\n" + GOOD, [(1, 2, "ragged", b"1,2"), (2, 3, None, ["1", "2", "3"])]),
        ("1,2,3,4\r\n", [(1, 2, "ragged", b"1,2,3,4")]),
        ("\n\r\n" + GOOD + "\n", [(1, 4, None, ["1", "2", "3"])]),
        ('1,"2\n\n2",3\n' + GOOD, [(1, 2, None, ["1", "2\n\n2", "3"]), (2, 5, None, ["1", "2", "3"])]),
        ('1,"2\r\n2",3\r\n4,5,6\r\n', [(1, 2, None, ["1", "2\r\n2", "3"]), (2, 4, None, ["4", "5", "6"])]),
        ('1,5" wide,3\n', [(1, 2, None, ["1", '5" wide', "3"])]),
        ('1,"2"x,3\n' + GOOD, [(1, 2, "broken_quotes", b'1,"2"x,3'), (2, 3, None, ["1", "2", "3"])]),
        (
            '1,"2,3\n' + GOOD + GOOD,
            [(1, 2, "broken_quotes", b'1,"2,3'), *[(n, n + 1, None, ["1", "2", "3"]) for n in (2, 3)]],
        ),
        ("1,\0,3\n" + GOOD, [(1, 2, "holds_nul", b"1,\0,3"), (2, 3, None, ["1", "2", "3"])]),
        ('"","",""\n,,\n', [(1, 2, None, ["", "", ""]), (2, 3, None, ["", "", ""])]),
        ("1,2, 3 ", [(1, 2, None, ["1", "2", " 3 "])]),
        ("\ufeff1,2,\ufeff3\n", [(1, 2, None, ["1", "2", "\ufeff3"])]),
        ("x\x01,2,3\n", [(1, 2, None, ["x\x01", "2", "3"])]),
    ],
)
def test_dirt(tmp_path: Path, text: str, found: list[object]) -> None:
    assert read(given_file(tmp_path, HEAD + text)) == found


def test_stray_quote_does_not_swallow_the_rows_after_it(tmp_path: Path) -> None:
    rows = 40_000
    found = read(given_file(tmp_path, HEAD + '1,"2,3\n' + GOOD * rows))
    assert found[0] == (1, 2, "broken_quotes", b'1,"2,3')
    assert [one[:3] for one in found[1:]] == [(n, n + 1, None) for n in range(2, rows + 2)]


def test_what_is_too_large_is_rejected_with_its_line(tmp_path: Path) -> None:
    long, longer = "x" * (FIELD_LIMIT + 1), "y" * (RECORD_LIMIT + 1)
    found = read(
        given_file(
            tmp_path, f"{HEAD}1,{long},3\n{GOOD}{longer}\n{GOOD}1,2,{'é' * 1_000_000}\n1,2,{'z' * FIELD_LIMIT}\n"
        )
    )
    assert [(*one[:3], len(str(one[3])) if one[2] else 0) for one in found] == [
        (1, 2, "field_too_large", len(str(["1", long, "3"]))),
        (2, 3, None, 0),
        (3, 4, "record_too_large", RAW_KEPT + 3),
        (4, 5, None, 0),
        (5, 6, "record_too_large", len(str(f"1,2,{'é' * 1_000_000}".encode()[:RAW_KEPT]))),
        (6, 7, None, 0),
    ]


@pytest.mark.parametrize(
    "line",
    ['x",y,"z\n', '"a\n', ",\n", "\n", '"\n', 'a,"b""\n'],
    ids=["reopened", "open", "ragged", "empty", "alone", "doubled"],
)
def test_no_input_is_slow(tmp_path: Path, line: str) -> None:
    """Each of these made some way of reading quadratic."""
    path = given_file(tmp_path, HEAD + line * (600_000 // len(line)))
    began = time.process_time()
    count = sum(frame.height for _, frame in CsvFile(path, required=()).frames())
    assert time.process_time() - began < 10
    assert count > 0 or line == "\n"


def test_gzip_is_read_and_a_cut_one_refused_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(SAMPLE.encode()))
    assert checked(path, tmp_path).accepted == 3
    for cut in (-1, -9, 20):
        path.write_bytes(gzip.compress(SAMPLE.encode())[:cut])
        with pytest.raises(BadInput, match="cut off or damaged"):
            checked(path, tmp_path)


def test_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEAST_EXPANDED", 100_000)
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress((SAMPLE + "x" * 10_000_000).encode()))
    with pytest.raises(BadInput, match="expands to more than"):
        checked(path, tmp_path)


# -- whatever the csv module reads --------------------------------------------------------------------------------------

_PIECES = [
    "a",
    'b"',
    ",",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "é",
    " ",
    "x,y",
    '"q"',
    '"q,""z""\n"',
    '"a b"',
    "\ufeff",
    "\x01",
    "\0",
    "1,2,3\n",
]


@given(st.lists(st.sampled_from(_PIECES), max_size=60).map("".join), st.sampled_from([60, 150, 4 << 20]))
@examples(300)
def test_reading_agrees_with_the_csv_module(tmp_path: Path, body: str, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BLOCK", block)
        patch.setattr(content, "_READ", block)
        quick = read(given_file(tmp_path, HEAD + body))
    if "\0" in body or any(f"{end}\ufeff" in HEAD + body for end in "\r\n"):
        return
    try:
        wanted = [one for one in csv.reader(io.StringIO(HEAD + body, newline=""), strict=True) if one][1:]
    except csv.Error:
        return
    assert [one[3] if one[2] is None else None for one in quick] == [one if len(one) == 3 else None for one in wanted]
    assert [one[0] for one in quick] == [*range(1, len(quick) + 1)]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_that_were_put_together_carry_a_mark_each(tmp_path: Path, encoding: str) -> None:
    """A mark is no part of an id, a quote, or an empty line; inside a record it is a character as any other."""
    lines = ["session_id,a,b", "x1,2,3", '"x2",2,"3\n\ufeff"', "", "x3,\ufeff2,3", "x4,2"]
    parts = [f"{line}\n".encode(encoding) for line in lines]
    values = [["x1", "2", "3"], ["x2", "2", "3\n\ufeff"], ["x3", "\ufeff2", "3"], b"\xef\xbb\xbfx4,2"]
    for name, data in (("a.csv", b"".join(parts)), ("a.csv.gz", b"".join(map(gzip.compress, parts)))):
        (tmp_path / name).write_bytes(data)
        found = read(tmp_path / name)
        assert [one[3] for one in found] == values
        assert [one[2] for one in found] == [None, None, None, "ragged"]
        assert [one[1] for one in found] == [2, 3, 6, 7]


def test_gzip_members_may_be_tiny_and_padded(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    for encoding in ("utf-8-sig", "utf-16"):
        data = SAMPLE.encode(encoding)
        members = [gzip.compress(data[place : place + 1]) for place in range(5)] + [gzip.compress(b"")]
        path.write_bytes(b"".join([*members, gzip.compress(data[5:]), b"\0" * 1_000_000]))
        assert len(read(path)) == 3
    path.write_bytes(gzip.compress(SAMPLE.encode()) + b"\0\0x")
    with pytest.raises(BadInput, match="cut off or damaged"):
        read(path)


def test_record_that_cannot_be_split_says_how_many_lines_it_holds(tmp_path: Path) -> None:
    path = given_file(tmp_path, SAMPLE + '"x\ny\nz",2\n')
    validated = checked(path, tmp_path)
    found = judged(validated)
    assert found.messages == ["The number of fields is not that of the header; it holds 3 lines"]
    assert validated.oddities == {"lines_of_rejects": 3}


def test_accepted_record_that_holds_rows_is_told(tmp_path: Path) -> None:
    """Two stray quotes may make a well-formed record of many; nobody can tell that from a text that holds a table."""
    header, *rows = SAMPLE.splitlines()
    text = f"{rows[0].replace('Excellent', chr(34))}\n{rows[1]}\n{rows[2].replace('No feedback', f'x{chr(34)}')}\n"
    validated = checked(given_file(tmp_path, f"{header}\n{text}"), tmp_path)
    assert (validated.total_rows, validated.oddities["joined_rows"]) == (1, 1)


def test_an_encoding_is_suggested_and_never_decided(tmp_path: Path) -> None:
    validated = checked(given_file(tmp_path, SAMPLE.replace("Excellent", "Réussi").encode("latin-1")), tmp_path)
    assert (validated.suggested, validated.rejected) == ("cp1252", 1)
