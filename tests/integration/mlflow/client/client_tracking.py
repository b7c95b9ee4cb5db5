"""What people do with MLflow's tracking client. Runs in MLflow's environment."""

import math
import threading
import time
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

client = MlflowClient()


@pytest.fixture
def experiment():
    """A new experiment, set active."""
    name = f"experiment {uuid.uuid4().hex}"
    mlflow.set_experiment(name)
    return client.get_experiment_by_name(name)


def code_of(call, *arguments, **named):
    with pytest.raises(MlflowException) as caught:
        call(*arguments, **named)
    return caught.value.error_code


def test_the_default_experiment_is_number_zero():
    assert client.get_experiment("0").name == "Default"


def test_experiments_live_and_die():
    name = f"ü 'x\" {uuid.uuid4().hex}"
    number = client.create_experiment(name, tags={"team": "a"})
    client.set_experiment_tag(number, "mlflow.note.content", "why")
    client.delete_experiment_tag(number, "team")
    assert client.get_experiment(number).tags == {"mlflow.note.content": "why"}
    assert code_of(client.create_experiment, name) == "RESOURCE_ALREADY_EXISTS"
    client.rename_experiment(number, name + "!")
    assert client.get_experiment_by_name(name) is None
    run = client.create_run(number)
    client.delete_experiment(number)
    assert client.get_experiment(number).lifecycle_stage == "deleted"
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "deleted"
    assert code_of(client.create_experiment, name + "!") == "RESOURCE_ALREADY_EXISTS"
    assert code_of(client.create_run, number) == "INVALID_PARAMETER_VALUE"
    client.restore_experiment(number)
    assert client.get_run(run.info.run_id).info.lifecycle_stage == "active"
    assert code_of(client.get_experiment, "999999") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.get_experiment, "nonsense") == "RESOURCE_DOES_NOT_EXIST"


def test_experiments_are_searched_and_paged():
    mark = uuid.uuid4().hex
    names = [f"{mark} {i}" for i in range(5)]
    for i, name in enumerate(names):
        client.create_experiment(name, tags={"half": str(i % 2)})
    found = client.search_experiments(filter_string=f"name LIKE '{mark}%'", order_by=["name DESC"])
    assert [each.name for each in found] == names[::-1]
    found = client.search_experiments(filter_string=f"name LIKE '{mark}%' AND tags.half = '1'", order_by=["name"])
    assert [each.name for each in found] == names[1::2]
    page = client.search_experiments(filter_string=f"name LIKE '{mark}%'", order_by=["experiment_id"], max_results=3)
    rest = client.search_experiments(
        filter_string=f"name LIKE '{mark}%'", order_by=["experiment_id"], max_results=3, page_token=page.token
    )
    assert [each.name for each in [*page, *rest]] == names and not rest.token


def test_a_run_records_everything(experiment):
    with mlflow.start_run(run_name="first", tags={"kind": "test"}, description="said of it") as active:
        mlflow.log_params({"depth": 3, "long": "x" * 5999, "empty": ""})
        for step, value in enumerate([0.5, math.nan, math.inf, -math.inf, 1e308]):
            mlflow.log_metric("loss", value, step=step, timestamp=1_700_000_000_000 + step)
        mlflow.log_metrics({"a/b c": -1.5, "zero": 0}, step=-3)
        mlflow.set_tags({"x": "1", "y": "2"})
        mlflow.delete_tag("x")
    run = client.get_run(active.info.run_id)
    assert (run.info.run_name, run.info.status, run.info.experiment_id) == (
        "first",
        "FINISHED",
        experiment.experiment_id,
    )
    assert run.info.end_time >= run.info.start_time
    assert run.data.params == {"depth": "3", "long": "x" * 5999, "empty": ""}
    assert run.data.metrics == {"loss": 1e308, "a/b c": -1.5, "zero": 0.0}
    assert {
        "kind": "test",
        "y": "2",
        "mlflow.runName": "first",
        "mlflow.note.content": "said of it",
    }.items() <= run.data.tags.items()
    assert "x" not in run.data.tags
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(p.step, p.timestamp) for p in history] == [(i, 1_700_000_000_000 + i) for i in range(5)]
    assert math.isnan(history[1].value) and history[2].value == math.inf and history[3].value == -math.inf


