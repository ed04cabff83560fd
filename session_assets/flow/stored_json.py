"""Ids inside stored JSON, rewritten token by token, so that everything else stays as it was, to the byte.

Duplicate members, their order, spaces, big integers and the text of decimals are kept, since nothing is loaded and dumped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from session_assets.flow.stored_model import NAMES, NEW_KEY, OLD_KEY

ToFlow = Callable[[str], str | None]
"""The flow of a session, or None."""

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:,]', re.DOTALL)


class NotJson(ValueError):
    """The text is no JSON; `truncated` where it ends too early."""

    def __init__(self, reason: str, *, truncated: bool) -> None:
        super().__init__(reason)
        self.truncated = truncated


@dataclass
class Rewritten:
    """The new bytes, and how many strings were rewritten; `sessions` are the values under session-id names, with their depth."""

    content: bytes
    edits: int = 0
    sessions: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])


@dataclass
class _Object:
    """An object or array that is being read. `names` are an object's members so far, by place of their name."""

    is_object: bool
    key: str | None = None
    key_at: tuple[int, int] | None = None
    names: set[str] = field(default_factory=set[str])
    renames: list[tuple[tuple[int, int], str]] = field(default_factory=list[tuple[tuple[int, int], str]])


def rewrite(content: bytes, to_flow: ToFlow) -> Rewritten:
    """JSON with session ids as flow ids. Raises `NotJson`, and `RecursionError` where it is nested too deeply."""
    text, encoding, mark = _decoded(content)
    _validate(text)
    edits: dict[tuple[int, int], str] = {}
    result = Rewritten(content)
    stack: list[_Object] = []
    for token in _TOKEN.finditer(text):
        letter = token.group()[0]
        around = stack[-1] if stack else None
        if letter in "{[":
            stack.append(_Object(letter == "{"))
        elif letter in "}]":
            _rename(stack.pop(), edits)
        elif letter == "," and around is not None:
            around.key = None
        elif letter == '"':
            _string(text, token.span(), stack, to_flow, edits, result)
    result.edits = sum(old != new for old, new in ((text[slice(*span)], new) for span, new in edits.items()))
    if result.edits:
        written = _applied(text, edits)
        _verify(text, written, to_flow)
        result.content = mark + written.encode(encoding, "surrogatepass")
    return result


def flow_value(text: str, to_flow: ToFlow) -> str:
    """A whole string as it should stand: a session's id as its flow's, a stored import key as that of the flow; else itself."""
    flow = to_flow(text)
    if flow is not None:
        return flow
    if text.startswith(OLD_KEY):
        flow = to_flow(text.removeprefix(OLD_KEY))
        return text if flow is None else f"{NEW_KEY}{flow}"
    return text


def _string(
    text: str,
    span: tuple[int, int],
    stack: list[_Object],
    to_flow: ToFlow,
    edits: dict[tuple[int, int], str],
    result: Rewritten,
) -> None:
    around = stack[-1] if stack else None
    value: str = json.loads(text[slice(*span)])
    new = flow_value(value, to_flow)
    if around is not None and around.is_object and around.key is None:
        around.key, around.key_at = value, span
        around.names.add(value)
        if new != value:
            around.renames.append((span, new))
        return
    if new != value:
        edits[span] = json.dumps(new)
    if around is None or not around.is_object or around.key not in NAMES:
        return
    result.sessions.append((len(stack), value))
    if to_flow(value) is not None and around.key_at is not None:
        around.renames.append((around.key_at, NAMES[around.key]))


def _rename(around: _Object, edits: dict[tuple[int, int], str]) -> None:
    """Rename members at the end of their object, but never to a name that it has: that would hide one of the two."""
    taken = set(around.names)
    for span, name in around.renames:
        if name not in taken:
            taken.add(name)
            edits[span] = json.dumps(name)


def _applied(text: str, edits: dict[tuple[int, int], str]) -> str:
    parts, at = [], 0
    for (begin, end), new in sorted(edits.items()):
        parts += [text[at:begin], new]
        at = end
    return "".join([*parts, text[at:]])


def _decoded(content: bytes) -> tuple[str, str, bytes]:
    """Text, encoding and byte order mark; they give back the very bytes."""
    encoding = json.detect_encoding(content)
    mark = b""
    if encoding == "utf-8-sig":
        encoding, mark = "utf-8", content[:3]
    elif encoding in ("utf-16", "utf-32"):
        size = 2 if encoding == "utf-16" else 4
        mark, little = content[:size], content[:1] == b"\xff"
        encoding = f"{encoding}-{'le' if little else 'be'}"
    try:
        return content[len(mark) :].decode(encoding, "surrogatepass"), encoding, mark
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not {encoding}", truncated="unexpected end" in error.reason) from None


_CUT = re.compile(
    r"(?:t(?:r(?:u)?)?|f(?:a(?:l(?:s)?)?)?|n(?:u(?:l)?)?|[-+.eE\d]*|\\u[0-9a-fA-F]{0,4}|u?[0-9a-fA-F]{0,4})?\s*"
)
"""What is left of a value that was cut off, from where it cannot be read any more."""


def _validate(text: str) -> None:
    """Raises `NotJson`, and `RecursionError` for what is nested too deeply to be judged."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        is_cut = error.msg.startswith("Unterminated") or bool(_CUT.fullmatch(text, error.pos))
        raise NotJson(f"line {error.lineno}: {error.msg}", truncated=is_cut) from None


def _verify(old: str, new: str, to_flow: ToFlow) -> None:
    """Raise where the two differ in anything but rewritten ids: a bug here must not reach a file."""
    if not _same(_parsed(old), _parsed(new), to_flow):
        raise AssertionError("the rewritten JSON differs in more than ids")


def _parsed(text: str) -> object:
    """Numbers as bytes: their text, and no string."""
    return json.loads(text, parse_int=str.encode, parse_float=str.encode, object_pairs_hook=_Pairs)


class _Pairs(list[tuple[str, object]]):
    """An object with all of its members, in order."""


def _same(old: object, new: object, to_flow: ToFlow) -> bool:
    if isinstance(old, _Pairs):
        return (
            isinstance(new, _Pairs)
            and len(old) == len(new)
            and all(
                one in (key, NAMES.get(key), flow_value(key, to_flow)) and _same(value, other, to_flow)
                for (key, value), (one, other) in zip(old, new, strict=True)
            )
        )
    if isinstance(old, list):
        return isinstance(new, list) and len(old) == len(new) and all(map(_same, old, new, [to_flow] * len(old)))
    if isinstance(old, str):
        return new == flow_value(old, to_flow)
    return type(old) is type(new) and (old == new or old != old)
