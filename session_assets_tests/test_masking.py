"""What people may read of a user id, and of any text."""

from __future__ import annotations

import unicodedata
from typing import Literal

import pytest

from session_assets.masking import mask_user, safe_text


@pytest.mark.parametrize(
    ("user_id", "shown"),
    [
        ("mary@example.com", "m***@example.com"),
        (" Mary+work@localhost ", "M***@localhost"),
        (unicodedata.normalize("NFD", "irène@example.com"), "i***@example.com"),
        ("ee661ad6-af09-4ae0-8502-ee78ca3febf7", "ee661ad6-af09-4ae0-8502-ee78ca3febf7"),
    ],
)
def test_an_email_of_any_form_is_masked_and_a_guid_is_shown(user_id: str, shown: str) -> None:
    assert mask_user(user_id) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone \x9b31m\x07", "?[2Jgone ?31m?"),
        ("failed\rdone", "failed?done"),
        ("two\r\nlines\tand é 𝄞 \udcff", "two\r\nlines\tand é 𝄞 ?"),
    ],
)
def test_nothing_that_is_shown_moves_a_terminal(text: str, shown: str) -> None:
    assert safe_text(text) == shown


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_emails_with_accents_are_masked_in_texts(form: Literal["NFC", "NFD"]) -> None:
    told = safe_text(unicodedata.normalize(form, "Participant not found: irène.müller@exämple.com, line 3"))
    assert unicodedata.normalize("NFC", told) == "Participant not found: i***@exämple.com, line 3"
