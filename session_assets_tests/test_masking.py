"""What people may read of a user id, and of any text."""

from __future__ import annotations

import time
import unicodedata
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.masking import mask_user, safe_lines, safe_text, shown
from session_assets_tests.counts import examples


@pytest.mark.parametrize(
    ("user_id", "seen"),
    [
        ("mary@example.com", "m***@example.com"),
        (" Mary+work@localhost ", "M***@localhost"),
        (unicodedata.normalize("NFD", "irène@example.com"), "i***@example.com"),
        ("ee661ad6-af09-4ae0-8502-ee78ca3febf7", "ee661ad6-af09-4ae0-8502-ee78ca3febf7"),
    ],
)
def test_an_email_of_any_form_is_masked_and_a_guid_is_shown(user_id: str, seen: str) -> None:
    assert mask_user(user_id) == seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[2Jgone \x9b31m\x07", r"\x1b[2Jgone \x9b31m\x07"),
        ("failed\rdone", r"failed\rdone"),
        ("two\r\nlines\tand é 𝄞 \udcff", r"two\r\nlines\tand é 𝄞 ?"),
        ("a\u2028b\u2029c\u0085d", r"a\u2028b\u2029c\x85d"),
        ("\u202etxt.exe\u2066\u200b\ufeff", r"\u202etxt.exe\u2066\u200b\ufeff"),
    ],
)
def test_nothing_that_is_shown_moves_a_terminal_or_turns_a_text(text: str, seen: str) -> None:
    assert safe_text(text) == seen


def test_lines_of_ours_stay_lines() -> None:
    assert safe_lines("two\r\nlines\tand \u202e\rone") == "two\r\nlines\tand \\u202e\\rone"


@pytest.mark.parametrize(
    "part", ["a", "a.b@", "http://a,", "mongodb://u:", '/x/y", "', "x" * 999 + " ", "\n", "\u202e", "https://a/b "]
)
def test_what_a_person_sees_of_21_mb_is_cut_first(part: str) -> None:
    text, began = part * (21_000_000 // len(part)), time.process_time()
    assert len(shown(text)) <= 300
    assert time.process_time() - began < 1


@given(
    st.integers(0, 700).map(lambda size: "x," * size),
    st.sampled_from(["mary.poppins@example.com", "mongodb://mary:poppins@host", f"mongodb://{'m' * 400}poppins@host"]),
    st.sampled_from(["", " ", ", ", "/", "\n"]),
)
@examples(100)
def test_a_cut_leaves_no_half_of_what_is_masked(before: str, secret: str, after: str) -> None:
    text = f"{before}{secret}{after}{'z ' * 2000}"
    for most in (20, 300, 1000):
        assert "oppins" not in shown(text, most)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_emails_with_accents_are_masked_in_texts(form: Literal["NFC", "NFD"]) -> None:
    told = safe_text(unicodedata.normalize(form, "Participant not found: irène.müller@exämple.com, line 3"))
    assert unicodedata.normalize("NFC", told) == "Participant not found: i***@exämple.com, line 3"
