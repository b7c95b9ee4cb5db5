"""Autologging, logging, registering and loading models with MLflow. Runs in MLflow's environment."""

import uuid

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow import MlflowClient
from sklearn.linear_model import LogisticRegression

client = MlflowClient()
rows = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)), columns=["a", "b", "c"])
labels = (rows.a + rows.b > 0).astype(int)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def experiment():
    """A new experiment, set active, without autologging at the end."""
    yield mlflow.set_experiment(f"models {uuid.uuid4().hex}")
    mlflow.autolog(disable=True)


def autologged(fit):
    mlflow.autolog(silent=True)
    with mlflow.start_run() as active:
        model = fit()
    mlflow.flush_async_logging()
    run = client.get_run(active.info.run_id)
    (output,) = run.outputs.model_outputs
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert np.allclose(np.asarray(loaded.predict(rows)).reshape(-1), np.asarray(model.predict(rows)).reshape(-1))
    return run


def test_scikit_learn_logs_itself():
    run = autologged(lambda: LogisticRegression(C=0.5).fit(rows, labels))
    assert run.data.params["C"] == "0.5" and run.data.metrics["training_accuracy_score"] > 0.9


def test_xgboost_logs_itself():
    run = autologged(lambda: xgboost.XGBClassifier(n_estimators=5).fit(rows, labels, eval_set=[(rows, labels)]))
    assert len(client.get_metric_history(run.info.run_id, "validation_0-logloss")) >= 5


def test_lightgbm_logs_itself():
    run = autologged(lambda: lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(rows, labels))
    assert run.data.params["boosting_type"] == "gbdt"


def test_a_model_is_logged_registered_and_loaded():
    name = f"m{uuid.uuid4().hex}"
    model = LogisticRegression().fit(rows, labels)
    with mlflow.start_run() as active:
        logged = mlflow.sklearn.log_model(model, name="model", registered_model_name=name, input_example=rows[:2])
        mlflow.log_metric("accuracy", 0.9, model_id=logged.model_id)
    version = client.get_model_version(name, "1")
    assert (version.run_id, version.source) == (active.info.run_id, f"models:/{logged.model_id}")
    client.set_registered_model_alias(name, "champion", "1")
    for address in (
        f"models:/{name}/1",
        f"models:/{name}@champion",
        logged.model_uri,
        f"runs:/{active.info.run_id}/model",
    ):
        loaded = mlflow.pyfunc.load_model(address)
        assert list(loaded.predict(rows)) == list(model.predict(rows))
    assert mlflow.sklearn.load_model(f"models:/{name}/latest").coef_ == pytest.approx(model.coef_)
    found = client.get_logged_model(logged.model_id)
    assert {metric.key: metric.value for metric in found.metrics} == {"accuracy": 0.9}
    assert [each.model_id for each in client.get_run(active.info.run_id).outputs.model_outputs] == [logged.model_id]


def test_logged_models_are_searched_tagged_and_deleted(experiment):
    models = []
    for i in range(3):
        model = mlflow.initialize_logged_model(name=f"n{i}", params={"depth": str(i)}, tags={"half": str(i % 2)})
        client.finalize_logged_model(model.model_id, "READY")
        client.set_logged_model_tags(model.model_id, {"x": "y"})
        client.delete_logged_model_tag(model.model_id, "x")
        client.log_model_params(model.model_id, {"more": "1"})
        models.append(client.get_logged_model(model.model_id))
    assert [str(model.status) for model in models] == ["READY"] * 3
    assert models[2].params == {"depth": "2", "more": "1"} and models[2].tags["half"] == "0"

    def names(**named):
        found = client.search_logged_models(experiment_ids=[experiment.experiment_id], **named)
        return [model.name for model in found]

    assert names() == ["n2", "n1", "n0"]
    assert names(filter_string="params.depth = '1'") == ["n1"]
    assert names(filter_string="name LIKE 'n%'", order_by=[{"field_name": "name", "ascending": True}]) == [
        "n0",
        "n1",
        "n2",
    ]
    client.delete_logged_model(models[0].model_id)
    assert names(filter_string="tags.half = '0'") == ["n2"]
