"""Reads tables that may be there or not: databases of MLflow differ by its version."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from tournant.errors import Invalid, NotFound, Unavailable

__all__ = ["Row", "Tables", "open_engine"]

Row = dict[str, Any]
_SQLITE = b"SQLite format 3\0"


def open_engine(url: str) -> tuple[sa.Engine, Path | None]:
    """Open a database for reading, by URL or by the path of a SQLite file (given back, if it is one)."""
    if url.startswith("sqlite:///") or "://" not in url:
        path = Path(url.removeprefix("sqlite:///")).expanduser().absolute()
        return _open_sqlite(path), path
    scheme, _, rest = url.partition("://")
    if scheme.partition("+")[0] not in ("postgresql", "postgres"):
        raise Invalid(
            f"tournant does not read {scheme} databases. Run `mlflow server` on it, and import from that server's URL"
        )
    try:
        return sa.create_engine(f"postgresql+psycopg://{rest}", poolclass=sa.NullPool), None
    except ModuleNotFoundError as exc:
        raise Invalid("reading PostgreSQL needs the extra postgres: pip install 'tournant[postgres]'") from exc
    except sa.exc.ArgumentError as exc:
        raise Invalid(f"{scheme}://… is no address of a database: {exc}") from exc


def _open_sqlite(path: Path) -> sa.Engine:
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    with path.open("rb") as file:
        if file.read(len(_SQLITE)) != _SQLITE:
            raise Invalid(f"{path} is no SQLite database")

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=30, check_same_thread=False)

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


class Tables:
    """The tables of a database; one that is not there has no rows."""

    def __init__(self, engine: sa.Engine) -> None:
        """Look what tables there are."""
        self.engine = engine
        with self._explained():
            self.names = frozenset(sa.inspect(engine).get_table_names())

    @property
    def sqlite(self) -> bool:
        """Whether it is SQLite."""
        return self.engine.dialect.name == "sqlite"

    def rows(self, statement: str, **values: Any) -> list[Row]:
        """Run a SELECT; a list given for a `:name` makes an IN list."""
        lists: list[sa.BindParameter[Any]] = [
            sa.bindparam(name, expanding=True) for name, value in values.items() if isinstance(value, list)
        ]
        with self._explained(), self.engine.connect() as connection:
            found = connection.execute(sa.text(statement).bindparams(*lists), values).mappings()
            return [dict(row) for row in found]

    def all(self, table: str, where: str = "", **values: Any) -> list[Row]:
        """Give the rows of a table that match, with whatever columns it has."""
        if table not in self.names:
            return []
        return self.rows(f"SELECT * FROM {table}{f' WHERE {where}' if where else ''}", **values)

    def by(self, table: str, column: str, ids: Iterable[Any], where: str = "") -> dict[Any, list[Row]]:
        """Give the rows of a table whose `column` is one of `ids`, by it."""
        found: dict[Any, list[Row]] = defaultdict(list)
        wanted = list(ids)
        if wanted:
            for row in self.all(table, f"{column} IN :ids{f' AND {where}' if where else ''}", ids=wanted):
                found[row[column]].append(row)
        return found

    def stream(self, statement: str, size: int, **values: Any) -> Iterator[Sequence[Row]]:
        """Run a SELECT and give its rows `size` at a time, as they come."""
        with self._explained(), self.engine.connect() as connection:
            options = {"stream_results": True, "max_row_buffer": size}
            result = connection.execution_options(**options).execute(sa.text(statement), values)
            for rows in result.mappings().partitions(size):
                yield [dict(row) for row in rows]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.SQLAlchemyError as exc:
            reason = str(getattr(exc, "orig", None) or exc).splitlines()[0]
            raise Unavailable(f"the database cannot be read: {reason}. Do it again once it can") from exc
