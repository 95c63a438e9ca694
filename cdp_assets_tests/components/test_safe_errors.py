"""What reaches Dagster of an error: our own words, whether to retry; of others only the place."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from cdp_assets.components.dagster_assets import counts, rules_version, safe_errors
from cdp_assets.connectors.base import ConnectorError
from cdp_assets.profiles.config import TraitsConfig


class Passing(ConnectorError):
    """Worth another try."""

    retryable = True


@pytest.mark.parametrize(
    ("error", "text", "retried"),
    [
        (Passing("salesforce: down for a while"), "salesforce: down for a while", True),
        (ConnectorError("hubspot: refused"), "hubspot: refused", False),
        (ValueError("ada@example.com is odd"), "ValueError in ", False),
        (KeyError("ada@example.com"), "KeyError in ", False),
    ],
)
@pytest.mark.parametrize("generator", [True, False])
def test_errors_become_failures(
    error: Exception, text: str, retried: bool, generator: bool
) -> None:
    def plain() -> None:
        raise error

    def steps() -> Iterator[int]:
        yield 1
        raise error

    def call() -> None:
        if generator:
            list(safe_errors(steps)())
        else:
            safe_errors(plain)()

    with pytest.raises(dg.Failure) as caught:
        call()
    assert str(caught.value.description).startswith(text)
    assert "ada@example.com" not in str(caught.value.description)
    assert caught.value.allow_retries is retried
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_metadata_takes_no_rows() -> None:
    assert counts(read=3, note=None) == {"read": 3}
    with pytest.raises(TypeError, match="must be a count or a word"):
        counts(rows=[{"email": "ada@example.com"}])


def test_a_changed_trait_is_another_version() -> None:
    def config(within: str) -> TraitsConfig:
        trait = {"select": "count(*)", "from": "events", "within": within}
        return TraitsConfig.model_validate({"entity": "person", "traits": {"events": trait}})

    assert rules_version(config("30d")) == rules_version(config("30d"))
    assert rules_version(config("30d")) != rules_version(config("31d"))
