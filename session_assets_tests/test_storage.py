"""Storage on a folder and on URLs: whole files or none, private, and never outside the base."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

import polars as pl
import pytest

from session_assets.storage import Storage, file_name


@pytest.fixture(params=["folder", "file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Each kind of storage."""
    monkeypatch.chdir(tmp_path)
    bases = {"folder": "base", "file": f"file://{tmp_path}/base", "memory": f"memory://{secrets.token_hex(8)}"}
    return Storage(bases[request.param], tmp_path / "scratch")


def test_what_is_written_is_read_back(storage: Storage) -> None:
    storage.write_json("a/b.json", {"x": ["é", None]})
    frame = pl.DataFrame({"x": [1, None], "b": [b"\0", None]})
    storage.write_parquet("a/c.parquet", frame)
    assert storage.read_json("a/b.json") == {"x": ["é", None]}
    assert storage.read_parquet("a/c.parquet").equals(frame)
    assert storage.names("a") == ["b.json", "c.parquet"]
    assert storage.names("nothing") == []
    assert storage.exists("a/b.json")
    assert not storage.exists("a/d.json")
    with pytest.raises(FileNotFoundError):
        storage.read_json("a/d.json")


def test_derived_folders_can_be_removed_and_the_ledger_cannot(storage: Storage) -> None:
    storage.write_json("derived/x.json", 1)
    storage.remove("derived")
    storage.remove("derived")
    assert not storage.exists("derived/x.json")
    with pytest.raises(ValueError, match="append-only"):
        storage.remove("ledger/web")


@pytest.mark.parametrize("base", ["{}/base", "file://{}/base", "local://{}/base"])
def test_local_files_are_private_and_lie_below_the_base(tmp_path: Path, base: str) -> None:
    Storage(base.format(tmp_path), tmp_path / "scratch").write_json("a/b.json", 1)
    file = tmp_path / "base" / "a" / "b.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list((tmp_path / "scratch").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no other file system at hand")
def test_a_file_moves_to_another_file_system(tmp_path: Path) -> None:
    scratch = Path("/dev/shm") / f"session-assets-{secrets.token_hex(6)}"
    storage = Storage(str(tmp_path / "base"), scratch)
    storage.write_json("x.json", 1)
    assert storage.read_json("x.json") == 1
    assert stat.S_IMODE((tmp_path / "base" / "x.json").stat().st_mode) == 0o600
    assert storage.names("") == ["x.json"]
    assert list(scratch.iterdir()) == []
    scratch.rmdir()


def test_scratch_is_private_and_removed(storage: Storage) -> None:
    with storage.scratch() as folder:
        (folder / "x").write_text("x")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not folder.exists()


def test_a_name_stays_one_path_segment() -> None:
    assert {file_name(text) for text in ("2025-01-01", "a@1.csv")} == {"2025-01-01", "a@1.csv"}
    for text in ("a/b", "../x", "a b", "", "é", "a\\b", ".", ".."):
        name = file_name(text)
        assert "/" not in name
        assert name not in ("", ".", "..")
