"""One small store of MLflow's, written as MLflow writes it: as an `mlruns` folder, and as its database.

An active experiment with a finished, a deleted and a running run, a deleted experiment, a logged model, and a registered model
whose version 2 was deleted and whose version 4 is where nobody reads.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

START = 1_700_000_000_000
FINISHED, DELETED, RUNNING, TRASHED = (digit * 32 for digit in "abcd")
LOGGED = f"m-{'e' * 32}"
LOSSES = [(step, 1.0 / (step + 1)) for step in range(12)]
ODD = [(0, math.nan), (1, math.inf), (2, -math.inf), (3, 1e300)]
NOTE = "first line\nzweite Zeile ü"
FILES = {
    "model/MLmodel": b"flavors: {}\n",
    "model/data/weights.bin": bytes(range(256)) * 5000,
    "plots/.hidden": b"x",
    "plots/größe 100% &.txt": b"",
}
STAGES = {1: "Archived", 2: "Deleted_Internal", 3: "Production", 4: "None"}


@dataclass
class StoredRun:
    """A run of the store."""

    id: str
    name: str
    status: str
    experiment: int = 1
    deleted: bool = False
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


RUNS = (
    StoredRun(
        FINISHED,
        "smooth-owl",
        "FINISHED",
        params={"depth": "3", "a/b": "x"},
        tags={"mlflow.source.git.commit": "f" * 40, "mlflow.note.content": NOTE, "mlflow.runName": "smooth-owl"},
        metrics={"loss": LOSSES, "val/odd": ODD},
        files=FILES,
    ),
    StoredRun(DELETED, "bad-crow", "FAILED", deleted=True, metrics={"loss": [(0, 9.0)]}),
    StoredRun(RUNNING, "busy-bee", "RUNNING", metrics={"loss": LOSSES[:2]}),
    StoredRun(TRASHED, "old-elk", "FINISHED", experiment=2, deleted=True, params={"depth": "1"}),
)
EXPERIMENTS = {0: ("Default", False), 1: ("fraud", False), 2: ("old", True)}
_NUMBERS = {"RUNNING": 1, "FINISHED": 3, "FAILED": 4}


def version_sources(root: Path) -> dict[int, str]:
    """Say where the versions of `churn` are."""
    inside = f"{root}/1/{FINISHED}/artifacts/model"
    return {1: inside, 2: inside, 3: f"models:/{LOGGED}", 4: "hdfs://cluster/models/churn"}


def write_mlruns(root: Path) -> Path:
    """Write the store as an `mlruns` folder."""
    for number, (name, deleted) in EXPERIMENTS.items():
        folder = _experiment(root, number)
        meta = {
            "artifact_location": f"file:///elsewhere/mlruns/{number}",
            "creation_time": START + number,
            "experiment_id": str(number),
            "last_update_time": START + 1000,
            "lifecycle_stage": "deleted" if deleted else "active",
            "name": name,
        }
        _yaml(folder, meta)
    _texts(_experiment(root, 1) / "tags", {"team": "risk"})
    for run in RUNS:
        write_run(root, run)
    _write_inputs(_experiment(root, 1))
    _write_models(root)
    return root


def write_run(root: Path, run: StoredRun) -> None:
    """Write a run, or write it again."""
    folder = _experiment(root, run.experiment) / run.id
    meta = {
        "artifact_uri": f"file:///elsewhere/mlruns/{run.experiment}/{run.id}/artifacts",
        "end_time": None if run.status == "RUNNING" else START + 5000,
        "deleted_time": START + 9000 if run.deleted else None,
        "experiment_id": str(run.experiment),
        "lifecycle_stage": "deleted" if run.deleted else "active",
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "start_time": START,
        "status": _NUMBERS[run.status],
        "user_id": "ada",
        "tags": [],
    }
    _yaml(folder, meta)
    _texts(folder / "params", run.params)
    _texts(folder / "tags", run.tags)
    for key, points in run.metrics.items():
        _texts(folder / "metrics", {key: "".join(f"{START + step} {float(value)} {step}\n" for step, value in points)})
    _files(folder / "artifacts", run.files)


def _write_inputs(folder: Path) -> None:
    dataset = {"name": "cards", "digest": "d1", "source_type": "local", "source": "{}", "schema": None, "profile": None}
    _yaml(folder / "datasets" / "set1", dataset)
    read = {"source_type": "DATASET", "source_id": "set1", "destination_type": "RUN", "destination_id": "set1"}
    _yaml(folder / FINISHED / "inputs" / "i1", {**read, "tags": {"mlflow.data.context": "training"}})
    made = {"source_type": "RUN_OUTPUT", "source_id": LOGGED, "destination_type": "MODEL_OUTPUT"}
    _yaml(folder / FINISHED / "outputs" / LOGGED, {**made, "destination_id": LOGGED, "tags": {}, "step": 7})


def _write_models(root: Path) -> None:
    folder = _experiment(root, 1) / "models" / LOGGED
    meta = {
        "artifact_location": f"file:///elsewhere/mlruns/1/models/{LOGGED}/artifacts",
        "creation_timestamp": START,
        "last_updated_timestamp": START + 10,
        "experiment_id": "1",
        "lifecycle_stage": "active",
        "model_id": LOGGED,
        "model_type": "tree",
        "name": "net",
        "source_run_id": FINISHED,
        "status": 2,
    }
    _yaml(folder, meta)
    _texts(folder / "params", {"width": "8"})
    _texts(folder / "tags", {"size": "small"})
    lines = [f"{START} 0.5 0 {FINISHED} cards d1", f"{START + 1} 0.75 1 {FINISHED} cards d1"]
    _texts(folder / "metrics", {"auc": "\n".join(lines) + "\n"})
    _files(folder / "artifacts", {"MLmodel": b"flavors: {net: {}}\n"})
    model = root / "models" / "churn"
    _yaml(
        model,
        {"name": "churn", "creation_timestamp": START, "last_updated_timestamp": START, "description": "who leaves"},
    )
    _texts(model / "tags", {"owner": "ada"})
    _texts(model / "aliases", {"champion": "3"})
    for number, source in version_sources(root).items():
        version = {
            "creation_timestamp": START + number,
            "current_stage": STAGES[number],
            "description": f"number {number}",
            "last_updated_timestamp": START + 100,
            "name": "churn",
            "run_id": FINISHED if number < 3 else "",
            "run_link": "",
            "source": source,
            "storage_location": source,
            "version": str(number),
        }
        _yaml(model / f"version-{number}", version)
        _texts(model / f"version-{number}" / "tags", {"n": str(number)})
    prompt = root / "models" / "greeting"
    _yaml(prompt, {"name": "greeting", "creation_timestamp": START, "last_updated_timestamp": START})
    _texts(prompt / "tags", {"mlflow.prompt.is_prompt": "true"})


def _experiment(root: Path, number: int) -> Path:
    return root / (".trash" if EXPERIMENTS[number][1] else "") / str(number)


def _yaml(folder: Path, meta: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "meta.yaml").write_text(yaml.safe_dump(meta))


def _texts(folder: Path, texts: dict[str, str]) -> None:
    _files(folder, {key: value.encode() for key, value in texts.items()})


def _files(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


_SCHEMA = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256) NOT NULL UNIQUE, artifact_location VARCHAR(256),
  lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT, workspace VARCHAR(63) DEFAULT 'default');
CREATE TABLE experiment_tags (key VARCHAR(250), value VARCHAR(5000), experiment_id INTEGER, PRIMARY KEY (key, experiment_id));
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), source_type VARCHAR(20), source_name VARCHAR(500),
  entry_point_name VARCHAR(50), user_id VARCHAR(256), status VARCHAR(9), start_time BIGINT, end_time BIGINT, deleted_time BIGINT,
  source_version VARCHAR(50), lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
CREATE TABLE params (key VARCHAR(250), value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE tags (key VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE metrics (key VARCHAR(250), value FLOAT NOT NULL, timestamp BIGINT NOT NULL, run_uuid VARCHAR(32), step BIGINT NOT NULL,
  is_nan BOOLEAN NOT NULL, PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
CREATE TABLE latest_metrics (key VARCHAR(250), value FLOAT NOT NULL, timestamp BIGINT, step BIGINT NOT NULL, is_nan BOOLEAN NOT NULL,
  run_uuid VARCHAR(32), PRIMARY KEY (key, run_uuid));
CREATE TABLE datasets (dataset_uuid VARCHAR(36), experiment_id INTEGER, name VARCHAR(500), digest VARCHAR(36),
  dataset_source_type VARCHAR(36), dataset_source TEXT, dataset_schema TEXT, dataset_profile TEXT);
CREATE TABLE inputs (input_uuid VARCHAR(36), source_type VARCHAR(36), source_id VARCHAR(36), destination_type VARCHAR(36),
  destination_id VARCHAR(36), step BIGINT DEFAULT 0);
CREATE TABLE input_tags (input_uuid VARCHAR(36), name VARCHAR(255), value VARCHAR(500));
CREATE TABLE logged_models (model_id VARCHAR(36) PRIMARY KEY, experiment_id INTEGER, name VARCHAR(500), artifact_location VARCHAR(1000),
  creation_timestamp_ms BIGINT, last_updated_timestamp_ms BIGINT, status INTEGER, lifecycle_stage VARCHAR(32), model_type VARCHAR(500),
  source_run_id VARCHAR(32), status_message VARCHAR(1000));
CREATE TABLE logged_model_params (model_id VARCHAR(36), experiment_id INTEGER, param_key VARCHAR(255), param_value TEXT);
CREATE TABLE logged_model_tags (model_id VARCHAR(36), experiment_id INTEGER, tag_key VARCHAR(255), tag_value TEXT);
CREATE TABLE logged_model_metrics (model_id VARCHAR(36), metric_name VARCHAR(500), metric_timestamp_ms BIGINT, metric_step BIGINT,
  metric_value FLOAT, experiment_id INTEGER, run_id VARCHAR(32), dataset_uuid VARCHAR(36), dataset_name VARCHAR(500),
  dataset_digest VARCHAR(36));
CREATE TABLE registered_models (name VARCHAR(256) PRIMARY KEY, creation_time BIGINT, last_updated_time BIGINT, description VARCHAR(5000));
CREATE TABLE registered_model_tags (name VARCHAR(256), key VARCHAR(250), value VARCHAR(5000));
CREATE TABLE registered_model_aliases (name VARCHAR(256), alias VARCHAR(256), version INTEGER);
CREATE TABLE model_versions (name VARCHAR(256), version INTEGER, creation_time BIGINT, last_updated_time BIGINT, description VARCHAR(5000),
  user_id VARCHAR(256), current_stage VARCHAR(20), source VARCHAR(500), storage_location VARCHAR(500), run_id VARCHAR(32),
  run_link VARCHAR(500), status VARCHAR(20), status_message VARCHAR(500));
CREATE TABLE model_version_tags (name VARCHAR(256), version INTEGER, key VARCHAR(250), value TEXT)
"""
SINCE_MLFLOW_2 = (
    "experiment_tags",
    "datasets",
    "inputs",
    "input_tags",
    "registered_model_aliases",
    *(f"logged_model{rest}" for rest in ("s", "_params", "_tags", "_metrics")),
)  # tables that databases of MLflow 1 and 2 lack


