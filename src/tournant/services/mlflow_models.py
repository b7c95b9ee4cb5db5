"""Models logged with MLflow: an `MLmodel` folder, its flavor and its requirements are enough to serve it.

What MLflow wrote in a form of its own (skops, XGBoost's, LightGBM's) is loaded once by MLflow in the model's own
environment and written as a pickle there, which is what converters and workers read. It is code: only that process runs it.
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from tournant.domain.environment import Environment
from tournant.domain.registry import ModelVersion
from tournant.errors import Conflict, Invalid, NotFound
from tournant.ports import Job
from tournant.services.artifacts import artifact_path, find_artifacts, write_artifacts
from tournant.services.context import Context, new_id
from tournant.services.environments import lock_requirements
from tournant.services.logged_models import get_logged_model
from tournant.services.model_files import ModelFolder
from tournant.services.project_models import check_deployable_name
from tournant.services.registered_models import create_model
from tournant.services.registry import Provenance, get_version, prepare_version, register_model
from tournant.services.requirements import read_requirements
from tournant.services.run_inputs import read_run_inputs
from tournant.services.tracking import get_run
from tournant.services.versions import create_version

__all__ = ["prepare_mlflow_model", "register_logged"]

_ENTRY = "tournant_model.pkl"
_LOADERS = ("sklearn", "xgboost", "lightgbm", "catboost", "statsmodels", "spark")
_LOAD_SECONDS = 600.0
_WRITE_PICKLE = """
import importlib, pickle, sys
folder, flavor, target = sys.argv[1:]
model = importlib.import_module("mlflow." + flavor).load_model(folder)
try:
    import cloudpickle as pickle
except ImportError:
    pass
with open(target, "wb") as file:
    pickle.dump(model, file)
