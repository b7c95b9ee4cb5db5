"""Labels from a file: CSV, Parquet or NDJSON."""

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tournant.errors import Invalid, NotFound
from tournant.services.labels import GivenLabel

__all__ = ["read_label_file"]

_BATCH = 10_000


def read_label_file(path: Path, label_column: str) -> list[GivenLabel]:
    """Read all labels of a file; Invalid names the first bad row.

    Columns: `prediction_id` or `key`; `value`, `label` or `label_column`; optionally `event_time` (seconds since the epoch or
    ISO 8601).
    """
    names = tuple(dict.fromkeys(("value", "label", label_column)))
    return [_parsed(path, number, row, names) for number, row in enumerate(_rows(path), start=1)]


def _rows(path: Path) -> Iterator[dict[str, object]]:
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)
    elif path.suffix in (".ndjson", ".jsonl"):
        yield from _json_rows(path)
    elif path.suffix == ".parquet":
        yield from _parquet_rows(path)
    else:
        raise Invalid(f"{path.name}: labels come as .csv, .parquet, .ndjson or .jsonl", place=path.name)


def _json_rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield msgspec.json.decode(line, type=dict[str, object])
            except msgspec.DecodeError as exc:
                raise Invalid(f"{path.name}:{number} is no JSON object: {exc}", place=f"{path.name}:{number}") from exc


def _parquet_rows(path: Path) -> Iterator[dict[str, object]]:
    import duckdb  # start-up time: only a Parquet file needs it

    with duckdb.connect(":memory:") as connection:
        try:
            cursor = connection.execute("select * from read_parquet(?)", [str(path)])
        except duckdb.Error as exc:
            raise Invalid(f"{path.name} is no Parquet file: {exc}", place=path.name) from exc
        names = [column[0] for column in cursor.description or ()]
        while rows := cursor.fetchmany(_BATCH):
            yield from (dict(zip(names, row, strict=True)) for row in rows)


def _parsed(path: Path, number: int, row: dict[str, object], value_names: Sequence[str]) -> GivenLabel:
    place = f"{path.name}, row {number}"
    value = next((row[name] for name in value_names if row.get(name) not in (None, "")), None)
    if value is None:
        raise Invalid(f"{place} has no label (a column {' or '.join(value_names)})", place=place)
    reference, key = row.get("prediction_id"), row.get("key")
    if not reference and key in (None, ""):
        raise Invalid(f"{place} has neither prediction_id nor key", place=place)
    return GivenLabel(
        value=_number(place, value),
        prediction_id=str(reference) if reference else None,
        key=None if reference else str(key),
        event_time=_time(place, row.get("event_time")),
    )


def _number(place: str, value: object) -> float:
    words = {"true": 1.0, "false": 0.0}
    text = str(value).strip().lower()
    try:
        number = words[text] if text in words else float(text)
    except ValueError as exc:
        raise Invalid(f"{place}: the label {value!r} is no number", place=place) from exc
    if not math.isfinite(number):
        raise Invalid(f"{place}: the label {value!r} is no finite number", place=place)
    return number


def _time(place: str, value: object) -> float | None:
    if value in (None, ""):
        return None
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    try:
        return float(str(value))
    except ValueError:
        pass
    try:
        parsed = datetime.fromisoformat(str(value))
    except ValueError as exc:
        raise Invalid(f"{place}: event_time {value!r} is neither seconds nor ISO 8601", place=place) from exc
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
