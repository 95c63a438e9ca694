"""Write docs/components.md and docs/settings.md from the models that the code itself checks."""

# ruff: noqa: E501  (tables and YAML stand as they are printed)
from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Set
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cdp_assets.deployment.declarations import KINDS
from cdp_assets.settings import Settings

HERE = Path(__file__).parent
MARK = "<!-- Written by `make docs` from the code: change the code, not this page. -->"


EXAMPLES = {
    "Salesforce": """
attributes:
  url: "{{ env.SALESFORCE_URL }}"
  client_id: "{{ env.SALESFORCE_CLIENT_ID }}"
  client_secret: "{{ env.SALESFORCE_CLIENT_SECRET }}"
  objects: [Account, Contact, Lead, {name: Subscription__c, as: subscription, fields: {account: Account__c, mrr: MRR__c}}]
  start: 2015-01-01
  api_budget: 30%
""",
    "HubSpot": """
attributes: {token: "{{ env.HUBSPOT_TOKEN }}", objects: [contacts, companies, deals, tickets], every: 15m}
""",
    "Zendesk": """
attributes:
  url: https://company.zendesk.com
  email: "{{ env.ZENDESK_EMAIL }}"
  token: "{{ env.ZENDESK_TOKEN }}"
  objects: [users, organizations, tickets, ticket_comments, satisfaction_ratings]
""",
    "SugarCRM": """
attributes:
  url: https://company.sugarondemand.com
  username: "{{ env.SUGARCRM_USERNAME }}"
  password: "{{ env.SUGARCRM_PASSWORD }}"
  platform: cdp                        # registered by an admin, for this deployment alone
  objects: [Accounts, Contacts, Leads, Opportunities, Cases, Calls, Meetings, Tasks]
""",
    "EventFiles": """
attributes: {path: "{{ env.EVENTS_DIR }}/**/*.jsonl*", purpose: analytics}
""",
    "EventSource": """
attributes: {write_key: aPublicKey1, origins: ["https://www.example.com", "https://*.example.com"], ip: truncate, purpose: analytics}
""",
    "Files": """
attributes: {path: "{{ env.ORDERS }}/*.csv", event: Order Completed, fields: {userId: customer_id, timestamp: date, revenue: dollars}}
""",
    "TrackingPlan": """
attributes:
  violations: quarantine               # allow | flag | drop | quarantine | block
  version: 3
  owner: product@example.com
  events:
    Report Exported:
      feature: reporting
      properties: {format: {type: string, enum: [csv, pdf], required: true}, rows: integer, recipient: {type: string, pii: email}}
    Order Completed: {schema: order_completed.json, violations: block}
""",
    "Features": """
attributes:
  features:
    reporting: {events: [Report Exported], pages: ["/reports/**"], owner: reports@example.com}
    billing: {pages: ["https://app.example.com/billing/**"]}
  unused_after: 90
""",
    "Identity": """
attributes:
  person:
    identifiers:                       # strongest first
      user_id: {from: [events.userId, salesforce.Contact.App_User_Id__c], limit: 1}
      email: {limit: 5, block: ["*@example.com", role_addresses]}
      phone: {limit: 3, region: US}
      anonymous_id: {limit: 100}
    logout: [Signed Out]
  account:
    identifiers:
      domain: {from: [salesforce.Account.Website, hubspot.companies.domain], block: free_mail}
""",
    "Sessions": """
attributes:
  timezone: Europe/Berlin
  domains: [example.com, example.io]
""",
    "Traits": """
attributes:
  entity: person
  traits:
    email: {prefer: [salesforce.Contact.Email, hubspot.contacts.email, events.traits.email]}
    title: {latest: [salesforce.Contact.Title, hubspot.contacts.jobtitle]}
    revenue_90d: {select: sum(revenue), from: Order Completed, within: 90d, description: USD}
    events_30d: {select: count(*), from: events, within: 30d}
    active: {expr: events_30d > 0}
    score: {sql: score.sql, type: decimal}
""",
    "Audience": """
attributes: {entity: person, label: Good customers, where: "orders >= 3 and account.mrr > 0 and not in_audience('competitors')"}
""",
    "Sync": """
attributes:
  from: audiences.good_customers
  to: salesforce.Contact
  mode: upsert
  key: {CDP_Id__c: profile_id}
  create: salesforce.Contact
  fields: {LastName: last_name, Orders__c: orders, Title: {trait: title, write: if_empty}, LeadSource: {value: Product, write: on_create}}
  every: 1h
  stop_if: {changed: 20%, created: 200}
""",
}  # fmt: skip
"""A component → what a defs.yaml of it may say."""

