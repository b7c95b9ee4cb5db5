"""The tables of runs and what they record; `schema` has those of all other records.

A run's row has a number, which its params, tags and metrics refer to: they are many, and a number is short. Each of them
carries its experiment's number too, so that one index finds and orders them within an experiment. `start` is the
beginning of a text, as much as an index can hold. `run_metric` has the last value of each key, `metric_point` every value;
a NaN is kept as `nan` with the value 0, because SQLite has none.
"""

import sqlalchemy as sa

from tournant.adapters.sql.schema import metadata

__all__ = ["START_CHARACTERS", "metric_point", "run", "run_metric", "run_param", "run_tag"]

START_CHARACTERS = 120

_ROW = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # SQLite numbers rows by itself for an INTEGER only

run = sa.Table(
    "run",
    metadata,
    sa.Column("number", _ROW, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("experiment", sa.BigInteger, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("datasets", sa.Text, nullable=False),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("commit", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("error", sa.Text, nullable=False),
    sa.Column("artifact_location", sa.Text, nullable=False),
    sa.Column("deleted_at", sa.Double),
    sa.Index("ix_run_id", "id", unique=True),
    sa.Index("ix_run_experiment_started_at", "experiment", "started_at", "id"),
    sa.Index("ix_run_experiment_name", "experiment", "name"),
    sa.Index("ix_run_started_at", "started_at"),
)


def _texts(name: str) -> sa.Table:
    return sa.Table(
        name,
        metadata,
        sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("experiment", sa.BigInteger, nullable=False),
        sa.Column("start", sa.Text, nullable=False),
        sa.Index(f"ix_{name}_experiment_key_start", "experiment", "key", "start"),
        sqlite_with_rowid=False,
    )


run_param = _texts("run_param")
run_tag = _texts("run_tag")
run_metric = sa.Table(
    "run_metric",
    metadata,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("nan", sa.BigInteger, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("experiment", sa.BigInteger, nullable=False),
    sa.Index("ix_run_metric_experiment_key_value", "experiment", "key", "nan", "value"),
    sqlite_with_rowid=False,
)
metric_point = sa.Table(
    "metric_point",
    metadata,
    sa.Column("run", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("step", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("time", sa.Double, primary_key=True),
    sa.Column("value", sa.Double, primary_key=True),
    sa.Column("nan", sa.BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)
