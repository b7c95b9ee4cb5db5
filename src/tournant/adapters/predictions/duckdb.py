"""The prediction log read by DuckDB: Parquet segments in the content store, labels joined from memory."""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tournant.domain.predictions import Label, Segment
from tournant.errors import Invalid, Unavailable
from tournant.ports import BlobStore, Columns

if TYPE_CHECKING:
    import duckdb

__all__ = ["DuckDbPredictionLog"]

_KEY_PREFIX = "key:"
_TEXT = ("prediction_id", "key", "entity", "revision", "role", "rollout")
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,  # the queries are small: more threads cost more than they bring, and an order would be theirs
    "autoinstall_known_extensions": False,  # Parquet is built in; nothing is ever fetched
    "autoload_known_extensions": False,
}
# The shadows of a prediction carry no inputs of their own: they take the answered row's.
_OUTCOMES = """
with rows as (
  select {text}, event_time, coalesce(epoch, 0) as epoch, coalesce(score, 'nan'::double) as score,
    error is not null as error, coalesce(latency_ms, 'nan'::double) as latency_ms{inputs}
  from read_parquet($files, union_by_name = true)
  where event_time >= $start and event_time < $end
){answered}
select rows.* {exclude}, coalesce(by_id.value, by_key.value, 'nan'::double) as label{taken}
from rows
  left join labels_by_id as by_id on by_id.reference = rows.prediction_id
  left join labels_by_key as by_key on by_key.reference = rows.key and rows.key <> ''
  {join}
order by rows.event_time, rows.prediction_id, rows.revision, rows.role
"""
_ANSWERED = """, answered as (
  select prediction_id, {inputs} from rows where role <> 'shadow' group by prediction_id
)"""
_MATCHED = """
with rows as (select prediction_id, key from read_parquet($files, union_by_name = true))
select reference from labels_by_id where reference in (select prediction_id from rows)
union all
select 'key:' || reference from labels_by_key where reference in (select key from rows where key is not null)
"""
_FROZEN = """
select {inputs}, {label} as {label_column}, {time} as event_time, key
from (
  select rows.*, coalesce(by_id.value, by_key.value) as tournant_label
  from read_parquet($files, union_by_name = true) as rows
    left join labels_by_id as by_id on by_id.reference = rows.prediction_id
    left join labels_by_key as by_key on by_key.reference = rows.key and rows.key <> ''
  where rows.event_time >= $log_start and rows.event_time < $end and rows.role <> 'shadow' and rows.error is null
)
where tournant_label is not null and not isnan(tournant_label)
order by event_time, prediction_id
"""


class DuckDbPredictionLog:
    """Reads prediction segments by digest. One connection a thread; nothing is imported or copied between calls."""

    def __init__(self, blobs: BlobStore) -> None:
        """Read the segments that `blobs` holds."""
        self._blobs = blobs
        self._local = threading.local()

    def outcomes(
        self,
        segments: Sequence[Segment],
        labels: Sequence[Label],
        *,
        start: float,
        end: float,
        inputs: Sequence[str] = (),
    ) -> Columns:
        """Give one entry per (prediction, revision) in `[start, end)`; an input no segment has is missing throughout."""
        if not segments:
            return _empty(inputs)
        files = self._files(segments)
        values = {"files": files, "start": start, "end": end}
        found = list(inputs)
        with self._labelled(labels) as connection:
            try:
                columns = _fetch(connection, _outcomes_query(found), values)
            except _duckdb().BinderException:  # rare, and asking first would read every file's schema twice
                present = set(_columns(connection, files))
                found = [name for name in inputs if f"in.{name}" in present]
                columns = _fetch(connection, _outcomes_query(found), values)
        absent = {name: np.full(len(columns["label"]), np.nan) for name in inputs if name not in found}
        return {**columns, **absent}

    def matched(self, segments: Sequence[Segment], labels: Sequence[Label]) -> set[str]:
        """Give the references of the labels that meet a prediction in the segments."""
        if not segments or not labels:
            return set()
        with self._labelled(labels) as connection:
            return set(_fetch(connection, _MATCHED, {"files": self._files(segments)})["reference"])

    def freeze(
        self,
        base: Path | None,
        segments: Sequence[Segment],
        labels: Sequence[Label],
        target: Path,
        *,
        start: float,
        end: float,
        label_column: str,
        inputs: Sequence[str],
        log_start: float | None = None,
    ) -> int:
        """Write one Parquet: the base's rows in their order (those in `[start, end)`, where it has `event_time`), then the log's.

        The log's label and `event_time` take the base's type (boolean or integer, timestamp); columns that only the
        base has are null in the log's rows. The same rows give the same bytes.
        """
        with self._labelled(labels) as connection:
            types = _columns(connection, [str(base)]) if base else {}
            parts = [_base_query(types)] if base else []
            if segments:
                parts.append(f"({_frozen_query(types, inputs, label_column)})")
            if not parts:
                raise Invalid("nothing to freeze: neither base rows nor recorded predictions")
            values = {"base": str(base), "files": self._files(segments), "start": start, "end": end}
            values["log_start"] = start if log_start is None else max(start, log_start)
            return _copy(connection, " union all by name ".join(parts), values, target)

    def sample(self, parquet: Path, limit: int, *, seed: int = 0) -> Columns:
        """Give at most `limit` rows, drawn by `seed`, in order of `event_time` (or of the file, if it has none)."""
        connection = self._connection()
        with _explained():
            types = _columns(connection, [str(parquet)])
            total = connection.execute("select count(*) from read_parquet(?)", [str(parquet)]).fetchall()[0][0]
            chosen = np.arange(total)
            if total > limit:
                chosen = np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))
            connection.register("chosen", {"position": chosen})
            order = "event_time, file_row_number" if "event_time" in types else "file_row_number"
            query = f"""select * exclude (file_row_number) from read_parquet($parquet, file_row_number = true)
                semi join chosen on position = file_row_number order by {order}"""
            columns = _fetch(connection, query, {"parquet": str(parquet)})
            connection.unregister("chosen")
        return columns

    def _files(self, segments: Sequence[Segment]) -> list[str]:
        return [str(self._blobs.path(segment.digest)) for segment in segments]

    def _connection(self) -> "duckdb.DuckDBPyConnection":
        connection: duckdb.DuckDBPyConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = _duckdb().connect(":memory:", config=_SETTINGS)
            connection.execute("set parquet_metadata_cache = true")  # segments never change
        return connection

    @contextmanager
    def _labelled(self, labels: Sequence[Label]) -> Iterator["duckdb.DuckDBPyConnection"]:
        """Show the labels to DuckDB as two tables, by prediction id and by the user's key."""
        connection = self._connection()
        keyed = [label for label in labels if label.reference.startswith(_KEY_PREFIX)]
        direct = [label for label in labels if not label.reference.startswith(_KEY_PREFIX)]
        with _explained():
            connection.register("labels_by_id", _label_table(direct, 0))
            connection.register("labels_by_key", _label_table(keyed, len(_KEY_PREFIX)))
            try:
                yield connection
            finally:
                connection.unregister("labels_by_id")
                connection.unregister("labels_by_key")


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except _duckdb().Error as exc:
        raise Unavailable(f"the prediction log cannot be read: {str(exc).splitlines()[0]}") from exc


