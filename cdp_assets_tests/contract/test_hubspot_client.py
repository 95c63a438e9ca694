"""HubSpot's own Python client, unmodified, against what the stand-in has beside records."""

from __future__ import annotations

import hubspot
import pytest
from hubspot.crm.associations.v4.schema import PublicAssociationDefinitionCreateRequest
from hubspot.crm.lists import (
    ApiException,
    ListCreateRequest,
    ListSearchRequest,
    MembershipChangeRequest,
)
from hubspot.crm.objects.notes import (
    AssociationSpec,
    BatchInputSimplePublicObjectBatchInputForCreate,
    BatchInputSimplePublicObjectId,
    BatchReadInputSimplePublicObjectId,
    PublicAssociationsForObject,
    PublicObjectId,
    SimplePublicObjectBatchInputForCreate,
    SimplePublicObjectId,
    SimplePublicObjectInput,
)
from hubspot.crm.properties import PropertyGroupCreate
from hubspot.crm.schemas import (
    ObjectSchemaEgg,
    ObjectTypeDefinitionLabels,
    ObjectTypePropertyCreate,
)

from cdp_assets.sandbox.hubspot.oauth import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from cdp_assets_tests.sandbox.running import Running


@pytest.fixture(scope="module")
def hs(sandbox: Running) -> hubspot.Client:
    token = sandbox.system("hubspot")["token"]
    return hubspot.Client.create(access_token=token, host=sandbox.url)


def test_it_signs_in_by_oauth(sandbox: Running) -> None:
    entrance = hubspot.Client.create(host=sandbox.url)
    given = {"grant_type": "refresh_token", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    api = entrance.oauth.tokens_api
    found = api.create(**given, refresh_token=REFRESH_TOKEN)
    assert found.expires_in == 1_800
    hs = hubspot.Client.create(access_token=found.access_token, host=sandbox.url)
    assert hs.crm.owners.get_all()
    with pytest.raises(hubspot.oauth.ApiException, match="BAD_REFRESH_TOKEN"):
        api.create(**given, refresh_token="other")


def test_it_fills_lists(hs: hubspot.Client) -> None:
    lists, members = hs.crm.lists.lists_api, hs.crm.lists.memberships_api
    wanted = ListCreateRequest(name="Client list", object_type_id="0-1", processing_type="MANUAL")
    made = lists.create(wanted).list
    ids = [contact.id for contact in hs.crm.contacts.basic_api.get_page(limit=5).results]
    added = members.add(made.list_id, ids)
    assert added.records_ids_added == ids
    change = MembershipChangeRequest(record_ids_to_add=["1"], record_ids_to_remove=ids[:2])
    changed = members.add_and_remove(made.list_id, change)
    assert changed.record_ids_removed == ids[:2]
    assert changed.record_ids_missing == ["1"]
    seen, after = [], None
    while True:
        page = members.get_page(made.list_id, limit=2, **({"after": after} if after else {}))
        seen += [member.record_id for member in page.results]
        if page.paging is None:
            break
        after = page.paging.next.after
    assert seen == ids[2:]
    assert lists.get_by_name("client LIST", "0-1").list.list_id == made.list_id
    assert lists.do_search(ListSearchRequest(query="client")).total == 1
    lists.remove(made.list_id)
    with pytest.raises(ApiException) as caught:
        members.get_page(made.list_id)
    assert caught.value.status == 404


def test_it_writes_and_archives_engagements(hs: hubspot.Client) -> None:
    contact = hs.crm.contacts.basic_api.get_page(limit=1).results[0]
    link = PublicAssociationsForObject(
        to=PublicObjectId(id=contact.id),
        types=[AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=202)],
    )
    inputs = [
        SimplePublicObjectBatchInputForCreate(
            properties={"hs_timestamp": "2026-03-01T09:00:00Z", "hs_note_body": f"Note {n}"},
            associations=[link],
        )
        for n in range(3)
    ]
    notes = hs.crm.objects.notes
    made = notes.batch_api.create(BatchInputSimplePublicObjectBatchInputForCreate(inputs=inputs))
    ids = [SimplePublicObjectId(id=one.id) for one in made.results]
    shown = notes.basic_api.get_by_id(ids[0].id, associations=["contacts"])
    assert shown.associations["contacts"].results[0].id == contact.id
    changed = SimplePublicObjectInput(properties={"hs_note_body": "Other"})
    notes.basic_api.update(ids[0].id, changed)
    read = notes.batch_api.read(
        BatchReadInputSimplePublicObjectId(
            inputs=ids, properties=["hs_note_body"], properties_with_history=["hs_note_body"]
        )
    )
    former = read.results[0].properties_with_history["hs_note_body"]
    assert [one.value for one in former] == ["Other", "Note 0"]
    notes.batch_api.archive(BatchInputSimplePublicObjectId(inputs=ids))
    assert not notes.batch_api.read(
        BatchReadInputSimplePublicObjectId(inputs=ids, properties=[], properties_with_history=[])
    ).results
    archived = notes.basic_api.get_page(archived=True, limit=100).results
    assert {one.id for one in ids} <= {one.id for one in archived}


def test_it_makes_custom_objects_groups_and_labels(hs: hubspot.Client) -> None:
    egg = ObjectSchemaEgg(
        name="client_boats",
        labels=ObjectTypeDefinitionLabels(singular="Boat", plural="Boats"),
        required_properties=["keel"],
        properties=[
            ObjectTypePropertyCreate(name="keel", label="Keel", type="string", field_type="text")
        ],
        associated_objects=["contacts"],
    )
    made = hs.crm.schemas.core_api.create(egg)
    full = made.fully_qualified_name
    assert full in [one.fully_qualified_name for one in hs.crm.schemas.core_api.get_all().results]
    boat = hs.crm.objects.basic_api.create(
        full, hubspot.crm.objects.SimplePublicObjectInputForCreate(properties={"keel": "K"})
    )
    assert hs.crm.objects.basic_api.get_by_id(made.object_type_id, boat.id).id == boat.id
    group = PropertyGroupCreate(name="client_group", label="Client", display_order=1)
    assert hs.crm.properties.groups_api.create(full, group).name == "client_group"
    request = PublicAssociationDefinitionCreateRequest(label="Captain", name="captain")
    definitions = hs.crm.associations.v4.schema.definitions_api
    both = definitions.create("contacts", full, request).results
    assert {one.category for one in both} == {"USER_DEFINED"}
    labels = [one.label for one in definitions.get_all("contacts", full).results]
    assert sorted(labels, key=str) == ["Captain", None]
