"""MLflow's scoring protocol: `POST /deployments/{deployment}/invocations`, and `/invocations` where there is one deployment."""

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tournant.domain.registry import Column, ColumnType
from tournant.errors import Invalid, NotFound, TournantError
from tournant.serving.endpoint import Endpoint
from tournant.serving.exchange import Call, Reply, allow
from tournant.serving.failures import Malformed, error_body, status_of
from tournant.serving.gateway import Gateway
from tournant.serving.headers import header
from tournant.serving.schema import Request, RowSchema

__all__ = ["Invocations"]

ALONE = "/invocations"
PREFIX, SUFFIX = "/deployments/", "/invocations"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_JSON = (
    "",
    "application/json",
    "application/x-www-form-urlencoded",
)  # the last is what curl says unless told otherwise
_WORDS = {"true": True, "false": False, "1": True, "0": False}


class Invocations:
    """What a client of `mlflow models serve` sends, and gets."""

    protocol = "invocations"

    def __init__(self, gateway: Gateway) -> None:
        """Answer by `gateway`."""
        self._gateway = gateway
        self._encode = msgspec.json.Encoder().encode

    def takes(self, path: str) -> bool:
        """Tell whether a path is this protocol's."""
        return path == ALONE or (path.startswith(PREFIX) and path.endswith(SUFFIX))

    def deployment(self, path: str) -> str:
        """Name the deployment that a path asks for predictions."""
        names = self._gateway.deployments() if path == ALONE else []
        return (
            (names[0] if len(names) == 1 else "") if path == ALONE else path.removeprefix(PREFIX).removesuffix(SUFFIX)
        )

    async def answer(self, call: Call) -> Reply:
        """Answer a call."""
        allow(call, "POST")
        endpoint = self._endpoint(call.path)
        kind = header(call.headers, b"content-type").decode("latin-1").partition(";")[0].strip().lower()
        read = _reader(kind)
        answered = await self._gateway.answer(endpoint, read(call.body, endpoint.schema), call.headers)
        told = {
            "predictions": answered.scores,
            "prediction_ids": answered.ids,
            "model_version": answered.held.version,
            "revision": answered.held.id,
        }
        return Reply(200, self._encode(told))

    def refusal(self, error: TournantError) -> Reply:
        """Say an error with its code and place."""
        return Reply(status_of(error), error_body(error))

    def _endpoint(self, path: str) -> Endpoint:
        if path != ALONE:
            return self._gateway.endpoint(path.removeprefix(PREFIX).removesuffix(SUFFIX))
        names = self._gateway.deployments()
        if len(names) == 1:
            return self._gateway.endpoint(names[0])
        there = f"there are {', '.join(names)}" if names else "there is none"
        raise NotFound(f"{ALONE} is for a gateway of one deployment, and {there}: use {PREFIX}DEPLOYMENT{SUFFIX}")


def _reader(kind: str) -> Callable[[bytes, RowSchema], Request]:
    if kind in _JSON:
        return read_json
    if kind == "text/csv":
        return read_csv
    raise Invalid(f"Content-Type: expected application/json or text/csv, found {kind[:60]!r}", place="Content-Type")


