"""How calls are counted, and what each mode does, on a storage: small enough to be seen as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from session_assets import io_calls
from session_assets.errors import StoreUnavailable
from session_assets.io_calls import VARIABLE
from session_assets.storage import Storage
from session_assets_tests.flow.dying import is_killed


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr(io_calls, "_calls", io_calls._Calls())
    return Storage(str(tmp_path / "storage"), tmp_path / "scratch")


def write(storage: Storage, spec: str, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each of three files could be written: two calls each, the second of which puts it in its place."""
    monkeypatch.setenv(VARIABLE, spec)
    could: list[bool] = []
    for name in "abc":
        try:
            storage.write_bytes(name, b"x")
            could.append(True)
        except StoreUnavailable:
            could.append(False)
    monkeypatch.delenv(VARIABLE)
    return could


@pytest.mark.parametrize(
    ("fault", "could", "there"),
    [
        ("4=refused", [True, False, False], ["a"]),
        ("4=full", [True, False, False], ["a"]),
        ("4=timeout", [True, False, True], ["a", "c"]),
        ("4=lost", [True, False, True], ["a", "b", "c"]),
        ("3=refused", [True, False, False], ["a"]),
        ("3=lost", [True, False, True], ["a", "c"]),
    ],
)
def test_a_call_fails_in_its_mode(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, fault: str, could: list[bool], there: list[str]
) -> None:
    assert write(storage, fault, monkeypatch) == could
    assert storage.names("") == there


def test_calls_are_written_down(storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert write(storage, f"count={tmp_path / 'calls'}", monkeypatch) == [True] * 3
    lines = [line.split("\t")[1:] for line in (tmp_path / "calls").read_text().splitlines()]
    assert lines[:2] == [["1", "scratch", "file", ""], ["2", "storage", "put", "a"]]
    assert len(lines) == 6


@pytest.mark.parametrize(("mode", "there"), [("kill", []), ("kill-after", ["a"])])
def test_a_process_is_killed_before_or_after_a_call(
    storage: Storage, tmp_path: Path, mode: str, there: list[str]
) -> None:
    assert is_killed(_write_once, tmp_path, f"2={mode}")
    assert storage.names("") == there


def _write_once(folder: Path, spec: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        write(Storage(str(folder / "storage"), folder / "scratch"), spec, patch)


def test_an_unknown_mode_is_an_error(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown mode odd"):
        write(storage, "1=odd", monkeypatch)
