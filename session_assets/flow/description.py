"""The description of the schema that everything uses: that of the file which FLOW_SCHEMA names, else the guide's.

It is read where it is used, never when the code location loads: a wrong file fails the commands and assets that need it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from session_assets.errors import UsageError
from session_assets.flow.description_model import QUESTION, Description
from session_assets.flow.model import MIGRATION, SCHEMA_VARIABLE, Migration
from session_assets.masking import safe_text

Path_ = tuple[str | int, ...]
_LARGEST = 1 << 20
_PAGE = "docs/flow/migration.md, Another schema"
_KINDS = {
    "string_type": "a text", "list_type": "a list", "bool_type": "true or false", "too_short": "a list of at least one",
    "string_too_short": "a text that is not empty", "string_too_long": "a text of at most 63 characters",
}  # fmt: skip
_TEXT = "put it in quotes if it is meant as a text"


@dataclass(frozen=True)
class Described:
    """A migration, and where its parts are described. Without a file it is the guide's."""

    migration: Migration = MIGRATION
    file: str | None = None
    lines: Mapping[Path_, int] = field(default_factory=dict[Path_, int])

    def where(self, *path: str | int) -> str:
        """Where a person changes a part of the description."""
        name = _shown(path)
        if self.file is None:
            return f"{name} of the built-in description (another one: {SCHEMA_VARIABLE}, {_PAGE})"
        return f"{name} ({self.file}, line {_line_of(self.lines, path)})"


def described(env: Mapping[str, str] | None = None) -> Described:
    """The description of the settings. Raises `UsageError` that names file, line, field and remedy of all that is wrong."""
    name = (os.environ if env is None else env).get(SCHEMA_VARIABLE)
    if not name:
        return Described()
    path = Path(name).absolute()
    try:
        found = path.stat()
    except OSError as error:
        raise UsageError(
            f"{SCHEMA_VARIABLE}: {safe_text(path)} cannot be read: {error.strerror}. Correct the path."
        ) from None
    return _read(path, name, found.st_mtime_ns, found.st_size)


def migration(env: Mapping[str, str] | None = None) -> Migration:
    """What `described` says, without its file."""
    return described(env).migration


@lru_cache(maxsize=16)
def _read(path: Path, name: str, changed: int, size: int) -> Described:
    """One reading of a file as it is; a changed file is another call."""
    where = f"{SCHEMA_VARIABLE}: {safe_text(name)}"
    try:
        if size > _LARGEST:
            raise UsageError(
                f"{where}: it is larger than {_LARGEST:,} bytes. Name a YAML file that describes the schema."
            )
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UsageError(f"{where} cannot be read: {reason}. Correct the path, or the file.") from None
    return parse(content, where, safe_text(name))


def parse(content: str, where: str, file: str) -> Described:
    """A description from the text of its file. Raises `UsageError`."""
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
        data = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError) as error:  # the latter of a date that there is not
        raise UsageError(f"{where}: not YAML: {safe_text(' '.join(str(error).split())[:300])}. Correct it.") from None
    if not isinstance(root, MappingNode):
        raise UsageError(
            f"{where}: it must hold sessions, flows and linked. Start with `session-assets flow describe`."
        )
    lines: dict[Path_, int] = {}
    wrong = [f"{where}, {one}" for one in _walk(root, (), lines)]
    if not wrong:
        try:
            return Described(Description.model_validate(data).migration(), file, lines)
        except ValidationError as error:
            wrong = [
                f"{where}, line {_line_of(lines, one['loc'])}: {_shown(one['loc'])}: {_told(one)}."
                for one in error.errors()
            ]
    raise UsageError("\n".join(wrong))


def _walk(node: Node, path: Path_, lines: dict[Path_, int]) -> Iterator[str]:
    """Notes the line of each part; tells of keys that are there twice, of questions, and of aliases."""
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if isinstance(node, ScalarNode):
        if node.value == QUESTION:
            yield f"line {line}: {_shown(path)}: answer the question that stands above it."
        return
    if len(path) > 4:
        return
    if isinstance(node, SequenceNode):
        for number, value in enumerate(node.value):
            yield from _walk(value, (*path, number), lines)
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            name = str(key.value) if isinstance(key, ScalarNode) else QUESTION
            own = (*path, name)
            if own in lines:
                yield f"line {key.start_mark.line + 1}: {_shown(own)}: it is there twice. Remove one of them."
            lines[own] = key.start_mark.line + 1
            yield from _walk(value, own, lines)


def _told(error: ErrorDetails) -> str:
    """What is wrong, and what to do, from an error of pydantic."""
    kind, given = error["type"], error["input"]
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown field. Known are {', '.join(_known(error['loc']))}"
    if kind == "missing":
        return "it is missing. Add it"
    if kind == "value_error":
        return safe_text(str(context["error"]))
    if kind == "literal_error":
        return f"it must be {context['expected']}, not {safe_text(repr(given))}"
    if kind == "string_pattern_mismatch":
        return f"it must be SET NULL or NO ACTION, not {safe_text(repr(given))}"
    what = _KINDS.get(kind)
    if what is None:
        what = (
            "`field: value` lines"
            if kind in ("model_type", "dict_type")
            else error["msg"].removeprefix("Input should be ")
        )
    hint = f"; {_TEXT}" if kind == "string_type" and isinstance(given, int | float | bool) else ""
    return f"it must be {what}, not {safe_text(repr(given)[:80])}{hint}"


def _known(path: Path_) -> list[str]:
    """The fields that the part has in which one is unknown."""
    part: Any = Description
    for name in path[:-1]:
        if isinstance(name, int):
            continue
        kind = part.model_fields[name].annotation
        part = next((one for one in (kind, *getattr(kind, "__args__", ())) if hasattr(one, "model_fields")), part)
    return list(part.model_fields)


def _line_of(lines: Mapping[Path_, int], path: Path_) -> int:
    """The line of a part, or of the nearest one around it that is there."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


def _shown(path: Path_) -> str:
    text = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return safe_text(text.removeprefix(".")) or "the file"
