"""The flow of a session, in the order of S3: the map → the id already is a flow's → unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def canonical(text: str) -> str:
    """An id as it is compared: GUIDs in lower case, anything else as it is."""
    return text.lower() if _GUID.fullmatch(text) else text


@dataclass(frozen=True)
class SessionMap:
    """Sessions and their flows, each id canonical. Built from pairs, the right flow of a session first."""

    flows: dict[str, str] = field(default_factory=dict[str, str])
    sessions: dict[str, str] = field(default_factory=dict[str, str])

    @staticmethod
    def of(pairs: Iterable[tuple[str | None, str | None]]) -> SessionMap:
        """From (session, flow) pairs; a pair without session only says that the flow exists."""
        found = SessionMap()
        for session, flow in pairs:
            if not flow:
                continue
            flow = canonical(flow)
            found.sessions.setdefault(flow, "")
            if session:
                found.flows.setdefault(canonical(session), flow)
                found.sessions[flow] = found.sessions[flow] or canonical(session)
        return found

    def to_flow(self, session: str) -> str | None:
        """The flow of a session's id; a flow's id is its own; None where it is neither."""
        known = canonical(session)
        return self.flows.get(known) or (session if known in self.sessions else None)

    def mapped(self, session: str) -> str | None:
        """The flow of a session's id, None for anything else, also for the id of a flow."""
        return self.flows.get(canonical(session))

    def to_session(self, flow: str) -> str | None:
        """The session of a flow, None where it has none."""
        return self.sessions.get(canonical(flow)) or None
