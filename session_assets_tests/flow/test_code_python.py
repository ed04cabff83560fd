from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import session_assets
from session_assets.flow.code_names import Names
from session_assets.flow.code_python import decode, scan
from session_assets.flow.code_scan import Scan, scan_content
from session_assets_tests.counts import examples, times
from session_assets_tests.flow.code_reference import counted, standard_library

NAMES = Names(("session_id", "import_session_id", "validation_session_id"))
PROJECT = Path(session_assets.__file__).parents[1]
LARGEST = 50_000_000


def scanned(source: str | bytes, names: Names = NAMES, language: str = "python") -> Scan:
    content = source.encode() if isinstance(source, str) else source
    return scan_content(content, language, names, LARGEST)


def seen(source: str | bytes, language: str = "python") -> list[tuple[str, int, str, bool]]:
    return [(hit.kind, hit.line, hit.names[0], hit.exact) for hit in scanned(source, language=language).hits]


@pytest.mark.parametrize("name", ["session_id", "self", "name"])
def test_it_agrees_with_tokenize_on_this_project(name: str) -> None:
    own = [*PROJECT.glob("session_assets/**/*.py"), *PROJECT.glob("session_assets_tests/**/*.py")]
    _agree(own[:: times(3, 1)], name)


@pytest.mark.parametrize("name", ["encoding", "self", "file_name"])
def test_it_agrees_with_tokenize_on_the_standard_library(name: str) -> None:
    _agree(standard_library(times(60, 1)), name)


def _agree(files: list[Path], name: str) -> None:
    names, told = Names((name,)), 0
    assert files
    for path in files:
        found = scanned(path.read_bytes(), names)
        assert not found.skipped or b"\0" in path.read_bytes(), path
        if found.skipped:
            continue
        ours = Counter((hit.kind, hit.line) for hit in found.hits)
        wanted = counted(path, name)
        told += wanted.total()
        assert found.reason == "undecodable" or wanted <= ours, path
        if names.is_plain(decode(path.read_bytes())[0]):  # else ours has names that are spelled with escapes, too
            assert found.reason == "undecodable" or ours == wanted, path
    assert told, name


def test_identifiers_strings_and_comments_are_kept_apart() -> None:
    source = '# session_id\nsession_id = "session_id"\n"""\nof import_session_id"""\nold_session_ids(1)\n'
    assert seen(source) == [
        ("comment", 1, "session_id", True),
        ("identifier", 2, "session_id", True),
        ("string", 2, "session_id", True),
        ("string", 4, "import_session_id", False),
        ("identifier", 5, "session_id", False),
    ]


@pytest.mark.parametrize(
    "source",
    [
        '"session\\x5fid"',
        '"session\\u005fid"',
        '"session\\N{LOW LINE}id"',
        '"\\163ession_id"',
        '"session_\\\nid"',
        'b"\\\\\\x73ession_id"',
        "ſession_id",
        "ｓｅｓｓｉｏｎ_id",
    ],
)
def test_a_name_is_found_however_it_is_spelled(source: str) -> None:
    assert len(scanned(source).hits) == 1


@pytest.mark.parametrize(
    "source", ['r"session\\x5fid"', '"\\\\x73ession_id"', "SESSION_ID", "session_i, d", '"session\\x5eid"']
)
def test_what_only_looks_like_a_name_is_not_one(source: str) -> None:
    assert scanned(source).hits == []


def test_an_encoding_is_read_from_its_cookie() -> None:
    assert seen("# -*- coding: latin-1 -*-\nsession_id = 'é'\n".encode("latin-1")) == [
        ("identifier", 2, "session_id", True)
    ]
    assert seen(b"\xef\xbb\xbfsession_id") == [("identifier", 1, "session_id", True)]
    broken = scanned(b"session_id = '\xe9'\n")
    assert (len(broken.hits), broken.reason, broken.state) == (1, "undecodable", "partly")
    for false in (b"# coding: nonsense\nsession_id", b"# coding: utf-16\nsession_id\n"):
        assert (scanned(false).reason, scanned(false).may_hold) == ("undecodable", True)
    assert scanned("session_id".encode("utf-16-le")) == Scan(reason="binary", skipped=True, may_hold=True)


def test_a_lone_carriage_return_ends_a_comment_as_it_does_for_python() -> None:
    assert seen("# a\rsession_id = 1\r") == [("identifier", 2, "session_id", True)]


def test_a_syntax_error_is_said_and_what_stands_before_it_is_counted() -> None:
    found = scanned("session_id = 1\nif x:\n        pass\n    session_id\nsession_id = 3\n")
    assert (found.reason, found.line, found.state) == ("syntax_error", 4, "partly")
    assert found.hits[0].line == 1
    assert scanned('session_id = """never closed\n').reason == "syntax_error"


_PIECES = st.lists(
    st.sampled_from(
        ["session_id", "ſession", "_id", "\\x5f", "session", "id", "\\", "\n", '"', "é", " ", "#", "r'", "'"]
    )
)


@examples(150)
@given(_PIECES)
def test_what_is_not_tokenized_holds_no_name(pieces: list[str]) -> None:
    text = "".join(pieces)
    whole = scan(text, NAMES)
    assert NAMES.may_hold(text) or not whole.hits