def write_database(engine: sa.Engine, root: Path) -> None:
    """Write the store as MLflow's database; the files are those of an `mlruns` folder at `root`."""
    with engine.begin() as connection:
        for statement in _SCHEMA.split(";"):
            connection.execute(sa.text(statement))
        for number, (name, deleted) in EXPERIMENTS.items():
            values = {"experiment_id": number, "name": name, "lifecycle_stage": "deleted" if deleted else "active"}
            _insert(
                connection, "experiments", {**values, "creation_time": START + number, "last_update_time": START + 1000}
            )
        _insert(connection, "experiment_tags", {"key": "team", "value": "risk", "experiment_id": 1})
        for run in RUNS:
            insert_run(connection, run, root)
        _insert_inputs(connection)
        _insert_models(connection, root)


def insert_run(connection: sa.Connection, run: StoredRun, root: Path) -> None:
    """Insert a run with what it has."""
    values = {
        "run_uuid": run.id,
        "name": run.name,
        "user_id": "ada",
        "status": run.status,
        "start_time": START,
        "end_time": None if run.status == "RUNNING" else START + 5000,
        "deleted_time": START + 9000 if run.deleted else None,
        "lifecycle_stage": "deleted" if run.deleted else "active",
        "artifact_uri": (_experiment(root, run.experiment) / run.id / "artifacts").as_uri(),
        "experiment_id": run.experiment,
    }
    _insert(connection, "runs", values)
    for table, texts in (("params", run.params), ("tags", run.tags)):
        for key, value in texts.items():
            _insert(connection, table, {"key": key, "value": value, "run_uuid": run.id})
    for key, points in run.metrics.items():
        rows = [_stored(run.id, key, step, value) for step, value in points]
        for row in rows:
            _insert(connection, "metrics", row)
        _insert(connection, "latest_metrics", rows[-1])


