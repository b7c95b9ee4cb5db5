"""Says what is wrong with a request that the typed decoder refused: slow, exact, and off the hot path."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tournant.domain.registry import Column, ColumnType
from tournant.errors import Invalid
from tournant.serving.failures import Malformed

__all__ = ["explain", "explain_rows"]

_KNOWN = ("inputs", "key", "event_time")
_EXPECTED = {
    ColumnType.STRING: "text",
    ColumnType.INTEGER: "an integer",
    ColumnType.NUMBER: "a number",
    ColumnType.BOOLEAN: "true or false",
}
_SHOWN = 40  # characters of a found value that a message repeats


def explain(body: bytes, columns: Mapping[str, Column], required: frozenset[str], cause: Exception) -> Invalid:
    """Give the error for a body that is not a request: Malformed with the position, or Invalid with row and column.

    `columns` may be sent, `required` must be; `cause` is what the decoder said, for what only it knows.
    """
    try:
        found = json.loads(body)  # takes NaN and Infinity, which can then be named by their place
    except RecursionError:
        return Malformed("the body is nested too deeply to be a request")
    except UnicodeDecodeError as exc:
        return Malformed(f"the body is not UTF-8: byte {exc.start} cannot be read", place=f"byte {exc.start}")
    except ValueError as exc:
        return _not_json(exc)
    return _wrong_body(found, columns, required) or Invalid(f"the request is wrong: {cause}")


def explain_rows(
    rows: Sequence[Any], columns: Mapping[str, Column], required: frozenset[str], cause: Exception
) -> Invalid:
    """Give the error for rows of which one is not one: with its number, column, and what was expected and found."""
    for index, row in enumerate(rows):
        wrong = _wrong_row(row, f"[{index}]", f"row {index}", columns, required)
        if wrong:
            return wrong
    return Invalid(f"the rows are wrong: {cause}")


def _not_json(exc: ValueError) -> Malformed:
    if not isinstance(exc, json.JSONDecodeError):
        return Malformed(f"the body is not JSON: {exc}")
    place = f"line {exc.lineno}, column {exc.colno}"
    return Malformed(f"the body is not JSON: {exc.msg} at {place} (character {exc.pos})", place=place)


def _wrong_body(found: Any, columns: Mapping[str, Column], required: frozenset[str]) -> Invalid | None:
    shape = 'expected {"inputs": {column: value, …}} or a list of such rows'
    if not isinstance(found, dict):
        return Invalid(f"the body is {_describe(found)}: {shape}")
    unknown = [name for name in found if name not in _KNOWN]
    if unknown:
        return Invalid(f"the body has {unknown[0]!r}, but takes only {', '.join(_KNOWN)}", place=unknown[0])
    if "inputs" not in found:
        return Invalid(f"the body has no inputs: {shape}", place="inputs")
    inputs = found["inputs"]
    rows = inputs if isinstance(inputs, list) else [inputs]
    for index, row in enumerate(rows):
        place = f"inputs[{index}]" if isinstance(inputs, list) else "inputs"
        wrong = _wrong_row(row, place, f"row {index}", columns, required)
        if wrong:
            return wrong
    return _wrong_extras(found)


def _wrong_row(
    row: Any, place: str, name: str, columns: Mapping[str, Column], required: frozenset[str]
) -> Invalid | None:
    if not isinstance(row, dict):
        return Invalid(f"{name} is {_describe(row)}: expected an object of named columns", place=place)
    for column in row:
        if column not in columns:
            known = ", ".join(columns)
            return Invalid(
                f"{name} has an unknown column {column!r}; the model takes {known}", place=f"{place}.{column}"
            )
    for column in columns.values():
        if column.name not in row:
            if column.name in required:
                expected = _EXPECTED[column.type]
                message = f"{name} has no column {column.name!r}: expected {expected}, found nothing"
                return Invalid(message, place=f"{place}.{column.name}")
            continue
        value = row[column.name]
        nullable = column.nullable or column.name not in required
        if not _fits(value, column.type, nullable=nullable):
            expected = _EXPECTED[column.type] + (" or null" if nullable else "")
            message = f"{name}, column {column.name!r}: expected {expected}, found {_describe(value)}"
            return Invalid(message, place=f"{place}.{column.name}")
    return None


def _wrong_extras(found: Mapping[str, Any]) -> Invalid | None:
    key, time = found.get("key"), found.get("event_time")
    for index, value in enumerate(key if isinstance(key, list) else [key]):
        if (value is not None or isinstance(key, list)) and (
            isinstance(value, bool) or not isinstance(value, str | int)
        ):
            place = f"key[{index}]" if isinstance(key, list) else "key"
            return Invalid(f"{place} is {_describe(value)}: expected text or an integer", place=place)
    number = isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time)
    if time is not None and not number and not isinstance(time, str):
        message = f"event_time is {_describe(time)}: expected seconds since 1970 or ISO 8601"
        return Invalid(message, place="event_time")
    return None


def _fits(value: Any, kind: ColumnType, *, nullable: bool) -> bool:
    if value is None:
        return nullable
    if kind is ColumnType.STRING:
        return isinstance(value, str)
    if isinstance(value, bool) or kind is ColumnType.BOOLEAN:
        return isinstance(value, bool) and kind is ColumnType.BOOLEAN
    if kind is ColumnType.INTEGER:
        return isinstance(value, int) and -(2**63) <= value < 2**63
    return isinstance(value, int | float) and _finite(value)


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond any double
        return False


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return "the number " + {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(
            repr(value), repr(value)[:_SHOWN]
        )
    if isinstance(value, str):
        return f"the text {value[:_SHOWN]!r}" + ("…" if len(value) > _SHOWN else "")
    return f"a list of {len(value)}" if isinstance(value, list) else "an object"
