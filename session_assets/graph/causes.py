"""Why a run failed, as a person should read it: the innermost error that is one of ours, else the innermost of all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from session_assets.disk import refused
from session_assets.errors import SessionAssetsError, StoreUnavailable
from session_assets.stores.dagster_database import explained_text

_INTERRUPTED, _INTERRUPTED_CODE = "DagsterExecutionInterruptedError", 130
_CHECK_FAILED = "DagsterAssetCheckFailedError"
_OF_CHECK = re.compile(r"\d+ blocking asset checks? failed")
_GO_ON = "interrupted; the same command goes on where this one stopped"


def cause(error: Any) -> tuple[str, str]:
    """The name of the class and the text, from Dagster's serialized error."""
    known = _known()
    while error.cause is not None and error.cls_name not in known:
        error = error.cause
    text = error.message.strip()
    lost = None if error.cls_name in known else explained_text(text) or _full_disk(text)
    if lost is not None:
        return type(lost).__name__, str(lost)
    name = (error.cls_name or "").rsplit(".", 1)[-1]
    if name == _INTERRUPTED:
        return name, _GO_ON
    if name == _CHECK_FAILED:
        return name, " ".join(text.removeprefix(f"dagster._core.errors.{name}: ").split())
    if name in known and text.startswith("session_assets"):
        return name, text.removeprefix(f"{error.cls_name}: ").split(": ", 1)[-1]
    return name, text


def is_of_check(error: str | None) -> bool:
    """Whether a run failed because a blocking check did: the list of checks, or of failed rows, says more."""
    return error is not None and _OF_CHECK.match(error) is not None


def exit_code(name: str) -> int:
    """The exit code of the terminal for a class of errors."""
    return _INTERRUPTED_CODE if name == _INTERRUPTED else _known().get(name, 1)


def _full_disk(text: str) -> StoreUnavailable | None:
    """A disk that nobody knew the variable of."""
    why = refused(text)
    return None if why is None else StoreUnavailable("A disk", "SESSION_ASSETS_HOME or another folder", why)


def _known() -> dict[str, int]:
    return {cls.__name__: cls.exit_code for cls in (SessionAssetsError, *_kinds(SessionAssetsError))}


def _kinds(base: type[SessionAssetsError]) -> Iterator[type[SessionAssetsError]]:
    """All errors of ours, those that a slice defines too."""
    for cls in base.__subclasses__():
        yield cls
        yield from _kinds(cls)