def read_json(body: bytes, schema: RowSchema) -> Request:
    """Read one of MLflow's four forms; Invalid says which place is wrong."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Malformed(f"the body is not JSON: {exc}") from exc
    forms = [form for form in FORMS if isinstance(found, dict) and form in found]
    if len(forms) != 1:
        there = f"found {' and '.join(forms)}" if forms else "found none"
        raise Invalid(f"the body is expected to be an object with one of {', '.join(FORMS)}: {there}")
    form = forms[0]
    unknown = [name for name in found if name not in (form, "params")]
    if unknown or found.get("params"):
        name = unknown[0] if unknown else "params"
        raise Invalid(f"the body has {name!r}, which no model here takes: leave it out", place=name)
    names = _required(schema)
    return schema.read_named(_FORMS[form](found[form], names))


def read_csv(body: bytes, schema: RowSchema) -> Request:
    """Read a table whose first line names the columns; an empty cell is a missing value."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise Malformed(f"the body is not UTF-8: byte {exc.start} cannot be read", place=f"byte {exc.start}") from exc
    try:
        header, *lines = csv.reader(io.StringIO(text, newline=""), strict=True) if text.strip() else [[]]
    except csv.Error as exc:
        raise Malformed(f"the body is not CSV: {exc}") from exc
    _check_names(header, "the first line")
    rows = []
    for number, cells in enumerate(filter(None, lines)):
        if len(cells) != len(header):
            raise Invalid(f"row {number}: expected {len(header)} cells, found {len(cells)}", place=f"[{number}]")
        rows.append({name: _cell(cell, schema.columns.get(name)) for name, cell in zip(header, cells, strict=True)})
    return schema.read_named(rows)


def _split(given: Any, names: Sequence[str]) -> list[Any]:
    if not isinstance(given, dict) or not isinstance(given.get("data"), list):
        raise Invalid("dataframe_split: expected {columns: […], data: [[…], …]}", place="dataframe_split")
    columns = given.get("columns", list(names))
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise Invalid("dataframe_split.columns: expected a list of names", place="dataframe_split.columns")
    _check_names(columns, "dataframe_split.columns")
    return [_zip(columns, row, f"dataframe_split.data[{index}]") for index, row in enumerate(given["data"])]


def _records(given: Any, _names: Sequence[str]) -> list[Any]:
    if not isinstance(given, list):
        raise Invalid("dataframe_records: expected a list of objects of named columns", place="dataframe_records")
    return given


def _instances(given: Any, names: Sequence[str]) -> list[Any]:
    if not isinstance(given, list):
        raise Invalid("instances: expected a list of rows", place="instances")
    return [
        row if isinstance(row, dict) else _zip(names, row, f"instances[{index}]") for index, row in enumerate(given)
    ]


def _inputs(given: Any, names: Sequence[str]) -> list[Any]:
    if isinstance(given, list):
        return [r if isinstance(r, dict) else _zip(names, r, f"inputs[{i}]") for i, r in enumerate(given)]
    if not isinstance(given, dict):
        raise Invalid("inputs: expected an object of columns, each a list of values, or a list of rows", place="inputs")
    columns = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in list(lengths.items())[:5])
        raise Invalid(f"inputs: expected as many values in each column, found: {told}", place="inputs")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return [{name: _only(value) for name, value in row.items()} for row in rows]


_FORMS: Mapping[str, Callable[[Any, Sequence[str]], list[Any]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _only(value: Any) -> Any:
    """Give the value of a column of width one, `[[1], [2]]`, as MLflow's tensors have it."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _zip(names: Sequence[str], row: Any, place: str) -> dict[str, Any]:
    if not isinstance(row, list) or len(row) != len(names):
        found = f"{len(row)} values" if isinstance(row, list) else "no list"
        raise Invalid(
            f"{place}: expected a list of {len(names)} values ({', '.join(names)}), found {found}", place=place
        )
    return dict(zip(names, row, strict=True))


def _required(schema: RowSchema) -> list[str]:
    return [name for name in schema.columns if name in schema.required]


def _check_names(names: Sequence[str], place: str) -> None:
    double = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if double is not None:
        raise Invalid(f"{place} names column {double!r} twice", place=place)


def _cell(cell: str, column: Column | None) -> Any:
    """Give a cell as its column's type; what cannot be stays text, to be named by the check of the row."""
    if column is None or column.type is ColumnType.STRING:
        return cell
    if cell == "":
        return None
    if column.type is ColumnType.BOOLEAN:
        return _WORDS.get(cell.strip().lower(), cell)
    try:
        number = int(cell) if column.type is ColumnType.INTEGER else float(cell)
    except ValueError:
        return cell
    if math.isnan(number):
        return None
    return cell if math.isinf(number) else number
