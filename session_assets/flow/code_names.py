"""The names that are searched for, and all the ways in which source can spell them.

Identifiers are compared as Python compares them (NFKC), strings also where escapes spell a part of the name. Needs nothing
but the standard library, since every worker process imports it.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Names:
    """Names as given; `search` finds the first that a text holds."""

    names: tuple[str, ...]
    plain: re.Pattern[str] = field(init=False, compare=False)
    spelled: re.Pattern[str] = field(init=False, compare=False)
    hint: re.Pattern[str] = field(init=False, compare=False)
    single: str | None = field(init=False, compare=False)
    """The text that every name contains, where there is one: looked for faster than a pattern."""

    def __post_init__(self) -> None:
        least = [one for one in self.names if not any(other in one for other in self.names if other != one)]
        object.__setattr__(self, "plain", re.compile("|".join(map(re.escape, least))))
        object.__setattr__(self, "spelled", re.compile("|".join(map(_spelled, least)), re.IGNORECASE))
        object.__setattr__(self, "hint", re.compile(_hint("".join(least)), re.IGNORECASE))
        object.__setattr__(self, "single", least[0] if len(least) == 1 else None)

    def is_spelled(self, text: str) -> bool:
        """Whether a name is written with escapes somewhere, or perhaps in plain letters."""
        return "\\" in text and bool(self.hint.search(text) and self.spelled.search(text))

    def may_hold(self, text: str) -> bool:
        """Whether any token of a text can hold a name: exact for plain text, never wrong about a no."""
        return bool(
            self.plain.search(text)
            or (not text.isascii() and self.plain.search(unicodedata.normalize("NFKC", text)))
            or self.is_spelled(text)
        )

    def is_plain(self, text: str) -> bool:
        """Whether looking for the names as they are written finds all of them."""
        return text.isascii() and not ("\\" in text and self.hint.search(text))

    def search(self, token: str) -> re.Match[str] | None:
        """The first name in a token, written in any way."""
        found = self.plain.search(token)
        if found is None and not token.isascii():
            found = self.plain.search(unicodedata.normalize("NFKC", token))
        if found is None and "\\" in token:
            found = self.spelled.search(token)
            if found is not None and not self.plain.search(unescaped(found.group())):
                return None  # other case than the name's
        return found

    def held(self, token: str) -> list[str]:
        """All names that a token holds, the longest first."""
        text = unicodedata.normalize("NFKC", unescaped(token))
        found = [name for name in self.names if name in text or name in token]
        return sorted(found, key=lambda name: (-len(name), name))


_ESCAPE = re.compile(
    r"\\(?:(\\)|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|u\{0*([0-9a-fA-F]{1,6})\}|N\{([^}]+)\}|([0-7]{3})|(\r?\n))"
)
_UNICODE_STRING = re.compile(r"\\(?:(\\)|([0-9a-fA-F]{4})|\+([0-9a-fA-F]{6}))")


def unescaped(text: str) -> str:
    """A token with its escapes of Python, JavaScript and E'' strings resolved; those that mean nothing stay."""
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def unicode_unescaped(text: str) -> str:
    """A U&'' string of SQL with its escapes resolved."""
    return _UNICODE_STRING.sub(lambda match: match.group() if match.group(1) else _letter(match, 16), text)


def _letter(match: re.Match[str], base: int) -> str:
    digits = next(one for one in match.groups() if one)
    return chr(int(digits, base)) if int(digits, base) <= sys.maxunicode else match.group()


def _character(match: re.Match[str]) -> str:
    backslash, *_, named, octal, line = match.groups()
    if backslash or (named and not _known(named)):
        return match.group()
    if line:
        return ""
    if named:
        return unicodedata.lookup(named)
    return _letter(match, 8 if octal else 16)


def _known(name: str) -> bool:
    try:
        return bool(unicodedata.lookup(name))
    except KeyError:
        return False


def _spelled(name: str) -> str:
    """A pattern for a name some of whose characters are escaped, or that a line is continued in."""
    first, *rest = (_ways(letter) for letter in name)
    opening = rf"(?:{re.escape(name[0])}|(?<!\\)(?:\\\\)*{first})"
    after = [rf"(?:\\\r?\n)*(?:{re.escape(letter)}|{ways})" for letter, ways in zip(name[1:], rest, strict=True)]
    return opening + "".join(after)


def _hint(letters: str) -> str:
    """A pattern that begins with a plain backslash, so that it is fast: any escape that may spell a part of a name."""
    chosen = "".join(re.escape(letter) for letter in sorted(set(letters)))
    ways = "|".join(_ways(letter).removeprefix("\\\\") for letter in sorted(set(letters)))
    return rf"\\(?:{ways}|\r?\n[{chosen}\\])"


def _ways(letter: str) -> str:
    code = ord(letter)
    return (
        rf"\\(?:x{code:02x}|u{code:04x}|U{code:08x}|u\{{0*{code:x}\}}|\+{code:06x}|{code:03o}|{code:04x}"
        rf"|N\{{{re.escape(unicodedata.name(letter))}\}})"
    )
