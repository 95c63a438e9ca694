"""Signing in to Salesforce in each of its ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pydantic import ValidationError

from cdp_assets.connectors.base import ConnectorError, NotAuthorised
from cdp_assets.connectors.salesforce import SalesforceConfig
from cdp_assets.connectors.salesforce.signin import audience
from cdp_assets_tests.connectors.stand_in import StandIn, quick

USER = "sync@fathom.example"


def pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


PRIVATE, PUBLIC = pair()


@pytest.fixture(autouse=True)
def certificate(stand_in: StandIn) -> None:
    body = {"public_key": PUBLIC, "usernames": [USER]}
    stand_in.control("POST", "salesforce/certificate", body)


def test_a_private_key_signs_in_without_a_secret(stand_in: StandIn) -> None:
    source = stand_in.salesforce(client_secret="", private_key=PRIVATE, username=USER)
    assert source.has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))
    # The stand-in forgets all tokens: a new assertion is made.
    stand_in.control("POST", "expire-tokens")
    assert source.has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))
    one_line = PRIVATE.replace("\n", "\\n")
    source = stand_in.salesforce(client_secret="", private_key=one_line, username=USER)
    assert source.has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"private_key": pair()[0], "username": USER}, "invalid_grant"),
        ({"private_key": PRIVATE, "username": "else@fathom.example"}, "invalid_grant"),
        ({"refresh_token": "stale"}, "invalid_grant"),
        ({"client_secret": "wrong"}, "invalid_client"),
    ],
)
def test_what_is_refused_says_what_to_look_at(
    stand_in: StandIn, more: dict[str, Any], code: str
) -> None:
    with pytest.raises(NotAuthorised, match=code) as caught:
        stand_in.salesforce(**more).has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))
    said = str(caught.value)
    assert next(iter(more)) in said
    assert "BEGIN" not in said
    assert "stale" not in said


def test_a_clock_that_is_wrong_makes_an_assertion_that_is_refused(stand_in: StandIn) -> None:
    for skew in (timedelta(hours=-1), timedelta(hours=1)):
        options = quick(now=lambda skew=skew: datetime.now(UTC) + skew)
        source = stand_in.salesforce(options, private_key=PRIVATE, username=USER)
        with pytest.raises(NotAuthorised):
            source.has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))


def test_a_refresh_token_signs_in_at_the_login_host(stand_in: StandIn) -> None:
    token = stand_in.control("GET", "state")["refresh_token"]
    login = stand_in.url.replace("127.0.0.1", "localhost")
    source = stand_in.salesforce(client_secret="", refresh_token=token, login_url=login)
    assert source.has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("url", "login", "wanted"),
    [
        ("https://acme.my.salesforce.com", "", "https://login.salesforce.com"),
        ("https://acme--dev.sandbox.my.salesforce.com", "", "https://test.salesforce.com"),
        ("https://acme.my.salesforce.com", "https://test.salesforce.com/",
         "https://test.salesforce.com"),
    ],
)  # fmt: skip
def test_the_audience_is_the_login_host(url: str, login: str, wanted: str) -> None:
    config = SalesforceConfig(
        url=url, client_id="x", client_secret="y", objects=["Contact"], login_url=login
    )
    assert audience(config) == wanted


def test_the_assertion_is_a_jwt_that_others_can_read(stand_in: StandIn) -> None:
    from cdp_assets.connectors.salesforce import signin

    config = SalesforceConfig(
        url="https://acme.my.salesforce.com", client_id="app", objects=["Contact"],
        private_key=PRIVATE, username=USER,
    )  # fmt: skip
    text = signin._assertion("salesforce", config, "app", datetime.now(UTC))
    claims = jwt.decode(text, PUBLIC, ["RS256"], audience="https://login.salesforce.com")
    assert (claims["iss"], claims["sub"]) == ("app", USER)
    assert claims["exp"] - datetime.now(UTC).timestamp() < 300


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"private_key": "nonsense", "username": USER}, "no RSA key"),
        ({"client_secret": ""}, "`client_secret` is empty"),
    ],
)
def test_what_is_missing_is_named(stand_in: StandIn, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ConnectorError, match=said) as caught:
        stand_in.salesforce(**more).has_news("Contact", datetime(2015, 1, 1, tzinfo=UTC))
    assert "nonsense" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "said"),
    [({}, "one of client_secret, private_key and refresh_token"),
     ({"private_key": "x"}, "needs a username")],
)  # fmt: skip
def test_a_way_in_is_asked_for_when_definitions_load(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        SalesforceConfig(url="https://a.example", client_id="x", objects=["Contact"], **more)
    assert "a.example" not in str(caught.value)
