"""The columns of the run table: which there are, which are shown, and the address that sorts by each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from tournant.domain.run_query import Entity, Ordering
from tournant.domain.tracking import Run
from tournant.errors import Invalid
from tournant.web.pages.ask import Ask

__all__ = ["COOKIE", "MOST_COLUMNS", "Column", "chosen_columns", "known_columns", "order_text", "varying_params"]

COOKIE = "tournant_columns"
MOST_COLUMNS = 40
AUTOMATIC_METRICS = 4
AUTOMATIC_PARAMS = 4
INTERNAL = ("mlflow.",)  # tags that clients write for themselves
KINDS = {"metrics": Entity.METRIC, "params": Entity.PARAM, "tags": Entity.TAG, "attributes": Entity.ATTRIBUTE}
ATTRIBUTES = {  # what it is called, and what it is ordered by
    "status": ("Status", "status"),
    "started": ("Started", "start_time"),
    "duration": ("Duration", "duration"),
    "experiment": ("Experiment", ""),
    "by": ("By", "user_id"),
    "data": ("Data", ""),
    "commit": ("Commit", ""),
    "version": ("Version", ""),
}
ALWAYS = ("status", "started", "duration")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column. `id` is its name in the address (`metrics.auc`), `orders` the key that sorts by it, if one does."""

    id: str
    kind: str
    key: str
    title: str
    number: bool = False
    orders: Ordering | None = None


def known_columns(runs: Sequence[Run], shown: Sequence[Column]) -> dict[str, tuple[Column, ...]]:
    """Give the columns to choose from, by kind: those that the runs have something in, and those shown already."""
    found = {
        "attributes": dict.fromkeys(ATTRIBUTES),
        "metrics": dict.fromkeys(sorted({key for run in runs for key in run.metrics})),
        "params": dict.fromkeys(sorted({key for run in runs for key in run.params})),
        "tags": dict.fromkeys(sorted({key for run in runs for key in run.tags if not key.startswith(INTERNAL)})),
    }
    for column in shown:
        found[column.kind].setdefault(column.key)
    return {kind: tuple(_column(kind, key) for key in keys) for kind, keys in found.items()}


def chosen_columns(ask: Ask, runs: Sequence[Run], versions: Mapping[str, str]) -> tuple[Column, ...]:
    """Give the columns to show: those of the address; else those remembered that these runs have; else what varies."""
    ids = dict.fromkeys(ask.every("col"))
    if len(ids) > MOST_COLUMNS:
        raise Invalid(f"{len(ids)} columns are too many; choose at most {MOST_COLUMNS}", place="col")
    if ids:
        return tuple(_read_column(each) for each in ids)
    remembered = [column for column in _remembered(ask) if _has(column, runs)]
    if any(column.kind != "attributes" for column in remembered):
        return tuple(remembered)
    return _automatic(runs, versions)


def _read_column(text: str) -> Column:
    kind, _, key = text.partition(".")
    if kind not in KINDS or not key or (kind == "attributes" and key not in ATTRIBUTES):
        known = ", ".join(f"attributes.{name}" for name in ATTRIBUTES)
        raise Invalid(
            f"{text!r} is no column: say metrics.NAME, params.NAME, tags.NAME, or one of {known}", place="col"
        )
    return _column(kind, key)


def _remembered(ask: Ask) -> list[Column]:
    """Read what the browser keeps; what cannot be read is as if it were not there."""
    pairs = parse_qsl(unquote(ask.cookies.get(COOKIE, "")))
    try:
        return [_read_column(value) for name, value in pairs if name == "col"][:MOST_COLUMNS]
    except Invalid:
        return []


def _has(column: Column, runs: Sequence[Run]) -> bool:
    return column.kind == "attributes" or any(column.key in getattr(run, column.kind) for run in runs)


def _automatic(runs: Sequence[Run], versions: Mapping[str, str]) -> tuple[Column, ...]:
    metrics = dict.fromkeys(key for run in runs for key in run.metrics if not key.startswith("system/"))
    filled = [
        name
        for name, there in (
            ("experiment", len({run.experiment for run in runs}) > 1),
            ("data", any(run.datasets for run in runs)),
            ("commit", any(run.commit for run in runs)),
            ("version", bool(versions)),
        )
        if there
    ]
    return (
        *(_column("attributes", key) for key in ALWAYS),
        *(_column("metrics", key) for key in list(metrics)[:AUTOMATIC_METRICS]),
        *(_column("params", key) for key in varying_params(runs)[0][:AUTOMATIC_PARAMS]),
        *(_column("attributes", key) for key in filled),
    )


def varying_params(runs: Sequence[Run]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Split params into those that vary over the runs and those that are the same in all."""
    names = dict.fromkeys(name for run in runs for name in run.params)
    values = {name: {run.params.get(name) for run in runs} for name in names}
    varying = tuple(name for name in names if len(values[name]) > 1)
    constant = {name: str(next(iter(values[name]))) for name in names if len(values[name]) == 1}
    return varying, constant


def _column(kind: str, key: str) -> Column:
    if kind == "attributes":
        title, by = ATTRIBUTES[key]
        orders = Ordering(entity=Entity.ATTRIBUTE, key=by) if by else None
        return Column(id=f"{kind}.{key}", kind=kind, key=key, title=title, number=key == "duration", orders=orders)
    orders = Ordering(entity=KINDS[kind], key=key)
    number = kind in ("metrics", "params")
    return Column(id=f"{kind}.{key}", kind=kind, key=key, title=key, number=number, orders=orders)


def order_text(ordering: Ordering) -> str:
    """Write an order as the filter language reads it; empty when the key cannot be written.

    >>> order_text(Ordering(entity=Entity.METRIC, key="val loss", descending=True))
    'metrics."val loss" DESC'
    """
    quote = next((mark for mark in ('"', "`", "'") if mark not in ordering.key), "")
    if not quote:
        return ""
    plain = all(character.isalnum() or character in "_./:-" for character in ordering.key) and ordering.key.isascii()
    key = ordering.key if plain else f"{quote}{ordering.key}{quote}"
    entity = {Entity.METRIC: "metrics.", Entity.PARAM: "params.", Entity.TAG: "tags."}.get(ordering.entity, "")
    return f"{entity}{key} {'DESC' if ordering.descending else 'ASC'}"
