"""Moves of stored files: what goes where, what stays, and that every step can be killed and taken back."""

from __future__ import annotations

import errno
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from session_assets.errors import BadInput, NotConfigured, UsageError
from session_assets.flow.map_source import load_map
from session_assets.flow.stored_files import validation_root
from session_assets.stores.files import checked
from session_assets_tests.counts import times
from session_assets_tests.flow import stored_killed
from session_assets_tests.flow.stored_scenario import FLOWS, LONG_AGO, SESSIONS, Folder, plant

STEPS = ("half_written", "after_temporary", "after_link", "after_copy", "before_remove", "after_remove")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    found = Folder(tmp_path)
    (found.root / "validation_sessions").mkdir(parents=True)
    return found


def test_14_of_22_files_move_and_8_truncated_ones_are_quarantined(folder: Folder) -> None:
    plant(folder)
    before = folder.tree()
    plan, tally = folder.plan()
    assert (plan.rows, tally.total_reasons()) == (22, {"to_move": 14, "truncated": 8})
    assert folder.tree() == before
    assert folder.apply().as_dict() == {"applied": 22, "already_applied": 0, "conflicted": 0, "failed": 0}

    after = folder.tree()
    assert Counter(path.split("/")[0] for path in after) == {"validation_flows": 14, "validation_quarantine": 8}
    for number in range(14):
        name = "validation_results" if number % 2 else f"file_{number}"
        content, mode, mtime = after[f"validation_flows/{FLOWS[number]}/{name}.json"]
        old = next(one for path, one in before.items() if SESSIONS[number].encode() in one[0])
        assert content == old[0].replace(b"session_id", b"flow_id").replace(
            SESSIONS[number].encode(), FLOWS[number].encode()
        )
        assert (mode, mtime) == (old[1], LONG_AGO)
    lossless = {path.replace("validation_quarantine", "validation_sessions"): one for path, one in after.items()}
    assert all(lossless[path] == one for path, one in before.items() if path in lossless)
    assert folder.plan()[0].rows == 0

    assert folder.preview(plan).undoable == 22
    assert folder.revert(plan).undoable == 22
    assert folder.tree() == before


def test_each_file_has_one_class_and_a_reason(folder: Folder) -> None:
    known, other, unknown = SESSIONS[0], SESSIONS[1], SESSIONS[39]
    put = folder.put
    put(f"validation_sessions/{known}/a.json", b"")
    put(f"validation_sessions/{known}/b.json", b"<xml/>")
    put(f"validation_sessions/{known}/deep/import_session_{known}.json", b"{}")
    put(f"validation_sessions/{known}/report.bin", b"\0\1")
    put(f"validation_sessions/{known}/tower.json", b"[" * 100_000 + b"]" * 100_000)
    put(f"validation_sessions/{unknown}/a.json", b"{}")
    put("validation_sessions/file.json", b'{"x": [{"session_id": "%s"}]}' % other.encode())
    inner = f'{{"parent": {{"session_id": "{known}"}}, "session_id": "{other}"}}'
    both = f'{{"session_id": "{known}"}}, {{"session_id": "{other}"}}'
    put("validation_sessions/inner.json", inner.encode())
    put("validation_sessions/several.json", f"[{both}]".encode())
    put("validation_sessions/nobody.json", b'{"session_id": 1}')
    put(f"validation_sessions/{FLOWS[5]}/a.json", b"{}")
    put(f"validation_sessions/{other}/taken.json", b"{}")
    put(f"validation_flows/{FLOWS[1]}/taken.json", b"[]")
    put(f"validation_sessions/{other}/young.json", b'{"half').touch()
    (folder.root / f"validation_sessions/{known}/link.json").symlink_to("b.json")
    (folder.root / "validation_sessions/up").symlink_to(folder.base)
    found = {path.removeprefix("validation_sessions/"): one for path, one in folder.reasons().items()}
    flow = f"validation_flows/{FLOWS[0]}"
    assert found == {
        f"{known}/a.json": ("planned", "empty", f"validation_quarantine/{known}/a.json"),
        f"{known}/b.json": ("planned", "not_json", f"validation_quarantine/{known}/b.json"),
        f"{known}/deep/import_session_{known}.json": ("planned", "to_move", f"{flow}/deep/import_flow_{FLOWS[0]}.json"),
        f"{known}/report.bin": ("planned", "to_move", f"{flow}/report.bin"),
        f"{known}/tower.json": ("listed", "too_deep", None),
        f"{known}/link.json": ("listed", "unsafe_path", None),
        f"{unknown}/a.json": ("listed", "unknown_session", None),
        "file.json": ("planned", "to_move", f"validation_flows/{FLOWS[1]}/file.json"),
        "inner.json": ("planned", "to_move", f"validation_flows/{FLOWS[1]}/inner.json"),
        "several.json": ("listed", "several_sessions", None),
        "nobody.json": ("listed", "unknown_session", None),
        "up": ("listed", "unsafe_path", None),
        f"{FLOWS[5]}/a.json": ("planned", "to_move", f"validation_flows/{FLOWS[5]}/a.json"),
        f"{other}/taken.json": ("planned", "target_taken", f"validation_quarantine/{other}/taken.json"),
        f"{other}/young.json": ("unsettled", "unsettled", None),
    }


