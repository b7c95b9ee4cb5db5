"""Brings a database's schema up to date, once, however many processes start together."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tournant.errors import Invalid, Unavailable

__all__ = ["head_version", "schema_version", "upgrade"]

MIGRATIONS = Path(__file__).parent / "migrations"
_ADVISORY_LOCK = 0x746F75726E616E74  # "tournant"
_LOCKED_SECONDS = 30.0


def head_version() -> str:
    """Give the number of the newest migration, such as `0001`."""
    return max(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def schema_version(connection: sa.Connection) -> str:
    """Give the number of the last migration a database has seen; empty for a new one."""
    if not sa.inspect(connection).has_table("alembic_version"):
        return ""
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def upgrade(engine: sa.Engine) -> None:
    """Apply the migrations a database lacks; one that lacks none costs two small reads.

    Others that start at the same time wait. Invalid when a newer tournant has made the database, Unavailable when it
    cannot be opened.
    """
    try:
        with _connect(engine) as connection:
            version = schema_version(connection)
        if version == head_version():
            return
        with _connect(engine) as connection, _lock(connection):
            _apply(connection)
    except sa.exc.OperationalError as exc:
        raise Unavailable(
            f"cannot open the metadata database {engine.url.render_as_string()}: {exc.orig}. "
            "Is its address right, and may this user write there?"
        ) from exc


def _apply(connection: sa.Connection) -> None:
    version, head = schema_version(connection), head_version()
    if version > head:
        raise Invalid(
            f"the database is of a newer tournant (its schema is {version}, this one knows {head}). Install the newer one."
        )
    if version == head:
        return
    from alembic import command  # a start on an up-to-date database must not pay for it
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _connect(engine: sa.Engine) -> sa.Connection:
    """Connect; SQLite's change to WAL mode does not wait for a process that is changing it too, so we do."""
    deadline = time.monotonic() + _LOCKED_SECONDS
    while True:
        try:
            return engine.connect()
        except sa.exc.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


@contextmanager
def _lock(connection: sa.Connection) -> Iterator[None]:
    with connection.begin():
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        yield
