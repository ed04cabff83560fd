"""The compatibility layer for an application that moves from session ids to flow ids, kept for six months.

Look-ups go on after contract, from the archive. Nothing is guessed: an id that is unknown is an error, and a flow is created
for it only where somebody asks for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from session_assets.flow.compat_model import (
    FLOW,
    PAIRS,
    SESSION,
    Contradiction,
    Flags,
    FlowIdRequired,
    UnknownFlow,
    UnknownSession,
)
from session_assets.masking import safe_text


@dataclass(frozen=True)
class NewFlow:
    """What a flow needs that is created: whose it is, and what it is called.

    A field whose column the table of flows does not have is left out. `columns` are further columns, by their names.
    """

    client_account_id: str
    engagement_id: str
    user_id: str
    flow_name: str = "Discovery Flow"
    flow_description: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])


class Lookup(Protocol):
    """Sessions and flows of an application. `stores.flow_compat.FlowTable` is that of PostgreSQL."""

    def flow_of(self, session: str) -> str | None:
        """The flow whose import_session_id this is, the earliest where there are several."""
        ...

    def is_flow(self, flow: str) -> bool: ...

    def session_of(self, flow: str) -> str | None: ...

    def create(self, new: NewFlow, session: str | None = None) -> str:
        """A new flow, for a session where one is named: then the same flow in every call."""
        ...

    def get(self, flow: str) -> dict[str, Any] | None:
        """A flow's columns."""
        ...


def to_flow(lookup: Lookup, some_id: str, create: NewFlow | None = None) -> str:
    """The flow of an id: import_session_id → the id already is a flow's → unknown, created only where `create` is given.

    Raises `UnknownSession`.
    """
    found = lookup.flow_of(some_id)
    if found is not None:
        return found
    if lookup.is_flow(some_id):
        return some_id
    if create is not None:
        return lookup.create(create, some_id)
    raise UnknownSession(
        f"{safe_text(some_id)[:80]} is neither a session with a flow nor a flow. Correct it, or ask for a flow to be created."
    )


def to_session(lookup: Lookup, flow: str) -> str:
    """The session of a flow. Raises `UnknownFlow`."""
    found = lookup.session_of(flow)
    if found is None:
        raise UnknownFlow(
            f"{safe_text(flow)[:80]} is no flow with a session: it was begun after the migration. Finish it with code that"
            " takes flow_id."
        )
    return found


def convert_request(
    request: Mapping[str, Any], flags: Flags, lookup: Lookup, create: NewFlow | None = None
) -> dict[str, Any]:
    """A request as the code behind it takes it: ids of sessions as those of flows, in roll-back mode the other way.

    The members keep their order; nothing else is touched. Raises `UnknownSession`, `UnknownFlow`, `Contradiction`.
    """
    names = {new: old for old, new in PAIRS.items()} if flags.rolls_back else PAIRS
    result: dict[str, Any] = {}
    for name, value in request.items():
        if name not in names:
            result.setdefault(name, value)
        elif value is not None:
            wanted = names[name]
            turned = to_session(lookup, value) if flags.rolls_back else to_flow(lookup, value, create)
            if request.get(wanted) not in (None, turned):
                raise Contradiction(
                    f"{name} and {wanted} of the request do not belong together. Leave one of them out."
                )
            result[wanted] = turned
        else:
            result.setdefault(names[name], request.get(names[name]))
    return result


def event_flow(event: Mapping[str, Any], flags: Flags, lookup: Lookup) -> str:
    """The flow that an event is about. Its session is looked up in legacy mode only. Raises `FlowIdRequired`."""
    if event.get(FLOW):
        return str(event[FLOW])
    if flags.legacy and event.get(SESSION):
        return to_flow(lookup, str(event[SESSION]))
    raise FlowIdRequired("flow_id is required for all flow events")


class FlowManager:
    """For code that used the session manager: creates flows, and gets them."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    def create_flow(self, new: NewFlow) -> str:
        """The id of a new flow."""
        return self._lookup.create(new)

    def get_flow_data(self, flow_id: str) -> dict[str, Any]:
        """The columns of a flow. Raises `UnknownFlow`."""
        found = self._lookup.get(flow_id)
        if found is None:
            raise UnknownFlow(f"{safe_text(flow_id)[:80]} is no flow.")
        return found
