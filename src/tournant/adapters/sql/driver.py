"""Plain SQL in an open transaction, for paths where every microsecond is paid a thousand times."""

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

__all__ = ["Driver"]


class Driver:
    """Sends SQL with `?` for values to the database driver itself. A literal `%` must not stand in it."""

    def __init__(self, connection: sa.Connection) -> None:
        """Work on a connection with an open transaction."""
        self._connection = connection
        self.postgres = connection.dialect.name == "postgresql"

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Give all rows."""
        cursor = self._cursor()
        cursor.execute(self._written(statement), values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return found

    def row(self, statement: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """Give the first row, if there is one."""
        found = self.rows(statement, values)
        return found[0] if found else None

    def change(self, statement: str, values: Sequence[object] = ()) -> int:
        """Change something; give how many rows."""
        cursor = self._cursor()
        cursor.execute(self._written(statement), values)
        count = int(cursor.rowcount)
        cursor.close()
        return count

    def change_many(self, statement: str, rows: Iterable[Sequence[object]]) -> int:
        """Run one statement for each row of values; give how many rows of the database it changed."""
        cursor = self._cursor()
        cursor.executemany(self._written(statement), rows)
        count = int(cursor.rowcount)
        cursor.close()
        return count

    def _cursor(self) -> Any:
        return self._connection.connection.cursor()

    def _written(self, statement: str) -> str:
        return statement.replace("?", "%s") if self.postgres else statement
