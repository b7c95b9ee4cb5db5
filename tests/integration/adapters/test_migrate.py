"""Migrations, on both databases."""

import subprocess
import sys

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from tournant.adapters.sql.migrate import MIGRATIONS, head_version, schema_version, upgrade
from tournant.adapters.sql.schema import metadata
from tournant.adapters.sql.transactions import create_engine
from tournant.errors import Invalid, Unavailable

START_ONE = "import sys; from tournant.adapters.sql import migrate, transactions as t; migrate.upgrade(t.create_engine(sys.argv[1]))"


def test_migrations_equal_the_schema(engine: sa.Engine) -> None:
    """What the migrations make is what the records need; if not: python scripts/write_first_migration.py."""
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_upgrading_twice_changes_nothing(engine: sa.Engine) -> None:
    """A database at the newest migration stays as it is."""
    upgrade(engine)
    with engine.connect() as connection:
        assert schema_version(connection) == head_version()


def test_processes_that_start_together_migrate_once(empty_url: str) -> None:
    """Whoever comes first migrates, the others wait for it."""
    starts = [subprocess.Popen([sys.executable, "-W", "error", "-c", START_ONE, empty_url]) for _ in range(2)]
    assert [process.wait(60) for process in starts] == [0, 0]
    engine = create_engine(empty_url)
    with engine.connect() as connection:
        assert schema_version(connection) == head_version()
    engine.dispose()


def test_a_newer_database_is_refused(engine: sa.Engine) -> None:
    """An older tournant does not touch what a newer one has made."""
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Invalid, match="newer tournant"):
        upgrade(engine)


def test_a_database_that_cannot_be_opened_is_named() -> None:
    """The error says which database, and what to look at."""
    with pytest.raises(Unavailable, match=r"sqlite:////nowhere/metadata\.db"):
        upgrade(create_engine("sqlite:////nowhere/metadata.db"))


def test_the_outbox_of_alerts_leaves_the_monitors(empty_url: str) -> None:
    """0007: what else a monitor's state holds stays as it was."""
    engine = create_engine(empty_url)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    monitor = {
        "id": "d/liveness",
        "deployment": "d",
        "kind": "liveness",
        "status": "ok",
        "evaluated_to": 1.0,
        "reason": "",
    }
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        table = metadata.tables["monitor"]
        connection.execute(table.insert().values(**monitor, state='{"quiet": [1], "outbox": [{"alert": "a"}]}'))
        command.upgrade(config, "head")
        assert connection.execute(sa.select(table.c.state)).scalar_one() == '{"quiet": [1]}'
    engine.dispose()
