"""Names in JavaScript and TypeScript, with the grammars of tree-sitter, which go on after a syntax error.

Only the tokens at the places where a name is spelled are looked at, so that nothing else of the tree is walked.
"""

from __future__ import annotations

from functools import cache

from tree_sitter import Language, Node, Parser

from session_assets.flow.code_names import Names, unescaped
from session_assets.flow.code_tokens import COMMENT, IDENTIFIER, STRING, Hit, Scan

_COMMENTS = ("comment", "html_comment", "hash_bang_line")
_STRINGS = ("string", "template_string", "template_literal_type", "jsx_text", "regex")


@cache
def parser(language: str) -> Parser:
    """The parser of `javascript`, `typescript` or `tsx`."""
    import tree_sitter_javascript
    import tree_sitter_typescript

    grammars = {
        "javascript": tree_sitter_javascript.language,
        "typescript": tree_sitter_typescript.language_typescript,
        "tsx": tree_sitter_typescript.language_tsx,
    }
    return Parser(Language(grammars[language]()))


def scan(text: str, names: Names, language: str) -> Scan:
    """All tokens that hold a name. A source with a syntax error is read on behind it, and said to be read in part."""
    source = text.encode("utf-8", errors="replace")
    root = parser(language).parse(source).root_node
    result = Scan()
    if root.has_error:
        result.reason, result.line = "syntax_error", _first_error(root)
    seen: set[tuple[int, int]] = set()
    for begin, end in _places(text, names):
        token = _token(root, begin, end)
        if (token.start_byte, token.end_byte) not in seen:
            seen.add((token.start_byte, token.end_byte))
            _add(result.hits, token, source, begin, names)
    return result


def _places(text: str, names: Names) -> list[tuple[int, int]]:
    """Byte ranges in which a name is spelled, in order."""
    pattern = names.spelled if names.is_spelled(text) else names.plain
    places: list[tuple[int, int]] = []
    at = offset = 0
    for found in pattern.finditer(text):
        begin = offset + len(text[at : found.start()].encode("utf-8", errors="replace"))
        offset = begin + len(found.group().encode("utf-8", errors="replace"))
        at = found.end()
        places.append((begin, offset))
    return places


def _token(root: Node, begin: int, end: int) -> Node:
    """The token around a place; a string with escapes or substitutions is one token, what stands in those is not."""
    node = root.descendant_for_byte_range(begin, end)
    assert node is not None  # the root spans all
    around: Node | None = node
    while around is not None and around.type not in ("template_substitution", "template_type", "jsx_expression"):
        if around.type in (*_STRINGS, *_COMMENTS):
            return around
        around = around.parent
    return node


def _add(hits: list[Hit], token: Node, source: bytes, place: int, names: Names) -> None:
    kind = COMMENT if token.type in _COMMENTS else IDENTIFIER if "identifier" in token.type else STRING
    text = source[token.start_byte : token.end_byte].decode("utf-8", errors="replace")
    own = _own_text(token, source) if token.type.startswith("template") else text
    held = [name for name in names.names if name in unescaped(own) or (kind == COMMENT and name in own)]
    held.sort(key=lambda name: (-len(name), name))
    if held:
        inner = unescaped(own).strip("#'\"`" if kind != COMMENT else "/* ")
        line = token.start_point.row + source.count(b"\n", token.start_byte, place) + 1
        hits.append(Hit(kind, line, tuple(held), inner == held[0]))


def _own_text(token: Node, source: bytes) -> str:
    """A template without its substitutions, which hold tokens of their own."""
    parts, at = [], token.start_byte
    for child in token.children:
        if child.type in ("template_substitution", "template_type"):
            parts.append(source[at : child.start_byte])
            at = child.end_byte
    return b"\0".join([*parts, source[at : token.end_byte]]).decode("utf-8", errors="replace")


def _first_error(root: Node) -> int:
    """The line of the first node that could not be read, or that is missing."""
    node = root
    while True:
        inner = next((child for child in node.children if child.has_error or child.is_missing), None)
        if inner is None or inner.is_error:
            return (inner or node).start_point.row + 1
        node = inner
