"""A mistake in defs/ is named with its file, its line, a caret, and the nearest right name."""

from __future__ import annotations

import re

import dagster as dg
import pytest

from cdp_assets import cli
from cdp_assets.deployment.declarations import load_deployment
from cdp_assets.deployment.notes import unset_variables
from cdp_assets.deployment.yaml_source import ConfigurationError
from cdp_assets.settings import Settings
from cdp_assets_tests.components.projects import Project

MISTAKES = {
    "wrong key": (
        "ready_for_sales", "  label: Ready", "  labl: Ready",
        4, "labl: no such option; did you mean label?", "labl",
    ),
    "wrong key at the top": (
        "ready_for_sales", "attributes:", "atributes:",
        2, "atributes: no such key beside `type`; did you mean attributes?", "atributes",
    ),
    "wrong key of a trait": (
        "person", "within: 90d", "witin: 90d",
        11, "witin: no such option; did you mean within?", "witin",
    ),
    "wrong key of a field": (
        "people_to_hubspot", "{trait: title, write: if_empty}", "{trait: title, wrte: if_empty}",
        11, "wrte: no such option; did you mean write?", "wrte",
    ),
    "wrong component": (
        "app", "cdp_assets.EventFiles", "cdp_assets.EventFile",
        2, "no component `EventFile`; did you mean EventFiles?", "cdp_assets.EventFile",
    ),
    "wrong object": (
        "person", "latest: [salesforce.Contact.Title", "latest: [salesforce.Contct.Title",
        8, "salesforce does not pull `Contct`; did you mean Contact?", "salesforce.Contct",
    ),
    "wrong object to select from": (
        "account", "from: salesforce.Opportunity", "from: salesforce.Oportunity",
        8, "salesforce does not pull `Oportunity`; did you mean Opportunity?", "salesforce.Opo",
    ),
    "wrong source": (
        "person", "hubspot.contacts.email", "hubspt.contacts.email",
        5, "no source `hubspt` in defs/; did you mean hubspot?", "hubspt.contacts",
    ),
    "wrong field": (
        "person", "salesforce.Contact.Email", "salesforce.Contact.Emial",
        5, "salesforce.Contact has no field Emial; did you mean Email?", "salesforce.Contact.Emial",
    ),
    "wrong field of identity": (
        "identity", "salesforce.Account.Website", "salesforce.Account.Webite",
        14, "salesforce.Account has no field Webite; did you mean Website?", "salesforce.Acc",
    ),
    "wrong trait in an audience": (
        "good_customers", "where: orders >= 3", "where: ordrs >= 3",
        5, "did you mean orders?", "ordrs",
    ),
    "wrong trait in the middle": (
        "good_customers", "revenue >= 300", "revnue >= 300",
        5, "did you mean revenue?", "revnue",
    ),
    "no condition": (
        "good_customers", "where: orders >= 3 and revenue >= 300", "where: orders",
        5, "where: ", "orders",
    ),
    "wrong trait in an expression": (
        "person", "events_30d > 0", "event_30d > 0",
        18, "did you mean events_30d?", "event_30d",
    ),
    "wrong trait in a sync": (
        "people_to_hubspot", "orders: orders", "orders: ordrs",
        10, "person has no trait `ordrs`; did you mean orders?", "ordrs",
    ),
    "wrong field in a sync": (
        "people_to_salesforce", "Orders__c: orders", "Ordrs__c: orders",
        12, "salesforce.Contact has no field `Ordrs__c`; did you mean Orders__c?", "orders",
    ),
    "wrong system in a sync": (
        "people_to_hubspot", "to: hubspot.contacts", "to: hubspt.contacts",
        5, "no system `hubspt` in defs/; did you mean hubspot?", "hubspt",
    ),
    "wrong entity": (
        "ready_for_sales", "entity: person", "entity: persn",
        3, "no traits of `persn` are declared; did you mean person?", "persn",
    ),
    "wrong duration": (
        "salesforce", "every: 15m", "every: 15 minutes",
        17, "every: expected a duration such as 30s, 15m, 2h or 1d", "15 minutes",
    ),
    "wrong share": (
        "people_to_hubspot", "changed: 20%", "changed: 120%",
        15, "stop_if.changed: a limit is a share such as 20%", "120%",
    ),
    "missing option": (
        "ready_for_sales", "  where: pricing_views_30d >= 2 and orders = 0 and active\n", "",
        2, "`where` is missing", "attributes",
    ),
    "a key that stands twice": (
        "people_to_hubspot", "  mode: update\n", "  mode: update\n  mode: insert\n",
        7, "`mode` stands here twice; the first is in line 6", "mode: insert",
    ),
    "a trait that stands twice": (
        "person", "    orders: {", "    email: {expr: title}\n    orders: {",
        9, "`email` stands here twice; the first is in line 5", "email: {expr",
    ),
    "two documents": (
        "ready_for_sales", " and active\n", " and active\n---\na: 1\n",
        7, "a second document: the folder's name is the thing's name", None,
    ),
    "a country that is false": (
        "identity", '["info@*", "sales@*", "support@*", "office@*", "team@*"]', "[NO, SE]",
        7, "`NO` in a list is a boolean in YAML: put it in quotes", "NO",
    ),
    "a template that would vanish": (
        "people_to_hubspot", "revenue_90d: revenue_90d", 'revenue_90d: "{{ trait }}"',
        9, "only `{{ env.NAME }}` is filled in here", '"{{ trait }}"',
    ),
    "an object that the org does not have": (
        "salesforce", "    - Task", "    - Tsk",
        12, "salesforce has no object `Tsk`; did you mean Task?", "Tsk",
    ),
    "an object that is not pulled": (
        "account", "from: salesforce.Opportunity", "from: salesforce.Campaign",
        8, "salesforce does not pull `Campaign`: add it to `objects` in salesforce/defs.yaml",
        "salesforce.Campaign",
    ),
    "wrong list of blocked values": (
        "identity", '["info@*", "sales@*", "support@*", "office@*", "team@*"]', "role_adresses",
        7, "no list of values `role_adresses`; did you mean role_addresses?", "role_adresses",
    ),
    "a type of identifier that nothing feeds": (
        "identity", "      email:", "      emial:",
        7, "no field feeds `emial`; did you mean email?", "{limit: 5",
    ),
    "a day that is none": (
        "salesforce", "start: 2015-01-01", "start: 2015-13-01",
        16, "`2015-13-01`: expected a day such as 2015-01-31", "2015-13-01",
    ),
    "a word for a day": (
        "salesforce", "start: 2015-01-01", "start: yesterday",
        16, "start: expected a day such as 2015-01-31", "yesterday",
    ),
    "wrong library": (
        "ready_for_sales", "cdp_assets.Audience", "cdp_asset.Audience",
        1, "no library `cdp_asset` can be imported; did you mean cdp_assets.Audience?",
        "cdp_asset.Audience",
    ),
    "no library": (
        "ready_for_sales", "cdp_assets.Audience", "Audiense",
        1, "`Audiense`: of no library; did you mean cdp_assets.Audience?", "Audiense",
    ),
    "wrong module of ours": (
        "ready_for_sales", "cdp_assets.Audience", "cdp_assets.component.Audience",
        1, "no library `cdp_assets.component` can be imported; did you mean cdp_assets.Audience?",
        "cdp_assets.component.Audience",
    ),
    "a list for a map": (
        "people_to_hubspot", "{changed: 20%, failed: 1%}", "[20%]",
        15, "stop_if: expected a map", "[20%]",
    ),
    "nothing in a list": (
        "hubspot", "[contacts, companies, deals, tickets]", "[]",
        5, "objects: is empty", "[]",
    ),
    "a map for a list": (
        "identity", "phone: {limit: 3, region: US}", "phone: {limit: 3, region: US, block: {}}",
        8, "person.identifiers.phone.block: expected a list", "{}}",
    ),
    "an object without a name": (
        "hubspot", "[contacts,", "[{as: person},",
        5, "objects.0: `name` is missing", "{as: person}",
    ),
    "a number for an object": (
        "hubspot", "[contacts,", "[5,",
        5, "objects.0: expected text or a map", "5",
    ),
    "a word that is none of a few": (
        "people_to_hubspot", "mode: update", "mode: updat",
        6, "'add' or 'remove'; did you mean update?", "updat",
    ),
    "a limit of none": (
        "identity", "limit: 5,", "limit: 0,",
        7, "person.identifiers.email.limit: must be 1 or more", "0,",
    ),
    "an object of a sync that is not pulled": (
        "people_to_salesforce", "[salesforce.Contact, salesforce.Lead]", "salesforce.Contct",
        6, "salesforce does not pull `Contct`; did you mean Contact?", "salesforce.Contct",
    ),
    "the second object of a sync": (
        "people_to_salesforce", "salesforce.Lead]", "salesforce.Campaign]",
        6, "does not pull `Campaign`: add it to `objects` in salesforce/defs.yaml", "salesforce.Ca",
    ),
    "an object for a field": (
        "person", "hubspot.contacts.email", "hubspot.contacts",
        5, "hubspot.contacts is an object: name a field of it, as in hubspot.contacts.FIELD",
        "hubspot.contacts,",
    ),
    "wrong entity of identity": (
        "identity", "  person:", "  persn:",
        4, "no records are of an entity `persn`; did you mean person?", "persn",
    ),
    "an entity of nothing": (
        "identity", "  account:", "  household: {identifiers: {address: {}}}\n  account:",
        11, "no records are of an entity `household`; `as:` makes an object one", "{ident",
    ),
    "an object that stands twice": (
        "salesforce", "    - Task", "    - Account",
        12, "`Account` stands here twice", "Account",
    ),
    "an object that stands twice, spelt otherwise": (
        "salesforce", "    - Task", "    - account",
        12, "`account` stands here already, as `Account`", "account",
    ),
    "a day to come": (
        "salesforce", "start: 2015-01-01", "start: 2999-01-01",
        16, "start: 2999-01-01 is yet to come", "2999",
    ),
    "a day to come of files": (
        "app", "  purpose: analytics", "  start: 2999-01-01",
        5, "start: 2999-01-01 is yet to come", "2999",
    ),
    "an address that is a name": (
        "salesforce", '"{{ env.SALESFORCE_URL }}"', "salesforce",
        4, "url: must begin with https:// (http://127.0.0.1 also)", "salesforce",
    ),
    "an address in the clear": (
        "salesforce", '"{{ env.SALESFORCE_URL }}"', "http://my.org",
        4, "url: must begin with https:// (http://127.0.0.1 also)", "http://my.org",
    ),
    "an audience that asks for itself": (
        "good_customers", "orders >= 3", "in_audience('good_customers')",
        5, "'good_customers' is this audience itself", "in_audience",
    ),
    "not YAML": (
        "ready_for_sales", "  label: Ready for sales", "  label: [Ready",
        5, "not YAML", None,
    ),
}  # fmt: skip