FUNCTIONS = (
    ("and, or, not, =, <>, <, <=, >, >=", "orders >= 3 and not active", "a comparison with null is null, and no condition"),
    ("is null, is not null, is true, is false", "email is not null", ""),
    ("in, between, like, ilike", "stage in ('lead', 'customer')", "`%` is any text, `_` one character; ilike ignores case"),
    ("+, -, *, /, %", "revenue / orders", "/ gives a float; by zero null"),
    ("case when … then … else … end", "case when orders > 9 then 'gold' else 'new' end", ""),
    ("if(a, b, c)", "if(active, 1, 0)", ""),
    ("coalesce(a, b, …)", "coalesce(title, 'unknown')", "the first that is not null"),
    ("nullif(a, b)", "nullif(title, '')", "null where the two are equal"),
    ("greatest(a, b, …), least(a, b, …)", "greatest(orders, 1)", "nulls are passed over"),
    ("abs(x), round(x, n), floor(x), ceil(x)", "round(revenue, 2)", ""),
    ("lower(x), upper(x), trim(x), length(x)", "lower(email)", ""),
    ("left(x, n), substr(x, start, n)", "left(email, 3)", "positions count from 1"),
    ("concat(a, b, …), a || b", "title || '!'", ""),
    ("cast(x as TYPE)", "cast(orders as decimal)", "string, integer, decimal, float, boolean, timestamp, date"),
    ("interval 'N days'", "last_seen + interval '7 days'", "added to a moment or taken from it"),
    ("now()", "last_seen > now() - interval '7 days'", "computed on reading, never stored"),
    ("days_since(x), days_between(x, y)", "days_since(last_seen)", "whole 24-hour days"),
    ("in_audience('NAME')", "in_audience('competitors')", "in audiences and in a sync's `where` only"),
)  # fmt: skip
"""What an expression may use: form, an example that is parsed by a test, a remark."""


def components() -> str:
    """The options of every component, in Markdown."""
    lines = ["# Components and their options", MARK, ""]
    lines += [
        "A `defs/NAME/defs.yaml` says `type:` and `attributes:`; the folder's name is the thing's "
        "name. `cdp check` names each mistake with its file, its line and the nearest right name.",
        "",
    ]
    told: set[type[BaseModel]] = set()
    for kind, model in KINDS.items():
        lines += [f"## cdp_assets.{kind}", (model.__doc__ or "").strip(), ""]
        lines += ["```yaml", f"type: cdp_assets.{kind}" + EXAMPLES[kind].rstrip(), "```", ""]
        lines += _table(model)
        shared = _shared(model)
        if shared:
            lines += ["### Every trait", "May say of itself, whatever its form:", ""]
            lines += _table(next(iter(shared.values())), only=set(shared))
        for nested in _nested(model, set()):
            if nested.__name__ in AS_TEXT or nested in told:
                continue
            told.add(nested)
            lines += [f"### {nested.__name__}", (nested.__doc__ or "").strip(), ""]
            lines += _table(nested, without=set(shared))
    return "\n".join(lines + _expressions()) + "\n"


