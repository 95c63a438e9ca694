"""Unmodified public clients against the stand-ins, over real HTTP between processes."""

from __future__ import annotations

from typing import Any

import hubspot
import pytest
import requests
from hubspot.crm.associations.v4 import (
    AssociationSpec,
    BatchInputPublicFetchAssociationsBatchRequest,
)
from hubspot.crm.contacts import (
    ApiException,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchInputSimplePublicObjectBatchInputUpsert,
    BatchInputSimplePublicObjectId,
    BatchReadInputSimplePublicObjectId,
    Filter,
    FilterGroup,
    PublicMergeInput,
    PublicObjectSearchRequest,
    SimplePublicObjectBatchInputForCreate,
    SimplePublicObjectBatchInputUpsert,
    SimplePublicObjectId,
    SimplePublicObjectInput,
    SimplePublicObjectInputForCreate,
)
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceResourceNotFound,
)

from cdp_assets_tests.sandbox.running import Running


class PlainHttp(HTTPAdapter):
    """simple-salesforce says https to every host; this carries it to the stand-in's own port."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__()

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        assert request.url is not None
        path = request.url.partition("://")[2].partition("/")[2]
        request.url = f"{self.url}/{path}"
        return super().send(request, **more)


def login(sandbox: Running, secret: str | None = None) -> Salesforce:
    mine = sandbox.system("salesforce")
    session = requests.Session()
    session.mount("https://", PlainHttp(sandbox.url))
    return Salesforce(
        consumer_key=mine["client_id"],
        consumer_secret=secret or mine["client_secret"],
        domain="fathom.my",
        session=session,
    )


@pytest.fixture(scope="module")
def sf(sandbox: Running) -> Salesforce:
    return login(sandbox)


def test_simple_salesforce_is_refused_with_a_wrong_secret(sandbox: Running) -> None:
    with pytest.raises(SalesforceAuthenticationFailed, match="invalid_client"):
        login(sandbox, "wrong")


def test_simple_salesforce_pages_through_everything(sf: Salesforce, sandbox: Running) -> None:
    held = sandbox.control("GET", "state")["records"]["salesforce.Task"]
    found = sf.query_all(
        "SELECT Id, Subject, Owner.Name FROM Task ORDER BY SystemModstamp, Id",
        headers={"Sforce-Query-Options": "batchSize=200"},
    )
    assert held > 200
    assert len({record["Id"] for record in found["records"]}) == found["totalSize"] == held
    assert found["records"][0]["Owner"]["Name"]
    assert len(list(sf.query_all_iter("SELECT Id FROM Task"))) == held
    assert sf.query("SELECT COUNT() FROM Task")["totalSize"] == held


def test_simple_salesforce_writes_reads_and_deletes(sf: Salesforce) -> None:
    made = sf.Contact.create({"LastName": "Lovelace", "FirstName": "Ada", "Email": "ada@a.example"})
    key = made["id"]
    assert sf.Contact.get(key)["Name"] == "Ada Lovelace"
    assert sf.Contact.update(key, {"Title": "Countess"}) == 204
    assert (
        sf.query(f"SELECT Title FROM Contact WHERE Id = '{key[:15]}'")["records"][0]["Title"]
        == "Countess"
    )
    assert sf.Contact.upsert("CDP_Id__c/4711", {"LastName": "Hopper"}) == 201
    assert sf.Contact.upsert("CDP_Id__c/4711", {"Title": "Admiral"}) in (200, 204)
    assert sf.Contact.get_by_custom_id("CDP_Id__c", "4711")["Title"] == "Admiral"
    assert sf.Contact.delete(key) == 204
    with pytest.raises(SalesforceResourceNotFound):
        sf.Contact.get(key)
    gone = sf.query(f"SELECT IsDeleted FROM Contact WHERE Id = '{key}'", include_deleted=True)
    assert gone["records"][0]["IsDeleted"] is True


def test_simple_salesforce_meets_the_vendors_refusals(sf: Salesforce) -> None:
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        sf.query("SELECT NoSuchField FROM Contact")
    with pytest.raises(SalesforceMalformedRequest, match="REQUIRED_FIELD_MISSING"):
        sf.Contact.create({"FirstName": "Nobody"})
    with pytest.raises(SalesforceMalformedRequest, match="STRING_TOO_LONG"):
        sf.Contact.create({"LastName": "x" * 81})
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_EMAIL_ADDRESS"):
        sf.Contact.create({"LastName": "x", "Email": "no address"})
    for _ in range(2):
        sf.Contact.create({"LastName": "Twin", "App_User_Id__c": "twins"})
    with pytest.raises(SalesforceMoreThanOneRecord):
        sf.Contact.upsert("App_User_Id__c/twins", {"Title": "x"})


def test_simple_salesforce_describes_and_counts_calls(sf: Salesforce) -> None:
    names = {found["name"] for found in sf.describe()["sobjects"]}
    assert {"Account", "Contact", "Lead", "Opportunity", "Task", "Subscription__c"} <= names
    fields = {field["name"]: field for field in sf.Contact.describe()["fields"]}
    assert fields["CDP_Id__c"]["externalId"]
    assert sf.is_sandbox() is True
    assert sf.limits()["DailyApiRequests"]["Remaining"] > 0
    assert sf.api_usage["api-usage"].used > 0


def test_simple_salesforce_sends_collections(sf: Salesforce) -> None:
    records = [
        {"attributes": {"type": "Lead"}, "LastName": f"L{n}", "Company": "C", "CDP_Id__c": f"L{n}"}
        for n in range(200)
    ]
    results = sf.restful(
        "composite/sobjects/Lead/CDP_Id__c", method="PATCH",
        json={"allOrNone": False, "records": [*records[:198], {"attributes": {"type": "Lead"}}]},
    )  # fmt: skip
    assert [r["success"] for r in results] == [True] * 198 + [False]
    whole = sf.restful(
        "composite/sobjects", method="POST",
        json={"allOrNone": True, "records": [records[198], {"attributes": {"type": "Lead"}}]},
    )  # fmt: skip
    codes = [r["errors"][0]["statusCode"] for r in whole]
    assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
    assert sf.query("SELECT COUNT() FROM Lead WHERE CDP_Id__c LIKE 'L%'")["totalSize"] == 198


@pytest.fixture(scope="module")
def hs(sandbox: Running) -> hubspot.Client:
    token = sandbox.system("hubspot")["token"]
    return hubspot.Client.create(access_token=token, host=sandbox.url)


def test_hubspot_client_pages_through_everything(hs: hubspot.Client, sandbox: Running) -> None:
    held = sandbox.control("GET", "state")["records"]["hubspot.contacts"]
    found = hs.crm.contacts.get_all(properties=["email", "jobtitle"])
    assert len({contact.id for contact in found}) == len(found) == held > 100
    assert all("jobtitle" in contact.properties for contact in found)


def test_hubspot_client_writes_reads_and_archives(hs: hubspot.Client) -> None:
    api = hs.crm.contacts.basic_api
    properties = {"email": "Grace@mailbox.example", "firstname": "Grace"}
    made = api.create(SimplePublicObjectInputForCreate(properties=properties))
    assert made.properties["email"] == "grace@mailbox.example"
    changed = api.update(made.id, SimplePublicObjectInput(properties={"jobtitle": "Admiral"}))
    assert changed.updated_at > made.updated_at
    with pytest.raises(ApiException, match="Existing ID"):
        api.create(SimplePublicObjectInputForCreate(properties=properties))
    by_email = api.get_by_id("grace@mailbox.example", id_property="email")
    assert by_email.id == made.id
    api.archive(made.id)
    with pytest.raises(ApiException) as caught:
        api.get_by_id(made.id)
    assert caught.value.status == 404
    assert api.get_by_id(made.id, archived=True).archived_at


def test_hubspot_client_batches_and_searches(hs: hubspot.Client) -> None:
    batch = hs.crm.contacts.batch_api
    inputs = [
        SimplePublicObjectBatchInputUpsert(
            id_property="customer_id", id=f"client-{n}", properties={"orders": str(n)}
        )
        for n in range(100)
    ]
    first = batch.upsert(BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs))
    assert len(first.results) == 100
    assert all(result.new for result in first.results)
    names = [SimplePublicObjectId(id=f"client-{n}") for n in range(3)]
    read = batch.read(
        BatchReadInputSimplePublicObjectId(
            inputs=names, id_property="customer_id", properties=["orders"],
            properties_with_history=[],
        )
    )  # fmt: skip
    assert [r.properties["orders"] for r in read.results] == ["0", "1", "2"]
    many = [
        SimplePublicObjectBatchInputForCreate(
            properties={"email": email}, object_write_trace_id=email
        )
        for email in ("good@mailbox.example", "no address")
    ]
    mixed = batch.create(BatchInputSimplePublicObjectBatchInputForCreate(inputs=many))
    assert (len(mixed.results), mixed.num_errors) == (1, 1)
    assert mixed.errors[0].context["objectWriteTraceId"] == ["no address"]
    request = PublicObjectSearchRequest(
        filter_groups=[
            FilterGroup(
                filters=[
                    Filter(property_name="customer_id", operator="HAS_PROPERTY"),
                    Filter(property_name="orders", operator="GTE", value="9"),
                ]
            )
        ],
        sorts=["-orders"], limit=50, properties=["orders"],
    )  # fmt: skip
    found = hs.crm.contacts.search_api.do_search(request)
    assert (found.total, found.results[0].properties["orders"]) == (91, "99")
    ids = [SimplePublicObjectId(id=result.id) for result in first.results]
    batch.archive(BatchInputSimplePublicObjectId(inputs=ids))
    assert hs.crm.contacts.search_api.do_search(request).total == 0
    request.limit, request.after = 200, "9900"
    with pytest.raises(ApiException) as caught:
        hs.crm.contacts.search_api.do_search(request)
    assert caught.value.status == 400


def test_hubspot_client_associates_merges_and_lists_properties(hs: hubspot.Client) -> None:
    api = hs.crm.contacts.basic_api
    one, two = (
        api.create(SimplePublicObjectInputForCreate(properties={"firstname": name}))
        for name in ("One", "Two")
    )
    company = hs.crm.companies.basic_api.get_page(limit=1).results[0]
    hs.crm.associations.v4.basic_api.create(
        "contacts", two.id, "companies", company.id,
        [AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=279)],
    )  # fmt: skip
    merge = PublicMergeInput(primary_object_id=one.id, object_id_to_merge=two.id)
    hs.crm.contacts.basic_api.merge(merge)
    survivor = api.get_by_id(
        one.id, properties=["hs_merged_object_ids"], associations=["companies"]
    )
    assert survivor.properties["hs_merged_object_ids"] == two.id
    assert survivor.associations["companies"].results[0].id == company.id
    found = hs.crm.associations.v4.batch_api.get_page(
        "contacts", "companies",
        BatchInputPublicFetchAssociationsBatchRequest(inputs=[{"id": one.id}]),
    )  # fmt: skip
    assert found.results[0].to[0].to_object_id == company.id
    names = {found.name: found for found in hs.crm.properties.core_api.get_all("contacts").results}
    assert names["customer_id"].has_unique_value
    assert hs.crm.owners.get_all()


def test_hubspot_client_is_told_to_slow_down(hs: hubspot.Client, sandbox: Running) -> None:
    now = sandbox.control("GET", "state")["now"]
    sandbox.control("POST", "clock", {"now": now})
    sandbox.control("POST", "limits", {"hubspot_search_per_second": 1})
    try:
        search = hs.crm.contacts.search_api.do_search
        search(PublicObjectSearchRequest())
        with pytest.raises(ApiException) as caught:
            search(PublicObjectSearchRequest())
        assert caught.value.status == 429
        assert "SECONDLY" in caught.value.body
    finally:
        sandbox.control("POST", "limits", {"hubspot_search_per_second": None})
        sandbox.control("POST", "clock", {"now": None})
