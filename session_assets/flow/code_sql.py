"""Names in SQL, with sqlglot's tokenizer of PostgreSQL (nested comments, dollar quotes, E'' and U&'' strings).

Comments are what stands between tokens. Bodies of functions and of DO are code, so they are tokenized in turn.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from typing import ClassVar

from sqlglot.dialects.postgres import Postgres
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from session_assets.flow.code_names import Names, unescaped, unicode_unescaped
from session_assets.flow.code_tokens import COMMENT, IDENTIFIER, STRING, Hit, Scan

_BODY_AFTER = {"AS", "DO", "ATOMIC"}
_QUOTED = {
    TokenType.STRING, TokenType.BYTE_STRING, TokenType.UNICODE_STRING, TokenType.HEREDOC_STRING, TokenType.RAW_STRING,
    TokenType.NATIONAL_STRING, TokenType.BIT_STRING, TokenType.HEX_STRING,
}  # fmt: skip
_ESCAPES = {TokenType.BYTE_STRING: unescaped, TokenType.UNICODE_STRING: unicode_unescaped}
_Piece = tuple[str, str, str, int]  # kind, value, text as written, where it begins


class _Tokenizer(Postgres.Tokenizer):
    COMMANDS: ClassVar[set[TokenType]] = set()  # else the rest of EXECUTE, CALL … would be one string


def scan(text: str, names: Names) -> Scan:
    """All tokens that hold a name; unquoted identifiers in any case, as SQL folds them."""
    result = Scan()
    ends = [found.start() for found in re.finditer("\n", text)]
    for kind, value, piece, begin in _pieces(text, 0, result):
        held = sorted((name for name in names.names if name in value), key=lambda name: (-len(name), name))
        if held:
            found = names.spelled.search(piece)
            at = begin + (found.start() if found else 0)
            result.hits.append(Hit(kind, bisect_left(ends, at) + 1, tuple(held), _inner(kind, value) == held[0]))
    if result.line is not None:
        result.line = bisect_left(ends, result.line) + 1
    return result


def _pieces(text: str, offset: int, result: Scan) -> Iterator[_Piece]:
    """Identifiers, strings and comments with their place; notes where the text cannot be tokenized any more."""
    tokens, is_whole = _tokens(text)
    end, before = 0, ""
    for token in tokens:
        yield from _comment(text, end, token.start, offset)
        piece, end = text[token.start : token.end + 1], token.end + 1
        if token.token_type is TokenType.HEREDOC_STRING and before in _BODY_AFTER:
            tag = piece.index("$", 1) + 1
            yield from _pieces(piece[tag:-tag], offset + token.start + tag, result)
        elif token.token_type in _QUOTED:
            yield STRING, _ESCAPES.get(token.token_type, str)(piece), piece, offset + token.start
        else:
            quoted = unicode_unescaped(piece) if "\\" in piece else piece  # U&"…"
            value = quoted if token.token_type is TokenType.IDENTIFIER else piece.lower()
            yield IDENTIFIER, value, piece, offset + token.start
        before = piece.upper()
    if is_whole:
        yield from _comment(text, end, len(text), offset)
    elif result.reason is None:
        rest = text[end:]
        result.reason, result.line = "syntax_error", offset + end + len(rest) - len(rest.lstrip())


def _tokens(text: str) -> tuple[list[Token], bool]:
    tokenizer = _Tokenizer(dialect="postgres")
    try:
        return tokenizer.tokenize(text), True
    except TokenError:
        return list(tokenizer.tokens), False


def _comment(text: str, begin: int, end: int, offset: int) -> Iterator[_Piece]:
    """The comments between two tokens, each by itself: to the end of its line, or nested blocks."""
    at = begin
    while at < end:
        if text.startswith("/*", at):
            stop, depth = at + 2, 1
            while depth and stop < end:
                step = 2 if text.startswith(("/*", "*/"), stop) else 1
                depth += (step == 2) * (1 if text[stop] == "/" else -1)
                stop += step
        elif not text[at].isspace():
            stop = text.find("\n", at, end)
            stop = end if stop < 0 else stop
        else:
            at += 1
            continue
        yield COMMENT, text[at:stop], text[at:stop], offset + at
        at = stop


def _inner(kind: str, value: str) -> str:
    if kind == COMMENT:
        return value.strip("-/* ")
    opening = value.find("'")
    return value[opening + 1 : -1] if kind == STRING and opening >= 0 else value.strip('"$')