def test_two_files_never_take_one_place(folder: Folder) -> None:
    folder.put(f"validation_sessions/{SESSIONS[0]}/a.json", b"{}")
    folder.put(f"validation_sessions/{FLOWS[0]}/a.json", b"[]")
    assert sorted(reason for _, reason, _ in folder.reasons().values()) == ["target_taken", "to_move"]
    folder.plan()
    folder.apply()
    assert sorted(one[0] for one in folder.tree().values()) == [b"[]", b"{}"]


def test_a_file_that_changes_meanwhile_stays_and_is_a_conflict(folder: Folder) -> None:
    plant(folder, range(4), ())
    plan, _ = folder.plan()
    edited = folder.root / "validation_sessions/file_0.json"
    edited.write_bytes(b"edited")
    folder.put(f"validation_flows/{FLOWS[1]}/validation_results.json", b"came first")
    assert folder.apply().as_dict() == {"applied": 2, "already_applied": 0, "conflicted": 2, "failed": 0}
    assert edited.read_bytes() == b"edited"
    assert (folder.root / f"validation_sessions/{SESSIONS[1]}/validation_results.json").exists()

    (folder.root / f"validation_flows/{FLOWS[2]}/file_2.json").write_bytes(b"written by the application")
    shown = folder.preview(plan)
    assert (shown.undoable, shown.refused) == (1, ["validation_sessions/file_2.json"])
    report = folder.revert(plan)
    assert (report.undoable, report.refused_count) == (1, 1)
    assert (folder.root / f"validation_flows/{FLOWS[2]}/file_2.json").read_bytes() == b"written by the application"


def test_a_file_that_is_written_between_copy_and_removal_stays(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(folder, range(1), ())
    plan, _ = folder.plan()
    source = folder.root / "validation_sessions/file_0.json"

    def write(name: str) -> None:
        if name == "files.after_copy":
            source.write_bytes(b"written just now")

    monkeypatch.setattr("session_assets.stores.files.failpoint", write)
    assert folder.apply().as_dict() == {"applied": 0, "already_applied": 0, "conflicted": 1, "failed": 0}
    assert [*folder.tree()] == ["validation_sessions/file_0.json"]
    assert folder.revert(plan).undoable == 0
    assert source.read_bytes() == b"written just now"


def test_a_target_that_is_a_link_is_not_followed(folder: Folder) -> None:
    plant(folder, range(1), ())
    folder.plan()
    outside = folder.base / "outside"
    outside.mkdir()
    (folder.root / "validation_flows").symlink_to(outside)
    assert folder.apply().as_dict()["applied"] == 0
    assert list(outside.iterdir()) == []
    assert (folder.root / "validation_sessions/file_0.json").exists()


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "a//b", "a/./b", "a\0b", ""])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(BadInput):
        checked(path)


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_it_goes_on_and_is_taken_back(folder: Folder, step: str) -> None:
    plant(folder, range(6), range(14, 17))
    before = folder.tree()
    plan, _ = folder.plan()
    for number in range(times(1, 3)):  # each kill may leave three more files done, of nine
        assert stored_killed.run("apply", folder.base, f"files.{step}@{2 - number % 2}=kill")
    assert folder.apply().as_dict()["conflicted"] == 0
    done = folder.tree()
    assert Counter(path.split("/")[0] for path in done) == {"validation_flows": 6, "validation_quarantine": 3}
    assert stored_killed.run("revert", folder.base, f"files.{step}@2=kill", plan.plan_id)
    folder.revert(plan)
    assert folder.tree() == before


