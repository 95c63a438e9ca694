"""describe and describeGlobal, with the keys that the real ones carry."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cdp_assets.sandbox.salesforce.fields import COMPOUND, Field, SObject
from cdp_assets.sandbox.salesforce.schema import OBJECTS

_SOAP = {
    "id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int",
    "double": "xsd:double", "currency": "xsd:double", "percent": "xsd:double",
    "date": "xsd:date", "datetime": "xsd:dateTime", "time": "xsd:time",
    "address": "urn:address", "location": "urn:location",
}  # fmt: skip
_DEFAULTED = ("OwnerId", "Probability")
_PREFILTERABLE = (
    "AccountId", "ParentId", "ReportsToId", "ConvertedAccountId", "ConvertedContactId",
    "ConvertedOpportunityId", "ContactId", "WhoId", "WhatId",
)  # fmt: skip
_SCOPES = (
    ("everything", "All {}"), ("mine", "My {}"), ("scopingRule", "Filter by scope"),
    ("team", "My team's {}"),
)  # fmt: skip


def _formula(field: Field) -> str | None:
    if field.formula is None:
        return None
    link, name = field.formula
    return f"TEXT({link.removesuffix('Id')}.{name})"


def _field(field: Field) -> dict[str, Any]:
    numeric = field.type in ("double", "currency", "percent", "int")
    long_text = field.type == "textarea" and field.length > 255
    compound = field.type in COMPOUND
    return {
        "aggregatable": not (long_text or compound) and field.type != "boolean",
        "aiPredictionField": False,
        "autoNumber": False,
        "byteLength": field.length if field.type in ("id", "reference") else field.length * 3,
        "calculated": field.formula is not None,
        "calculatedFormula": _formula(field),
        "cascadeDelete": False,
        "caseSensitive": False,
        "compoundFieldName": field.compound,
        "controllerName": None,
        "createable": field.createable,
        "custom": field.custom,
        "defaultValue": field.default if field.type in ("boolean", "picklist") else None,
        "defaultValueFormula": None,
        "defaultedOnCreate": field.default is not None
        or field.name in _DEFAULTED
        or not (field.createable or field.nillable or field.name_field),
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 8 if field.type == "int" else 0,
        "displayLocationInDecimal": False,
        "encrypted": False,
        "externalId": field.external_id,
        "extraTypeInfo": "plaintextarea" if field.type == "textarea" else None,
        "filterable": field.filterable,
        "filteredLookupInfo": None,
        "formulaTreatNullNumberAsZero": False,
        "groupable": not long_text
        and (not numeric or field.type == "int")
        and field.type not in ("datetime", "combobox")
        and not compound,
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": field.id_lookup,
        "inlineHelpText": None,
        "label": field.label,
        "length": 0 if numeric else field.length,
        "mask": None,
        "maskType": None,
        "name": field.name,
        "nameField": field.name_field,
        "namePointing": len(field.references) > 1,
        "nillable": field.nillable,
        "permissionable": field.nillable and (field.createable or compound),
        "picklistValues": [
            {
                "active": True,
                "defaultValue": option == field.default,
                "label": option,
                "validFor": None,
                "value": option,
            }
            for option in field.options
        ],
        "polymorphicForeignKey": len(field.references) > 1,
        "precision": field.precision,
        "queryByDistance": compound,
        "referenceTargetField": None,
        "referenceTo": list(field.references),
        "relationshipName": field.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": field.restricted,
        "scale": field.scale,
        "searchPrefilterable": field.relationship is not None and field.name in _PREFILTERABLE,
        "soapType": _SOAP.get(field.type, "xsd:string"),
        "sortable": not (long_text or compound),
        "type": field.type,
        "unique": field.unique,
        "updateable": field.updateable,
        "writeRequiresMasterRead": False,
    }


_read_only: set[str] = set()


def read_only(names: frozenset[str]) -> None:
    """Let the user of the stand-in write no records of these objects (lower case), as far as
    describe tells."""
    if names != _read_only:
        _read_only.clear()
        _read_only.update(names)
        describe.cache_clear()


def _summary(spec: SObject, version: str) -> dict[str, Any]:
    writable = spec.writable and spec.name.lower() not in _read_only
    base = f"/services/data/v{version}/sobjects/{spec.name}"
    return {
        "activateable": False,
        "associateEntityType": None,
        "associateParentEntity": None,
        "createable": writable,
        "custom": spec.custom,
        "customSetting": False,
        "deepCloneable": False,
        "deletable": writable,
        "deprecatedAndHidden": False,
        "feedEnabled": not spec.custom,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": spec.prefix,
        "label": spec.label,
        "labelPlural": spec.plural,
        "layoutable": True,
        "mergeable": spec.mergeable,
        "mruEnabled": True,
        "name": spec.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": spec.writable,
        "updateable": writable,
        "urls": {
            "compactLayouts": f"{base}/describe/compactLayouts",
            "rowTemplate": f"{base}/{{ID}}",
            "approvalLayouts": f"{base}/describe/approvalLayouts",
            "listviews": f"{base}/listviews",
            "describe": f"{base}/describe",
            "quickActions": f"{base}/quickActions",
            "layouts": f"{base}/describe/layouts",
            "sobject": base,
        },
    }


@lru_cache(maxsize=64)
def describe(name: str, version: str) -> dict[str, Any]:
    """The full description of one object."""
    spec = OBJECTS[name.lower()]
    summary = _summary(spec, version)
    site = "https://fathom.my.salesforce.example"
    urls = summary.pop("urls") | {
        "uiDetailTemplate": f"{site}/{{ID}}",
        "uiEditTemplate": f"{site}/{{ID}}/e",
        "uiNewRecord": f"{site}/{spec.prefix}/e",
    }
    base = f"/services/data/v{version}/sobjects/{spec.name}"
    if spec.name in ("Account", "Case"):
        urls["defaultValues"] = f"{base}/defaultValues?recordTypeId&fields"
    if spec.name == "Case":
        urls["caseArticleSuggestions"] = f"{base}/suggestedArticles"
        urls["caseRowArticleSuggestions"] = f"{base}/{{ID}}/suggestedArticles"
    if spec.name == "Event":
        del urls["approvalLayouts"], urls["listviews"]
        urls["eventSeriesUpdates"] = f"{base}/{{ID}}/fromThisEventOnwards"
    return summary | {
        "actionOverrides": [],
        "childRelationships": [
            {
                "cascadeDelete": False,
                "childSObject": child.name,
                "deprecatedAndHidden": False,
                "field": field.name,
                "junctionIdListNames": [],
                "junctionReferenceTo": [],
                "relationshipName": child.plural if field.name == f"{spec.name}Id" else None,
                "restrictedDelete": False,
            }
            for child in OBJECTS.values()
            for field in child.fields
            if spec.name in field.references
        ],
        "compactLayoutable": True,
        "defaultImplementation": None,
        "extendedBy": None,
        "extendsInterfaces": None,
        "fields": [_field(field) for field in spec.fields],
        "implementedBy": None,
        "implementsInterfaces": None,
        "listviewable": None,
        "lookupLayoutable": None,
        "namedLayoutInfos": [],
        "networkScopeFieldName": None,
        "recordTypeInfos": [
            {
                "active": True,
                "available": True,
                "defaultRecordTypeMapping": True,
                "developerName": "Master",
                "master": True,
                "name": "Master",
                "recordTypeId": "012000000000000AAA",
                "urls": {
                    "layout": f"/services/data/v{version}/sobjects/{spec.name}/describe/layouts/"
                    "012000000000000AAA"
                },
            }
        ],
        "searchLayoutable": True,
        "sobjectDescribeOption": "FULL",
        "supportedScopes": [
            {"label": label.format(spec.plural.lower()), "name": name} for name, label in _SCOPES
        ],
        "urls": urls,
    }


def describe_global(version: str) -> dict[str, Any]:
    """All objects in short."""
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [_summary(spec, version) for spec in OBJECTS.values()],
    }


def basic_information(name: str, version: str) -> dict[str, Any]:
    """What `GET /sobjects/<name>` answers."""
    return {"objectDescribe": _summary(OBJECTS[name.lower()], version), "recentItems": []}
