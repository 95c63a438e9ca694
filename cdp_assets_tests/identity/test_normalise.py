"""One spelling a value, and none for what identifies nobody."""

from __future__ import annotations

import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_assets.identity.normalise import LISTS, normalise, words


def one(value: str, kind: str, **options: object) -> str | None:
    return normalise(pl.Series([value]), kind, **options)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "spelt"),
    [
        (" Ada@Example.COM ", "ada@example.com"),
        ("mailto:ada@example.com", "ada@example.com"),
        ("ada+x@mail.example.co.uk", "ada+x@mail.example.co.uk"),
        ("jürgen@exämple.de", "jürgen@exämple.de"),
        ("ada@", None),
        ("ada@localhost", None),
        ("a..b@example.com", None),
        (".a@example.com", None),
        ("ada@example.com, bob@example.com", None),
        ("n/a", None),
        ("", None),
    ],
)
def test_emails(value: str, spelt: str | None) -> None:
    assert one(value, "email") == spelt


@pytest.mark.parametrize(
    ("value", "region", "spelt"),
    [
        ("(415) 555-2671", "US", "+14155552671"),
        ("415.555.2671", "US", "+14155552671"),
        ("1-415-555-2671", "US", "+14155552671"),
        ("+1 415 555 2671", "DE", "+14155552671"),
        ("415-555-2671 x12", "US", "+14155552671;ext=12"),
        ("030 901820", "DE", "+4930901820"),
        ("+49 (0)30 901820", "US", "+4930901820"),
        ("+49 30 901820", None, "+4930901820"),
        ("415-555-2671", None, None),
        ("0000000000", "US", None),
        ("999-999-9999", "US", None),
        ("call me", "US", None),
    ],
)
def test_phones(value: str, region: str | None, spelt: str | None) -> None:
    assert one(value, "phone", region=region) == spelt


@given(
    st.sampled_from(
        ["+1 {0}{1}{2}", "({0}) {1}-{2}", "{0}.{1}.{2}", "+1{0}{1}{2}", "1 {0} {1} {2}"]
    ),
    st.integers(200, 989),
    st.integers(200, 999),
    st.integers(0, 9999),
)
@settings(max_examples=60, deadline=None)
def test_the_short_way_gives_what_the_library_gives(
    form: str, area: int, exchange: int, line: int
) -> None:
    text = form.format(area, exchange, f"{line:04d}")
    number = phonenumbers.parse(text, "US")
    expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert one(text, "phone", region="US") == expected


@pytest.mark.parametrize(
    ("value", "spelt"),
    [
        ("https://www.Acme.example/about?x=1", "acme.example"),
        ("acme.example.", "acme.example"),
        ("http://user@acme.example:8080/", "acme.example"),
        ("ada@acme.example", "acme.example"),
        ("localhost", None),
        ("n/a", None),
        ("Acme Inc", None),
    ],
)
def test_domains(value: str, spelt: str | None) -> None:
    assert one(value, "domain") == spelt


@pytest.mark.parametrize("value", ["42", " 42 ", "42.0", "42.00"])
def test_numbers_and_texts_of_a_user_id_are_one(value: str) -> None:
    assert one(value, "user_id") == "42"


def test_ids_keep_their_case_and_long_ones_are_none() -> None:
    assert one("AbC", "user_id") == "AbC"
    assert one("x" * 512, "user_id") == "x" * 512
    assert one("x" * 513, "user_id") is None


@pytest.mark.parametrize(
    ("value", "kind", "block", "kept"),
    [
        ("info@acme.example", "email", ["info@*"], False),
        ("INFO@acme.example", "email", ["info@*"], False),
        ("information@acme.example", "email", ["info@*"], True),
        ("ada@example.com", "email", ["*@example.com"], False),
        ("ada@exampleXcom.net", "email", ["*@example.com"], True),
        ("noreply@acme.example", "email", ["role_addresses"], False),
        ("ada@gmail.com", "email", ["role_addresses"], True),
        ("ada@gmail.com", "email", ["free_mail"], False),
        ("gmail.com", "domain", ["free_mail"], False),
        ("acme.example", "domain", ["free_mail"], True),
        ("a.c", "user_id", ["a?c"], False),
    ],
)
def test_blocked_values(value: str, kind: str, block: list[str], kept: bool) -> None:
    assert (one(value, kind, block=block) is not None) == kept


@pytest.mark.parametrize("name", LISTS)
def test_lists_are_folded_and_without_doubles(name: str) -> None:
    found = words(name)
    assert len(found) > 30
    assert len(set(found)) == len(found)
    assert all(word == word.strip().lower() for word in found)


@given(st.lists(st.sampled_from(["a@example.com", "A@example.com", "x", None]), max_size=6))
@settings(max_examples=30, deadline=None)
def test_nulls_and_repeats_stay_in_place(values: list[str | None]) -> None:
    found = normalise(pl.Series(values, dtype=pl.String), "email").to_list()
    assert found == [None if v in (None, "x") else "a@example.com" for v in values]
