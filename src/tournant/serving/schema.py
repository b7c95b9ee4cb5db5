"""What a deployment's requests look like: a typed decoder for the hot path, made from the signatures of its revisions."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from tournant.domain.registry import Column, ColumnType, Scalar, Signature
from tournant.errors import Invalid
from tournant.serving.complaints import explain, explain_rows
from tournant.serving.failures import ModelFailed

__all__ = ["ROW_LIMIT", "Request", "Row", "RowSchema", "Values"]

ROW_LIMIT = 10_000
Row = Any  # an instance of a schema's own struct: one field a column
Values = tuple[Scalar, ...]  # one row's values in the order of a signature

_TYPES: dict[ColumnType, Any] = {
    ColumnType.STRING: str,
    ColumnType.INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    ColumnType.NUMBER: float,
    ColumnType.BOOLEAN: bool,
}


class Request(msgspec.Struct, gc=False):
    """One valid request: rows in order, the user's own key for each (or ""), and when it happened (None: now)."""

    rows: list[Row]
    keys: list[str]
    event_time: float | None


class _Extras(msgspec.Struct):
    key: str | int | list[str | int] | None
    event_time: float | str | None


class RowSchema:
    """Decodes requests for a deployment whose stable revision takes `signature`.

    Columns that only another revision knows (`others`: canary, shadows, candidates) may be sent but need not be; the
    revision that misses one fails on that row, and stable answers.
    """

    def __init__(self, signature: Signature, others: Sequence[Signature] = ()) -> None:
        """Make the row's struct and its decoder."""
        self.columns: dict[str, Column] = {column.name: column for column in signature.inputs}
        self.required = frozenset(self.columns)
        for column in (column for other in others for column in other.inputs):
            self.columns.setdefault(column.name, column)
        self._fields = {name: f"c{index}" for index, name in enumerate(self.columns)}
        self.row: type[Row] = msgspec.defstruct(
            "Row",
            [self._field(column) for column in self.columns.values()],
            rename={field: name for name, field in self._fields.items()},
            forbid_unknown_fields=True,
            gc=False,
        )
        body = msgspec.defstruct(
            "Body",
            [
                ("inputs", self.row | list[self.row]),  # type: ignore[name-defined]
                ("key", str | int | list[str | int] | None, None),
                ("event_time", float | str | None, None),
            ],
            forbid_unknown_fields=True,
        )
        self._decode = msgspec.json.Decoder(body).decode
        self._rows: Any = list[self.row]  # type: ignore[name-defined]
        self.values = cache(self._values)

    def read(self, body: bytes) -> Request:
        """Decode and check a request's body; Malformed or Invalid, naming the place, if it is not one."""
        try:
            asked: Any = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise explain(body, self.columns, self.required, exc) from exc
        inputs = asked.inputs
        rows = inputs if type(inputs) is list else [inputs]
        if not 1 <= len(rows) <= ROW_LIMIT:
            raise _wrong_count(len(rows))
        return Request(rows, _keys(asked.key, len(rows)), _event_time(asked.event_time))

    def read_named(self, records: list[Any], key: Any = None, event_time: Any = None) -> Request:
        """Check rows that are mappings of named columns; Invalid names row and column of the first that is not one."""
        try:
            rows = msgspec.convert(records, self._rows)
        except msgspec.ValidationError as exc:
            raise explain_rows(records, self.columns, self.required, exc) from exc
        if not 1 <= len(rows) <= ROW_LIMIT:
            raise _wrong_count(len(rows))
        return self._request(rows, key, event_time)

    def assemble(self, columns: dict[str, list[Any]], count: int, key: Any = None, event_time: Any = None) -> Request:
        """Make `count` rows of columns that are checked already; one only another revision knows may be absent."""
        absent = [None] * count
        rows = [self.row(*values) for values in zip(*(columns.get(name, absent) for name in self.columns), strict=True)]
        return self._request(rows, key, event_time)

    def _request(self, rows: list[Row], key: Any, event_time: Any) -> Request:
        try:
            extras = msgspec.convert({"key": key, "event_time": event_time}, _Extras)
        except msgspec.ValidationError as exc:
            raise Invalid(f"key or event_time is wrong: {exc}", place="parameters") from exc
        return Request(rows, _keys(extras.key, len(rows)), _event_time(extras.event_time))

    def field(self, column: str) -> str:
        """Give the attribute of a row that holds a column; empty if there is no such column."""
        return self._fields.get(column, "")

    def row_of(self, named: dict[str, Scalar]) -> Row:
        """Make a row of an example's named values; Invalid if it does not fit the signature."""
        try:
            return msgspec.convert(named, self.row)
        except msgspec.ValidationError as exc:
            raise Invalid(f"the input example does not fit the signature: {exc}") from exc

    def _field(self, column: Column) -> tuple[Any, ...]:
        kind = _TYPES[column.type]
        if column.name in self.required:
            return (self._fields[column.name], kind | None if column.nullable else kind)
        return (self._fields[column.name], kind | None, None)

    def _values(self, signature: Signature) -> Callable[[Row], Values]:
        """Give what turns a row into the values of `signature`, in its order."""
        names = [column.name for column in signature.inputs]
        fields = [self._fields[name] for name in names if name in self._fields]
        if len(fields) < len(names):
            missing = next(name for name in names if name not in self._fields)
            return lambda _row: _missing(missing)
        whole: Callable[[Row], Any] = attrgetter(*fields)
        get: Callable[[Row], Values] = whole if len(fields) > 1 else lambda row: (whole(row),)
        doubtful = [(i, column.name) for i, column in enumerate(signature.inputs) if self._may_lack(column)]
        return _strict(get, doubtful) if doubtful else get

    def _may_lack(self, column: Column) -> bool:
        known = self.columns[column.name]
        return not column.nullable and (known.nullable or column.name not in self.required)


def _strict(get: Callable[[Row], Values], doubtful: Sequence[tuple[int, str]]) -> Callable[[Row], Values]:
    def checked(row: Row) -> Values:
        values = get(row)
        for index, name in doubtful:
            if values[index] is None:
                _missing(name)
        return values

    return checked


def _missing(name: str) -> Values:
    raise ModelFailed(f"the request has no value for column {name!r}, which this revision needs", place=name)


def _wrong_count(rows: int) -> Invalid:
    if not rows:
        return Invalid("inputs has no row: send one object of named columns, or a list of them", place="inputs")
    return Invalid(f"inputs has {rows} rows, and one request may have {ROW_LIMIT}: send it in parts", place="inputs")


def _keys(key: str | int | list[str | int] | None, rows: int) -> list[str]:
    if key is None:
        return [""] * rows
    keys = [str(k) for k in key] if isinstance(key, list) else [str(key)]
    if len(keys) != rows:
        raise Invalid(f"key has {len(keys)} values for {rows} rows: give one a row", place="key")
    return keys


def _event_time(given: float | str | None) -> float | None:
    if given is None or isinstance(given, float):
        return given
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as exc:
        message = f"event_time {given[:40]!r} is no time: give seconds since 1970 or ISO 8601, as 2013-05-01T12:00:00Z"
        raise Invalid(message, place="event_time") from exc
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
