"""What a house has after the store of `mlflow_stores` was imported into it."""

import math

from mlflow_stores import DELETED, FILES, FINISHED, LOGGED, LOSSES, NOTE, ODD, RUNNING, START, TRASHED
from tournant.domain.logged_models import LoggedModel, ModelMetric
from tournant.domain.registry import ModelAlias, ModelVersion, RegisteredModel
from tournant.domain.run_query import HistoryQuery
from tournant.domain.tracking import DatasetInput, RunModel, RunStatus
from tournant.services.artifacts import artifact_path, find_artifacts
from tournant.services.context import Context
from tournant.services.experiments import find_experiment, restore_experiment
from tournant.services.tracking import get_run, read_history
from tournant.services.versions import create_version


def points(context: Context, run: str, key: str) -> list[tuple[int, float, float]]:
    """Give the points of a metric: step, time, value."""
    return [(p.step, p.time, p.value) for p in read_history(context, HistoryQuery(runs=(run,), key=key))]


def content(context: Context, location: str) -> dict[str, bytes]:
    """Give the files at a location."""
    base = artifact_path(location)
    found = {}
    for artifact in find_artifacts(context, base):
        with context.blobs.open(artifact.digest) as file:
            found[artifact.path.removeprefix(f"{base}/")] = file.read()
    return found


def check_runs(context: Context, *, deletion_times: bool = True) -> None:
    """Check that experiments and runs are here; a server does not tell when runs were deleted."""
    run = get_run(context, FINISHED)
    fraud = find_experiment(context, "fraud")
    assert fraud and fraud.tags["team"] == "risk" and fraud.created_at == (START + 1) / 1000
    assert (run.name, run.status, run.actor, run.experiment) == ("smooth-owl", RunStatus.SUCCESSFUL, "ada", "fraud")
    assert (run.started_at, run.ended_at, run.commit) == (START / 1000, START / 1000 + 5, "f" * 40)
    assert run.params == {"depth": "3", "a/b": "x"}
    assert run.tags["mlflow.note.content"] == NOTE and "mlflow.runName" not in run.tags
    assert points(context, FINISHED, "loss") == [(step, (START + step) / 1000, value) for step, value in LOSSES]
    odd = [value for _, _, value in points(context, FINISHED, "val/odd")]
    assert math.isnan(odd[0]) and odd[1:] == [value for _, value in ODD[1:]]
    assert content(context, run.artifact_location) == FILES
    with context.transactions.begin(write=False) as uow:
        dataset = uow.find(DatasetInput, run=FINISHED)[0]
        assert (dataset.name, dataset.digest, dataset.context, dataset.tags) == ("cards", "d1", "training", {})
        assert uow.find(RunModel, run=FINISHED) == [RunModel(run=FINISHED, model=LOGGED, role="output", step=7)]
    deleted = get_run(context, DELETED)
    assert (deleted.deleted_at == START / 1000 + 9) == deletion_times and deleted.deleted_at is not None
    assert (deleted.status, deleted.metrics) == (RunStatus.FAILED, {"loss": 9.0})
    assert get_run(context, RUNNING).status is RunStatus.RUNNING
    old = find_experiment(context, "old")
    assert old and old.deleted_at == START / 1000 + 1
    restore_experiment(context, old.number)
    restored = get_run(context, TRASHED)
    assert (restored.deleted_at, restored.params) == (None, {"depth": "1"})


def check_models(context: Context) -> None:
    """Check that logged and registered models are here."""
    with context.transactions.begin(write=False) as uow:
        logged = uow.get(LoggedModel, LOGGED)
        measured = uow.find(ModelMetric, model=LOGGED)
        model = uow.get(RegisteredModel, "churn")
        versions = {version.number: version for version in uow.find(ModelVersion, model="churn")}
        alias = uow.get(ModelAlias, "churn", "champion")
    assert logged and (logged.name, logged.run, logged.model_type, logged.status.value) == (
        "net",
        FINISHED,
        "tree",
        "ready",
    )
    assert (logged.params, logged.tags["size"]) == ({"width": "8"}, "small")
    assert content(context, logged.artifact_location) == {"MLmodel": b"flavors: {net: {}}\n"}
    assert [(m.key, m.value, m.step, m.dataset_name, m.run) for m in measured] == [("auc", 0.75, 1, "cards", FINISHED)]
    assert model and (model.description, model.tags["owner"], model.versions) == ("who leaves", "ada", 4)
    assert alias and alias.version == 3
    assert sorted(versions) == [1, 3, 4]
    one, three, four = versions[1], versions[3], versions[4]
    assert (one.stage, one.description, one.tags["n"], one.run) == ("Archived", "number 1", "1", FINISHED)
    assert one.created_at == (START + 1) / 1000
    inside = {path.removeprefix("model/"): data for path, data in FILES.items() if path.startswith("model/")}
    assert content(context, one.artifact_location) == inside
    assert (three.stage, three.logged_model, three.source) == ("Production", LOGGED, f"models:/{LOGGED}")
    assert content(context, three.artifact_location) == {"MLmodel": b"flavors: {net: {}}\n"}
    assert four.artifact_location == "hdfs://cluster/models/churn"
    assert create_version(context, "churn", source="s3://bucket/5").number == 5
