"""A value checked against the part of JSON Schema that we use; what a schema doesn't name is not allowed."""

from typing import Any

_TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "null": type(None)}


def check(value: Any, schema: dict[str, Any], schemas: dict[str, Any], where: str = "$") -> None:
    """AssertionError that says where they differ. `schemas` are those that $ref may name."""
    if "$ref" in schema:
        return check(value, schemas[schema["$ref"]], schemas, where)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(type(value) is _TYPES[kind] for kind in kinds), f"{where}: {value!r} is not {kinds}"
    if isinstance(value, list):
        for i, item in enumerate(value):
            check(item, schema["items"], schemas, f"{where}[{i}]")
    if isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        missing = set(schema.get("required", ())) - value.keys()
        assert not missing, f"{where}: without {sorted(missing)}"
        for name, item in value.items():
            assert name in properties or other, f"{where}: {name} is in no schema"
            check(item, properties.get(name, other), schemas, f"{where}.{name}")
