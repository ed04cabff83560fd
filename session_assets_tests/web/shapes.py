"""The same sessions and events in the plain shape and in another one, with other names and other types."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import bson
import yaml
from bson import ObjectId
from hypothesis import strategies as st

Document = dict[str, Any]
HEXES = [f"65f0a1b2c3d4e5f6a7b8c9d{digit}" for digit in "0123"]
SESSION_IDS = [*HEXES, "s1", "S1"]
START = datetime(2025, 3, 29, 22, tzinfo=UTC)
ZONE = "Europe/London"  # its clocks change on 2025-03-30 and on 2025-10-26
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SESSION_TIMES = ("first_event_at", "last_event_at", "created_at")
_FIELDS = {
    "events": ("session_id", "timestamp", "page", "user_id", "client_id"),
    "sessions": (
        "session_id", "user_id", "client_id", "event_count", "first_event_at", "last_event_at", "pages", "created_at",
        "expires_at",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """How a generated application stores its documents; `text` is the mapping file that says so."""

    names: dict[str, dict[str, str]]
    units: dict[str, str]
    zone: str | None
    template: bool  # pages are /article/{article}

    @property
    def text(self) -> str:
        said: dict[str, Any] = {}
        for role, names in self.names.items():
            fields = {name: names[name] for name in names if name != "page" or not self.template}
            if self.template and role == "events":
                fields["page"] = "/article/{article}"
            said[role] = {"collection": f"my_{role}", "fields": fields, "timestamp_unit": self.units[role]}
            if self.zone:
                said[role]["timezone"] = self.zone
        return yaml.safe_dump(said)

    def event(self, plain: Document, choose: random.Random) -> Document:
        """An event in this shape."""
        names, result = self.names["events"], {"_id": plain["_id"], "other": [1, None]}
        for name, value in plain.items():
            if name == "_id":
                continue
            if name == "page" and self.template:
                if value is not None:
                    result["article"] = _article(value, choose)
            elif name == "timestamp":
                result[names[name]] = self._time(value, "events", choose)
            else:
                result[names[name]] = _either(value, choose) if name in ("session_id", "user_id") else value
        return result

    def session(self, plain: Document, choose: random.Random) -> Document:
        """A session in this shape."""
        names, result = self.names["sessions"], {"_id": plain["_id"]}
        for name, value in plain.items():
            if name in _SESSION_TIMES and value is not None:
                result[names[name]] = self._time(value, "sessions", choose)
            elif name in names:
                result[names[name]] = _either(value, choose) if name == "session_id" else value
        return result

    def _time(self, value: datetime, role: str, choose: random.Random) -> object:
        unit, millis = self.units[role], (value - _EPOCH) // timedelta(milliseconds=1)
        forms: list[object] = [value, *_texts(value)]
        if unit == "s":
            forms += [millis / 1000, *([bson.Int64(millis // 1000)] if millis % 1000 == 0 else [])]
        elif unit in ("ms", "us"):
            number = millis * (1 if unit == "ms" else 1000)
            forms += [bson.Int64(number), float(number)]
        if self.zone:
            local = value.astimezone(ZoneInfo(self.zone))
            if local.replace(fold=0).utcoffset() == local.replace(fold=1).utcoffset():
                forms.append(local.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds"))
        return choose.choice(forms)


def _texts(value: datetime) -> list[str]:
    india = value.astimezone(timezone(timedelta(hours=5, minutes=30)))
    return [
        value.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        value.isoformat().replace("+00:00", "z"),
        india.isoformat(timespec="microseconds"),
        india.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " +0530",
    ]


def _either(value: object, choose: random.Random) -> object:
    """An id of 24 hex digits in one of the two types."""
    if isinstance(value, str) and value in HEXES and choose.random() < 0.5:
        return ObjectId(value)
    return value


def _article(page: str, choose: random.Random) -> object:
    number = int(page.rpartition("/")[2])
    return choose.choice([number, float(number), bson.Int64(number), str(number)])


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    names: dict[str, dict[str, str]] = {}
    for role, fields in _FIELDS.items():
        kept = draw(st.sets(st.sampled_from(fields)))
        names[role] = {
            name: name if name in kept else f"my {name}-é"[: draw(st.integers(5, 20))] + name for name in fields
        }
    units = {role: draw(st.sampled_from(["s", "ms", "us", "iso"])) for role in _FIELDS}
    return Shape(names, units, draw(st.sampled_from([None, ZONE])), draw(st.booleans()))


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Document], list[Document]]:
    """Sessions and events in the plain shape: right ones, wrong ones, duplicates, orphans, events of no session."""
    seconds = st.one_of(st.integers(0, 9000), st.sampled_from([0.123, 3600.007, 18_212_400.25, 18_214_200]))
    events: list[Document] = []
    for number in range(draw(st.integers(0, 10))):
        events.append(
            {
                "_id": number,
                "session_id": draw(st.sampled_from(SESSION_IDS)),
                "timestamp": _moment(draw(seconds)),
                "page": draw(st.sampled_from([None, "/article/1", "/article/2", "/article/30"])),
                "user_id": draw(st.sampled_from([None, HEXES[0], "bob"])),
                "client_id": draw(st.sampled_from([None, "c"])),
            }
        )
    sessions: list[Document] = []
    for number in range(draw(st.integers(0, 7))):
        fields: Document = {
            "session_id": draw(st.sampled_from(SESSION_IDS)),
            "user_id": draw(st.sampled_from([None, "bob"])),
            "client_id": draw(st.sampled_from([None, "c"])),
            "event_count": draw(st.sampled_from([None, 0, 1, 2])),
            "first_event_at": draw(st.one_of(st.none(), seconds.map(_moment))),
            "last_event_at": draw(st.one_of(st.none(), seconds.map(_moment))),
            "pages": draw(st.sampled_from([None, [], ["/article/1"]])),
            "created_at": draw(st.one_of(st.none(), seconds.map(_moment))),
        }
        dropped = draw(st.sets(st.sampled_from([*fields][1:])))
        sessions.append({"_id": ObjectId(f"68{number:022x}")} | {k: v for k, v in fields.items() if k not in dropped})
    return sessions, events


def _moment(seconds: float) -> datetime:
    return START + timedelta(milliseconds=round(seconds * 1000))
