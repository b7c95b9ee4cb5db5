"""Migrations, on both databases."""

import subprocess
import sys
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from tournant.adapters.sql.migrate import MIGRATIONS, head_version, schema_version, upgrade
from tournant.adapters.sql.schema import metadata
from tournant.adapters.sql.transactions import SqlTransactions, create_engine
from tournant.domain.run_query import HistoryQuery, RunQuery
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


def test_old_runs_move_to_the_new_tables(empty_url: str) -> None:
    """Migration 0003 keeps every param, tag and point, and numbers experiments."""
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO experiment VALUES ('churn', 5.0, 'why they go')")
        connection.exec_driver_sql(
            "INSERT INTO run VALUES ('r1', 'churn', 'churn-1', 'successful', 7.0, 9.0, 'ada', '{\"depth\": \"3\"}', "
            "'{\"loss\": 0.25}', '{\"team\": \"a\"}', '[\"d@1\"]', 'c', 'abc', 'e', '')"
        )
        connection.exec_driver_sql(
            "INSERT INTO metric VALUES ('r1', 'loss', 1, 8.0, 0.5), ('r1', 'loss', 2, 8.5, 0.25)"
        )
    upgrade(engine)
    with SqlTransactions(engine).begin() as uow:
        run = uow.runs.get("r1")
        points = uow.runs.history(HistoryQuery(runs=("r1",), key="loss"))
        uow.runs.add(replace(run, id="r2", name="")) if run else None
        names = [run.name for run in uow.runs.find(RunQuery(experiments=(1,)))]
    engine.dispose()
    assert run and (run.experiment, run.experiment_number, run.params, run.tags) == (
        *("churn", 1),
        *({"depth": "3"}, {"team": "a"}),
    )
    assert (run.metrics, run.measured, run.datasets) == ({"loss": 0.25}, {"loss": (2, 8.5)}, ("d@1",))
    assert [(point.step, point.time, point.value) for point in points] == [(1, 8.0, 0.5), (2, 8.5, 0.25)]
    assert names == ["churn-1", "churn-2"]


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
