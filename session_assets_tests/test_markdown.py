"""No text from outside acts in Markdown: it is shown, whole, and nothing else comes of it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import session_assets
from session_assets.changes.evidence import Figures, Lack
from session_assets.graph.check_result import CheckResult
from session_assets.graph.markdown import Markdown, escaped, md_table, paragraphs, plain, prose
from session_assets.graph.plots import Bar, share_bars, stacked_bars
from session_assets.masking import shown
from session_assets_tests.counts import examples
from session_assets_tests.hostile import CONSTRUCTS, PAYLOADS, assert_inert, cells, text_of, tokens

PACKAGE = Path(session_assets.__file__).parent
_TEXTS = st.lists(st.sampled_from([*CONSTRUCTS, "a", " ", "\n", "|", "`", "\\", "*", "_", "."]), max_size=6).map(
    "".join
)
_MAKES_MARKDOWN = {"Markdown", "MarkdownMetadataValue", "md"}
_HAS_DESCRIPTION = {"AssetCheckResult", "AssetCheckEvaluation", "AssetMaterialization", "AssetObservation", "Failure"}
_EVALUATIONS = {"graph/check_result.py", "graph/partition_checks.py"}  # they take the type Markdown


def test_there_are_300_payloads() -> None:
    assert len(set(PAYLOADS)) >= 300


@pytest.mark.parametrize("start", ["", "ours "])
def test_a_text_is_shown_whole_and_is_nothing_but_text(start: str) -> None:
    for payload in PAYLOADS:
        found = tokens(start + escaped(payload))
        assert_inert(start + escaped(payload), payload)
        assert {one.type for one in found} <= {"paragraph_open", "inline", "text", "code_inline", "paragraph_close"}, (
            payload
        )
        assert text_of(found).split() == (start + shown(payload)).split()


def test_a_cell_is_shown_whole_and_stays_in_its_place() -> None:
    for payload in PAYLOADS:
        found = tokens(md_table([(1, payload, "last")], ["a", payload, "c"]))
        shown_cells = [text_of(one).split() for one in cells(found)]
        assert shown_cells == [["a"], shown(payload).split(), ["c"], ["1"], shown(payload).split(), ["last"]], payload
        assert_inert(md_table([(1, payload, "last")], ["a", payload, "c"]), payload)


def test_descriptions_steps_and_plots_are_inert() -> None:
    for payload in CONSTRUCTS:
        for result in (
            CheckResult("one", Figures(judged=3), 1, payload, next_step=payload),
            CheckResult("one", Figures(judged=3), 0, payload),
            CheckResult("one", Figures(), 1, payload, lack=Lack(payload, payload)),
            CheckResult("one", Figures(), 0, payload, rightly=payload),
        ):
            assert_inert(result.markdown, payload)
        bars = share_bars(payload, [Bar(payload, 1, payload)])
        assert_inert(
            paragraphs([prose(payload), bars, stacked_bars(payload, [(payload, 1, 2)], (payload, payload))]), payload
        )


@given(_TEXTS)
@examples(200)
def test_any_text_is_inert_and_comes_back_for_readers_that_render_nothing(text: str) -> None:
    assert_inert(escaped(text), text)
    assert_inert(md_table([(text, text)], ["a", "b"]), text)
    assert text_of(tokens(escaped(text))).split() == shown(text).split()
    assert plain(escaped(text)) == shown(text).strip()


def test_commands_of_a_next_step_are_code() -> None:
    step = "Run `session-assets plan web`, then look at web_sessions."
    code = [one.content for one in tokens(prose(step)) if one.type == "code_inline"]
    assert code == ["session-assets plan web"]
    assert plain(prose(step)) == step


def test_nobody_else_builds_markdown() -> None:
    """Past the escaper there is none: the type checker keeps texts apart, and only one module makes the type."""
    for path in PACKAGE.rglob("*.py"):
        name, source = path.relative_to(PACKAGE).as_posix(), path.read_text()
        if not any(f"{called}(" in source for called in _MAKES_MARKDOWN | _HAS_DESCRIPTION):
            continue
        for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
            function = call.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            is_method = isinstance(function, ast.Attribute)
            where = f"{name}:{call.lineno}"
            if called in _MAKES_MARKDOWN and (called != "md" or is_method):
                assert name == "graph/markdown.py", f"{where} builds Markdown"
            if called in _HAS_DESCRIPTION and any(one.arg == "description" for one in call.keywords):
                assert name in _EVALUATIONS, f"{where}: Dagster renders descriptions as Markdown"


def test_markdown_is_a_type_of_its_own() -> None:
    assert type(f"{escaped('a')}") is str
    assert isinstance(escaped("a"), Markdown)
