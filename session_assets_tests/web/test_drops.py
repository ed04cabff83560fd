"""Dropped files: every record becomes an event or is rejected with its place, and the same rows always get the same ids."""

from __future__ import annotations

import gzip
import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_assets.errors import BadInput
from session_assets.web.drops import EVENTS, DropBatch, check_drop, read_drop
from session_assets.web.mapping import DropMapping, parse_mapping
from session_assets.web.readers import REJECTS
from session_assets.web.reasons import Reason

CSV: dict[str, Any] = {
    "session": "sid",
    "user": "user",
    "page": "page",
    "timestamp": "at",
    "timestamp_unit": "s",
    "event_type_value": "pageview",
}
HEADER = "sid,user,page,at\n"


def mapping(**changes: Any) -> DropMapping:
    return parse_mapping({**CSV, **changes})


def drop(folder: Path, content: str | bytes, name: str = "drop.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, how: DropMapping | None = None) -> DropBatch:
    """All batches as one."""
    batches = list(read_drop(path, how or mapping()))
    empty = DropBatch(EVENTS.to_frame(), REJECTS.to_frame())
    return DropBatch(
        pl.concat([empty.events, *(one.events for one in batches)]),
        pl.concat([empty.rejected, *(one.rejected for one in batches)]),
    )


def places(rejected: pl.DataFrame) -> list[tuple[int, int, str]]:
    return rejected.select("row", "line", "reason").rows()


def test_rows_become_events(tmp_path: Path) -> None:
    events = read(drop(tmp_path, HEADER + "s,u,/a,1.5\n,,,2\n")).events
    assert events.schema == EVENTS
    assert events.drop("event_id", "timestamp").rows() == [
        ("s", "/a", "pageview", "u", None, "{}", 1, 2),
        (None, None, "pageview", None, None, "{}", 2, 3),
    ]
    assert events["timestamp"].dt.epoch("ms").to_list() == [1500, 2000]
    assert events["event_id"].str.contains("^[0-9a-f]{32}$").all()


def test_ids_never_change(tmp_path: Path) -> None:
    events = read(drop(tmp_path, HEADER + "s,u,/ä,1\ns,u,/ä,1\n")).events
    said = "1:s4:10003:/ä8:pageview1:u-2:{}"
    ids = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in (said, f"{said}#1")]
    assert events["event_id"].to_list() == ids
    assert ids[0] == "16d3e6f52f57bfbc94f0b3772c5122ee"


def test_rejected_rows_have_their_place_and_reason(tmp_path: Path) -> None:
    content = (
        HEADER
        + 's,u,/a,1\ns,u,/a\n\n"s",u,"two\nlines",2\ns,u,/a,NaN\ns,u,/a,\ns,"u"x,/a,1\ns,u,/\x00,1\ns,u,/a,1,\ns,u,/b,3\n'
    )
    result = read(drop(tmp_path, content))
    assert result.events.select("row", "line").rows() == [(1, 2), (3, 5), (9, 12)]
    assert places(result.rejected) == [
        (2, 3, Reason.RAGGED),
        (4, 7, Reason.TIMESTAMP),
        (5, 8, Reason.TIMESTAMP),
        (6, 9, Reason.QUOTES),
        (7, 10, Reason.NUL),
        (8, 11, Reason.RAGGED),
    ]
    assert result.rejected["raw"][0] == "s,u,/a"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_line_ends_and_marked_encodings_change_nothing(tmp_path: Path, end: str, encoding: str) -> None:
    rows = [HEADER.strip(), "s,u,/café,1", "s,u,/日本,2"]
    plain = read(drop(tmp_path, "\n".join(rows), "plain.csv")).events
    other = read(drop(tmp_path, (end.join(rows) + end).encode(encoding))).events
    assert other.equals(plain)


def test_declared_encoding_and_delimiter(tmp_path: Path) -> None:
    path = drop(tmp_path, "sid;user;page;at\ns;Zoë;/a,b;1\n".encode("latin-1"))
    events = read(path, mapping(encoding="latin-1", delimiter=";")).events
    assert events.select("user_id", "page").row(0) == ("Zoë", "/a,b")


