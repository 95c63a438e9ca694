"""An outside system that refuses, is not declared in full, or goes down half way: one message that
says what, where and what to do, and the other sources go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp_assets.connectors.base import ConnectorError
from cdp_assets.connectors.salesforce import Salesforce
from cdp_assets.deployment.platform import Platform
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.sandbox.standins import CLIENT_SECRET, HUBSPOT_TOKEN
from cdp_assets_tests.connectors.stand_in import quick
from cdp_assets_tests.e2e.house import House, Said, dump, sandbox, variables
from cdp_assets_tests.sandbox.running import Running


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with sandbox(tmp_path_factory.mktemp("outside") / "world", 30) as running:
        yield running


@pytest.fixture
def house(served: Running, tmp_path: Path) -> House:
    served.control("DELETE", "faults")
    return House(tmp_path / "home", variables(served))


def impatient(here: Platform) -> None:
    """Let the client of Salesforce wait little between attempts."""
    here._connectors["salesforce"] = Salesforce(
        "salesforce", here.deployment.crms["salesforce"], options=quick()
    )  # type: ignore[arg-type]


def test_wrong_secret(house: House) -> None:
    wrong = house.at(house.now, SALESFORCE_CLIENT_SECRET="not the secret")
    with wrong.open() as here:
        with pytest.raises(ConnectorError) as error:
            here.pull("salesforce", "Contact", None, None, "run")
        text = str(error.value)
        assert "salesforce" in text
        assert "client" in text.lower(), "what to look at"
        assert "not the secret" not in text
        assert here.pull("hubspot", "contacts", None, None, "run").new > 0
    said = wrong.cdp("describe", "salesforce")
    assert_one_message(said, "salesforce")
    assert "not the secret" not in said.stderr


def test_wrong_token(house: House) -> None:
    said = house.at(house.now, HUBSPOT_TOKEN="pat-wrong").cdp("describe", "hubspot")
    assert_one_message(said, "hubspot")
    assert "pat-wrong" not in said.stderr


def test_missing_variable(house: House) -> None:
    some = {k: v for k, v in house.variables.items() if k != "SALESFORCE_CLIENT_SECRET"}
    less = House(house.home, some)
    with less.open() as here:
        with pytest.raises(ConfigurationError, match="SALESFORCE_CLIENT_SECRET"):
            here.pull("salesforce", "Contact", None, None, "run")
        assert here.pull("hubspot", "companies", None, None, "run").new > 0
    said = less.cdp("describe", "salesforce")
    assert_one_message(said, "SALESFORCE_CLIENT_SECRET", "defs.yaml:")
    checked = less.cdp("check")
    assert checked.returncode == 1
    assert "SALESFORCE_CLIENT_SECRET" in checked.stderr


def test_nobody_answers(house: House) -> None:
    with house.at(house.now, SALESFORCE_URL="http://127.0.0.1:9").open() as here:
        impatient(here)
        with pytest.raises(ConnectorError) as error:
            here.pull("salesforce", "Contact", None, None, "run")
        assert "salesforce" in str(error.value)
        assert error.value.retryable


@pytest.mark.parametrize(
    "fault",
    [
        {"action": "status", "status": 503, "body": "<html>secret-marker</html>"},
        {"action": "reset"},
        {"action": "truncate"},
    ],
)
def test_down_mid_run_and_up_again(
    house: House, served: Running, fault: dict[str, object], tmp_path: Path
) -> None:
    with house.open() as here:
        impatient(here)
        served.control("POST", "faults", [{"match": "/query", "after": 2, "times": 100, **fault}])
        failed: list[ConnectorError] = []
        for name in ("Account", "Contact", "Lead"):
            try:
                here.pull("salesforce", name, None, None, "run")
            except ConnectorError as error:
                failed.append(error)
        assert failed
        assert all("salesforce" in str(error) and error.retryable for error in failed)
        assert not any("secret-marker" in str(error) for error in failed)
        assert here.pull("hubspot", "contacts", None, None, "run").new > 0
        served.control("DELETE", "faults")
        for name in ("Account", "Contact", "Lead"):
            here.pull("salesforce", name, None, None, "run")
    quiet = House(tmp_path / "quiet", house.variables)
    with quiet.open() as here:
        for name in ("Account", "Contact", "Lead"):
            here.pull("salesforce", name, None, None, "run")
        here.pull("hubspot", "contacts", None, None, "run")
    mine, other = dump(house.home), dump(quiet.home)
    for key in ("raw/salesforce/account", "raw/salesforce/contact", "raw/salesforce/lead"):
        assert mine[key].drop("window").equals(other[key].drop("window")), key


def test_a_token_that_expires_mid_run(house: House, served: Running) -> None:
    with house.open() as here:
        assert here.pull("salesforce", "Account", None, None, "run").new > 0
        served.control("POST", "expire-tokens")
        assert here.pull("salesforce", "Contact", None, None, "run").new > 0


def assert_one_message(said: Said, *words: str) -> None:
    """Exit code 2, nothing on stdout, no traceback, no secret, and these words."""
    code, out, err = said
    assert code == 2, err
    assert "Traceback" not in err
    assert out == ""
    assert CLIENT_SECRET not in err
    assert HUBSPOT_TOKEN not in err
    assert len(err.strip().splitlines()) <= 5
    for word in words:
        assert word in err
