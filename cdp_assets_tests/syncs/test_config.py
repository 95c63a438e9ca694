from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from pydantic import ValidationError

import cdp_assets
from cdp_assets.connectors.base import ObjectInfo
from cdp_assets.profiles.kinds import Kind
from cdp_assets.syncs.check import check_fields
from cdp_assets.syncs.config import Limit, SyncConfig
from cdp_assets_tests.syncs.world import DESCRIPTION, config


def test_the_shapes_of_the_design() -> None:
    read = SyncConfig.model_validate(
        yaml.safe_load("""
        from: person
        where: email is not null
        to: [salesforce.Contact, salesforce.Lead]
        mode: upsert
        key: {CDP_Id__c: profile_id}
        match: [linked, {Email: email}]
        create: never
        fields:
          Revenue_90d__c: revenue_90d
          Title: {trait: title, write: if_empty}
          LeadSource: {value: Product, write: on_create}
          Note: "Viewed {views_7d} times"
          Lapsed__c: audiences.lapsed
        purpose: sales
        every: 1h
        approve: first
        stop_if: {changed: 20%, created: 200, failed: 1%}
        """)
    )
    assert (read.source, read.objects, read.creates) == ("salesforce", ("Contact", "Lead"), None)
    assert read.every == timedelta(hours=1)
    assert read.stop_if.changed == Limit(share=0.2)
    assert read.stop_if.created == Limit(rows=200)
    assert read.columns == (
        "audiences.lapsed", "email", "profile_id", "revenue_90d", "title", "views_7d",
    )  # fmt: skip


