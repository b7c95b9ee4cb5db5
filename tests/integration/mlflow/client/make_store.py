"""Makes a store with MLflow itself, and writes down what MLflow's own client reads from it. Runs in MLflow's environment."""

import contextlib
import hashlib
import json
import pathlib
import sys
import tempfile

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression

client = MlflowClient()


def make() -> None:
    """Runs that nest, read data, log models and are deleted; a registered model with versions, an alias and a stage."""
    mlflow.set_experiment("moving house")
    rows = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 0, 1, 1]})
    with mlflow.start_run(run_name="parent") as parent:
        mlflow.log_params({"depth": 3, "note": "a b\nc"})
        mlflow.set_tag("mlflow.note.content", "# why")
        for step in range(50):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metric("odd", float("nan"))
        mlflow.log_input(mlflow.data.from_pandas(rows, name="rows"), context="training")
        mlflow.log_text("hello", "deep/er/text.txt")
        with mlflow.start_run(nested=True, run_name="child"):
            mlflow.log_metric("loss", 7.0)
        fitted = LogisticRegression().fit(rows[["x"]], rows["y"])
        for _ in range(2):
            mlflow.sklearn.log_model(
                fitted, name="model", registered_model_name="mover", pip_requirements=["scikit-learn"]
            )
    with mlflow.start_run(run_name="gone") as gone:
        mlflow.log_param("p", "1")
    client.delete_run(gone.info.run_id)
    client.delete_experiment(client.create_experiment("closed"))
    client.set_registered_model_alias("mover", "champion", "2")
    client.set_model_version_tag("mover", "1", "checked", "yes")
    client.create_model_version("mover", f"{parent.info.artifact_uri}/deep", run_id=parent.info.run_id)
    client.delete_model_version("mover", client.create_model_version("mover", "s3://nowhere/x").version)


def describe_run(run) -> dict:
    """Say what MLflow reads of a run."""
    keys = sorted(run.data.metrics)
    histories = {
        key: [[p.step, p.timestamp, str(p.value)] for p in client.get_metric_history(run.info.run_id, key)]
        for key in keys
    }
    return {
        "name": run.info.run_name,
        "status": run.info.status,
        "started": run.info.start_time,
        "ended": run.info.end_time,
        "deleted": run.info.lifecycle_stage == "deleted",
        "params": run.data.params,
        "tags": {key: value for key, value in run.data.tags.items() if key != "mlflow.runName"},
        "histories": histories,
        "datasets": [each.dataset.name for each in run.inputs.dataset_inputs],
        "outputs": [each.model_id for each in client.get_run(run.info.run_id).outputs.model_outputs],
        "files": describe_files(run.info.artifact_uri),
    }


def describe_files(uri: str) -> dict[str, str]:
    """Give what stands at an address: paths and digests."""
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(MlflowException):  # there is no folder where nothing was logged
            mlflow.artifacts.download_artifacts(uri, dst_path=folder)
        inner = pathlib.Path(folder)
        files = [path for path in inner.rglob("*") if path.is_file()]
        top = uri.rstrip("/").rpartition("/")[2]
        return {
            path.relative_to(inner).as_posix().removeprefix(f"{top}/"): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
        }


def describe() -> dict:
    """Say what MLflow reads of the store."""
    experiments = client.search_experiments(view_type=ViewType.ALL)
    runs = client.search_runs([each.experiment_id for each in experiments], run_view_type=ViewType.ALL)
    versions = client.search_model_versions("name = 'mover'")
    return {
        "experiments": {each.name: each.lifecycle_stage for each in experiments},
        "runs": {run.info.run_id: describe_run(run) for run in runs},
        "versions": {
            each.version: {
                "run": each.run_id or "",
                "tags": each.tags,
                "files": describe_files(client.get_model_version_download_uri("mover", each.version)),
            }
            for each in versions
        },
        "aliases": client.get_registered_model("mover").aliases,
    }


make()
pathlib.Path(sys.argv[1]).write_text(json.dumps(describe()))
