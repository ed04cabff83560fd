"""Names in Python source, token by token with Python's own `tokenize`.

From Python 3.12 on an f-string is several tokens, and what stands in its braces are identifiers; before, it is one string.
`tokenized_by` says which it was.
"""

from __future__ import annotations

import io
import platform
import re
import token
import tokenize
import unicodedata

from session_assets.flow.code_names import Names, unescaped
from session_assets.flow.code_tokens import COMMENT, IDENTIFIER, STRING, Hit, Scan

_KINDS = {token.NAME: IDENTIFIER, token.STRING: STRING, token.COMMENT: COMMENT} | {
    getattr(token, name): STRING for name in ("FSTRING_MIDDLE", "TSTRING_MIDDLE") if hasattr(token, name)
}
_RAW = re.compile(r"[a-z]*r[a-z]*['\"]", re.IGNORECASE)
_CARRIAGE_RETURN = re.compile(r"\r(?!\n)")
_QUOTES = re.compile(r"""^[a-z]*('''|\"\"\"|'|\")""", re.IGNORECASE)


def tokenized_by() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def decode(content: bytes) -> tuple[str, bool]:
    """Source as Python reads it (byte order mark, coding cookie), and whether all of it could be decoded."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        return _with_lines(content.decode(encoding)), True
    except (SyntaxError, UnicodeError, LookupError):  # an unknown cookie, or bytes that are not of it
        return _with_lines(content.decode("utf-8-sig", errors="replace")), False


def _with_lines(text: str) -> str:
    """A lone carriage return ends a line of Python, so also a comment; `tokenize` is not told by itself."""
    return _CARRIAGE_RETURN.sub("\n", text) if "\r" in text else text


def scan(text: str, names: Names) -> Scan:
    """All tokens that hold a name, as far as the source can be tokenized."""
    result = Scan()
    is_plain = names.is_plain(text)
    find, single = names.plain.search if is_plain else names.search, names.single if is_plain else None
    errors, add = token.ERRORTOKEN, _Adder(names, result.hits)
    start = (1, 0)
    try:
        for kind, string, start, _, _ in tokenize.generate_tokens(io.StringIO(text, newline="\n").readline):
            if kind == errors and result.reason is None:
                result.reason, result.line = "syntax_error", start[0]
            if (single in string if single else find(string)) and kind in _KINDS:
                add(_KINDS[kind], string, start[0])
    except (tokenize.TokenError, SyntaxError) as error:
        result.reason, result.line = "syntax_error", _line(error, start[0])
    return result


class _Adder:
    """Adds tokens to hits; identifiers are looked at once each."""

    def __init__(self, names: Names, hits: list[Hit]) -> None:
        self._names, self._hits = names, hits
        self._known: dict[str, tuple[tuple[str, ...], bool]] = {}

    def __call__(self, kind: str, string: str, line: int) -> None:
        if kind == IDENTIFIER and string in self._known:
            held, exact = self._known[string]
        else:
            held = tuple(self._held(kind, string))
            exact = bool(held) and _inner(kind, string) == held[0]
        if kind == IDENTIFIER:
            self._known[string] = held, exact
        elif held and (found := self._names.search(string)):
            line += string.count("\n", 0, found.start())
        if held:
            self._hits.append(Hit(kind, line, held, exact))

    def _held(self, kind: str, string: str) -> list[str]:
        """Escapes mean something in strings only, and not in raw ones."""
        held = self._names.held(string)
        is_raw = kind == COMMENT or (kind == STRING and _RAW.match(string))
        return [name for name in held if name in string] if is_raw else held


def _inner(kind: str, string: str) -> str:
    if kind == COMMENT:
        return string.strip("# ")
    if kind == IDENTIFIER:
        return unicodedata.normalize("NFKC", string)
    quotes = _QUOTES.match(string)
    return unescaped(string[quotes.end() : -len(quotes.group(1))] if quotes else string)


def _line(error: Exception, last: int) -> int:
    """Where tokenizing stopped: for a string or bracket that is never closed, where it begins."""
    place = error.args[1] if len(error.args) > 1 else None
    if isinstance(place, tuple) and place and isinstance(place[0], int):
        return place[0]
    return getattr(error, "lineno", None) or last
