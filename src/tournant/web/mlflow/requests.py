"""Reads what MLflow's clients send, as leniently as they need it.

Numbers come as texts from some clients (64-bit ones are texts in protobuf's JSON, and NaN and infinities always are), null
stands for what is not given, and fields nobody knows are those of a newer client.
"""

import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec

from tournant.errors import Invalid

__all__ = ["Int", "Message", "read_request"]

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_MISSING = re.compile(r"missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_PLACE = re.compile(r" - at `\$\.?([^`]*)`")


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request or an answer, or a part of one."""


def read_request(kind: type[Message], body: bytes, query: bytes, path: Mapping[str, str]) -> Any:
    """Make a request from a JSON body, or from the query when there is no body, and the parameters of its path."""
    try:
        if body and not path:
            try:
                return msgspec.json.decode(body, type=kind, strict=False)
            except msgspec.ValidationError:
                pass  # again, without the nulls
        values = _without_nulls(msgspec.json.decode(body)) if body else _read_query(kind, query)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise Invalid(f"the body is not JSON: {exc}") from exc
    if not isinstance(values, dict):
        raise Invalid(f"the body must be a JSON object, not {type(values).__name__}")
    try:
        return msgspec.convert({**values, **path}, kind, strict=False)
    except msgspec.ValidationError as exc:
        raise Invalid(_explain(str(exc))) from exc


def _read_query(kind: type[Message], query: bytes) -> dict[str, object]:
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    lists = {field.encode_name for field in msgspec.structs.fields(kind) if typing.get_origin(field.type) is list}
    return {name: values if name in lists else values[-1] for name, values in given.items()}


def _without_nulls(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _explain(message: str) -> str:
    missing = _MISSING.search(message)
    if missing:
        name = ".".join(filter(None, (missing[2], missing[1])))
        return f"Missing value for required parameter '{name}'. See the API docs for more information about request parameters."
    place = _PLACE.search(message)
    return f"Invalid value for parameter '{place[1] if place else ''}': {_PLACE.sub('', message)}"