def test_an_exception_fails_the_run(experiment):
    with pytest.raises(ZeroDivisionError), mlflow.start_run() as active:
        1 / 0  # noqa: B018
    assert client.get_run(active.info.run_id).info.status == "FAILED"


def test_a_run_goes_on_by_its_id(experiment):
    with mlflow.start_run() as active:
        mlflow.log_param("a", 1)
    with mlflow.start_run(run_id=active.info.run_id):
        assert client.get_run(active.info.run_id).info.status == "RUNNING"
        mlflow.log_param("a", 1)
    client.set_tag(active.info.run_id, "mlflow.runName", "renamed")
    assert client.get_run(active.info.run_id).info.run_name == "renamed"
    client.update_run(active.info.run_id, status="KILLED", name="again")
    run = client.get_run(active.info.run_id)
    assert (run.info.status, run.info.run_name, run.data.tags["mlflow.runName"]) == ("KILLED", "again", "again")


def test_nested_runs_find_their_children(experiment):
    with mlflow.start_run() as parent:
        for _ in range(3):
            with mlflow.start_run(nested=True):
                mlflow.log_metric("m", 1)
    children = client.search_runs([experiment.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert len(children) == 3


def test_errors_are_those_that_clients_know(experiment):
    run = client.create_run(experiment.experiment_id).info.run_id
    client.log_param(run, "p", 1)
    assert code_of(client.log_param, run, "p", 2) == "INVALID_PARAMETER_VALUE"
    assert code_of(client.get_run, "0" * 32) == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.log_metric, "0" * 32, "m", 1) == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.delete_tag, run, "nobody") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.search_runs, [experiment.experiment_id], "metrics.x ~ 1") == "INVALID_PARAMETER_VALUE"
    assert code_of(client.search_runs, [experiment.experiment_id], max_results=50_001) == "INVALID_PARAMETER_VALUE"
    assert code_of(client.search_runs, [experiment.experiment_id], page_token="garbage") == "INVALID_PARAMETER_VALUE"
    client.delete_run(run)
    assert code_of(client.log_metric, run, "m", 1) == "INVALID_PARAMETER_VALUE"
    client.restore_run(run)
    client.log_metric(run, "m", 1)


def test_a_batch_is_all_or_nothing_and_may_come_twice(experiment):
    run = client.create_run(experiment.experiment_id).info.run_id
    metrics = [Metric("m", i / 7, 1000 + i, i) for i in range(1000)]
    for _ in range(2):
        client.log_batch(run, metrics=metrics)
    client.log_batch(
        run, params=[Param(f"p{i}", str(i)) for i in range(100)], tags=[RunTag(f"t{i}", "") for i in range(100)]
    )
    assert [(p.step, p.value) for p in client.get_metric_history(run, "m")] == [(i, i / 7) for i in range(1000)]
    assert len(client.get_run(run).data.params) == 100
    assert (
        code_of(client.log_batch, run, metrics=[Metric("n", 1, 0, 0)], params=[Param("p1", "other")])
        == "INVALID_PARAMETER_VALUE"
    )
    assert client.get_metric_history(run, "n") == []


def test_runs_are_searched_ordered_and_paged(experiment):
    for i in range(12):
        run = client.create_run(experiment.experiment_id, start_time=1000 + i, run_name=f"r{i:02}").info.run_id
        values = [math.nan] if i == 5 else [] if i == 6 else [float(i % 4)]
        client.log_batch(run, [Metric("m", v, 0, 0) for v in values], [Param("p", "ab"[i % 2])], [RunTag("t", str(i))])

    def names(*arguments, **named):
        return [run.info.run_name for run in client.search_runs([experiment.experiment_id], *arguments, **named)]

    assert names() == [f"r{i:02}" for i in reversed(range(12))]
    assert names(order_by=["metrics.m DESC"])[:3] == ["r11", "r07", "r03"]
    assert names(order_by=["metrics.m"])[-2:] == ["r05", "r06"]
    assert names("metrics.m >= 2 and params.p = 'a'", order_by=["start_time ASC"]) == ["r02", "r10"]
    assert names("metrics.m >= 2 and (params.p = 'a' or tags.t = '3')", order_by=["start_time"]) == [
        "r02",
        "r03",
        "r10",
    ]
    assert names("attributes.run_name LIKE 'r0%' and tags.mlflow.runName ILIKE 'R%9'") == ["r09"]
    pages, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=5, page_token=token)
        pages.append([run.info.run_name for run in page])
        token = page.token
        if not token:
            break
    assert [len(page) for page in pages] == [5, 5, 2]
    frame = mlflow.search_runs([experiment.experiment_id], filter_string="params.p = 'b'")
    assert len(frame) == 6 and set(frame["params.p"]) == {"b"}
    client.delete_run(client.search_runs([experiment.experiment_id], "tags.t = '0'")[0].info.run_id)
    assert len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)) == 1
    assert len(client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)) == 12