VARIABLES = (
    "SALESFORCE_URL", "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET", "HUBSPOT_URL",
    "HUBSPOT_TOKEN", "EVENTS_DIR",
)  # fmt: skip


def _line_and_caret(text: str) -> tuple[int, str]:
    """The line that a message names, and what its caret points at."""
    found = re.search(r"defs\.yaml:(\d+): ", text)
    assert found, text
    lines = text.splitlines()
    if lines[-1].strip() != "^":
        return int(found[1]), ""
    column = lines[-1].index("^")
    return int(found[1]), lines[-2][column:]


@pytest.mark.parametrize("case", MISTAKES)
@pytest.mark.usefixtures("described")
def test_a_mistake_is_named_at_its_place(case: str, company: Project, settings: Settings) -> None:
    name, old, new, line, message, pointed = MISTAKES[case]
    assert company.mistakes(settings) == []
    company.change(name, old, new)
    (found,) = company.mistakes(settings)
    assert message in found
    assert f"{name}/defs.yaml:{line}: " in found
    at, rest = _line_and_caret(found)
    assert at == line
    assert rest.startswith(pointed) if pointed is not None else True


def test_every_mistake_is_told_at_once(company: Project, settings: Settings) -> None:
    company.change("good_customers", "where: orders >= 3", "where: ordrs >= 3")
    company.change("people_to_hubspot", "orders: orders", "orders: order")
    company.change("people_to_salesforce", "Orders__c: orders", "Orders__c: order")
    assert len(company.mistakes(settings)) == 3


