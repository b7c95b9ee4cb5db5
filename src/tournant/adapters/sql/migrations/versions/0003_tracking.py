"""Params, tags and metrics of runs in tables of their own; experiments by number; what MLflow's clients record."""

import json
import time
from collections import Counter

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

_START_CHARACTERS = 120


def upgrade() -> None:
    """Make the new tables, and move what the old ones hold."""
    connection = op.get_bind()
    old = {name: _take(connection, name) for name in ("experiment", "run", "metric")}
    _create_tables()
    _move(connection, old)


def _take(connection: sa.Connection, name: str) -> list[dict[str, object]]:
    rows = [dict(row) for row in connection.execute(sa.text(f'SELECT * FROM "{name}"')).mappings()]
    op.drop_table(name)
    return rows


def _create_tables() -> None:
    op.create_table(
        "experiment",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("artifact_location", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_experiment_name", "experiment", ["name"], unique=True)
    op.create_table(
        "run",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("datasets", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("commit", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("artifact_location", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("ix_run_id", "run", ["id"], unique=True)
    op.create_index("ix_run_experiment_started_at", "run", ["experiment", "started_at", "id"])
    op.create_index("ix_run_experiment_name", "run", ["experiment", "name"])
    op.create_index("ix_run_started_at", "run", ["started_at"])
    for name in ("run_param", "run_tag"):
        op.create_table(
            name,
            sa.Column("run", sa.BigInteger(), nullable=False, autoincrement=False),
            sa.Column("key", sa.Text(), nullable=False),
            sa.Column("value", sa.Text(), nullable=False),
            sa.Column("experiment", sa.BigInteger(), nullable=False),
            sa.Column("start", sa.Text(), nullable=False),
            sa.PrimaryKeyConstraint("run", "key"),
            sqlite_with_rowid=False,
        )
        op.create_index(f"ix_{name}_experiment_key_start", name, ["experiment", "key", "start"])
    op.create_table(
        "run_metric",
        sa.Column("run", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("nan", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("experiment", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "key"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_run_metric_experiment_key_value", "run_metric", ["experiment", "key", "nan", "value"])
    op.create_table(
        "metric_point",
        sa.Column("run", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("nan", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("run", "key", "step", "time", "value", "nan"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dataset_input",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("source_type", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("profile", sa.Text(), nullable=False),
        sa.Column("context", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "name", "digest"),
    )
    op.create_table(
        "run_model",
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run", "model", "role"),
    )
    op.create_index("ix_run_model_model", "run_model", ["model"])
    op.create_table(
        "logged_model",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("experiment", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("artifact_location", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("model_type", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_logged_model_experiment_created_at", "logged_model", ["experiment", "created_at"])
    op.create_index("ix_logged_model_run", "logged_model", ["run"])
    op.create_table(
        "model_metric",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("dataset_name", sa.Text(), nullable=False),
        sa.Column("dataset_digest", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("time", sa.Double(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("model", "key", "dataset_name", "dataset_digest"),
    )
    op.create_table(
        "artifact",
        sa.Column("folder", sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("written_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("folder", "name"),
    )
    op.create_index("ix_artifact_digest", "artifact", ["digest"])
    for table, name, kind, default in (
        ("registered_model", "updated_at", sa.Double(), "0"),
        ("registered_model", "tags", sa.Text(), "{}"),
        ("registered_model", "versions", sa.BigInteger(), "0"),
        ("model_version", "description", sa.Text(), ""),
        ("model_version", "source", sa.Text(), ""),
        ("model_version", "artifact_location", sa.Text(), ""),
        ("model_version", "logged_model", sa.Text(), ""),
        ("model_version", "run_link", sa.Text(), ""),
        ("model_version", "stage", sa.Text(), "None"),
        ("model_version", "updated_at", sa.Double(), "0"),
    ):
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))
    op.create_index("ix_model_version_logged_model", "model_version", ["logged_model"])


def _move(connection: sa.Connection, old: dict[str, list[dict[str, object]]]) -> None:
    tables = sa.MetaData()
    tables.reflect(connection, only=["experiment", "run", "run_param", "run_tag", "run_metric", "metric_point"])
    begun = Counter(run["experiment"] for run in old["run"])
    named = {"Default": {"created_at": time.time(), "description": ""}} | {
        str(found["name"]): found for found in sorted(old["experiment"], key=lambda found: str(found["created_at"]))
    }
    experiments = {name: number for number, name in enumerate(sorted(named, key=lambda name: name != "Default"))}
    rows: dict[str, list[dict[str, object]]] = {title: [] for title in tables.tables}
    for name, number in experiments.items():
        made = named[name]["created_at"]
        rows["experiment"].append(
            {
                "number": number,
                "name": name,
                "created_at": made,
                "updated_at": made,
                "description": named[name]["description"],
                "artifact_location": f"mlflow-artifacts:/{number}",
                "tags": "{}",
                "runs": begun[name],
                "deleted_at": None,
            }
        )
    points: dict[object, list[dict[str, object]]] = {}
    for point in old["metric"]:
        points.setdefault(point["run"], []).append(point)
    for number, run in enumerate(sorted(old["run"], key=lambda run: float(str(run["started_at"]))), start=1):
        experiment = experiments[str(run["experiment"])]
        place = f"mlflow-artifacts:/{experiment}/{run['id']}/artifacts"
        kept = {name: value for name, value in run.items() if name not in ("params", "metrics", "tags")}
        rows["run"].append(kept | {"experiment": experiment, "artifact_location": place, "deleted_at": None})
        for table, field in (("run_param", "params"), ("run_tag", "tags")):
            for key, value in json.loads(str(run[field])).items():
                start = value[:_START_CHARACTERS]
                rows[table].append(
                    {"run": number, "key": key, "value": value, "experiment": experiment, "start": start}
                )
        last: dict[object, dict[str, object]] = {}
        for point in sorted(points.get(run["id"], []), key=lambda point: int(str(point["step"]))):
            rows["metric_point"].append({**point, "run": number, "nan": 0})
            last[point["key"]] = {**point, "run": number, "nan": 0, "experiment": experiment}
        rows["run_metric"] += last.values()
    for title, target in tables.tables.items():
        if rows[title]:
            connection.execute(sa.insert(target), rows[title])
