"""The OpenAPI document, made from the table of operations."""

from collections.abc import Iterable
from typing import Any

import msgspec

from tournant.api.operation import Operation

__all__ = ["openapi_document"]

_REFERENCE = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "place": {"type": "string"}},
        }
    },
}


def openapi_document(operations: Iterable[Operation[Any, Any]], *, version: str) -> dict[str, Any]:
    """Describe the operations in OpenAPI 3.1."""
    table = list(operations)
    types = [operation.request for operation in table] + [operation.response for operation in table]
    schemas, components = msgspec.json.schema_components(types, schema_hook=_schema_of, ref_template=_REFERENCE)
    requests, responses = schemas[: len(table)], schemas[len(table) :]
    paths: dict[str, Any] = {}
    for operation, request, response in zip(table, requests, responses, strict=True):
        properties = _properties(request, components)
        described = _describe(operation, properties, response)
        paths.setdefault("/api" + operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "tournant", "version": version, "description": "Keeps models fresh in production."},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schema_of(kind: type) -> dict[str, Any]:
    if kind is object:  # any JSON value
        return {"description": "any JSON value"}
    raise NotImplementedError


def _properties(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    resolved: dict[str, Any] = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return resolved


def _describe(operation: Operation[Any, Any], request: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = request.get("properties", {})
    required = set(request.get("required", ()))
    inside = set(operation.parameters)
    outside = [name for name in fields if name not in inside]
    parameters = [{"name": n, "in": "path", "required": True, "schema": fields[n]} for n in operation.parameters]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.name.partition(".")[0]],
        "responses": {
            "200": {"description": "What was asked for.", "content": {"application/json": {"schema": response}}},
            "default": {
                "description": "What is wrong, which thing, and what to do next.",
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
            },
        },
    }
    if operation.method == "GET":
        parameters += [{"name": n, "in": "query", "required": n in required, "schema": fields[n]} for n in outside]
    elif outside:
        body = {
            "type": "object",
            "properties": {name: fields[name] for name in outside},
            "required": [name for name in outside if name in required],
        }
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    if parameters:
        described["parameters"] = parameters
    return described
