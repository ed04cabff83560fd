"""What people may read of a user id."""

from __future__ import annotations

import unicodedata

import pytest

from session_assets.masking import mask_user


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
