"""Why MongoDB refused a write, in one line: of a validator, the rule and the property, never a value of the document.

A server says *Document failed validation* and keeps the rule in `errInfo`. That holds values of the document too
(`consideredValue`), which may be personal: only the schema's side of it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from bson import json_util

from session_assets.masking import safe_text

_VALIDATION = 121
_LONGEST, _RULES, _RULE = 300, 3, 120
_SHOWN = ("missingProperties", "additionalProperties")  # names of fields
_DEEPER = (
    "schemaRulesNotSatisfied",
    "propertiesNotSatisfied",
    "clausesNotSatisfied",
    "clausesSatisfied",
    "schemasNotSatisfied",
    "details",
)


def refusal(error: Mapping[str, Any]) -> str:
    """The reason of a refused write: an element of `writeErrors`, or the details of a `WriteError`."""
    text = str(error.get("errmsg", "refused"))
    info = error.get("errInfo")
    if error.get("code") == _VALIDATION and isinstance(info, Mapping):
        rules = list(dict.fromkeys(_rules(info.get("details", {}), "")))
        more = f", and {len(rules) - _RULES} more" if len(rules) > _RULES else ""
        text = f"{text}: {'; '.join(rules[:_RULES])}{more}" if rules else text
    return safe_text(text)[:_LONGEST]


def _rules(detail: Any, path: str) -> Iterator[str]:
    """The innermost rules that are not met, each with the property that it is about."""
    if isinstance(detail, list):
        for one in detail:
            yield from _rules(one, path)
        return
    if not isinstance(detail, Mapping):
        return
    name = detail.get("propertyName")
    path = f"{path}.{name}".strip(".") if name is not None else path
    deeper = [rule for key in _DEEPER if key in detail for rule in _rules(detail[key], path)]
    if deeper:
        yield from deeper
    elif "operatorName" in detail:
        yield _rule(detail, path)


def _rule(detail: Mapping[str, Any], path: str) -> str:
    names = [f"{key} {', '.join(map(str, detail[key]))}" for key in _SHOWN if isinstance(detail.get(key), list)]
    wanted = detail.get("specifiedAs")
    rule = names[0] if names else _schema(wanted) if wanted else str(detail["operatorName"])
    return f"{path or 'the document'} must meet {rule[:_RULE]}"


def _schema(wanted: object) -> str:
    """A part of the validator, as JSON without braces."""
    return json.dumps(json.loads(json_util.dumps(wanted)), ensure_ascii=False)[1:-1]