"""


def prepare_mlflow_model(ctx: Context, address: str, *, name: str = "") -> ModelVersion:
    """Give the servable version of `models:/name@alias`, `models:/name/3`, `runs:/RUN/path` or a folder.

    A registered version is prepared where it stands; files that are not registered become the next version of the model
    `name` (by default the run's or the folder's).
    """
    if address.startswith("models:/"):
        version = get_version(ctx, _version_id(address.removeprefix("models:/")))
        return version if version.digest else _prepare(ctx, version)
    if address.startswith("runs:/"):
        return _prepare(ctx, register_logged(ctx, address, name=name))
    folder = Path(address)
    name = name or folder.resolve().name
    check_deployable_name(name)
    with TemporaryDirectory(prefix="tournant-") as temporary:
        copy = Path(temporary) / "model"
        shutil.copytree(folder, copy)
        model, environment = _open(ctx, copy)
        provenance = Provenance(tags={"source": folder.name})
        return register_model(ctx, model, name=name, environment=environment, provenance=provenance)


def _version_id(rest: str) -> str:
    name, slash, number = rest.partition("/")
    if number == "latest":
        return name
    return f"{name}@{number}" if slash else rest


def register_logged(ctx: Context, address: str, *, name: str = "") -> ModelVersion:
    """Register what a run has logged, `runs:/RUN/path`, as the next version of the model `name` (by default the path's end), begun on demand."""
    if not address.startswith("runs:/"):
        raise Invalid(f"{address!r} names nothing that a run has logged: runs:/RUN/path", place="source")
    run_id, _, path = address.removeprefix("runs:/").partition("/")
    run = get_run(ctx, run_id)
    source, logged = f"{run.artifact_location}/{path}".rstrip("/"), ""
    for made in read_run_inputs(ctx, [run_id])[1].get(run_id, []):
        model = get_logged_model(ctx, made.model)
        if made.role == "output" and model.name == path:
            source, logged = f"models:/{model.id}", model.id
    name = name or path.rpartition("/")[2]
    check_deployable_name(name)
    with suppress(Conflict):  # this is its next version
        create_model(ctx, name)
    return create_version(ctx, name, source=source, run=run_id, logged_model=logged)


def _prepare(ctx: Context, version: ModelVersion) -> ModelVersion:
    base = artifact_path(version.artifact_location)
    files = find_artifacts(ctx, base) if base else []
    if not files:
        where = version.artifact_location or version.source
        raise NotFound(f"the files of {version.id} are at {where}, which tournant does not keep: deploy their folder")
    with TemporaryDirectory(prefix="tournant-") as temporary:
        folder = Path(temporary) / "model"
        write_artifacts(ctx, files, base, folder)
        model, environment = _open(ctx, folder)
        return prepare_version(ctx, version, model, environment)


def _open(ctx: Context, folder: Path) -> tuple[ModelFolder, Environment | None]:
    """Read an MLmodel folder: the file to load, the environment, the example."""
    described = _describe(folder)
    flavors: Mapping[str, Any] = described.get("flavors") or {}
    example = _example(folder, described)
    if "onnx" in flavors:
        entry = str(flavors["onnx"].get("data", "model.onnx"))
        return ModelFolder(path=folder, entry=entry, flavor="onnx", example=example), None
    environment = _environment(ctx, folder, flavors)
    own, kept = flavors.get("tournant", {}), flavors.get("sklearn", {})
    entry = str(own.get("entry") or kept.get("pickled_model", ""))
    if not entry.endswith((".pkl", ".pickle")):
        flavor = next((name for name in _LOADERS if name in flavors), "pyfunc")
        entry = _write_pickle(ctx, folder, flavor, environment)
    flavor = "sklearn" if "sklearn" in flavors else "python"
    return ModelFolder(path=folder, entry=entry, flavor=flavor, example=example), environment


def _describe(folder: Path) -> dict[str, Any]:
    path = folder / "MLmodel"
    if not path.is_file():
        raise Invalid(
            f"there is no file MLmodel in {folder.name}: it is no model that MLflow has logged", place="MLmodel"
        )
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise Invalid(f"MLmodel cannot be read: {exc}", place="MLmodel") from exc
    if not isinstance(described, dict) or not isinstance(described.get("flavors"), dict):
        raise Invalid("MLmodel names no flavors: it is no model that MLflow has logged", place="MLmodel")
    return described


def _environment(ctx: Context, folder: Path, flavors: Mapping[str, Any]) -> Environment:
    requirements = folder / "requirements.txt"
    if not requirements.is_file():
        raise Invalid("the model has no requirements.txt: log it again with pip_requirements", place="requirements.txt")
    told = flavors.get("python_function") or flavors.get("tournant") or {}
    python = str(told.get("python_version", ""))
    return lock_requirements(ctx, python=".".join(python.split(".")[:2]), requirements=read_requirements(requirements))


def _write_pickle(ctx: Context, folder: Path, flavor: str, environment: Environment) -> str:
    python = ctx.environments.build(environment)
    log = folder.parent / "load.log"
    job = Job(
        id=f"mlflow-load-{new_id()}",
        command=[str(python), "-c", _WRITE_PICKLE, str(folder), flavor, str(folder / _ENTRY)],
        cwd=folder.parent,
        log=log,
        env={"MLFLOW_TRACKING_URI": (folder.parent / "nowhere").as_uri(), "PYTHONWARNINGS": "ignore"},
    )
    ctx.executor.start(job)
    status = ctx.executor.wait(job.id, timeout_seconds=_LOAD_SECONDS)
    if status.exit_code != 0 or not (folder / _ENTRY).is_file():
        said = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
        raise Invalid(
            f"MLflow's {flavor} flavor does not load the model in the environment of its requirements.txt: "
            f"{said[-1] if said else status.state}. Does requirements.txt name mlflow and all that the model needs?"
        )
    return _ENTRY


def _example(folder: Path, described: Mapping[str, Any]) -> tuple[Mapping[str, object], ...]:
    """Read the input example, if it is a table with named columns."""
    info = described.get("saved_input_example_info") or {}
    path = folder / str(info.get("artifact_path", ""))
    if info.get("type") != "dataframe" or not path.is_file():
        return ()
    table = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(table, list):
        return tuple(table)
    return tuple(dict(zip(map(str, table["columns"]), row, strict=True)) for row in table["data"])
