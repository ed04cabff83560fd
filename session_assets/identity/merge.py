"""The document that a session shall be: moved to its GUID, or folded from several that stand under one id.

Pure: documents are JSON objects as Python has them. Fields that no rule names stay as they are, in their order.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from session_assets.identity.model import AUDIT, EMAIL_FIELD, ORIGINAL, UPDATED, USER_ID

Document = Mapping[str, Any]
_OWN = (USER_ID, *AUDIT)
_COUNTS = ("activity_count", "session_duration_seconds")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def moved(document: Document, user_id: str, updated_at: str) -> dict[str, Any]:
    """The session under its GUID, with the four fields of seed S1."""
    original = document[USER_ID]
    return {**document, USER_ID: user_id, EMAIL_FIELD: original, ORIGINAL: original, UPDATED: updated_at}


def folded(
    target: Document | None, sources: Sequence[tuple[Document, int]], modified: int, user_id: str, updated_at: str
) -> dict[str, Any] | None:
    """One session of several under one id, or None where both sides were edited and no rule says which is right.

    `target` stands under the GUID and was moved there before; `sources` stand under e-mails, each with the server's time of
    its last write (seconds), `modified` is that of the target. A field takes the value of the document that was written last;
    fields and entries of only one are kept; counts never fall, `endpoints_accessed` loses nothing, a list or map is not emptied,
    a session begins where its earliest document does. What else the fold would lose is told by `shrinks`.
    Folding again, with a newer source, gives what folding that source alone would have given.
    """
    ordered = [one for one, _ in sorted(sources, key=lambda one: (one[1], _activity(one[0])))]
    newest, written = ordered[-1], max(when for _, when in sources)
    merged: dict[str, Any] = {}
    for one in ordered:
        merged = _merged(merged, one)
    if target is None:
        return moved({**merged, USER_ID: newest[USER_ID]}, user_id, updated_at)
    if (modified, _activity(target)) > (written, _activity(newest)):
        if _loses(merged, target):
            return None
        merged = _merged(merged, target)
    else:
        merged = _merged(target, merged)
    kept = {name: target[name] for name in (EMAIL_FIELD, ORIGINAL) if name in target}
    return {**merged, USER_ID: target[USER_ID], **kept, UPDATED: updated_at}


def shrinks(folded: Document, documents: Iterable[Document]) -> bool:
    """Whether a fold says less than one of its documents: it has a smaller number, nothing where a document says something, or
    lacks items of a list or entries of a map.

    A value that is only another one, such as a status, is none of that: the document that was written last is right.
    """
    return any(
        _says_less(name, folded.get(name), value)
        for document in documents
        for name, value in document.items()
        if name not in _OWN
    )


def _says_less(name: str, now: Any, value: Any) -> bool:
    if _is_blank(value):
        return False
    if isinstance(value, list):
        return not isinstance(now, list) or not _holds(now, value)
    if isinstance(value, dict):
        return not isinstance(now, dict) or any(_says_less(key, now.get(key), one) for key, one in value.items())
    if _is_blank(now):
        return True
    if _is_number(value) and (name in _COUNTS or _is_number(now)):
        return not _is_number(now) or now < value
    return _is_begin(name, value) and not _is_begin(name, now)


def _merged(older: Document, newer: Document) -> dict[str, Any]:
    result = {**older, **newer}
    for name in result.keys() & older.keys() & newer.keys():
        result[name] = _value(name, older[name], newer[name])
    return result


def _value(name: str, older: Any, newer: Any) -> Any:
    combined = _combined(name, older, newer)
    if combined is not None:
        return combined
    if _is_blank(newer) and _tells_much(name, older):
        return older
    both_maps = isinstance(older, dict) and isinstance(newer, dict)
    return _merged(older, newer) if both_maps else newer


def _is_blank(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _tells_much(name: str, value: Any) -> bool:
    """Whether a value is more than one of several that follow each other: a list, a map, a count, the begin of the session."""
    return isinstance(value, list | dict) or (name in _COUNTS and _is_number(value)) or _is_begin(name, value)


def _is_begin(name: str, value: Any) -> bool:
    return name == "created_at" and isinstance(value, str) and _moment(value) is not None


def _combined(name: str, older: Any, newer: Any) -> Any:
    """The value that says what both say, for the fields that have a rule; else None."""
    if name in _COUNTS and _is_number(older) and _is_number(newer):
        return max(older, newer)
    if name == "endpoints_accessed" and isinstance(older, list) and isinstance(newer, list):
        return _longer(older, newer)
    if name == "created_at" and isinstance(older, str) and isinstance(newer, str):
        times = [(time, text) for text in (older, newer) if (time := _moment(text)) is not None]
        return min(times)[1] if len(times) == 2 else None
    return None


def _longer(older: list[Any], newer: list[Any]) -> list[Any]:
    """The list that holds the other, else the older one and what only the newer one has, as often as it has it."""
    if len(newer) > len(older) and _holds(newer, older):
        return newer
    known, added = Counter(map(_text, older)), list[Any]()
    for one in newer:
        text = _text(one)
        known[text] -= 1
        if known[text] < 0:
            added.append(one)
    return [*older, *added]


def _holds(one: list[Any], other: list[Any]) -> bool:
    """Whether a list has all items of another, each as often."""
    return Counter(map(_text, other)) <= Counter(map(_text, one))


def _loses(source: Document, target: Document) -> bool:
    """Whether a source says something of its own that the newer target would hide: both were edited."""
    for name, value in source.items():
        if name in _OWN:
            continue
        if name not in target:
            return True
        if _combined(name, value, target[name]) is not None or _text(target[name]) == _text(value):
            continue
        if not _is_later(target[name], value):
            return True
    return False


def _is_later(target: Any, source: Any) -> bool:
    """Whether a value of the target is plainly the successor of one of the source: a later moment, a larger count."""
    if isinstance(target, str) and isinstance(source, str):
        later, earlier = _moment(target), _moment(source)
        return later is not None and earlier is not None and later >= earlier
    if isinstance(target, list) and isinstance(source, list):
        return {_text(one) for one in source} <= {_text(one) for one in target}
    return _is_number(target) and _is_number(source) and target >= source


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _activity(document: Document) -> datetime:
    """When a session was last active, as far as it says."""
    value = document.get("last_activity")
    return (_moment(value) if isinstance(value, str) else None) or _LONG_AGO


def _moment(text: str) -> datetime | None:
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        return None
    return value if value.tzinfo is not None else None
