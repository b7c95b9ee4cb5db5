"""Registering, naming and tracing model versions; the converter here only tells a signature from the example."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tournant.domain.control import Event
from tournant.domain.deployment import Revision, RevisionState
from tournant.domain.registry import Conversion, ConversionStatus, ModelVersion
from tournant.errors import Invalid, NotFound
from tournant.ports import ConversionRequest, Inspection, InspectionRequest
from tournant.services.aliases import set_alias
from tournant.services.context import Context
from tournant.services.data import add_dataset_version
from tournant.services.model_files import ModelFolder, open_model_folder
from tournant.services.project_models import register_file
from tournant.services.registry import (
    Provenance,
    Reference,
    get_version,
    lineage,
    list_models,
    list_versions,
    register_model,
)
from tournant.services.tracking import create_run


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    """Give a model folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"weights")
    (folder / "input_example.json").write_text(json.dumps([{"x": 1.5, "carrier": "UA"}]))
    return open_model_folder(folder)


def register(context: Context, model: ModelFolder, **options: object) -> ModelVersion:
    """Register the model as `m`."""
    environment = context.environments.lock(python="", requirements="")
    return register_model(context, model, name="m", environment=environment, **options)  # type: ignore[arg-type]


def parquet(path: Path, query: str) -> Path:
    """Write a query's rows."""
    duckdb.sql(f"copy ({query}) to '{path}' (format parquet)")
    return path


def test_a_version_has_all_it_needs(context: Context, model: ModelFolder, tmp_path: Path) -> None:
    """Files, signature, example, reference rows and where it comes from; the alias moves with it; one event each."""
    rows = parquet(tmp_path / "rows.parquet", "select 1.0 x, 'UA' carrier, 1 late, 5.0 t")
    provenance = Provenance(run="r", datasets=("d@1",), metrics={"auc": 0.7}, tags={"a": "b"})
    reference = Reference(path=rows, label="late", time="t")
    version = register(context, model, provenance=provenance, reference=reference, alias="champion")
    assert (version.id, version.entry, version.predict) == ("m@1", "model.pkl", "predict_proba")
    assert [(column.name, column.type.value) for column in version.signature.inputs] == [
        ("x", "number"),
        ("carrier", "string"),
    ]
    assert version.example == ({"x": 1.5, "carrier": "UA"},)
    assert (version.datasets, version.metrics, version.tags) == (("d@1",), {"auc": 0.7}, {"a": "b"})
    assert (version.reference_label, version.reference_time) == ("late", "t")
    assert context.blobs.path(version.reference).read_bytes() == rows.read_bytes()
    assert set(context.blobs.tree(version.digest).files) == {"model.pkl", "input_example.json"}
    assert get_version(context, "m@champion") == get_version(context, "m@1") == get_version(context, "m") == version
    with context.transactions.begin(write=False) as uow:
        kinds = [event.kind for event in uow.find(Event, order="recorded_at")]
    assert kinds == ["model.version_registered", "model.alias_set"]


def test_reference_rows_must_have_the_models_columns(context: Context, model: ModelFolder, tmp_path: Path) -> None:
    """The error names what is missing and what is there."""
    rows = parquet(tmp_path / "rows.parquet", "select 1.0 x, 1 label")
    with pytest.raises(Invalid, match=r"no column 'carrier', 'late' \(they have: x, label\)"):
        register(context, model, reference=Reference(path=rows, label="late"))
    assert list_models(context) == []


def test_without_an_example_the_reference_rows_give_one(context: Context, model: ModelFolder, tmp_path: Path) -> None:
    """With the columns that the model says it takes."""
    rows = parquet(tmp_path / "rows.parquet", "select 2.0 x, 'y' z, 1 late union all select 'nan'::double, 'y', 0")
    version = register(context, replace(model, example=()), reference=Reference(path=rows, label="late"))
    assert version.example == ({"x": 2.0}, {"x": None})


class OnnxConverter:
    """Converts anything into the same bytes."""

    def inspect(self, request: InspectionRequest) -> Inspection:
        raise NotImplementedError

    def convert(self, request: ConversionRequest) -> Conversion:
        """Write the target."""
        request.target.write_bytes(b"onnx")
        return Conversion(status=ConversionStatus.SUCCESSFUL, max_difference=0.0, rows=1)


