"""Units of work on SQLite (WAL) and PostgreSQL."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import groupby
from typing import Any, TypeVar

import sqlalchemy as sa

from tournant.adapters.sql.driver import Driver
from tournant.adapters.sql.runs import SqlRuns
from tournant.adapters.sql.schema import RECORDS, Mapping
from tournant.adapters.sqlite import write_ahead
from tournant.domain.control import Event
from tournant.errors import Conflict, Invalid

__all__ = ["SqlTransactions", "SqlUnitOfWork", "create_engine"]

T = TypeVar("T")

_OPERATORS = {
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "ne": lambda column, value: column != value,
    "in": lambda column, value: column.in_(list(value)),
}
_CHUNK = 400  # rows a statement, under both databases' bound on parameters


def create_engine(url: str) -> sa.Engine:
    """Open a database by SQLAlchemy URL; `postgresql://` means psycopg 3; Invalid if it is neither."""
    if not url.startswith(("sqlite:", "postgresql:", "postgresql+psycopg:", "postgres:")):
        raise Invalid(
            f"the database {url.partition(':')[0]!r}… is no address tournant knows: postgresql://USER@HOST/NAME"
        )
    if url.startswith("sqlite"):
        engine = sa.create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})
        sa.event.listen(engine, "connect", _prepare_sqlite)
        return engine
    url = url.replace("postgresql://", "postgresql+psycopg://", 1).replace("postgres://", "postgresql+psycopg://", 1)
    return sa.create_engine(url, pool_pre_ping=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's default delays it past the first read
    write_ahead(connection)
    for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


class SqlTransactions:
    """Opens units of work on one engine."""

    def __init__(self, engine: sa.Engine) -> None:
        """Use `engine`, whose schema is up to date."""
        self.engine = engine
        self._begin = "BEGIN IMMEDIATE" if engine.dialect.name == "sqlite" else None
        self._turn = (
            threading.Lock()
        )  # writers of one process queue here: waiting for SQLite's lock is sleeping and trying

    @contextmanager
    def begin(self, *, write: bool = True) -> Iterator["SqlUnitOfWork"]:
        """Start a transaction; on SQLite a writer takes its lock at once, so it never fails half-way."""
        with (
            self._turn if write and self._begin else nullcontext(),
            self.engine.connect() as connection,
            connection.begin(),
        ):
            if self._begin:
                connection.exec_driver_sql(self._begin if write else "BEGIN")
            yield SqlUnitOfWork(connection)


class SqlUnitOfWork:
    """The records of one open transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        """Work on a connection with an open transaction."""
        self._connection = connection
        self._insert = _insert_of(connection.dialect.name)
        self.runs = SqlRuns(Driver(connection))

    def get(self, kind: type[T], *key: object, lock: bool = False) -> T | None:
        """Read one record by primary key."""
        mapping = RECORDS[kind]
        where = [mapping.column(name) == value for name, value in zip(mapping.key, key, strict=True)]
        query = sa.select(mapping.table).where(*where)
        row = self._connection.execute(query.with_for_update() if lock else query).mappings().first()
        return None if row is None else mapping.to_record(dict(row))

    def find(self, kind: type[T], /, *, order: str = "", limit: int | None = None, **where: object) -> list[T]:
        """Read the records that match, in order."""
        mapping = RECORDS[kind]
        query = sa.select(mapping.table).where(*_conditions(mapping, where)).order_by(*_order(mapping, order))
        rows = self._connection.execute(query if limit is None else query.limit(limit)).mappings()
        return [mapping.to_record(dict(row)) for row in rows]

    def count(self, kind: type[T], /, **where: object) -> int:
        """Count the records that match."""
        mapping = RECORDS[kind]
        query = sa.select(sa.func.count()).select_from(mapping.table).where(*_conditions(mapping, where))
        return int(self._connection.execute(query).scalar_one())

    def add(self, *records: Any) -> None:
        """Insert records."""
        for mapping, rows in _by_kind(records):
            try:
                self._connection.execute(sa.insert(mapping.table), rows)
            except sa.exc.IntegrityError as exc:
                keys = ", ".join("/".join(str(row[name]) for name in mapping.key) for row in rows[:3])
                raise Conflict(f"{mapping.table.name} {keys} exists already") from exc

    def save(self, *records: Any) -> None:
        """Insert or replace records by primary key."""
        for mapping, rows in _by_kind(records):
            for start in range(0, len(rows), _CHUNK):
                statement = self._insert(mapping.table)
                changes = {name: statement.excluded[name] for name in mapping.types if name not in mapping.key}
                upsert = statement.on_conflict_do_update(index_elements=list(mapping.key), set_=changes)
                self._connection.execute(upsert, rows[start : start + _CHUNK])

    def remove(self, kind: type[Any], /, **where: object) -> int:
        """Delete the records that match."""
        mapping = RECORDS[kind]
        if not where:
            raise Invalid(f"refusing to delete every {mapping.table.name}: name a filter")
        return int(self._connection.execute(sa.delete(mapping.table).where(*_conditions(mapping, where))).rowcount)

    def record(self, event: Event) -> None:
        """Append an event."""
        self.add(event)


def _by_kind(records: Sequence[Any]) -> Iterator[tuple[Mapping, list[dict[str, Any]]]]:
    for kind, group in groupby(records, key=type):
        mapping = RECORDS[kind]
        yield mapping, [mapping.to_row(record) for record in group]


def _conditions(mapping: Mapping, where: dict[str, object]) -> list[sa.ColumnElement[bool]]:
    conditions = []
    for name, value in where.items():
        field, _, operator = name.partition("__")
        column = mapping.column(field)
        conditions.append(_OPERATORS[operator](column, value) if operator else column == value)
    return conditions


def _order(mapping: Mapping, order: str) -> list[Any]:
    names = [name.strip() for name in order.split(",") if name.strip()]
    return [mapping.column(name.lstrip("-")).desc() if name[0] == "-" else mapping.column(name) for name in names]


def _insert_of(dialect: str) -> Any:
    """Import one dialect's upserts: each takes 50 ms, and one is enough."""
    if dialect == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert
    from sqlalchemy.dialects import postgresql

    return postgresql.insert