def test_a_file_that_cannot_be_read_is_told_alone(company: Project, settings: Settings) -> None:
    """Its traits are missing everywhere; that is no second mistake."""
    company.change("person", "  entity: person", "  entty: person")
    assert len({text.split(":")[0] for text in company.mistakes(settings)}) == 1


def test_an_undescribed_system_is_not_guessed_at(company: Project, settings: Settings) -> None:
    company.change("person", "salesforce.Contact.Email", "salesforce.Contact.Emial")
    assert company.mistakes(settings) == []


def test_dagster_tells_the_same_as_cdp_check(
    company: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(company.root / "src"))
    monkeypatch.chdir(company.root)
    company.change("good_customers", "where: orders >= 3", "where: ordrs >= 3")
    company.change("people_to_hubspot", "  mode: update\n", "  mode: update\n  mode: insert\n")
    (said,) = company.mistakes(settings)
    with pytest.raises(Exception, match="Error while building") as caught:
        dg.load_from_defs_folder(path_within_project=company.defs.parent)
    chain: list[str] = []
    error: BaseException | None = caught.value
    while error is not None:
        chain.append(f"{type(error).__name__}: {error}")
        error = error.__cause__
    assert any(text == f"{ConfigurationError.__name__}: {said}" for text in chain), chain


