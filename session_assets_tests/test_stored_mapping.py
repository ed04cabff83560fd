"""Mapping files of stored collections: what they may say, and what is said of those that are wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from session_assets.errors import UsageError
from session_assets.stored_mapping import (
    StoredCollection,
    StoredField,
    json_schema,
    load_stored_mapping,
    parse_stored_mapping,
)
from session_assets.web.stored import KNOWN

CARTS = (
    StoredCollection("carts", (StoredField("cart_id", "The cart."), StoredField("opened", "When it was opened."))),
    StoredCollection(
        "items", (StoredField("cart_id", "The cart."), StoredField("link", "The item.", template=True)), unit="iso"
    ),
)
SCHEMA = Path(__file__).parent.parent / "docs" / "schemas" / "web_mapping.schema.json"


def test_names_that_a_mapping_does_not_give_stay() -> None:
    mapping = parse_stored_mapping("carts:\n  fields:\n    opened: at\n  timestamp_unit: ms\n", CARTS, "m.yaml")
    assert (mapping["carts"].collection, mapping["carts"].stored("cart_id"), mapping["carts"].stored("opened")) == (
        "carts", "cart_id", "at"
    )  # fmt: skip
    assert (mapping["carts"].unit, mapping["items"].unit, mapping["items"].timezone) == ("ms", "iso", None)


def test_a_template_is_made_of_several_fields() -> None:
    mapping = parse_stored_mapping("items:\n  fields: {link: '/{shop}/{item}', cart_id: '{cart}'}\n", CARTS, "m.yaml")
    template = mapping["items"].template("link")
    assert template is not None and template.columns == ("shop", "item")
    assert mapping["items"].template("cart_id") is None and mapping["items"].stored("cart_id") == "cart"


def test_the_digest_tells_mappings_apart_whatever_their_spelling() -> None:
    def digest(text: str) -> str:
        return parse_stored_mapping(text, CARTS, "m.yaml").digest

    said = digest("carts: {fields: {opened: at}}")
    assert said and said == digest(
        "# a comment\ncarts:\n  collection: carts\n  fields:\n    'opened': at\n    cart_id: cart_id\n"
    )
    others = [
        "carts: {fields: {opened: on_day}}",
        "carts: {timestamp_unit: ms}",
        "carts: {timezone: UTC}",
        "items: {collection: x}",
    ]
    assert len({said, *map(digest, others)}) == 5
    assert digest("carts: {timestamp_unit: s, fields: {opened: opened}}") == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.yaml: the file is empty. It needs carts or items"),
        ("- carts", "m.yaml, line 1: expected `key: value` lines with carts, items."),
        ("carts: [", "m.yaml: not YAML"),
        ("\nbaskets: {}", "m.yaml, line 2: unknown collection 'baskets'. Known are carts, items."),
        (
            "carts:\n  colection: x",
            "line 2: unknown key of carts 'colection'. Known are collection, fields, timestamp_unit",
        ),
        ("carts:\n  fields:\n    opend: x", "line 3: unknown field of carts 'opend'. Known are cart_id, opened."),
        ("carts:\n  fields:\n    opened: x\n    opened: y", "line 4: opened is there twice."),
        (
            "carts:\n  fields:\n    opened: cart_id",
            "line 3: carts.fields: cart_id and opened are both stored as 'cart_id'.",
        ),
        (
            "carts:\n  fields:\n    opened: x\n    cart_id: x",
            "line 4: carts.fields: cart_id and opened are both stored as 'x'.",
        ),
        (
            "carts:\n  fields:\n    opened: 5",
            "line 3: carts.fields.opened: expected a text, not '5'. Put it in quotes.",
        ),
        ("carts:\n  fields:\n    opened: on", "expected a text, not 'on'. Put it in quotes."),
        ("carts:\n  fields:\n    opened: [a]", "line 3: carts.fields.opened: expected a text, not a list"),
        ("carts:\n  fields:\n    opened: meta.at", "'meta.at' cannot be used. Name a field at the top level"),
        ("carts:\n  fields:\n    cart_id: _id", "'_id' cannot be used."),
        ("carts:\n  fields:\n    opened: '{a}-{b}'", "is a template, but this field is looked up or written"),
        ("items:\n  fields:\n    link: '{a'", "line 3: items.fields.link: '{' in '{a' is no placeholder"),
        (
            "carts:\n  timestamp_unit: seconds",
            "line 2: carts.timestamp_unit must be one of s, ms, us, iso, not 'seconds'.",
        ),
        ("carts:\n  timezone: Mars/Phobos", "line 2: carts.timezone: 'Mars/Phobos' is no time zone."),
        ("carts:\n  timezone: Europe", "'Europe' is no time zone."),
        ("carts:\n  collection: items", "carts and items are both the collection 'items'"),
        ("carts:\n  collection: system.users", "is no collection of an application"),
        ("carts: x", "line 1: expected `key: value` lines"),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_stored_mapping(text, CARTS, "m.yaml")
    assert message in str(raised.value)


def test_a_file_that_cannot_be_read_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"carts: {collection: caf\xe9}")
    for path, reason in (("none.yaml", "No such file"), ("latin.yaml", "not UTF-8 text"), (".", "Is a directory")):
        with pytest.raises(UsageError, match=f"CARTS_MAPPING: the mapping file .*{reason}"):
            load_stored_mapping(tmp_path / path, CARTS, "CARTS_MAPPING")


def test_the_json_schema_in_the_docs_is_that_of_web() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema(KNOWN, "WEB_MAPPING: how web events and sessions are stored")
