"""Tensors of the Open Inference Protocol: datatypes, shapes, and the two encodings (numbers in JSON, raw bytes)."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from tournant.domain.registry import Column, ColumnType
from tournant.errors import Invalid

__all__ = ["DATATYPES", "Tensor", "column_datatype", "column_values", "decode_raw", "encode_raw", "flatten", "size_of"]

_LENGTH = struct.Struct("<I")
DATATYPES: dict[str, Any] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": None,  # each value is its length in four bytes, then its bytes
}
_INTEGERS = frozenset(name for name in DATATYPES if "INT" in name)
_FLOATS = frozenset(("FP16", "FP32", "FP64"))
_TAKEN: dict[ColumnType, frozenset[str]] = {
    ColumnType.STRING: frozenset(("BYTES",)),
    ColumnType.INTEGER: _INTEGERS,
    ColumnType.NUMBER: _FLOATS | _INTEGERS,
    ColumnType.BOOLEAN: frozenset(("BOOL",)),
}
_USUAL = {
    ColumnType.STRING: "BYTES",
    ColumnType.INTEGER: "INT64",
    ColumnType.NUMBER: "FP64",
    ColumnType.BOOLEAN: "BOOL",
}
_MOST_DEEP = 8


@dataclass(slots=True, kw_only=True)
class Tensor:
    """One named tensor; `values` is flat, in row-major order."""

    name: str
    datatype: str
    shape: list[int]
    values: list[Any]


def column_datatype(column: Column) -> str:
    """Give the datatype a column is described with; every integer and float width that fits is taken."""
    return _USUAL[column.type]


def size_of(shape: Sequence[int], name: str) -> int:
    """Give the number of values a shape holds; Invalid if it is no shape."""
    if not shape or any(side < 0 for side in shape):
        raise Invalid(f"input {name!r}: expected a shape of positive sizes, found {list(shape)}", place=f"{name}.shape")
    return math.prod(shape)


def flatten(data: Any, name: str) -> list[Any]:
    """Give the values of `data`, a flat or nested JSON list, in row-major order; Invalid if it is ragged."""
    if not isinstance(data, list):
        raise Invalid(f"input {name!r}: expected a list of values, found {_kind(data)}", place=f"{name}.data")
    for _ in range(_MOST_DEEP):
        if not data or not isinstance(data[0], list):
            break
        if not all(isinstance(part, list) and len(part) == len(data[0]) for part in data):
            raise Invalid(f"input {name!r}: its data is nested unevenly: rows differ in length", place=f"{name}.data")
        data = [value for part in data for value in part]
    return list(data)


def decode_raw(raw: bytes | memoryview, datatype: str, count: int, name: str) -> list[Any]:
    """Give the `count` values of a tensor's raw bytes; Invalid if they are not that many."""
    if datatype == "BYTES":
        return _decode_bytes(bytes(raw), count, name)
    dtype = DATATYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        message = f"input {name!r}: expected {count * dtype.itemsize} bytes ({count} {datatype}), found {len(raw)}"
        raise Invalid(message, place=f"{name}.data")
    return np.frombuffer(raw, dtype=dtype).tolist()  # type: ignore[no-any-return]


def encode_raw(tensor: Tensor) -> bytes:
    """Give a tensor's values as raw bytes."""
    if tensor.datatype == "BYTES":
        texts = [str(value).encode() for value in tensor.values]
        return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    return np.array(tensor.values, dtype=DATATYPES[tensor.datatype]).tobytes()


def column_values(values: list[Any], datatype: str, column: Column, name: str, *, whole: bool) -> list[Any]:
    """Check values of `datatype` for a column and give them as its type; Invalid names the first that does not fit.

    NaN stands for a missing number where the column takes one. With `whole` an integer column takes floats without a
    fraction too: it came in a matrix, which has one datatype for all columns.
    """
    taken = _TAKEN[column.type] | (_FLOATS if whole and column.type is ColumnType.INTEGER else frozenset())
    if datatype not in taken:
        wanted = f"{column_datatype(column)} (or {', '.join(sorted(taken - {column_datatype(column)}))})"
        expected = wanted if len(taken) > 1 else column_datatype(column)
        raise Invalid(f"input {name!r}: expected datatype {expected}, found {datatype}", place=f"{name}.datatype")
    if datatype in _FLOATS:
        values = [None if type(value) is float and value != value else value for value in values]  # NaN is missing
        if column.type is ColumnType.INTEGER:
            values = [int(v) if type(v) is float and v.is_integer() else v for v in values]
    kind = _PYTHON[column.type]
    try:
        fit: list[Any] = msgspec.convert(values, list[kind | None] if column.nullable else list[kind])  # type: ignore[valid-type]
    except msgspec.ValidationError as exc:
        raise Invalid(f"input {name!r}, column {column.name!r}: {exc}", place=f"{name}.data") from exc
    if column.type is ColumnType.NUMBER and not all(value is None or math.isfinite(value) for value in fit):
        message = f"input {name!r}, column {column.name!r}: expected finite numbers, found an infinite one"
        raise Invalid(message, place=f"{name}.data")
    return fit


_PYTHON: dict[ColumnType, Any] = {
    ColumnType.STRING: str,
    ColumnType.INTEGER: int,
    ColumnType.NUMBER: float,
    ColumnType.BOOLEAN: bool,
}


def _decode_bytes(raw: bytes, count: int, name: str) -> list[str]:
    values: list[str] = []
    start = 0
    while start < len(raw) and len(values) <= count:
        end = start + _LENGTH.size
        size = _LENGTH.unpack_from(raw, start)[0] if end <= len(raw) else len(raw)
        if end + size > len(raw):
            message = f"input {name!r}: value {len(values)} goes {end + size - len(raw)} bytes beyond the tensor's end"
            raise Invalid(message, place=f"{name}.data")
        try:
            values.append(raw[end : end + size].decode())
        except UnicodeDecodeError as exc:
            message = f"input {name!r}: expected UTF-8 text, found other bytes in value {len(values)}"
            raise Invalid(message, place=f"{name}.data") from exc
        start = end + size
    if len(values) != count:
        found = f"{len(values)}{' or more' if len(values) > count else ''}"
        raise Invalid(f"input {name!r}: expected {count} values by its shape, found {found}", place=f"{name}.data")
    return values


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"