def test_the_packages_own_syncs_load() -> None:
    files = list(Path(cdp_assets.__file__).parent.glob("defs/*/defs.yaml"))
    bodies = [yaml.safe_load(f.read_text()) for f in files]
    syncs = [b["attributes"] for b in bodies if b["type"] == "cdp_assets.Sync"]
    assert syncs
    for attributes in syncs:
        SyncConfig.model_validate(attributes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gone": "clear"}, "`gone` belongs to mode mirror"),
        ({"rows": "entered"}, "`from: audiences.NAME` and `mode: insert`"),
        ({"link": ["account"]}, "for records that the sync creates"),
        ({"mode": "insert", "link": ["account", "account"]}, "each once"),
        (
            {"from": "audiences.a", "rows": "entered", "mode": "insert", "match": [{"A": "a"}]},
            "take out `match`",
        ),
        (
            {"from": "audiences.a", "rows": "entered", "mode": "insert", "key": {"A": "a"}},
            "is `entry`",
        ),
        (
            {
                "from": "audiences.a",
                "rows": "entered",
                "mode": "insert",
                "fields": {"A": {"trait": "a", "write": "if_empty"}},
            },
            "`write` is idle",
        ),
        ({"fields": {}}, "name one, or a `list`"),
        ({"mode": "add"}, "mode add belongs to `list`"),
        ({"others": "keep"}, "`others` belongs to `list`"),
        ({"list": "L", "mode": "mirror"}, "`fields` does not go with `list`"),
        ({"list": "L", "fields": {}}, "mode mirror, add or remove"),
        ({"list": " ", "mode": "add", "fields": {}}, "the name of a list"),
        ({"list": "L", "mode": "add", "fields": {}, "others": "remove"}, "belongs to mode mirror"),
        ({"list": "L", "mode": "add", "fields": {}, "members": ["x.Y"]}, "own system, not x.Y"),
        ({"list": "L", "mode": "add", "fields": {}, "match": [{"A": "a"}]}, "take out `match`"),
        ({"to": "Contact"}, "is not SYSTEM.Object"),
        ({"to": ["crm.Contact", "other.Contact"]}, "writes to one system"),
        ({"create": "crm.Contact"}, "belongs to mode upsert"),
        ({"mode": "upsert", "create": "crm.Lead"}, "is not among `to`"),
        ({"key": {"A": "x", "B": "y"}}, "a key is one field"),
        ({"match": [{"A": "x"}, {"B": "y"}]}, "one {Field: trait}"),
        ({"match": ["guess"]}, "a rule is `linked`"),
        ({"fields": {"A": "x", "a": "y"}}, "are one field"),
        ({"fields": {"A": "Fixed text"}}, "is no trait; a literal is written"),
        ({"fields": {"A": "{x} and {"}}, "braces in a template"),
        ({"fields": {"A": {"trait": "x", "value": 1}}}, "write a trait"),
        ({"fields": {"A": {"value": None}}}, "literal null"),
        ({"fields": {"A": {"value": 1, "write": "on_create"}}}, "nothing is created"),
        ({"key": {"A": "x"}, "fields": {"A": "y"}}, "is the key already"),
        ({"key": {"A": "x"}, "fields": {"a": "y"}}, "is the key already"),
        ({"key": {"A": "x"}, "match": ["linked", {"A": "x"}]}, "take it out of `match`"),
        ({"key": {"A": "x"}, "match": [{"a": "y"}]}, "take it out of `match`"),
        ({"purpose": "Newsletter and such"}, "is not one word"),
        ({"every": "soon"}, "expected a duration"),
        ({"every": "7m"}, "a sync runs every 1m, 2m, .*30m, 1h, 2h, .*12h or 1d"),
        ({"every": "30s"}, "a sync runs every"),
        ({"every": "90m"}, "a sync runs every"),
        ({"every": "5h"}, "a sync runs every"),
        ({"every": "2d"}, "a sync runs every"),
        ({"stop_if": {"changed": {"shrae": 0.2}}}, "Extra inputs"),
        ({"stop_if": {"changed": {}}}, "one of the two"),
        ({"stop_if": {"changed": {"share": 0.2, "rows": 3}}}, "one of the two"),
        ({"stop_if": {"changed": {"share": 5}}}, "less than or equal to 1"),
        ({"stop_if": {"changed": {"share": -0.1}}}, "greater than or equal to 0"),
        ({"stop_if": {"created": {"rows": -1}}}, "greater than or equal to 0"),
        ({"stop_if": {"changed": "a lot"}}, "a limit is a share"),
        ({"stop_if": {"changed": "120%"}}, "a limit is a share"),
        ({"nonsense": 1}, "Extra inputs"),
        ({"unlinked": "wait"}, "`unlinked` belongs to `link`"),
        ({"fields": {"A": {"owner": "x", "lookup": "User.Email"}}}, "take out `lookup`"),
        ({"fields": {"A": {"trait": "x", "lookup": "Email"}}}, "is not Object.Field"),
        ({"fields": {"A": {"owner": "x", "write": "append"}}}, "a record that is looked up"),
        ({"fields": {"A": {"owner": "a b"}}}, "is no trait"),
        ({"fields": {"A": {"value": "x", "hash": "sha256"}}}, "`hash` is of a trait"),
        ({"fields": {"A": {"stamp": "told_at"}}}, "name one, or a `list`"),
        (
            {"fields": {"B": "b", "A": {"stamp": "told_at", "write": "if_empty"}}},
            "take out `write`",
        ),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "crm.Contract"}, "has no object `Contract`; did you mean Contact?"),
        ({"fields": {"Titel": "title"}}, "no field `Titel`; did you mean Title?"),
        ({"fields": {"Name": "title"}}, "cannot be updated"),
        ({"fields": {"Status": {"value": "Opn"}}}, "has no option 'Opn'; did you mean Open?"),
        ({"fields": {"Title": {"value": "x" * 41}}}, "takes 40 characters"),
        ({"fields": {"Revenue__c": "title"}}, None),
        ({"fields": {"Title": {"trait": "title", "write": "append"}}}, "holds one value"),
        ({"fields": {"Revenue__c": {"owner": "title"}}}, "takes no id of a record"),
        ({"fields": {"OwnerId": {"owner": "title"}}}, None),
        (
            {"fields": {"AccountId": {"trait": "title", "lookup": "Acount.Email"}}},
            "has no object `Acount`; did you mean Account?",
        ),
        (
            {"fields": {"AccountId": {"trait": "title", "lookup": "Account.Mail"}}},
            "has no field `Mail`; did you mean Email?",
        ),
        ({"fields": {"Revenue__c": "seen"}}, "is a number, the trait a timestamp"),
        ({"key": {"Email": "email"}}, "neither an external id nor unique; there are CDP_Id__c"),
        ({"match": [{"Mail": "email"}]}, "has no field `Mail`; did you mean Email?"),
    ],
)
def test_fields_are_checked_against_the_description(
    options: dict[str, Any], message: str | None
) -> None:
    kinds = {"title": Kind.STRING, "seen": Kind.TIMESTAMP}
    problems = [text for _, text in check_fields(config(**options), DESCRIPTION, kinds)]
    assert (not problems) if message is None else any(message in p for p in problems)


