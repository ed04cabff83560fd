"""A proposed description as YAML: each part with its reason, and with a question where a person has to decide."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from session_assets.flow.description_model import QUESTION
from session_assets.masking import safe_text

Value = str | bool | None | list[str] | dict[str, str]
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_ .]*")
_HEAD = """\
# What becomes of the session ids of this database. Proposed by `session-assets flow describe`; read it before you use it.
# Answer each "?", then: export FLOW_SCHEMA=THIS_FILE; session-assets plan flow
# Fields and what they mean: docs/flow/migration.md, Another schema, and docs/schemas/flow.schema.json
"""


@dataclass(frozen=True)
class Part:
    """A field, its value, and why it is so; the question where the value is one."""

    name: str
    value: Value
    why: str = ""

    @property
    def is_question(self) -> bool:
        value = self.value
        return QUESTION in (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        )


@dataclass(frozen=True)
class Proposal:
    """All parts. `left_out`: what looked like a linked table and is none, each with the reason."""

    sessions: list[Part]
    flows: list[Part]
    linked: list[list[Part]]
    left_out: list[str] = field(default_factory=list[str])

    @property
    def questions(self) -> int:
        return sum(
            one.is_question for one in (*self.sessions, *self.flows, *(part for table in self.linked for part in table))
        )

    def yaml(self) -> str:
        lines = [_HEAD, "sessions:"]
        lines += _lines(self.sessions, "  ")
        lines += ["", "flows:", *_lines(self.flows, "  "), "", "linked:"]
        for table in self.linked:
            first, *rest = _lines(table, "    ")
            at = [first, *rest]
            start = next(number for number, line in enumerate(at) if not line.lstrip().startswith("#"))
            at[start] = f"  - {at[start].lstrip()}"
            lines += at
        if not self.linked:
            lines += [
                "  # QUESTION: no table was found whose rows point at sessions: describe one",
                f'  - "{QUESTION}"',
            ]
        lines += [f"# left out: {one}" for one in self.left_out]
        return "\n".join(lines) + "\n"


def _lines(parts: list[Part], indent: str) -> Iterator[str]:
    for one in parts:
        if one.why:
            yield f"{indent}# {'QUESTION: ' if one.is_question else ''}{_one_line(one.why)}"
        if isinstance(one.value, dict) and one.value:
            yield f"{indent}{one.name}:"
            yield from (f"{indent}  {_scalar(name)}: {_scalar(value)}" for name, value in one.value.items())
        elif isinstance(one.value, dict):
            yield f"{indent}{one.name}: {{}}"
        elif isinstance(one.value, list):
            yield f"{indent}{one.name}: [{', '.join(map(_scalar, one.value))}]"
        else:
            yield f"{indent}{one.name}: {_scalar(one.value)}"


def _scalar(value: str | bool | None) -> str:
    """A value that YAML reads as just this."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if _PLAIN.fullmatch(value) and not value.endswith(" ") and yaml.safe_load(value) == value:
        return value
    return json.dumps(value)


def _one_line(text: str) -> str:
    return " ".join(safe_text(text).split())
