from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.flow.stored_json import NotJson, rewrite
from session_assets_tests.counts import examples
from session_assets_tests.flow.stored_scenario import FLOWS, MAP, SESSIONS

S, F = SESSIONS[0], FLOWS[0]


def rewritten(text: str | bytes) -> str:
    content = text.encode() if isinstance(text, str) else text
    return rewrite(content, MAP.to_flow).content.decode()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f'{{"session_id": "{S}"}}', f'{{"flow_id": "{F}"}}'),
        (f'{{"validation_session_id":"{S}","x":["{S}"]}}', f'{{"validation_flow_id":"{F}","x":["{F}"]}}'),
        (
            f'{{"{S}": 1, "import_session_{S}": "import_session_{S}"}}',
            f'{{"{F}": 1, "import_flow_{F}": "import_flow_{F}"}}',
        ),
        (f'{{"session_id": "{S.upper()}"}}', f'{{"flow_id": "{F}"}}'),
        (f'{{"session_id": "{F}"}}', f'{{"flow_id": "{F}"}}'),
    ],
)
def test_ids_and_their_names_are_rewritten(before: str, after: str) -> None:
    assert rewritten(before) == after


@pytest.mark.parametrize(
    "text",
    [
        f'{{"note": "session {S} failed"}}',
        f'{{"session_id": "{SESSIONS[39]}"}}',
        '{"session_id": null, "session_id": 5, "import_session_id": {"a": 1}}',
        '{"a": 1e400, "a": 0.10, "b": 123456789012345678901234567890, "c": NaN}',
        f'"import_session_{S}x"',
        " [ ]\r\n",
    ],
)
def test_everything_else_stays_to_the_byte(text: str) -> None:
    assert rewritten(text) == text


def test_a_member_is_never_renamed_to_one_that_is_there() -> None:
    assert rewritten(f'{{"session_id": "{S}", "flow_id": "x"}}') == f'{{"session_id": "{F}", "flow_id": "x"}}'
    assert rewritten(f'{{"session_id": "{S}", "session_id": "{S}"}}') == f'{{"flow_id": "{F}", "session_id": "{F}"}}'


def test_spaces_duplicates_and_numbers_stay_beside_an_id() -> None:
    text = '{ "n" : 1.50,\t"n": 12345678901234567890, "\\u0073ession_id" :\n"%s", "t": "caf\\u00e9 é" }'
    assert rewritten(text % S) == (text % F).replace("\\u0073ession_id", "flow_id")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16", "utf-32"])
def test_encodings_and_byte_order_marks_stay(encoding: str) -> None:
    before, after = f'{{"session_id": "{S}", "é": 1}}', f'{{"flow_id": "{F}", "é": 1}}'
    assert rewrite(before.encode(encoding), MAP.to_flow).content == after.encode(encoding)


@pytest.mark.parametrize("at", range(1, 60))
def test_a_text_that_was_cut_anywhere_is_truncated(at: int) -> None:
    text = '{"a": [true, null, -1.5e+10, "x\\u00e9y\\n"], "b": {"c": "d"}}'
    with pytest.raises(NotJson) as found:
        rewrite(text[:at].encode(), MAP.to_flow)
    assert found.value.truncated, text[:at]


@pytest.mark.parametrize("text", ["{'a': 1}", "<html></html>", '{"a": 1} {"b": 2}', '{"a": 1,, "b": 2}'])
def test_what_is_no_json_at_all_is_not_called_truncated(text: str) -> None:
    with pytest.raises(NotJson) as found:
        rewrite(text.encode(), MAP.to_flow)
    assert not found.value.truncated


_TEXTS = st.one_of(st.sampled_from([*SESSIONS[:3], *FLOWS[:2], f"import_session_{S}", f"of {S}"]), st.text(max_size=6))
_NAMES = st.one_of(st.sampled_from(["session_id", "import_session_id", "flow_id", S]), st.text(max_size=4))
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=20,
)


@examples(100)
@given(_JSON, st.booleans(), st.sampled_from([None, 1]))
def test_nothing_but_known_ids_and_their_names_changes(value: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    after = json.loads(rewrite(text.encode("utf-8", "surrogatepass"), MAP.to_flow).content)
    assert _expected(value) == _keys_aside(after)


def _expected(value: Any) -> Any:
    """Values rewritten; members as a list in order, since their names are looked at apart."""
    if isinstance(value, dict):
        return [_expected(one) for one in value.values()]
    if isinstance(value, list):
        return ["list", *map(_expected, value)]
    if isinstance(value, str):
        flow = MAP.mapped(value.removeprefix("import_session_"))
        return value if flow is None else f"import_flow_{flow}" if value.startswith("import_") else flow
    return value


def _keys_aside(value: Any) -> Any:
    if isinstance(value, dict):
        return [_keys_aside(one) for one in value.values()]
    return ["list", *map(_keys_aside, value)] if isinstance(value, list) else value