def test_key_and_match_are_checked_where_they_are_written() -> None:
    fields = dict(DESCRIPTION.objects["Contact"].fields)
    fields["CDP_Id__c"] = msgspec.structs.replace(fields["CDP_Id__c"], createable=False)
    fields["Email"] = msgspec.structs.replace(fields["Email"], createable=False, filterable=False)
    contact = ObjectInfo(name="Contact", fields=fields)
    described = msgspec.structs.replace(DESCRIPTION, objects={"Contact": contact})
    options = {"key": {"CDP_Id__c": "profile_id"}, "match": ["linked", {"Email": "email"}]}
    found = check_fields(config(**options), described)
    assert found == [(("match", 1, "Email"), "crm.Contact.Email cannot be searched by")]
    creating = config(**options, mode="upsert", create="crm.Contact")
    late = "cannot be set when a record is created"
    assert check_fields(creating, described) == [
        (("key", "CDP_Id__c"), f"crm.Contact.CDP_Id__c {late}"),
        (("match", 1, "Email"), "crm.Contact.Email cannot be searched by"),
        (("match", 1, "Email"), f"crm.Contact.Email {late}"),
    ]
    wrong = config(key={"CDP_Id": "profile_id"}, match=[{"Mail": "email"}])
    assert [path for path, _ in check_fields(wrong, described)] == [
        ("key", "CDP_Id"),
        ("match", 0, "Mail"),
    ]


def test_a_declared_object_may_be_newer_than_the_description() -> None:
    sync = config(to="crm.Contract")
    assert check_fields(sync, DESCRIPTION, pulled=["Contract"]) == []
    assert [path for path, _ in check_fields(sync, DESCRIPTION, pulled=["Deal"])] == [("to",)]


def test_a_yes_outlives_an_upgrade() -> None:
    """Options that came later are in the hash only where they are used."""
    known = "da32d508efa03c2b0fa75a672a5340933717eac8aec4a56d349c730a71231276"
    assert config().fingerprint == known
    assert config(mode="mirror").fingerprint != config(mode="mirror", gone="clear").fingerprint


def test_a_sync_may_say_how_its_fields_are_written() -> None:
    fields = {"A": "a", "B": "b {c}", "C": {"trait": "c", "write": "always"}}
    read = config(fields=fields, write="if_empty").fields
    assert [field.write for field in read.values()] == ["if_empty", "if_empty", "always"]
    same = {
        "A": {"trait": "a", "write": "if_empty"},
        "B": {"template": "b {c}", "write": "if_empty"},
        "C": "c",
    }
    assert config(fields=same).fingerprint == config(fields=fields, write="if_empty").fingerprint


def test_a_changed_schedule_is_no_new_configuration() -> None:
    assert config().fingerprint == config(every="5m", approve="always").fingerprint
    assert config().fingerprint != config(where="orders > 1").fingerprint


@pytest.mark.parametrize("text", ["1m", "15m", "60m", "1h", "12h", "24h", "1d"])
def test_an_interval_that_cron_says_evenly(text: str) -> None:
    number, unit = int(text[:-1]), {"m": "minutes", "h": "hours", "d": "days"}[text[-1]]
    assert config(every=text).every == timedelta(**{unit: number})


def test_a_limit_may_be_written_out() -> None:
    read = config(stop_if={"changed": {"share": 0.2}, "created": {"rows": 0}}).stop_if
    assert read.changed == Limit(share=0.2)
    assert read.created is not None
    assert not read.created.allows(1, 100)
