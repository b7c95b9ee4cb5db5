"""The probe set of a model version: rows that its recreations are compared on."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tournant.domain.data import DatasetVersion
from tournant.domain.registry import Column, ColumnType, ModelVersion, Scalar, Signature
from tournant.ports import Columns
from tournant.services.context import Context

__all__ = ["Row", "make_probe"]

Row = dict[str, Scalar]
PROBE_ROWS = 500
_SPREAD_ROWS = 64
_READ_ROWS = 20_000  # of a CSV file, of which the probe rows are spread evenly


def make_probe(ctx: Context, version: ModelVersion) -> tuple[str, list[Row]]:
    """Give the digest and rows of a version's probe set; the same version always gets the same one.

    It is the example and reference rows; without those, rows of the version's data where a table has all inputs, and else
    rows spread around the example.
    """
    rows = [*version.example, *(_reference_rows(ctx, version) or _data_rows(ctx, version))]
    if len(rows) == len(version.example):
        rows += _spread(version.example, version.signature)
    return ctx.blobs.put(json.dumps(rows).encode()), rows


def _reference_rows(ctx: Context, version: ModelVersion) -> list[Row]:
    if not version.reference:
        return []
    return _typed(ctx.predictions.sample(ctx.blobs.path(version.reference), PROBE_ROWS), version.signature)


def _data_rows(ctx: Context, version: ModelVersion) -> list[Row]:
    with ctx.transactions.begin(write=False) as uow:
        datasets = uow.find(DatasetVersion, id__in=list(version.datasets), order="id") if version.datasets else []
    names = {column.name for column in version.signature.inputs}
    for dataset in datasets:
        for path, file in ctx.blobs.tree(dataset.digest).files.items():
            columns = _read_table(ctx, path, ctx.blobs.path(file.digest))
            if columns and names <= columns.keys():
                return _typed(columns, version.signature)
    return []


def _read_table(ctx: Context, name: str, path: Path) -> Columns:
    if name.endswith(".parquet"):
        return ctx.predictions.sample(path, PROBE_ROWS)
    if not name.endswith(".csv"):
        return {}
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(_READ_ROWS), strict=False)]
    rows = rows[:: max(1, len(rows) // PROBE_ROWS)][:PROBE_ROWS]
    return {key: np.array([row[key] for row in rows], dtype=object) for key in (rows[0] if rows else ()) if key}


def _typed(columns: Columns, signature: Signature) -> list[Row]:
    """Give rows of a signature's inputs; a table that lacks one, or whose rows are of another type, gives none."""
    if not all(column.name in columns for column in signature.inputs):
        return []
    size = len(columns[signature.inputs[0].name]) if signature.inputs else 0
    values = {column.name: columns[column.name].tolist() for column in signature.inputs}
    rows = (_row(signature, values, index) for index in range(size))
    return [row for row in rows if row is not None]


def _row(signature: Signature, values: Mapping[str, Sequence[object]], index: int) -> Row | None:
    row: Row = {}
    for column in signature.inputs:
        try:
            row[column.name] = _scalar(column, values[column.name][index])
        except (TypeError, ValueError):
            return None
        if row[column.name] is None and not column.nullable:
            return None
    return row


def _scalar(column: Column, value: object) -> Scalar:
    if value is None or value != value or (value == "" and column.type is not ColumnType.STRING):
        return None
    if column.type is ColumnType.STRING:
        return str(value)
    if column.type is ColumnType.BOOLEAN:
        return str(value).lower() in ("true", "1", "yes")
    number = float(str(value))
    return int(number) if column.type is ColumnType.INTEGER else number


def _spread(example: Sequence[Row], signature: Signature) -> Iterator[Row]:
    """Vary the example's numbers: by half their size, and by one."""
    random = np.random.default_rng(0)
    for index in range(_SPREAD_ROWS if example else 0):
        row = dict(example[index % len(example)])
        for column in signature.inputs:
            value = row.get(column.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                factor, shift = random.normal(size=2).tolist()
                varied = value * (1 + factor / 2) + shift
                row[column.name] = round(varied) if column.type is ColumnType.INTEGER else varied
        yield row