def _expressions() -> list[str]:
    lines = [
        "## Expressions",
        "`expr`, `where` and what stands inside `select` are SQL of a closed list: anything else "
        "is refused with its place. A name is a trait (in `where` of a trait: a column of what it "
        "selects from); for a person `account.TRAIT` is one of their account.",
        "",
        "| what | example | |",
        "|---|---|---|",
    ]
    cells = [(f"`{name}`", f"`{example}`", remark) for name, example, remark in FUNCTIONS]
    return [
        *lines,
        *("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in cells),
    ]


def _shared(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Options that all forms of one union have, told once: option → a model that has it."""
    for field in model.model_fields.values():
        forms = list(_models(field.annotation))
        if len(forms) > 1:
            names = set.intersection(*(set(form.model_fields) for form in forms))
            return {name: forms[0] for name in forms[0].model_fields if name in names}
    return {}


def settings() -> str:
    """Every setting, in Markdown."""
    lines = [
        "# Settings",
        MARK,
        "",
        "Environment variables; `$CDP_HOME/env` may hold them too.",
        "",
    ]
    lines += ["| variable | default | what it does |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "~/.local/share/cdp" if name == "home" else _default(field)
        lines.append(f"| `CDP_{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _table(
    model: type[BaseModel], *, only: Set[str] | None = None, without: Set[str] = frozenset()
) -> list[str]:
    lines = ["| option | type | default | what it says |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in without or (only is not None and name not in only):
            continue
        label = field.alias or name
        kind = _named(field.metadata) or _type(field.annotation)
        lines.append(f"| `{label}` | {kind} | {_default(field)} | {field.description or ''} |")
    return [*lines, ""]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined or value is None or value in ({}, [], (), ""):
        return ""
    if isinstance(value, BaseModel):  # said in its own table
        return ""
    if isinstance(value, timedelta):
        return f"`{_span(value)}`"
    if isinstance(value, float) and _named(field.metadata):
        return f"`{value:.0%}`"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


def _span(value: timedelta) -> str:
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if value.total_seconds() % seconds == 0:
            return f"{int(value.total_seconds() // seconds)}{unit}"
    return f"{int(value.total_seconds())}s"


WORDS = {
    "str": "text", "int": "number", "float": "number", "bool": "yes or no", "date": "day",
    "datetime": "moment", "timedelta": "duration (`15m`)", "SecretStr": "text (secret)",
    "dict": "map", "Mapping": "map", "tuple": "list", "Path": "folder",
}  # fmt: skip

READ_BY = {
    "parse_duration": "duration (`15m`)",
    "parse_share": "share (`30%`)",
    "_limit": "share (`20%`) or number of rows",
    "_days": "days (`90d`)",
    "_listed": "text or list of text",
}
"""What reads an option before its type does → the form in which it is written."""

AS_TEXT = frozenset({"Limit"})
"""Models that are written as text, never as a map."""


def _named(metadata: Iterable[Any]) -> str | None:
    for item in metadata:
        found = READ_BY.get(getattr(getattr(item, "func", None), "__name__", ""))
        if found:
            return found
    return None


def _type(annotation: Any) -> str:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inside, *metadata = typing.get_args(annotation)
        return _named(metadata) or _type(inside)
    if origin in (typing.Union, types.UnionType):
        kinds = [_type(a) for a in typing.get_args(annotation) if a is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin is typing.Literal:
        return " or ".join(f"`{a}`" for a in typing.get_args(annotation))
    if origin is not None:
        inside = [_type(a) for a in typing.get_args(annotation) if a is not Ellipsis]
        name = WORDS.get(origin.__name__, origin.__name__)
        return f"{name} of {' → '.join(inside)}"
    name = getattr(annotation, "__name__", str(annotation))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        short = "text or " if _takes_text(annotation) else ""
        return f"{short}[{name}](#{name.lower()})"
    return WORDS.get(name, name)


def _takes_text(model: type[BaseModel]) -> bool:
    try:
        model.model_validate("text")
    except ValidationError:
        return False
    return True


def _nested(model: type[BaseModel], seen: set[type]) -> Iterator[type[BaseModel]]:
    for field in model.model_fields.values():
        for found in _models(field.annotation):
            if found not in seen:
                seen.add(found)
                yield found
                yield from _nested(found, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models(argument)


PAGES = {"components.md": components, "settings.md": settings}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (HERE / name).write_text(write(), "utf-8")
