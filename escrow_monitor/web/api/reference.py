"""The reference of the API as Markdown, from its OpenAPI document: `reference < openapi.json > api.md`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from escrow_monitor.web.api.document import PREFIX, operations


def reference_of(schema: Mapping[str, Any]) -> str:
    """All operations by noun, each with its parameters, body and answers; then every shape with its fields."""
    return "\n".join(_lines(schema)) + "\n"


def _lines(schema: Mapping[str, Any]) -> Iterator[str]:
    yield f"# The API under `{PREFIX}`"
    yield ""
    yield "Made from the OpenAPI document at `/api/v1/openapi.json`; do not edit."
    yield ""
    yield schema["info"]["description"]
    for tag in schema["tags"]:
        yield from ("", f"## {tag['name']}", "", tag["description"])
        for path, method, operation in operations(dict(schema)):
            if operation["tags"] == [tag["name"]]:
                yield from _operation(path, method, operation)
    yield from ("", "## Shapes")
    for name, shape in sorted(schema["components"]["schemas"].items()):
        yield from _shape(name, shape)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"### `{method.upper()} {path}`", "", f"{operation['summary']}. `{operation['operationId']}`")
    if "description" in operation:
        yield from ("", " ".join(operation["description"].split()))
    parameters = operation.get("parameters", ())
    if parameters:
        yield from ("", "| Parameter | In | Type | |", "|---|---|---|---|")
    for each in parameters:
        name = f"**{each['name']}**" if each.get("required") else each["name"]
        yield f"| {name} | {each['in']} | {_type(each['schema'])} | {_cell(each.get('description', ''))} |"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from ("", f"Body: {_type(content['schema'])} as `{media_type}`.")
    yield ""
    yield "Answers: " + "; ".join(
        f"{status} {_answer(status, answer)}" for status, answer in operation["responses"].items()
    ) + "."


def _answer(status: str, answer: Mapping[str, Any]) -> str:
    shapes = [_type(content.get("schema", {})) for content in answer.get("content", {}).values()]
    return shapes[0] if status < "300" and shapes else str(answer["description"]).rstrip(".")


def _shape(name: str, shape: Mapping[str, Any]) -> Iterator[str]:
    yield from ("", f"### {name}", "")
    if "description" in shape:
        yield " ".join(shape["description"].split())
    if "enum" in shape:
        yield "One of " + ", ".join(f"`{value}`" for value in shape["enum"]) + "."
    if "properties" in shape:
        required = shape.get("required", ())
        yield from ("", "| Field | Type | |", "|---|---|---|")
        for field, found in shape["properties"].items():
            shown = f"**{field}**" if field in required else field
            yield f"| {shown} | {_type(found)} | {_cell(found.get('description', ''))} |"
    if "example" in shape:
        yield from ("", "```json", json.dumps(shape["example"], ensure_ascii=False, indent=2), "```")


def _type(found: Mapping[str, Any]) -> str:
    if "$ref" in found:
        name = found["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in found:
        return " or ".join(_type(each) for each in found["anyOf"])
    if "enum" in found:
        return ", ".join(f"`{value}`" for value in found["enum"])
    if "const" in found:
        return f"`{found['const']}`"
    if found.get("type") == "array":
        return f"list of {_type(found.get('items', {}))}"
    said = str(found.get("format") or found.get("type") or "anything")
    bounds = [f"{word} {found[key]}" for key, word in _BOUNDS.items() if found.get(key, "") != ""]
    return said + (f" ({', '.join(bounds)})" if bounds else "")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


_BOUNDS = {
    "minimum": "from", "maximum": "to", "maxLength": "characters at most", "maxItems": "items at most",
    "default": "default",
}


if __name__ == "__main__":
    sys.stdout.write(reference_of(json.load(sys.stdin)))
