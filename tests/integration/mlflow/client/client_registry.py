"""What people do with MLflow's registry client. Runs in MLflow's environment."""

import uuid

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

client = MlflowClient()


@pytest.fixture
def name():
    """A name nobody has."""
    return f"model {uuid.uuid4().hex}"


def code_of(call, *arguments, **named):
    with pytest.raises(MlflowException) as caught:
        call(*arguments, **named)
    return caught.value.error_code


def test_registered_models_live_and_die(name):
    made = client.create_registered_model(name, tags={"team": "a"}, description="d")
    assert (made.name, made.description, made.tags) == (name, "d", {"team": "a"})
    assert code_of(client.create_registered_model, name) == "RESOURCE_ALREADY_EXISTS"
    client.update_registered_model(name, "better")
    client.set_registered_model_tag(name, "x", "1")
    client.delete_registered_model_tag(name, "team")
    found = client.get_registered_model(name)
    assert (found.description, found.tags) == ("better", {"x": "1"})
    client.rename_registered_model(name, name + "!")
    assert client.get_registered_model(name + "!").description == "better"
    assert code_of(client.get_registered_model, name) == "RESOURCE_DOES_NOT_EXIST"
    client.delete_registered_model(name + "!")
    assert code_of(client.get_registered_model, name + "!") == "RESOURCE_DOES_NOT_EXIST"
    for bad in ("", "a/b", "a:b", " "):
        assert code_of(client.create_registered_model, bad) == "INVALID_PARAMETER_VALUE"


def test_versions_count_on_and_keep_what_is_said(name):
    client.create_registered_model(name)
    first = client.create_model_version(name, "s3://bucket/one", run_id="r1", tags={"a": "b"}, description="d")
    second = client.create_model_version(name, "s3://bucket/two")
    assert (first.version, second.version, first.status, first.source) == ("1", "2", "READY", "s3://bucket/one")
    assert client.get_model_version_download_uri(name, "1") == "s3://bucket/one"
    client.update_model_version(name, "1", "better")
    client.set_model_version_tag(name, "1", "c", "d")
    client.delete_model_version_tag(name, "1", "a")
    found = client.get_model_version(name, "1")
    assert (found.description, found.tags, found.run_id) == ("better", {"c": "d"}, "r1")
    client.delete_model_version(name, "2")
    assert client.create_model_version(name, "s3://bucket/three").version == "3"
    assert code_of(client.get_model_version, name, "2") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.get_model_version, name, "x") == "INVALID_PARAMETER_VALUE"
    assert code_of(client.create_model_version, name + "?", "s3://b") == "RESOURCE_DOES_NOT_EXIST"


def test_aliases_move(name):
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, "s3://bucket")
    client.set_registered_model_alias(name, "champion", "1")
    client.set_registered_model_alias(name, "champion", "2")
    assert client.get_model_version_by_alias(name, "champion").version == "2"
    assert client.get_registered_model(name).aliases == {"champion": "2"}
    assert client.get_model_version(name, "2").aliases == ["champion"]
    assert code_of(client.set_registered_model_alias, name, "champion", "9") == "RESOURCE_DOES_NOT_EXIST"
    assert code_of(client.set_registered_model_alias, name, "latest", "1") == "INVALID_PARAMETER_VALUE"
    client.delete_registered_model_alias(name, "champion")
    assert code_of(client.get_model_version_by_alias, name, "champion") == "INVALID_PARAMETER_VALUE"


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stages_archive_what_was_there(name):
    client.create_registered_model(name)
    for _ in range(2):
        client.create_model_version(name, "s3://bucket")
    client.transition_model_version_stage(name, "1", "Production")
    client.transition_model_version_stage(name, "2", "production", archive_existing_versions=True)
    assert client.get_model_version(name, "1").current_stage == "Archived"
    assert [v.version for v in client.get_latest_versions(name, ["Production"])] == ["2"]
    assert code_of(client.transition_model_version_stage, name, "1", "Nonsense") == "INVALID_PARAMETER_VALUE"


def test_models_and_versions_are_searched(name):
    for i in range(3):
        client.create_registered_model(f"{name} {i}", tags={"half": str(i % 2)})
        client.create_model_version(f"{name} {i}", f"s3://bucket/{i}", run_id=f"{name}-{i}")
    found = client.search_registered_models(f"name LIKE '{name}%'", order_by=["name DESC"])
    assert [each.name for each in found] == [f"{name} {i}" for i in (2, 1, 0)]
    assert len(client.search_registered_models(f"name ILIKE '{name.upper()}%' AND tags.half = '0'")) == 2
    page = client.search_registered_models(f"name LIKE '{name}%'", max_results=2)
    assert (
        len(page) == 2 and len(client.search_registered_models(f"name LIKE '{name}%'", 2, page_token=page.token)) == 1
    )
    (version,) = client.search_model_versions(f"run_id = '{name}-1'")
    assert (version.name, version.version) == (f"{name} 1", "1")
    assert len(client.search_model_versions(f"name = '{name} 2' and version_number > 0")) == 1


def test_a_version_keeps_its_files_as_they_were(name):
    with mlflow.start_run() as active:
        mlflow.log_text("then", "model/MLmodel")
        made = mlflow.register_model(f"runs:/{active.info.run_id}/model", name)
        mlflow.log_text("later", "model/MLmodel")
    assert mlflow.artifacts.load_text(f"{client.get_model_version_download_uri(name, made.version)}/MLmodel") == "then"
    copied = client.copy_model_version(f"models:/{name}/{made.version}", f"{name} copy")
    assert mlflow.artifacts.load_text(f"models:/{name} copy/{copied.version}/MLmodel") == "then"
