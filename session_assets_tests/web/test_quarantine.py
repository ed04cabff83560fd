"""Rejected records of a dropped file are kept in an error file that is ingested again without loss."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.storage import Storage
from session_assets.web.drops import check_drop, read_drop
from session_assets.web.mapping import load_mapping
from session_assets.web.quarantine import keep_rejected
from session_assets_tests.counts import examples

MAPPING = """
session: sid
page: page
timestamp: at
timestamp_unit: s
event_type_value: pageview
encoding: latin-1
properties: [note]
"""


def quarantined(folder: Path, path: Path, name: str = "storage") -> Path | None:
    """The error file of a dropped file."""
    mapping = load_mapping(path)
    summary = check_drop(path, mapping)
    rejected = (batch.rejected for batch in read_drop(path, mapping, summary))
    found = keep_rejected(Storage(str(folder / name), folder / "scratch"), "errors", path, summary, rejected, folder)
    return Path(found) if found else None


def dropped(folder: Path, name: str, content: bytes, mapping: str = MAPPING) -> Path:
    (folder / f"{name}.mapping.yaml").write_text(mapping)
    (folder / name).write_bytes(content)
    return folder / name


def ids(path: Path) -> set[str]:
    return {one for batch in read_drop(path, load_mapping(path)) for one in batch.events["event_id"]}


CSV = 'sid;page;at;note\ns1;/é;1;n\ns2;/a;soon;"=1;\n2"\ns3;/a\ns4;"/b"x;4;m\n-s5;\'/c;later;@\n'.encode("latin-1")


def test_corrected_error_file_gives_the_events_of_the_clean_file(tmp_path: Path) -> None:
    how = f"{MAPPING}delimiter: ;\n"
    errors = quarantined(tmp_path, dropped(tmp_path, "clicks.csv", CSV, how))
    assert errors is not None and errors.name == "clicks_errors.csv"
    assert stat.S_IMODE(errors.stat().st_mode) == 0o600
    text = errors.read_text().replace("soon", "2").replace("later", "5")
    errors.write_text(text)
    clean = CSV.decode("latin-1").replace("soon", "2").replace("later", "5").encode("latin-1")
    wanted = ids(dropped(tmp_path, "clean.csv", clean, how))
    assert ids(errors) | ids(tmp_path / "clicks.csv") == wanted
    assert len(wanted) == 3


def test_error_file_that_nobody_corrected_is_rejected_again_as_it_was(tmp_path: Path) -> None:
    errors = quarantined(tmp_path, dropped(tmp_path, "clicks.csv", CSV, f"{MAPPING}delimiter: ;\n"))
    assert errors is not None
    again = quarantined(tmp_path, errors, "again")
    assert again is not None
    third = quarantined(tmp_path, again, "third")
    assert third is not None and third.read_bytes() == again.read_bytes()
    first, second = (batch_of(path) for path in (errors, again))
    assert first == second


def batch_of(path: Path) -> list[tuple[object, ...]]:
    batches = [*read_drop(path, load_mapping(path))]
    assert not any(batch.events.height for batch in batches)
    return [row for batch in batches for row in batch.rejected.select("record", "fields").iter_rows()]


_LINE = st.one_of(
    st.sampled_from(
        [
            b'{"sid":"a","page":"/","at":1,"note":{"b":1.10,"b":2}}',
            b'{"sid":"a","page":"/","at":"x","note":"\\ud800"}',
            b' {"at": 1e999, "sid": NaN}',
            b"{}",
            b"[]",
            b"\xff{",
            b"\0",
        ]
    ),
    st.binary(max_size=9),
)


@given(st.lists(_LINE.filter(lambda line: b"\n" not in line and b"\r" not in line), max_size=9))
@examples(40)
def test_json_lines_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("json")
    good = b'{"sid":"s","page":"/","at":1,"note":null}\n'
    path = dropped(folder, "clicks.ndjson", good + b"\n".join(lines), MAPPING.replace("encoding: latin-1\n", ""))
    rejected = [row for batch in read_drop(path, load_mapping(path)) for row in batch.rejected["record"]]
    errors = quarantined(folder, path)
    assert (errors is None) == (not rejected)
    if errors is not None:
        with errors.open("ab") as file:
            file.write(good)
        batches = [*read_drop(errors, load_mapping(errors))]
        again = [row for batch in batches for row in batch.rejected["record"]]
        assert [one.strip().removeprefix(b"\xef\xbb\xbf") for one in again] == [
            one.strip().removeprefix(b"\xef\xbb\xbf") for one in rejected
        ]