def _label_table(labels: Sequence[Label], skip: int) -> dict[str, npt.NDArray[Any]]:
    references = np.array([label.reference[skip:] for label in labels] or [""], dtype=object)
    values = np.array([label.value for label in labels] or [math.nan])
    return {"reference": references, "value": values}  # DuckDB cannot take an empty object array: a key nobody has


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _columns(connection: "duckdb.DuckDBPyConnection", files: Sequence[str]) -> dict[str, str]:
    rows = connection.execute("describe select * from read_parquet(?, union_by_name = true)", [list(files)]).fetchall()
    return {row[0]: row[1] for row in rows}


def _outcomes_query(inputs: Sequence[str]) -> str:
    names = [_quoted(f"in.{name}") for name in inputs]
    return _OUTCOMES.format(
        text=", ".join(f"coalesce({name}, '') as {name}" for name in _TEXT),
        inputs="".join(f", {name}" for name in names),
        answered=_ANSWERED.format(inputs=", ".join(f"any_value({n}) as {n}" for n in names)) if names else "",
        exclude=f"exclude ({', '.join(names)})" if names else "",
        taken="".join(f", answered.{_quoted(f'in.{name}')} as {_quoted(name)}" for name in inputs),
        join="left join answered on answered.prediction_id = rows.prediction_id" if names else "",
    )


def _base_query(types: dict[str, str]) -> str:
    where = ""
    if "event_time" in types:
        time = "epoch(event_time)" if types["event_time"].startswith("TIMESTAMP") else "event_time"
        where = f" where {time} >= $start and {time} < $end"
    return f"select * from read_parquet($base){where}"


def _frozen_query(types: dict[str, str], inputs: Sequence[str], label_column: str) -> str:
    """Select the log's labelled rows. Numbers of two types meet in the wider one; nothing is rounded to the base's."""
    exact = types.get(label_column, "")
    stamped = types.get("event_time", "").startswith("TIMESTAMP")
    time = "make_timestamp((event_time * 1e6)::bigint)" if stamped else "event_time"
    return _FROZEN.format(
        inputs=", ".join(f"{_quoted(f'in.{name}')} as {_quoted(name)}" for name in inputs),
        label=f"cast(tournant_label as {exact})" if exact == "BOOLEAN" or "INT" in exact else "tournant_label",
        label_column=_quoted(label_column),
        time=time,
    )


def _copy(connection: "duckdb.DuckDBPyConnection", query: str, values: dict[str, Any], target: Path) -> int:
    used = {name: value for name, value in values.items() if f"${name}" in query}
    partial = target.with_name(target.name + ".partial")
    literal = str(partial).replace("'", "''")
    copy = f"copy ({query}) to '{literal}' (format parquet, compression zstd)"
    rows = connection.execute(copy, used).fetchall()[0][0]
    partial.replace(target)
    return int(rows)


def _fetch(connection: "duckdb.DuckDBPyConnection", query: str, values: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    return {name: _plain(column) for name, column in connection.execute(query, values).fetchnumpy().items()}


def _plain(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give a column without a mask: missing strings are empty, missing numbers NaN."""
    if not isinstance(column, np.ma.MaskedArray):
        return column
    if column.dtype.kind in "OU":
        return np.ma.filled(column, "")
    if column.dtype.kind == "M":
        return np.ma.filled(column, np.datetime64("NaT"))
    return np.ma.filled(column.astype(np.float64), np.nan)


def _empty(inputs: Sequence[str]) -> Columns:
    text: dict[str, npt.NDArray[Any]] = {name: np.array([], dtype=object) for name in (*_TEXT, *inputs)}
    numbers = {name: np.array([]) for name in ("event_time", "score", "latency_ms", "label")}
    return {**text, **numbers, "epoch": np.array([], dtype=np.int64), "error": np.array([], dtype=bool)}


def _duckdb() -> Any:
    import duckdb  # start-up time: a tenth of a server's

    return duckdb
