"""A sealed file with any one bit flipped, or cut at any place, is damaged: also for a reader that does not know its keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets.errors import DamagedFile
from session_assets.sealed import read_sealed, write_sealed
from session_assets.storage import Storage

NAME, BODY = "ledger/web/recorded/1.json", {"plan_id": "ab12", "rows": 3}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "storage"), tmp_path / "tmp")


def test_any_flipped_bit_is_found(storage: Storage) -> None:
    write_sealed(storage, NAME, BODY)
    file = Path(str(storage.path(NAME)))
    content = file.read_bytes()
    for place in range(len(content) * 8):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        file.write_bytes(flipped)
        with pytest.raises(DamagedFile):
            read_sealed(storage, NAME)
            pytest.fail(f"bit {place % 8} of byte {place // 8}: {bytes(flipped)!r}")


def test_a_cut_at_any_place_is_found(storage: Storage) -> None:
    write_sealed(storage, NAME, BODY)
    file = Path(str(storage.path(NAME)))
    content = file.read_bytes()
    for size in range(len(content)):
        file.write_bytes(content[:size])
        with pytest.raises(DamagedFile):
            read_sealed(storage, NAME)
            pytest.fail(f"cut at {size}")


def test_a_file_of_a_version_without_digests_is_read(storage: Storage) -> None:
    storage.write_json(NAME, BODY)
    assert (read_sealed(storage, NAME).body, read_sealed(storage, NAME).sha256) == (BODY, None)
