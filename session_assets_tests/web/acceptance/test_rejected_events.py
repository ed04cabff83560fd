"""A dropped file with dirt: each stray quote costs its line, and the corrected error file brings the rest."""

from __future__ import annotations

from pathlib import Path

from session_assets_tests.web.acceptance.documents import Web, wrong_sessions
from session_assets_tests.web.acceptance.terminal import Terminal

MAPPING = "session: s\npage: p\ntimestamp: t\ntimestamp_unit: s\nevent_type_value: view\ndelimiter: ';'\n"


def test_error_file_is_corrected_and_ingested_where_it_is(cli: Terminal, web: Web, tmp_path: Path) -> None:
    rows = [f"s{number % 50};/{number};{1740000000 + number}" for number in range(2_000)]
    rows[7] = rows[7].replace(";/", ';"/')
    rows[1_500] = rows[1_500].replace("1740", "today ")
    rows[1_999] = 's;"two\n\nlines";1;2'
    file = tmp_path / "clicks.csv"
    file.write_text("s;p;t\n" + "\n".join(rows) + "\n")
    (tmp_path / "mapping.yaml").write_text(MAPPING)
    ingested = cli("ingest", file, "--json")
    assert (ingested.code, ingested.body["rows"], ingested.body["inserted"]) == (1, 2_000, 1_997)
    assert sum(ingested.body["rejected"].values()) == 3 and ingested.body["rejected_lines"] == 5
    errors = Path(ingested.body["error_file"])
    shown = cli("ingest", file)
    assert "3 rejected (5 lines)" in shown.out and str(errors) in shown.out
    header, quote, time, *_ = errors.read_text().splitlines()
    number = header.split(",").index("_error_row")
    assert [line.split(",")[number] for line in (quote, time)] == ["8", "1501"]
    packed = quote.split(",")
    fixed = ["s7", "/7", "1740000007", *packed[3:]]
    errors.write_text("\n".join([header, ",".join(fixed), time.replace("today ", "1740")]) + "\n")
    again = cli("ingest", errors, "--json")
    assert (again.code, again.body["rows"], again.body["inserted"]) == (0, 2, 2)
    assert cli("ingest", errors, "--json").body["inserted"] == 0
    assert web["events"].count_documents({"session_id": "s7"}) == 40
    assert wrong_sessions(web) == {}