def test_cdp_check_prints_one_message(
    company: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(company.root)
    company.change("good_customers", "where: orders >= 3", "where: ordrs >= 3")
    assert cli.main(["check"]) == 2
    told = capsys.readouterr()
    assert told.out.count("mistakes") == 0
    assert told.err.startswith(f"src/{company.defs.parent.name}/defs/good_customers/defs.yaml:5: ")
    assert "Traceback" not in told.err


def test_an_unset_variable_is_named_and_loads(
    company: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(company.root / "src"))
    monkeypatch.chdir(company.root)
    defs = dg.load_from_defs_folder(path_within_project=company.defs.parent)
    assert defs.resolve_asset_graph().get_all_asset_keys()
    assert cli.main(["check"]) == 1
    told = capsys.readouterr()
    for name, line in zip(VARIABLES, (4, 5, 6, 3, 4, 4), strict=True):
        assert f"defs.yaml:{line}: the environment variable {name} is not set" in told.err
    assert "11 definitions, no mistakes" in told.out


def test_all_is_well_only_with_every_variable_set(
    company: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(company.root)
    for name in VARIABLES:
        assert cli.main(["check"]) == 1
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert cli.main(["check"]) == 0


def test_what_needs_an_unset_variable_says_so(
    company: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(company.root)
    assert cli.main(["describe", "salesforce"]) == 2
    told = capsys.readouterr().err
    for name, line in zip(VARIABLES[:3], (4, 5, 6), strict=True):
        said = f"defs.yaml:{line}: set the environment variable {name} to use `salesforce`"
        assert said in told
    assert cli.main(["describe", "salesforc"]) == 2
    said = "no outside system `salesforc` in defs/; did you mean salesforce?; there are: "
    assert capsys.readouterr().err.startswith(said)


def test_a_variable_named_twice_is_told_once(company: Project, settings: Settings) -> None:
    company.change("app", "purpose: analytics", 'purpose: "{{ env.EVENTS_DIR }}"')
    found = unset_variables(load_deployment(company.defs))
    assert [(item.line, "EVENTS_DIR" in item.message) for item in found if "app" in str(item)] == [
        (4, True)
    ]


@pytest.mark.parametrize("name", ["my-aud !", "größe", "Good", "9_lives", "a" * 64])
def test_a_folder_whose_name_no_table_can_have(
    name: str, company: Project, settings: Settings
) -> None:
    company.write(name, company.file("good_customers").read_text())
    (found,) = company.mistakes(settings)
    assert f"{name}/defs.yaml:1: the folder's name `{name}` is the thing's name in" in found
    better = {"my-aud !": "my_aud", "größe": "grosse", "Good": "good", "a" * 64: "a" * 63}
    assert (f"such as `{better[name]}`" in found) if name in better else ("such as" not in found)


def test_a_folder_whose_name_stands_nowhere_is_as_one_likes(
    company: Project, settings: Settings
) -> None:
    company.defs.joinpath("identity").rename(company.defs / "Who is who")
    company.defs.joinpath("person").rename(company.defs / "traits-of-persons")
    assert company.mistakes(settings) == []


@pytest.mark.parametrize("name", ["defs.yml", "Defs.yaml", "def.yaml"])
def test_a_file_that_nobody_reads(name: str, company: Project, settings: Settings) -> None:
    company.file("good_customers").rename(company.defs / "good_customers" / name)
    (found,) = company.mistakes(settings)
    assert f"good_customers/{name}:1: only defs.yaml is read: rename this file to it" in found


def test_a_component_of_another_library_is_a_note(company: Project, settings: Settings) -> None:
    """One that is installed, one of the project's own, one beside the file."""
    own = company.defs.parent.name
    for name in ("dagster.DefinitionsComponent", f"{own}.things.Thing", ".Local"):
        company.write("other", f"type: {name}\n")
        assert company.mistakes(settings) == []
        said = f"other:1: `{name}` is of another library and not checked here"
        assert said in company.notes(settings)


@pytest.mark.parametrize(
    ("library", "body", "why"),
    [
        ("lib_that_raises", "raise RuntimeError('ada@example.com')", "RuntimeError"),
        ("lib_with_a_slip", "def x(:", "SyntaxError"),
        ("lib_that_needs", "import nothing_of_this_name", "ModuleNotFoundError"),
    ],
)
def test_a_library_of_one_s_own_that_cannot_be_imported(
    library: str, body: str, why: str, company: Project, settings: Settings
) -> None:
    (company.defs.parent.parent / f"{library}.py").write_text(body)
    company.write("other", f"type: {library}.Thing\n")
    (found,) = company.mistakes(settings)
    assert f"other/defs.yaml:1: `{library}` cannot be imported ({why})" in found
    assert "ada@example.com" not in found


def test_the_same_folder_name_twice(
    company: Project, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(company.root)
    inner = company.defs / "more" / "app"
    inner.mkdir(parents=True)
    inner.joinpath("defs.yaml").write_text(company.file("app").read_text())
    (found,) = company.mistakes(settings)
    assert "`app` is declared in src/" in found
