"""What people may read of a user id, and of any text."""

from __future__ import annotations

import unicodedata

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