def _stored(run: str, key: str, step: int, value: float) -> dict[str, Any]:
    """Write a point as MLflow does: its database has no NaN and no infinities."""
    largest = 1.7976931348623157e308
    kept = 0.0 if math.isnan(value) else max(-largest, min(largest, value))
    return {
        "key": key,
        "value": kept,
        "timestamp": START + step,
        "step": step,
        "is_nan": math.isnan(value),
        "run_uuid": run,
    }


def _insert_inputs(connection: sa.Connection) -> None:
    dataset = {
        "dataset_uuid": "set1",
        "experiment_id": 1,
        "name": "cards",
        "digest": "d1",
        "dataset_source_type": "local",
    }
    _insert(connection, "datasets", {**dataset, "dataset_source": "{}"})
    read = {"source_type": "DATASET", "source_id": "set1", "destination_type": "RUN", "destination_id": FINISHED}
    _insert(connection, "inputs", {"input_uuid": "i1", **read})
    _insert(connection, "input_tags", {"input_uuid": "i1", "name": "mlflow.data.context", "value": "training"})
    made = {"source_type": "RUN_OUTPUT", "source_id": FINISHED, "destination_type": "MODEL_OUTPUT"}
    _insert(connection, "inputs", {"input_uuid": "i2", **made, "destination_id": LOGGED, "step": 7})