def test_a_converted_model_is_kept(context: Context, model: ModelFolder) -> None:
    """Its digest leads to the ONNX file."""
    converter = OnnxConverter()
    converter.inspect = context.converter.inspect  # type: ignore[method-assign]
    version = register(replace(context, converter=converter), model)
    assert context.blobs.path(version.conversion.digest).read_bytes() == b"onnx"


def test_versions_registered_at_once_get_numbers_of_their_own(context: Context, model: ModelFolder) -> None:
    """Threads, the first of which makes the model."""
    threads = [threading.Thread(target=register, args=(context, model)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [version.number for version in list_versions(context, "m")] == [4, 3, 2, 1]


def test_names_that_lead_nowhere_are_explained(context: Context, model: ModelFolder) -> None:
    """No model, no version, no alias: each error says what there is."""
    with pytest.raises(NotFound, match="no model 'm'; list them"):
        get_version(context, "m@1")
    register(context, model)
    with pytest.raises(NotFound, match=r"no version 7 \(the newest is 1\)"):
        get_version(context, "m@7")
    with pytest.raises(
        NotFound, match=r"no alias 'champion' \(aliases: none\). Set one: tournant models alias m champion 1"
    ):
        get_version(context, "m@champion")
    with pytest.raises(NotFound, match="no version 7"):
        set_alias(context, "m", "champion", 7)
    for alias in ("", "7", "a b", "a@b"):
        with pytest.raises(Invalid, match="is no alias"):
            set_alias(context, "m", alias, 1)


def test_lineage_goes_from_data_to_traffic(context: Context, model: ModelFolder, tmp_path: Path) -> None:
    """The run, the dataset versions it read, and the revisions that serve the version."""
    (tmp_path / "rows.csv").write_text("1")
    dataset = add_dataset_version(context, "rows", tmp_path / "rows.csv")
    run = create_run(context, datasets=[dataset.id])
    version = register(context, model, provenance=Provenance(run=run.id, datasets=run.datasets))
    revision = Revision(
        id="d/1", deployment="d", number=1, model_version=version.id, state=RevisionState.STABLE, created_at=0.0
    )
    with context.transactions.begin() as uow:
        uow.add(revision)
    found = lineage(context, "m")
    assert (found.version, found.datasets, found.run, found.revisions) == (version, (dataset,), run, (revision,))


def test_a_bare_file_is_registered_once(context: Context, tmp_path: Path) -> None:
    """The same file and requirements again are the newest version again; other content is another one."""
    path, requirements = tmp_path / "churn.pkl", tmp_path / "requirements.txt"
    requirements.write_text("numpy")
    numbers = []
    for content in (b"a", b"a", b"b"):
        path.write_bytes(content)
        numbers.append(register_file(context, path, name="churn", requirements=requirements).number)
    assert numbers == [1, 1, 2]
    version = get_version(context, "churn")
    assert (version.entry, version.flavor, version.tags) == ("churn.pkl", "python", {"source": "churn.pkl"})


def test_a_class_or_a_library_s_own_file_is_registered_with_what_loads_it(context: Context, tmp_path: Path) -> None:
    """A .py file is its own entry and says nothing of its requirements; beside XGBoost's comes an entry."""
    plain, requirements = tmp_path / "churn.py", tmp_path / "requirements.txt"
    plain.write_text("class Model:\n    def predict(self, rows):\n        return [1.0 for _ in rows]\n")
    with pytest.raises(Invalid, match=r"churn\.py does not tell what it needs; say it: --requirements"):
        register_file(context, plain, name="plain")
    requirements.write_text("")
    version = register_file(context, plain, name="plain", requirements=requirements)
    assert (version.entry, version.flavor) == ("churn.py", "python")
    boosted = tmp_path / "churn.json"
    boosted.write_text('{"learner":{"objective":{"name":"reg:squarederror"}},"version":[2,1,4]}')
    version = register_file(context, boosted, name="boosted", requirements=requirements)
    assert (version.entry, version.flavor) == ("model.py", "sklearn")


def test_a_bare_onnx_file_needs_no_environment(context: Context, tmp_path: Path) -> None:
    """Nothing is locked for it."""
    path, example = tmp_path / "m.onnx", tmp_path / "rows.json"
    path.write_bytes(b"onnx")
    example.write_text('{"x": 1}')
    version = register_file(context, path, name="m", example=example)
    assert (version.flavor, version.environment, version.example) == ("onnx", "", ({"x": 1},))
    with pytest.raises(NotFound, match="there is no file"):
        register_file(context, tmp_path / "none.pkl", name="m")