def test_planned_anew_after_a_kill_between_copy_and_removal_it_finishes(folder: Folder) -> None:
    plant(folder, range(2), ())
    folder.plan()
    assert stored_killed.run("apply", folder.base, "files.before_remove=kill")
    plan, tally = folder.plan()
    assert tally.total_reasons() == {"to_move": 2}
    folder.apply()
    assert Counter(path.split("/")[0] for path in folder.tree()) == {"validation_flows": 2}
    assert plan.rows == 2


def test_killed_at_random_moments_nothing_is_lost(folder: Folder) -> None:
    plant(folder)
    contents = Counter(one[0].replace(b"session", b"flow") for one in folder.tree().values() if len(one[0]) > 60)
    folder.plan()
    for _ in range(times(2, 20)):
        stored_killed.run("apply", folder.base, "", kill_after=random.random() * 0.1)
        texts = {one[0] for one in folder.tree().values()}
        assert len({text for text in texts if b"12345678901234567890123" in text}) >= 14
    assert folder.apply().as_dict()["failed"] == 0
    assert Counter(path.split("/")[0] for path in folder.tree())["validation_sessions"] == 0
    assert contents.total() == 14


def test_a_file_that_cannot_be_written_leaves_nothing_behind(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(folder, range(2), ())
    before = folder.tree()
    plan, _ = folder.plan()
    rows = next(folder.ledger.rows(plan.parts[0]))
    monkeypatch.setattr(os, "fsync", _full_disk)
    outcomes = folder.store.write(rows)
    assert (outcomes.done, len(outcomes.errors)) == (set(), 2)
    assert "No space left on device: not moved" in outcomes.errors[0]
    assert folder.tree() == before


def _full_disk(handle: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_an_account_that_may_not_write_loses_nothing(folder: Folder) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    plant(folder, range(1), ())
    folder.plan()
    (folder.root / "validation_sessions").chmod(0o500)
    assert folder.apply().as_dict()["failed"] == 1


def test_the_root_must_be_a_folder_without_links(tmp_path: Path) -> None:
    with pytest.raises(NotConfigured, match="Set it to the folder that holds validation_sessions"):
        validation_root({})
    with pytest.raises(UsageError, match="no folder"):
        validation_root({"FLOW_VALIDATION_ROOT": str(tmp_path / "nowhere")})
    with pytest.raises(UsageError, match="neither"):
        validation_root({"FLOW_VALIDATION_ROOT": str(tmp_path)})
    (tmp_path / "validation_flows").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="validation_flows"):
        validation_root({"FLOW_VALIDATION_ROOT": str(tmp_path)})


def test_a_map_that_gives_a_session_two_flows_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_text(f"session_id,flow_id\n{SESSIONS[0]},{FLOWS[0]}\n{SESSIONS[0]},{FLOWS[0]}\n,{FLOWS[2]}\n")
    assert load_map({"FLOW_SESSION_MAP": str(file)}).to_flow(SESSIONS[0]) == FLOWS[0]
    file.write_text(f"{file.read_text()}{SESSIONS[0]},{FLOWS[1]}\n")
    with pytest.raises(BadInput, match="two flows"):
        load_map({"FLOW_SESSION_MAP": str(file)})
