"""Labels: what really happened, one by one, in batches or as a file."""

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tournant.domain.deployment import Deployment
from tournant.domain.predictions import Label
from tournant.errors import Invalid, NotFound
from tournant.services.context import Context

__all__ = ["GivenLabel", "add_label_file", "add_labels"]

_BATCH = 10_000
_LONGEST_REFERENCE = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenLabel:
    """A label as given: of the prediction `prediction_id`, or of those with the user's `key`. No `event_time` means now."""

    value: float
    prediction_id: str | None = None
    key: str | None = None
    event_time: float | None = None


def add_labels(ctx: Context, deployment: str, given: Sequence[GivenLabel]) -> int:
    """Store labels and give how many; all or none.

    A label of a prediction not known (yet) is accepted as pending. A second label of the same reference replaces the
    first (labels get corrected); the same again changes nothing. Invalid names the index of a malformed one, NotFound
    an unknown deployment.
    """
    now = ctx.clock.now()
    labels = {label.reference: label for label in _checked(deployment, given, now)}
    with ctx.transactions.begin() as uow:
        if uow.get(Deployment, deployment) is None:
            names = ", ".join(found.name for found in uow.find(Deployment, order="name", limit=20))
            raise NotFound(f"there is no deployment {deployment!r} (there is: {names or 'none'})", place="deployment")
        known: dict[str, Label] = {}
        references = list(labels)
        for start in range(0, len(references), 400):
            chunk = references[start : start + 400]
            known |= {label.reference: label for label in uow.find(Label, deployment=deployment, reference__in=chunk)}
        changed = [label for label in labels.values() if not _same(known.get(label.reference), label)]
        uow.save(*changed)
    return len(given)


def _same(known: Label | None, label: Label) -> bool:
    return known is not None and (known.value, known.event_time) == (label.value, label.event_time)


def _checked(deployment: str, given: Sequence[GivenLabel], now: float) -> Iterator[Label]:
    for index, label in enumerate(given):
        if bool(label.prediction_id) == bool(label.key):
            raise Invalid(f"label {index} needs a prediction_id or a key, and not both", place=f"labels[{index}]")
        reference = label.prediction_id or f"key:{label.key}"
        if len(reference) > _LONGEST_REFERENCE:
            raise Invalid(f"label {index} has a key of over {_LONGEST_REFERENCE} characters", place=f"labels[{index}]")
        if not math.isfinite(label.value):
            raise Invalid(f"label {index} has the value {label.value}, not a number", place=f"labels[{index}].value")
        time = now if label.event_time is None else label.event_time
        if not math.isfinite(time):
            raise Invalid(f"label {index} has the event time {time}", place=f"labels[{index}].event_time")
        yield Label(
            deployment=deployment, reference=reference, value=float(label.value), event_time=time, received_at=now
        )


def add_label_file(ctx: Context, deployment: str, path: Path) -> int:
    """Store the labels of a CSV, Parquet or NDJSON file and give how many.

    Columns: `prediction_id` or `key`; `value`, `label` or the deployment's own label column; optionally `event_time`
    (seconds since the epoch or ISO 8601). The whole file is read before anything is stored; Invalid names the row.
    """
    with ctx.transactions.begin(write=False) as uow:
        found = uow.get(Deployment, deployment)
    names = ("value", "label", *((found.config.labels.column,) if found else ()))
    given = [_parsed(path, number, row, names) for number, row in enumerate(_rows(path), start=1)]
    for start in range(0, len(given), _BATCH):
        add_labels(ctx, deployment, given[start : start + _BATCH])
    return len(given)


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