def test_undecodable_record_is_rejected_alone(tmp_path: Path) -> None:
    latin = read(drop(tmp_path, HEADER.encode() + b"s,u,/a,1\ns,\xff,/a,1\ns,u,/b,1\n"))
    assert latin.events["row"].to_list() == [1, 3]
    assert places(latin.rejected) == [(2, 3, Reason.ENCODING)]
    broken = (HEADER + "s,u,/a,1\ns,#,/a,1\ns,u,/b,1\n").encode("utf-16").replace(b"#\0", b"\x00\xd8")
    assert places(read(drop(tmp_path, broken)).rejected) == [(2, 3, Reason.ENCODING)]


def test_true_repeats_survive_and_overlapping_files_agree(tmp_path: Path) -> None:
    first = read(drop(tmp_path, HEADER + "s,u,/a,1\ns,u,/a,1\ns,u,/b,1\n", "1.csv")).events
    second = read(drop(tmp_path, HEADER + "s,u,/b,1\ns,u,/a,1\ns,u,/a,1\ns,u,/a,1\n", "2.csv")).events
    assert first["event_id"].n_unique() == 3
    assert second["event_id"].n_unique() == 4
    assert set(first["event_id"]) < set(second["event_id"])


def test_repeats_are_told_apart_across_batches(tmp_path: Path) -> None:
    rows = [f"s,u,/{number % 15_000},1" for number in range(45_000)]
    path = drop(tmp_path, HEADER + "\n".join(rows))
    assert len(list(read_drop(path, mapping()))) == 3
    assert read(path).events["event_id"].n_unique() == 45_000


def test_fields_do_not_run_into_each_other(tmp_path: Path) -> None:
    rows = ["a,b,,1", "ab,,,1", "a,,b,1", ",ab,,1", ",a,b,1", "1:a,,,1", "-,,,1", ",-,,1"]
    assert read(drop(tmp_path, HEADER + "\n".join(rows))).events["event_id"].n_unique() == len(rows)


@settings(max_examples=60)
@given(lines=st.lists(st.text('s,"\r\n1é\0', max_size=12), max_size=12), data=st.data())
def test_every_row_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], data: st.DataObject
) -> None:
    path = drop(
        tmp_path_factory.mktemp("drop"), HEADER + "\n".join([*lines, data.draw(st.sampled_from(["", "s,u,/,1"]))])
    )
    result, summary = read(path), check_drop(path, mapping())
    assert summary.rows == summary.events + sum(summary.rejected.values())
    assert (result.events.height, result.rejected.height) == (summary.events, sum(summary.rejected.values()))
    rows = sorted([*result.events["row"], *result.rejected["row"]])
    assert rows == list(range(1, summary.rows + 1))


