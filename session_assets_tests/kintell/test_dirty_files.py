"""Files that hypothesis makes: dialects, encodings, dirt, huge fields, cut gzip. No crash, no hang, every row accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from session_assets.drops import content, limits
from session_assets.drops.error_file import write_error_file
from session_assets.drops.limits import RECORD_LIMIT
from session_assets.errors import BadInput
from session_assets.kintell.model import COLUMNS, FIELD_LIMIT
from session_assets_tests.counts import examples, times
from session_assets_tests.kintell.files import checked, clean, judged

_ODD = ['"', '""', '"x', 'x"y', "\0", "\r", "\n", "\r\n", "'", "=1+1", "\ufeff", "\x1a", "é", ",", ";", "\t", "NULL"]
_HUGE = [FIELD_LIMIT - 1, FIELD_LIMIT + 1, 1_000_000, RECORD_LIMIT + 1]
DIRTY = st.integers(0, 19).flatmap(
    lambda kind: (
        st.sampled_from(_HUGE).map(lambda size: "x" * size)
        if kind == 0
        else st.sampled_from(_ODD)
        if kind < 10
        else st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    )
)
VALUES = st.builds(
    lambda number, column, value: clean(number % 6, **({column: value} if value is not None else {})),
    st.integers(0, 50),
    st.sampled_from(COLUMNS),
    st.one_of(st.none(), st.none(), DIRTY),
)


@st.composite
def _files(draw: st.DrawFn) -> tuple[bytes, str | None, bool]:
    """The bytes of a file, the encoding that is told, and whether it is gzip."""
    delimiter, end = draw(st.sampled_from([",", ";", "\t"])), draw(st.sampled_from(["\n", "\r\n", "\r"]))
    columns = draw(st.permutations([*COLUMNS, *draw(st.sampled_from([[], ["room"], [""], ["room", "Row"]]))]))
    names = [name.upper() if draw(st.booleans()) else name for name in columns]
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if draw(st.booleans()) else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(names)
    for row in draw(st.lists(VALUES, max_size=12)):
        writer.writerow([row.get(name, "x") for name in columns])
        if draw(st.integers(0, 9)) == 0:
            text.write(draw(DIRTY) + draw(st.sampled_from([end, "", "\n"])))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1", "utf-16-be"]))
    data = text.getvalue().encode(encoding, "replace")
    told = encoding if encoding in ("latin-1", "utf-16-be") and draw(st.integers(0, 4)) else None
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        place = draw(st.integers(0, len(data)))
        data = data[:place] + draw(st.binary(max_size=3)) + data[place + draw(st.integers(0, 3)) :]
    is_gzip = draw(st.booleans())
    if is_gzip:
        data = gzip.compress(data, 1)
        data = data[: len(data) - draw(st.sampled_from([0, 0, 0, 1, 9, 40]))]
    return data, told, is_gzip


@given(_files(), st.sampled_from([300, 5000, limits.BLOCK]), st.sampled_from([1, 3, 10_000]))
@settings(examples(40), max_examples=times(20, 5000))
def test_every_file_is_refused_or_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[bytes, str | None, bool], block: int, batch_size: int
) -> None:
    data, told, is_gzip = made
    folder = tmp_path_factory.mktemp("dirty")
    path = folder / ("a.csv.gz" if is_gzip else "a.csv")
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "BLOCK", block)
        patch.setattr(content, "_READ", min(block, 256 * 1024))
        try:
            validated = checked(path, folder, encoding=told)
        except BadInput as error:
            assert path.name in str(error)
            return
        batches = list(validated.batches(batch_size))
    found = judged(validated)
    assert validated.accepted + validated.rejected + validated.skipped == validated.total_rows
    assert sum(batch.rows for batch in batches) == validated.total_rows
    assert (found.accepted.height, found.rejected.height, found.skipped) == (
        validated.accepted,
        validated.rejected,
        validated.skipped,
    )
    rows = [*found.accepted["row"], *found.rejected["row"]]
    assert len(rows) == len(set(rows)) and set(rows) <= set(range(1, validated.total_rows + 1))
    assert all(reasons for reasons in found.reasons.values()) and all(found.messages)
    errors = folder / "errors.csv"
    assert (
        write_error_file(errors, validated.header, [found.rejected], with_raw=validated.has_raw)
        == found.rejected.height
    )
    again = checked(errors, folder)
    assert again.total_rows == found.rejected.height


_MEASURE = r"""
import re, sys, tempfile
from pathlib import Path
import session_assets
from session_assets.memory import give_back
give_back()
from session_assets.kintell.validation import validate
from session_assets_tests.kintell.files import somebody
with tempfile.TemporaryDirectory() as folder:
    validated = validate(Path(sys.argv[1]), somebody, Path(folder))
    rows = sum(batch.rows for batch in validated.batches())
assert rows == validated.total_rows
# not ru_maxrss: Linux hands the peak of the process that started this one down to it
print(rows, int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def _measured(path: Path) -> tuple[int, int]:
    """Rows of a file, and the peak memory in MiB of a process that validates it and reads all its batches."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run(
        [sys.executable, "-c", _MEASURE, path], check=True, capture_output=True, text=True, env=environment
    )
    rows, peak = out.stdout.split()
    return int(rows), int(peak)


@pytest.mark.parametrize("kind", ["rows", "one line", "one quoted field"])
def test_memory_is_bounded_whatever_the_size(tmp_path: Path, kind: str) -> None:
    size = times(40, 1000) * 1_000_000
    path = tmp_path / "large.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        if kind == "rows":
            block = "".join(",".join(clean(n, feedback_text="Good").values()) + "\n" for n in range(10_000))
            for number in range(size // len(block)):
                file.write(block.replace("kintell-session", f"kintell-{number}"))
        else:
            file.write('"' if kind == "one quoted field" else "")
            for _ in range(size // 1_000_000):
                file.write(("x" * 999 + ("\n" if kind == "one quoted field" else "x")) * 1000)
    rows, peak = _measured(path)
    assert rows > 0
    assert peak <= 500, f"{peak} MiB for {size:,} bytes"
