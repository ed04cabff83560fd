"""Mapping files: what they may say, and how clearly they are refused; and what lies in a drop folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from session_assets.drops import folder as drop_folder
from session_assets.drops.folder import StillChanging, drop_key, find_drops, is_complete, look, private_copy
from session_assets.errors import BadInput
from session_assets.web.mapping import BESIDE_DROPS, load_mapping, parse_mapping

GOOD: dict[str, Any] = {"session": "s", "timestamp": "t", "timestamp_unit": "ms", "event_type": "e"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sesion": "s"}, "unknown key 'sesion'"),
        ({"session": None}, "session is missing"),
        ({"timestamp": None}, "timestamp is missing"),
        ({"timestamp_unit": "ns"}, "timestamp_unit must be one of s, ms, us, iso"),
        ({"session": 5}, "session must be a text"),
        ({"event_type_value": "x"}, "either event_type"),
        ({"event_type": None}, "either event_type"),
        ({"properties": "a"}, "list of columns"),
        ({"format": "xml"}, "csv, ndjson"),
        ({"delimiter": ";;"}, "one character"),
        ({"encoding": "hex"}, "no text encoding"),
        ({"encoding": "klingon"}, "no text encoding"),
        ({"page": "/{a.__class__}"}, "no placeholder"),
        ({"page": "/{a[0]}"}, "no placeholder"),
        ({"page": "/{a!r}"}, "no placeholder"),
        ({"page": "/{}"}, "no placeholder"),
        ({"page": "/{a"}, "no placeholder"),
        ({"page": "/{{a}}"}, "names no column"),
    ],
)
def test_wrong_mapping_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        parse_mapping(GOOD | change, "mapping.yaml")


def test_template_names_its_columns() -> None:
    assert parse_mapping(GOOD | {"page": "/{{x}}/{a b}/{c}"}).columns == ("s", "a b", "c", "t", "e")


def test_mapping_of_a_file_wins_over_that_of_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(BadInput, match=r"a\.csv\.mapping\.yaml or mapping\.yaml"):
        load_mapping(path)
    text = "session: {}\ntimestamp: t\ntimestamp_unit: ms\nevent_type: e\n"
    (tmp_path / "mapping.yaml").write_text(text.format("all"))
    assert load_mapping(path).session.columns == ("all",)
    (tmp_path / "a.csv.mapping.yaml").write_text(text.format("own"))
    assert load_mapping(path).session.columns == ("own",)
    (tmp_path / "a.csv.mapping.yaml").write_text("session: [")
    with pytest.raises(BadInput, match="not YAML"):
        load_mapping(path)


def test_folder_lists_only_what_is_to_be_read(tmp_path: Path) -> None:
    for name in (
        "b.csv",
        "a.json.gz",
        ".hidden",
        "mapping.yaml",
        "b.csv.mapping.yaml",
        "b.csv.done",
        "c.part",
        "d.tmp",
    ):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.csv").symlink_to("b.csv")
    assert [path.name for path in find_drops(tmp_path, beside=BESIDE_DROPS)] == ["a.json.gz", "b.csv", "link.csv"]


def test_file_is_complete_when_marked_or_at_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a")
    seen = look(path)
    assert not is_complete(path, None)
    assert is_complete(path, seen)
    path.write_text("ab")
    assert not is_complete(path, seen)
    (tmp_path / "a.csv.done").touch()
    assert is_complete(path, None)
    path.unlink()
    assert not is_complete(path, seen)


def test_key_is_a_partition_key(tmp_path: Path) -> None:
    assert drop_key(Path("x/Clicks (1) é.csv"), "abcdef0123456789") == "Clicks__1___.csv@abcdef012345"
    (tmp_path / f"{'x' * 240}.csv.gz").touch()
    (found,) = tmp_path.iterdir()
    copy, sha256, _ = private_copy(found, tmp_path / "copies")
    assert copy.name.endswith("x.csv.gz")
    assert drop_key(found, sha256) == f"{copy.name[13:]}@{sha256[:12]}"
    assert len(copy.name) == 213


def test_private_copy_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("abc")
    copy, sha256, size = private_copy(path, tmp_path / "private")
    assert (copy.read_text(), size, copy.stat().st_mode & 0o777) == ("abc", 3, 0o600)
    assert sha256.startswith("ba7816bf8f01")
    assert private_copy(path, tmp_path / "private")[0] == copy
    (tmp_path / "link.csv").symlink_to(path)
    with pytest.raises(BadInput, match="symbolic link"):
        private_copy(tmp_path / "link.csv", tmp_path / "private")


def test_copy_of_a_file_that_grows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("abc")
    fsync = os.fsync

    def written_meanwhile(descriptor: int) -> None:
        fsync(descriptor)
        with path.open("a") as file:
            file.write("d")

    monkeypatch.setattr(drop_folder.os, "fsync", written_meanwhile)
    with pytest.raises(StillChanging, match="changed while it was copied"):
        private_copy(path, tmp_path / "private")
    assert list((tmp_path / "private").iterdir()) == []