@pytest.mark.parametrize("name", ["long.csv", "long.ndjson"])
def test_endless_line_is_rejected_in_little_memory(tmp_path: Path, name: str) -> None:
    good = "s,u,/a,1\n" if name.endswith("csv") else '{"sid":"s","user":"u","page":"/a","at":1}\n'
    with gzip.open(tmp_path / f"{name}.gz", "wb", compresslevel=1) as file:
        file.write((HEADER if name.endswith("csv") else "").encode() + good.encode() + b"x,")
        for _ in range(48):
            file.write(b"y" * (1 << 20))
        file.write(b"\n" + good.encode())
    tracemalloc.start()
    result = read(tmp_path / f"{name}.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.events["row"].to_list() == [1, 3]
    assert places(result.rejected) == [(2, 3 if name.endswith("csv") else 2, Reason.TOO_LONG)]
    assert len(result.rejected["raw"][0]) == 200
    assert peak < 24 << 20


def test_field_of_a_million_characters_is_kept(tmp_path: Path) -> None:
    assert (
        read(drop(tmp_path, HEADER + f"s,u,/{'x' * 1_000_000},1\n")).events["page"].str.len_chars().item() == 1_000_001
    )


def test_quote_that_never_closes_costs_one_line(tmp_path: Path) -> None:
    line = "s,u,/a,1\n"
    for many in (2_000, 1024 * 1024 // len(line) + 2):
        result = read(drop(tmp_path, HEADER + line + 's,"u,/a,1\n' + line * many))
        assert result.rejected.select("row", "line", "lines", "reason", "raw").rows() == [
            (2, 3, 1, Reason.QUOTES, 's,"u,/a,1')
        ]
        assert result.events["line"].to_list() == [2, *range(4, many + 4)]


def test_region_that_cannot_be_split_says_how_many_lines_it_holds(tmp_path: Path) -> None:
    path = drop(tmp_path, HEADER + 's,u,"/a\nx\ny",1,2\n' + "s,u,/a,1\n")
    assert read(path).rejected.select("row", "line", "lines", "reason").rows() == [(1, 2, 3, Reason.RAGGED)]
    summary = check_drop(path, mapping())
    assert (summary.rows, summary.events, summary.rejected_lines) == (2, 1, 3)


@pytest.mark.parametrize("cut", [12, 1000, -1])
def test_cut_gzip_yields_nothing(tmp_path: Path, cut: int) -> None:
    rows = "".join(f"s,u,/{number * 7919 % 10007},{number}\n" for number in range(5000))
    path = drop(tmp_path, gzip.compress((HEADER + rows).encode())[:cut], "cut.csv.gz")
    with pytest.raises(BadInput, match=r"cut\.csv\.gz.*after \d+ readable rows"):
        next(read_drop(path, mapping()))


def test_gzip_of_several_members_is_one_file(tmp_path: Path) -> None:
    parts = [HEADER, "s,u,/a,1\n", "s,u,/b,2\n"]
    joined = b"".join(gzip.compress(part.encode()) for part in parts)
    assert read(drop(tmp_path, joined, "d.csv.gz")).events["page"].to_list() == ["/a", "/b"]
    with pytest.raises(BadInput, match="damaged"):
        read(drop(tmp_path, joined + b"garbage", "d.csv.gz"))


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "d.csv", "empty"),
        (b"\xef\xbb\xbf", "d.csv", "empty"),
        (gzip.compress(b"", mtime=0), "d.csv.gz", "empty"),
        (b"\n\n", "d.ndjson", "empty"),
        (b"\n\n", "d.csv", "no header"),
        (b"PK\x03\x04rest", "d.csv", "ZIP"),
        (b"\x00\x01\x02\x03", "d.csv", "NUL bytes"),
        (HEADER.encode("utf-16-le"), "d.csv", "UTF-16"),
        (b"\xff\xfe\xfd,\n", "d.csv", "header"),
        (b"\xe9,a\n1,2\n", "d.csv", "encoding"),
        (b"a,a\n1,2\n", "d.csv", "more than once"),
        (
            b"sid|user|page|at\n1|2|3|4\n",
            "d.csv",
            r"separated by `\\|`; it was read with comma. Give `delimiter: \"\\|\"`",
        ),
        (b'sid,"user,page,at\n1,2,3,4\n', "d.csv", "line 1: the quotes of the header do not match"),
        (b"sid,user,at\n1,2,3\n", "d.csv", r"does not have: page. Found: sid, user, at"),
        (b"hello\nworld\n", "d.ndjson", "JSON object"),
        (b'{"sid":"s","at":1,"page":"/"}\n', "d.ndjson", r"does not have: user. Found: sid, at, page"),
        (b"whatever", "d.txt", "format"),
    ],
)
def test_file_that_is_no_drop_is_refused(tmp_path: Path, content: bytes, name: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as failure:
        check_drop(drop(tmp_path, content, name), mapping())
    assert name in str(failure.value)


def test_header_that_is_a_row_of_data_shows_no_address(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"m\*\*\*@example\.com"):
        check_drop(drop(tmp_path, "s,mary@example.com,/,1\n"), mapping())


def test_links_folders_and_upward_paths_are_refused(tmp_path: Path) -> None:
    path = drop(tmp_path, HEADER + "s,u,/a,1\n")
    (tmp_path / "link.csv").symlink_to(path)
    (tmp_path / "folder.csv").mkdir()
    for name, said in (
        ("link.csv", "symbolic link"),
        ("folder.csv", "regular"),
        ("folder.csv/../drop.csv", r"\.\."),
        ("no.csv", "opened"),
    ):
        with pytest.raises(BadInput, match=said):
            check_drop(tmp_path / name, mapping())


def test_file_that_changed_after_the_check_is_refused(tmp_path: Path) -> None:
    path = drop(tmp_path, HEADER + "s,u,/a,1\n")
    summary = check_drop(path, mapping())
    drop(tmp_path, HEADER + "s,u,/a,2\n")
    with pytest.raises(BadInput, match="changed"):
        list(read_drop(path, mapping(), summary))


def test_json_values_become_texts_or_the_record_is_rejected(tmp_path: Path) -> None:
    values = ["7", "7.0", '"7"', "null", '""', "true", "[1]", "1e999", "NaN", '"\\ud800"', '"a\\u0000"', "7.5"]
    lines = [f'{{"sid":{value},"user":null,"page":"/","at":1}}' for value in values]
    result = read(drop(tmp_path, "\n".join([*lines, "[]", "{", "", '{"sid":"last","at":"2"}']), "d.ndjson"))
    assert result.events["session_id"].to_list() == ["7", "7", "7", None, None, "7.5", "last"]
    assert result.events["event_id"].n_unique() == 7
    reasons = dict(result.rejected.select("row", "reason").rows())
    assert reasons == dict.fromkeys((6, 7, 8, 10, 11), Reason.NOT_STORABLE) | dict.fromkeys(
        (9, 13, 14), Reason.NOT_JSON
    )


def test_properties_are_kept_as_json(tmp_path: Path) -> None:
    how = mapping(properties=["extra", "page"])
    lines = [
        '{"sid":"s","user":"u","at":1,"page":"/é","extra":{"b":[1,2.5,null],"a":"x"}}',
        '{"sid":"s","user":"u","at":1,"page":"/"}',
        '{"sid":"s","user":"u","at":1,"extra":9223372036854775808}',
        f'{{"sid":"s","user":"u","at":1,"extra":{"[" * 60}{"]" * 60}}}',
    ]
    result = read(drop(tmp_path, "\n".join(lines), "d.ndjson"), how)
    assert result.events["properties"].to_list() == ['{"extra":{"a":"x","b":[1,2.5,null]},"page":"/é"}', '{"page":"/"}']
    assert [reason for _, _, reason in places(result.rejected)] == [Reason.NOT_STORABLE] * 2
    rows = read(drop(tmp_path, HEADER + 's,u,"/""q""",1\n'), mapping(properties=["page"])).events
    assert json.loads(rows["properties"].item()) == {"page": '/"q"'}


@pytest.mark.parametrize(
    ("unit", "text", "millis"),
    [
        ("s", "1740787200.0014999", 1740787200001),
        ("s", "1740787200.9999996", 1740787201000),
        ("s", "-1.0005", -1001),
        ("s", "1e9", 1000000000000),
        ("ms", "1506826828020", 1506826828020),
        ("ms", "1506826828020.9", 1506826828020),
        ("us", "1506826828020999", 1506826828020),
        ("s", "1506826828020", None),
        ("s", "99999999999999999999", None),
        ("s", "inf", None),
        ("s", "", None),
        ("ms", "0x10", None),
        ("iso", "2025-03-01T10:00:00Z", 1740823200000),
        ("iso", "2025-03-01 12:00:00.123999+02:00", 1740823200123),
        ("iso", "2025-03-01T12:00+0200", 1740823200000),
        ("iso", "1969-12-31T23:59:59.9999Z", -1),
        ("iso", "2025-03-01T10:00:00", None),
        ("iso", "2025-02-30T10:00:00Z", None),
        ("iso", "03/01/2025 10:00Z", None),
    ],
)
def test_timestamps(tmp_path: Path, unit: str, text: str, millis: int | None) -> None:
    result = read(drop(tmp_path, HEADER + f"s,u,/,{text}\n"), mapping(timestamp_unit=unit))
    assert result.events["timestamp"].dt.epoch("ms").to_list() == ([] if millis is None else [millis])
    assert result.rejected.height == (millis is None)