def test_datasets_are_inputs_and_searchable(experiment):
    data = mlflow.data.from_pandas(pd.DataFrame({"a": [1.0, 2.0]}), name="tiny", targets="a")
    with mlflow.start_run() as active:
        mlflow.log_input(data, context="training", tags={"part": "first"})
    (given,) = client.get_run(active.info.run_id).inputs.dataset_inputs
    assert (given.dataset.name, given.dataset.digest) == ("tiny", data.digest)
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training", "part": "first"}
    for text in ("datasets.name = 'tiny'", f"dataset.digest = '{data.digest}'", "datasets.context IN ('training')"):
        found = client.search_runs([experiment.experiment_id], text)
        assert [run.info.run_id for run in found] == [active.info.run_id]


def test_artifacts_go_up_and_come_down(experiment, tmp_path):
    content = np.random.default_rng(0).bytes(5_000_000)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "large ü 1.bin").write_bytes(content)
    (tmp_path / "in" / "deep" / "empty.txt").write_text("")
    with mlflow.start_run() as active:
        mlflow.log_artifacts(str(tmp_path / "in"), "out")
        mlflow.log_text("hello", "notes/hello.txt")
        mlflow.log_text("hello again", "notes/hello.txt")
        mlflow.log_dict({"a": [1]}, "d.json")
    run = active.info.run_id
    assert {(f.path, f.is_dir) for f in client.list_artifacts(run)} >= {
        ("out", True),
        ("notes", True),
        ("d.json", False),
    }
    listed = {f.path: f.file_size for f in client.list_artifacts(run, "out")}
    assert listed == {"out/large ü 1.bin": len(content), "out/deep": None}
    target = client.download_artifacts(run, "out", str(tmp_path))
    assert Path(target, "large ü 1.bin").read_bytes() == content
    assert mlflow.artifacts.load_text(f"runs:/{run}/notes/hello.txt") == "hello again"
    assert mlflow.artifacts.load_dict(f"{active.info.artifact_uri}/d.json") == {"a": [1]}
    assert client.list_artifacts(run, "nowhere") == []


def test_large_artifacts_may_go_up_in_parts(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", str(1_000_000))
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5_242_880))
    content = np.random.default_rng(1).bytes(12_000_000)
    (tmp_path / "large.bin").write_bytes(content)
    with mlflow.start_run() as active:
        mlflow.log_artifact(str(tmp_path / "large.bin"))
    target = client.download_artifacts(active.info.run_id, "large.bin", str(tmp_path / "."))
    assert Path(target).read_bytes() == content


def test_logging_behind_the_callers_back(experiment):
    with mlflow.start_run() as active:
        for step in range(200):
            mlflow.log_metric("m", step, step=step, synchronous=False)
        mlflow.log_params({"a": 1}, synchronous=False)
    mlflow.flush_async_logging()
    assert [p.value for p in client.get_metric_history(active.info.run_id, "m")] == list(range(200))


def test_system_metrics_arrive(experiment):
    with mlflow.start_run(log_system_metrics=True) as active:
        time.sleep(3.5)
    assert any(key.startswith("system/") for key in client.get_run(active.info.run_id).data.metrics)


def test_two_that_create_the_same_name_get_one():
    name, outcomes = uuid.uuid4().hex, []

    def create():
        try:
            outcomes.append(client.create_experiment(name))
        except MlflowException as exc:
            outcomes.append(exc.error_code)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("RESOURCE_ALREADY_EXISTS") == 7


def test_what_is_not_served_is_said_so():
    assert code_of(client.search_traces, experiment_ids=["0"]) in ("ENDPOINT_NOT_FOUND", "INTERNAL_ERROR")
