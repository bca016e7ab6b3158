"""A value checked against the part of JSON Schema that we use; what a schema doesn't name is not allowed."""

import json
from pathlib import Path
from typing import Any

# By the command that prints it; some have a name to be referred to.
SCHEMAS: dict[str, dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data/cli/schemas.json").read_text())

_TYPES = {"string": str, "integer": int, "number": float, "boolean": bool, "object": dict, "array": list}
_TYPES |= {"null": type(None)}


def check(value: Any, command: str) -> None:
    """AssertionError that says where they differ."""
    _check(value, SCHEMAS[command], "$")


def _check(value: Any, schema: dict[str, Any], where: str) -> None:
    if "$ref" in schema:
        return _check(value, SCHEMAS[schema["$ref"]], where)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(type(value) is _TYPES[kind] for kind in kinds), f"{where}: {value!r} is not {kinds}"
    if "enum" in schema:
        assert value in schema["enum"], f"{where}: {value!r}"
    if isinstance(value, list):
        for i, item in enumerate(value):
            _check(item, schema["items"], f"{where}[{i}]")
    if isinstance(value, dict):
        properties, other = schema.get("properties", {}), schema.get("additionalProperties", {})
        missing = set(schema.get("required", ())) - value.keys()
        assert not missing, f"{where}: without {sorted(missing)}"
        for name, item in value.items():
            assert name in properties or other, f"{where}: {name} is in no schema"
            _check(item, properties.get(name, other), f"{where}.{name}")
