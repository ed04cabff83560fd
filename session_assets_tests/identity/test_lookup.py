"""Who an e-mail is: exactly first, then trimmed, NFC and casefolded; and what counts as a GUID."""

from __future__ import annotations

import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from session_assets.identity.lookup import fold, resolve
from session_assets_tests.identity.scenario import GUID

OTHER = "0b54ac0b-8d1f-4d2e-9a75-0a5f2b3f6c11"


def resolved(user_id: str | None, *auth: tuple[str, str]) -> tuple[str, str | None]:
    records = pl.DataFrame(auth, schema={"email": pl.String, "auth_id": pl.String}, orient="row")
    return resolve(pl.Series([user_id], dtype=pl.String), records).row(0)


@pytest.mark.parametrize("user_id", [GUID, GUID.upper(), "ffffffff-ffff-ffff-ffff-ffffffffffff"])
def test_a_guid_in_any_case_version_and_variant_is_canonical(user_id: str) -> None:
    assert resolved(user_id) == ("canonical", user_id.lower())


@pytest.mark.parametrize(
    "user_id",
    [
        f"{{{GUID}}}", f"urn:uuid:{GUID}", GUID.replace("-", ""), f"{GUID}\n", f" {GUID}", GUID.replace("4", "４"),
        "user_1712345678901", "", "mary", "mary@", "@example.com", "a@b@example.com", "a b@example.com", None,
    ],
)  # fmt: skip
def test_what_is_neither_is_not_an_email(user_id: str | None) -> None:
    assert resolved(user_id) == ("not_an_email", None)


def test_the_nil_guid_is_nobody() -> None:
    assert resolved("00000000-0000-0000-0000-000000000000") == ("nil_guid", None)


def test_an_exact_record_wins_over_one_that_differs_in_case() -> None:
    auth = (("bob@example.com", GUID), ("Bob@example.com", OTHER))
    assert resolved("Bob@example.com", *auth) == ("email_resolved", OTHER)
    assert resolved("BOB@example.com", *auth) == ("ambiguous_email", None)


def test_two_exact_records_are_ambiguous() -> None:
    assert resolved("bob@example.com", ("bob@example.com", GUID), ("bob@example.com", OTHER))[0] == "ambiguous_email"


@pytest.mark.parametrize("auth_id", ["user_1712345678901", "00000000-0000-0000-0000-000000000000", f"{{{GUID}}}"])
def test_an_auth_id_that_is_no_guid_is_not_written(auth_id: str) -> None:
    assert resolved("bob@example.com", ("bob@example.com", auth_id)) == ("auth_id_not_guid", None)


def test_a_written_guid_is_lower_case() -> None:
    assert resolved("bob@example.com", ("bob@example.com", GUID.upper())) == ("email_resolved", GUID)


def test_tags_and_dots_are_never_stripped() -> None:
    auth = ("mary.miller@example.com", GUID)
    assert resolved("mary.miller+work@example.com", auth)[0] == "no_auth_record"
    assert resolved("marymiller@example.com", auth)[0] == "no_auth_record"


@given(st.from_regex(r"[\wß-ʯΑ-ω.+]{1,12}@example\.com", fullmatch=True))
def test_case_form_and_spaces_make_no_difference(email: str) -> None:
    for form in ("NFC", "NFD"):
        written = f" {unicodedata.normalize(form, email.swapcase().swapcase())}\t"
        if fold(written) == fold(email):
            assert resolved(written, (email, GUID)) == ("email_resolved", GUID)
    assert fold(fold(email)) == fold(email)
    assert fold(unicodedata.normalize("NFD", email)) == fold(email)