def _insert_models(connection: sa.Connection, root: Path) -> None:
    model = {"model_id": LOGGED, "experiment_id": 1}
    values = {"name": "net", "creation_timestamp_ms": START, "last_updated_timestamp_ms": START + 10, "status": 2}
    place = (root / "1" / "models" / LOGGED / "artifacts").as_uri()
    about = {"lifecycle_stage": "active", "model_type": "tree", "source_run_id": FINISHED, "artifact_location": place}
    _insert(connection, "logged_models", {**model, **values, **about})
    _insert(connection, "logged_model_params", {**model, "param_key": "width", "param_value": "8"})
    _insert(connection, "logged_model_tags", {**model, "tag_key": "size", "tag_value": "small"})
    for step, value in ((0, 0.5), (1, 0.75)):
        point = {"metric_name": "auc", "metric_timestamp_ms": START + step, "metric_step": step, "metric_value": value}
        on = {"run_id": FINISHED, "dataset_name": "cards", "dataset_digest": "d1"}
        _insert(connection, "logged_model_metrics", {**model, **point, **on})
    times = {"creation_time": START, "last_updated_time": START}
    _insert(connection, "registered_models", {"name": "churn", **times, "description": "who leaves"})
    _insert(connection, "registered_models", {"name": "greeting", **times})
    for name, key, value in (("churn", "owner", "ada"), ("greeting", "mlflow.prompt.is_prompt", "true")):
        _insert(connection, "registered_model_tags", {"name": name, "key": key, "value": value})
    _insert(connection, "registered_model_aliases", {"name": "churn", "alias": "champion", "version": 3})
    for number, source in version_sources(root).items():
        version = {
            "name": "churn",
            "version": number,
            "creation_time": START + number,
            "last_updated_time": START + 100,
            "description": f"number {number}",
            "current_stage": STAGES[number],
            "source": source,
            "storage_location": source,
            "run_id": FINISHED if number < 3 else "",
        }
        _insert(connection, "model_versions", version)
        _insert(
            connection, "model_version_tags", {"name": "churn", "version": number, "key": "n", "value": str(number)}
        )


def _insert(connection: sa.Connection, table: str, values: dict[str, Any]) -> None:
    columns, marks = ", ".join(f'"{name}"' for name in values), ", ".join(f":{name}" for name in values)
    connection.execute(sa.text(f"INSERT INTO {table} ({columns}) VALUES ({marks})"), values)
