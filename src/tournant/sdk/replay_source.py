"""History to replay: a table of requests with their event time, key and label, by day."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import duckdb
import msgspec

from tournant.errors import Invalid, NotFound
from tournant.sdk.tables import scan

__all__ = ["DAY_SECONDS", "KnownLabel", "PastRequest", "RequestTable", "sample_bound"]

DAY_SECONDS = 86_400.0
_encode = msgspec.json.Encoder(decimal_format="number").encode


class PastRequest(NamedTuple):
    """A request as it is sent: the user's key, and the body."""

    key: str
    body: bytes


class KnownLabel(NamedTuple):
    """A label: the user's key, the value, and the event time of the request."""

    key: str
    value: float
    event_time: float


def sample_bound(fraction: float) -> str:
    """Give the text below which the MD5 of a key (in hexadecimal) lies for a `fraction` of all keys.

    >>> sample_bound(0.5)[:6], sample_bound(1.0)
    ('800000', 'g')
    """
    if not 0 < fraction <= 1:
        raise Invalid(f"a fraction is above 0 and at most 1, not {fraction}", place="fraction")
    return "g" if fraction == 1 else f"{int(fraction * 2**128):032x}"


class RequestTable:
    """The sampled rows of a file, in memory. All columns but key, label and event time are inputs, unless `inputs` says which.

    The sample is a hash of the key, so the same `fraction` always gives the same rows. Event times are epoch seconds or
    timestamps. Use it as a context manager.
    """

    def __init__(
        self,
        path: Path,
        *,
        label: str,
        key: str,
        event_time: str,
        fraction: float,
        inputs: Sequence[str] = (),
    ) -> None:
        """Load the table; NotFound if there is no file, Invalid if it cannot be read or lacks a column."""
        if not path.is_file():
            raise NotFound(f"there is no file {path} to replay", place="table")
        bound = sample_bound(fraction)
        self._connection = duckdb.connect(config={"threads": 1})  # the other core serves
        try:
            types = self._types(path, [label, key, event_time, *inputs])
            self.inputs = tuple(inputs) or tuple(name for name in types if name not in (label, key, event_time))
            columns = ", ".join(_quoted(name) for name in self.inputs)
            time, text = _quoted(event_time), f"CAST({_quoted(key)} AS VARCHAR)"
            seconds = f"epoch({time})" if types[event_time].startswith("TIMESTAMP") else f"CAST({time} AS DOUBLE)"
            self._connection.execute(
                f"""CREATE TABLE requests AS
                SELECT {text} AS "·key", {seconds} AS "·time", CAST({_quoted(label)} AS DOUBLE) AS "·label", {columns}
                FROM {scan(path)} WHERE md5({text}) < '{bound}' ORDER BY "·time", "·key" """
            )
        except duckdb.Error as exc:
            self._connection.close()
            raise Invalid(f"{path} cannot be replayed: {exc}", place="table") from exc
        except Invalid:
            self._connection.close()
            raise

    def __enter__(self) -> "RequestTable":
        """Use it."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Let go of the rows."""
        self._connection.close()

    def span(self) -> tuple[float, float] | None:
        """Give the first and last event time, or None if there are no rows."""
        row = self._connection.execute('SELECT min("·time"), max("·time") FROM requests').fetchone()
        return None if row is None or row[0] is None else (row[0], row[1])

    def requests(self, start: float, end: float) -> list[PastRequest]:
        """Give the requests of `[start, end)` in order of event time."""
        cursor = self._connection.execute(
            'SELECT * FROM requests WHERE "·time" >= ? AND "·time" < ? ORDER BY "·time", "·key"', [start, end]
        )
        return [self._request(row) for row in cursor.fetchall()]

    def labels(self, start: float, end: float) -> list[KnownLabel]:
        """Give the labels of the requests of `[start, end)` that have one."""
        cursor = self._connection.execute(
            """SELECT "·key", "·label", "·time" FROM requests
            WHERE "·time" >= ? AND "·time" < ? AND "·label" IS NOT NULL AND NOT isnan("·label")
            ORDER BY "·time", "·key" """,
            [start, end],
        )
        return [KnownLabel(*row) for row in cursor.fetchall()]

    def _request(self, row: tuple[Any, ...]) -> PastRequest:
        key, event_time, _label, *values = row
        inputs = dict(zip(self.inputs, map(_present, values), strict=True))
        return PastRequest(key, _encode({"inputs": inputs, "key": key, "event_time": event_time}))

    def _types(self, path: Path, wanted: Sequence[str]) -> Mapping[str, str]:
        described: Iterator[tuple[Any, ...]] = iter(
            self._connection.execute(f"DESCRIBE SELECT * FROM {scan(path)}").fetchall()
        )
        types = {row[0]: str(row[1]) for row in described}
        missing = next((name for name in wanted if name not in types), None)
        if missing is not None:
            raise Invalid(f"{path} has no column {missing!r} (it has: {', '.join(types)})", place="table")
        return types


def _present(value: object) -> object:
    """Give None for a missing value, which DuckDB has as NULL or NaN."""
    return None if value != value else value  # only NaN differs from itself


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
