"""A model written as MLflow writes one: the folder `log_model` stores, which `tournant deploy` and MLflow's own loaders read."""

import json
import pickle
import platform
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import yaml

from tournant.errors import Invalid
from tournant.services.model_files import flavor_of, requirements_of

__all__ = ["write_model_folder"]

ENTRY = "model.pkl"
EXAMPLE = "input_example.json"


def write_model_folder(
    folder: Path,
    model: object,
    *,
    run: str,
    name: str,
    example: Any = None,
    requirements: Sequence[str] | None = None,
) -> None:
    """Write a model with what it needs and, if there is one, an example of its input (rows by column name, or a table).

    Invalid when the model cannot be pickled so that another process loads it, or what it needs cannot be told.
    """
    folder.mkdir(parents=True)
    _pickle(model, folder / ENTRY)
    flavor = flavor_of(folder / ENTRY)
    (folder / "requirements.txt").write_text(_requirements(folder / ENTRY, requirements), encoding="utf-8")
    described: dict[str, Any] = {
        "artifact_path": name,
        "run_id": run,
        "utc_time_created": datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "flavors": {"tournant": {"entry": ENTRY, "flavor": flavor, "python_version": platform.python_version()}},
    }
    if flavor == "sklearn":
        described["flavors"] |= _sklearn(model)
    if example is not None:
        (folder / EXAMPLE).write_text(json.dumps(_rows(example)), encoding="utf-8")
        described["saved_input_example_info"] = {
            "artifact_path": EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "records",
        }
    (folder / "MLmodel").write_text(yaml.safe_dump(described, sort_keys=True), encoding="utf-8")


def _pickle(model: object, path: Path) -> None:
    module = type(model).__module__
    with path.open("wb") as file:
        try:
            if module == "__main__":  # which another process does not have: its code has to come along
                cloudpickle: Any = import_module("cloudpickle")

                cloudpickle.dump(model, file)
            else:
                pickle.dump(model, file)
        except ImportError as exc:
            raise Invalid(
                f"{type(model).__name__} is defined in the script itself, and only cloudpickle takes its code along:"
                " install it, or define the class in a module"
            ) from exc
        except (pickle.PicklingError, AttributeError, TypeError) as exc:
            raise Invalid(f"{type(model).__name__} cannot be pickled: {exc}") from exc


def _requirements(path: Path, given: Sequence[str] | None) -> str:
    if given is not None:
        return "\n".join(given) + "\n"
    try:
        return requirements_of(path)
    except Invalid as exc:
        said = exc.message.partition(";")[0]
        raise Invalid(f"{said}; say it: log_model(…, pip_requirements=[…])", place="pip_requirements") from exc


def _sklearn(model: object) -> dict[str, Any]:
    """Describe it to MLflow's loaders."""
    function = {
        "loader_module": "mlflow.sklearn",
        "model_path": ENTRY,
        "predict_fn": "predict",
        "python_version": platform.python_version(),
        "env": {},
    }
    try:
        version = metadata.version("scikit-learn")
    except metadata.PackageNotFoundError:
        version = ""
    serialization = "cloudpickle" if type(model).__module__ == "__main__" else "pickle"
    kept = {"pickled_model": ENTRY, "serialization_format": serialization, "sklearn_version": version, "code": None}
    return {"python_function": function, "sklearn": kept}


def _rows(example: Any) -> list[dict[str, object]]:
    if hasattr(example, "to_dict") and hasattr(example, "columns"):
        example = json.loads(example.to_json(orient="records")) if hasattr(example, "to_json") else example.to_dicts()
    if isinstance(example, Mapping):
        example = [dict(example)]
    if not isinstance(example, list) or not example or not all(isinstance(row, Mapping) for row in example):
        raise Invalid(
            "an input example is rows by column name: {…}, [{…}, …], or a table with named columns",
            place="input_example",
        )
    return [dict(row) for row in example]
