"""Fields that only an administrator may make: a package for Salesforce's Metadata API."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from cdp_assets.connectors.base import FieldInfo, FieldType, WrongObject

API_VERSION = "60.0"
PERMISSIONS = "CDP_Fields"
_NAMESPACE = "http://soap.sforce.com/2006/04/metadata"
_CUSTOM = re.compile(r"^[A-Za-z](?:[A-Za-z0-9]|_(?!_))*(?<!_)__c$")
_HELP = "Written by the customer data platform (CDP): what is typed in here is overwritten."
_TYPES: Mapping[FieldType, Mapping[str, str]] = {
    "integer": {"type": "Number", "precision": "18", "scale": "0"},
    "decimal": {"type": "Number", "precision": "18", "scale": "2"},
    "boolean": {"type": "Checkbox", "defaultValue": "false"},
    "date": {"type": "Date"},
    "datetime": {"type": "DateTime"},
}


def metadata_package(fields: Mapping[str, Sequence[FieldInfo]]) -> bytes:
    """A zip of custom fields and a permission set to write them, in the shape that `sf project
    deploy start --metadata-dir` and Workbench take ("Metadata API Developer Guide": package.xml,
    CustomObject, CustomField, PermissionSet).

    fields: object → the fields to make. Raises WrongObject where a name is no custom field's.
    """
    for object_name, infos in fields.items():
        for info in infos:
            if _CUSTOM.match(info.name) is None:
                raise WrongObject(
                    f"salesforce: {object_name} has no field {info.name[:80]}, and one that is "
                    "made there ends in __c. Not retried. Correct the name in the sync."
                )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("package.xml", _manifest(fields))
        for object_name, infos in sorted(fields.items()):
            package.writestr(f"objects/{object_name}.object", _object(infos))
        package.writestr(f"permissionsets/{PERMISSIONS}.permissionset", _permissions(fields))
    return buffer.getvalue()


def _manifest(fields: Mapping[str, Sequence[FieldInfo]]) -> bytes:
    root = Element("Package", xmlns=_NAMESPACE)
    members = [f"{o}.{info.name}" for o, infos in sorted(fields.items()) for info in infos]
    for kind, names in (("CustomField", members), ("PermissionSet", [PERMISSIONS])):
        types = SubElement(root, "types")
        for name in names:
            SubElement(types, "members").text = name
        SubElement(types, "name").text = kind
    SubElement(root, "version").text = API_VERSION
    return _xml(root)


def _object(infos: Sequence[FieldInfo]) -> bytes:
    root = Element("CustomObject", xmlns=_NAMESPACE)
    for info in infos:
        field = SubElement(root, "fields")
        values = {
            "fullName": info.name,
            "label": (info.label or info.name.removesuffix("__c"))[:40],
            "inlineHelpText": _HELP,
            **_TYPES.get(info.type, {"type": "Text", "length": str(info.length or 255)}),
        }
        if info.external_id:
            values |= {"externalId": "true", "unique": "true", "caseSensitive": "true"}
            if values["type"] != "Text":
                del values["caseSensitive"]
        for name, text in values.items():
            SubElement(field, name).text = text
    return _xml(root)


def _permissions(fields: Mapping[str, Sequence[FieldInfo]]) -> bytes:
    root = Element("PermissionSet", xmlns=_NAMESPACE)
    for object_name, infos in sorted(fields.items()):
        for info in infos:
            allowed = SubElement(root, "fieldPermissions")
            SubElement(allowed, "editable").text = "true"
            SubElement(allowed, "field").text = f"{object_name}.{info.name}"
            SubElement(allowed, "readable").text = "true"
    SubElement(root, "label").text = "CDP fields"
    return _xml(root)


def _xml(root: Element) -> bytes:
    indent(root, "    ")
    text: bytes = tostring(root, encoding="UTF-8", xml_declaration=True)
    return text
