"""OpenAPI of the gateway, made from the signatures of what it serves, with the model's own input example."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tournant.config import VERSION
from tournant.domain.registry import Column, ColumnType, Output
from tournant.errors import NotFound, TournantError
from tournant.serving.endpoint import Endpoint
from tournant.serving.exchange import Call, Reply, allow
from tournant.serving.failures import error_body, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.open_inference import outputs_of
from tournant.serving.schema import ROW_LIMIT
from tournant.serving.tensors import column_datatype

__all__ = ["OpenApi"]

ALL = "/openapi.json"
PREFIX, SUFFIX = "/deployments/", "/openapi.json"
_TYPES: Mapping[ColumnType, dict[str, str]] = {
    ColumnType.STRING: {"type": "string"},
    ColumnType.INTEGER: {"type": "integer", "format": "int64"},
    ColumnType.NUMBER: {"type": "number"},
    ColumnType.BOOLEAN: {"type": "boolean"},
}
_EXTRAS = {
    "key": {"description": "yours, to give the label by; a list of as many for several rows"},
    "event_time": {"description": "seconds since 1970 or ISO 8601; without it, now"},
}


class OpenApi:
    """`GET /openapi.json` for all deployments, `GET /deployments/{deployment}/openapi.json` for one."""

    protocol = "openapi"

    def __init__(self, gateway: Gateway) -> None:
        """Tell of `gateway`."""
        self._gateway = gateway

    def takes(self, path: str) -> bool:
        """Tell whether a path is one of these."""
        return path == ALL or (path.startswith(PREFIX) and path.endswith(SUFFIX))

    def deployment(self, _path: str) -> str:
        """Nothing here predicts."""
        return ""

    async def answer(self, call: Call) -> Reply:
        """Answer a call."""
        allow(call, "GET")
        if call.path != ALL:
            endpoints = [self._gateway.endpoint(call.path.removeprefix(PREFIX).removesuffix(SUFFIX))]
        else:
            endpoints = list(self._gateway.fleet.endpoints.values())
            if not endpoints:
                raise NotFound("there is no deployment that answers yet")
        return Reply(200, msgspec.json.encode(describe(endpoints)))

    def refusal(self, error: TournantError) -> Reply:
        """Say an error with its code and place."""
        return Reply(status_of(error), error_body(error))


def describe(endpoints: list[Endpoint]) -> dict[str, Any]:
    """Give the OpenAPI document of some deployments."""
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths |= _paths(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {"title": "tournant gateway", "version": VERSION},
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Text": _object({"error": {"type": "string"}})}},
    }


def _paths(endpoint: Endpoint) -> dict[str, Any]:
    held, name = endpoint.stable.held, endpoint.name
    columns = held.signature.inputs
    rows = [dict(row) for row in held.route.example[:1]]
    row = _object({column.name: _type(column) for column in columns}, closed=True)
    several = {"type": "array", "items": row, "minItems": 1, "maxItems": ROW_LIMIT}
    named = _object({"inputs": {"oneOf": [row, several]}, **_EXTRAS}, ["inputs"], closed=True)
    scores = _object({"predictions": {"type": "array", "items": _prediction(held.output)}, **_WHO})
    invoked = _object({"predictions": {"type": "array"}, "prediction_ids": {"type": "array"}, **_WHO})
    tensors = [
        {"name": c.name, "shape": [len(rows), 1], "datatype": column_datatype(c), "data": [r[c.name] for r in rows]}
        for c in columns
        if all(r.get(c.name) is not None or c.nullable for r in rows)
    ]
    return {
        f"/predict/{name}": _post(name, "predict", "Predict by named columns", named, {"inputs": rows}, scores),
        f"/deployments/{name}/invocations": _post(
            *(name, "invocations", "Predict as MLflow's scoring server does"),
            *(_object({"dataframe_records": several}), {"dataframe_records": rows}, invoked),
        ),
        f"/v2/models/{name}/infer": _post(
            *(name, "infer", "Predict by the Open Inference Protocol V2"),
            *(_tensors("inputs"), {"inputs": tensors}, _tensors("outputs", [s.name for s in outputs_of(held.output)])),
            error="Text",
        ),
    }


def _post(
    name: str, verb: str, summary: str, asked: dict[str, Any], example: Any, told: dict[str, Any], error: str = "Error"
) -> dict[str, Any]:
    wrong = {"description": "what is wrong, where", "content": _json({"$ref": f"#/components/schemas/{error}"})}
    return {
        "post": {
            "operationId": f"{verb}_{name}",
            "summary": summary,
            "requestBody": {"required": True, "content": _json({**asked, "examples": [example]})},
            "responses": {"200": {"description": "the predictions", "content": _json(told)}, "default": wrong},
        }
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _type(column: Column) -> dict[str, Any]:
    plain: dict[str, Any] = dict(_TYPES[column.type])
    return {**plain, "type": [plain["type"], "null"]} if column.nullable else plain


def _object(
    properties: Mapping[str, Any], required: list[str] | None = None, *, closed: bool = False
) -> dict[str, Any]:
    needed = list(properties) if required is None else required
    told: dict[str, Any] = {"type": "object", "properties": dict(properties), "required": needed}
    return {**told, "additionalProperties": False} if closed else told


def _prediction(output: Output) -> dict[str, Any]:
    if output.kind == "probabilities":
        label = {"type": "string", **({"enum": list(output.classes)} if output.classes else {})}
        return _object({"id": {"type": "string"}, "label": label, "scores": {"type": "array", "items": _NUMBER}})
    return _object({"id": {"type": "string"}, "score": _NUMBER})


def _tensors(side: str, names: list[str] | None = None) -> dict[str, Any]:
    tensor = _object(
        {
            "name": {"type": "string", **({"enum": names} if names else {})},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string"},
            "data": {"type": "array"},
        }
    )
    return _object({side: {"type": "array", "items": tensor}})


_NUMBER = {"type": "number"}
_WHO = {"model_version": {"type": "string"}, "revision": {"type": "string"}}
_ERROR = _object({"error": _object({name: {"type": "string"} for name in ("code", "message", "place")})})
