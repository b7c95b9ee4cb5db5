"""Looking into models and converting them, in their own environments."""

import json
import subprocess
from pathlib import Path

import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.conversion import OnnxConverter
from tournant.domain.environment import Environment
from tournant.domain.registry import ColumnType, ConversionStatus
from tournant.errors import Invalid
from tournant.ports import ConversionRequest, InspectionRequest

pytestmark = pytest.mark.slow

TRAIN = """
import joblib, json, sys
import numpy as np, pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
kind, folder = sys.argv[1:]
rng = np.random.default_rng(0)
X = pd.DataFrame({"c": rng.choice(list("abcdefghij"), 4000).astype(object), "x": rng.normal(size=4000)})
y = X["c"].isin(list("acegi")).to_numpy() ^ (rng.random(4000) < 0.1)
if kind == "number":
    model = LinearRegression().fit(X[["x"]].to_numpy(), 2 * X["x"] + 1)
    rows = [{"x": 0.5}, {"x": -1.5}]
elif kind == "large":
    model = LinearRegression().fit(X[["x"]], 250_000.0 + 70_000.0 * X["x"])
    rows = json.loads(X[["x"]].head(200).to_json(orient="records"))
elif kind == "hot":
    hot, numbers = OneHotEncoder(handle_unknown="ignore"), make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer([("c", hot, ["c"]), ("x", numbers, ["x"])])
    model = make_pipeline(columns, LogisticRegression()).fit(X, y)
    rows = json.loads(X.head(200).to_json(orient="records")) + [{"c": "never seen", "x": None}]
else:
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("c", ordinal, ["c"]), ("x", "passthrough", ["x"])])
    native = {"categorical_features": [0]} if kind == "native" else {}
    model = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=20, random_state=0, early_stopping=False, **native))
    model.fit(X, y)
    rows = json.loads(X.head(200).to_json(orient="records")) + [{"c": "a", "x": None}]
joblib.dump(model, folder + "/model.pkl")
json.dump(rows, open(folder + "/rows.json", "w"))
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory) -> UvEnvironments:
    from tournant.config import Settings

    return UvEnvironments(Settings.load(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def environment(environments) -> Environment:
    return environments.lock(python="", requirements="scikit-learn\npandas\njoblib\n")


@pytest.fixture
def converter(environments, settings) -> OnnxConverter:
    return OnnxConverter(environments, settings)


def train(environments, environment, kind: str, folder: Path) -> list[dict]:
    python = environments.build(environment)
    subprocess.run([str(python), "-W", "ignore", "-c", TRAIN, kind, str(folder)], check=True)
    return json.loads((folder / "rows.json").read_text())


def inspect_and_convert(converter, environment, folder: Path, rows: list[dict]):
    looked = converter.inspect(
        InspectionRequest(folder=folder, entry="model.pkl", flavor="sklearn", example=rows, environment=environment)
    )
    request = ConversionRequest(
        folder=folder,
        entry="model.pkl",
        flavor="sklearn",
        predict=looked.predict,
        signature=looked.signature,
        example=looked.example,
        environment=environment,
        target=folder / "model.onnx",
    )
    return looked, converter.convert(request)


def test_a_model_converts_when_its_predictions_stay_the_same(converter, environments, environment, tmp_path):
    """Categories as ordinal numbers, missing values and categories never seen: converted, equal, and the file is there."""
    rows = train(environments, environment, "ordinal", tmp_path)
    looked, conversion = inspect_and_convert(converter, environment, tmp_path, rows)
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.reason
    assert conversion.max_difference < 1e-5
    assert (tmp_path / "model.onnx").stat().st_size > 1000
    assert [(c.name, c.type, c.nullable) for c in looked.signature.inputs] == [
        ("c", ColumnType.STRING, False),
        ("x", ColumnType.NUMBER, True),
    ]
    assert (looked.predict, looked.signature.output.kind) == ("predict_proba", "probability")


def test_native_categories_convert_silently_wrong_and_are_rejected(converter, environments, environment, tmp_path):
    """HistGradientBoosting with `categorical_features` behind an OrdinalEncoder: no error, no warning, other predictions.

    The converter gives a model that differs by about 0.6; only the parity gate sees it.
    """
    rows = train(environments, environment, "native", tmp_path)
    _, conversion = inspect_and_convert(converter, environment, tmp_path, rows)
    assert conversion.status is ConversionStatus.REJECTED
    assert conversion.max_difference > 0.1
    assert "runs in a worker" in conversion.reason
    assert not (tmp_path / "model.onnx").exists()


def test_one_column_for_each_category_converts(converter, environments, environment, tmp_path):
    """A category never seen, and a missing number that is imputed: the same probability."""
    rows = train(environments, environment, "hot", tmp_path)
    looked, conversion = inspect_and_convert(converter, environment, tmp_path, rows)
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.reason
    assert [column.nullable for column in looked.signature.inputs] == [False, True]


def test_a_plain_regression_on_a_matrix_converts(converter, environments, environment, tmp_path):
    """A model fitted on a matrix takes its columns in order."""
    rows = train(environments, environment, "number", tmp_path)
    looked, conversion = inspect_and_convert(converter, environment, tmp_path, rows)
    assert looked.signature.output.kind == "number"
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.reason


def test_large_numbers_are_compared_relative_to_their_size(converter, environments, environment, tmp_path):
    """House prices differ by cents in float32, far over an absolute tolerance; relative to their size they are the same."""
    rows = train(environments, environment, "large", tmp_path)
    _, conversion = inspect_and_convert(converter, environment, tmp_path, rows)
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.summary
    assert conversion.relative
    assert 0 < conversion.max_difference < 1e-6


def test_a_model_of_another_environment_is_looked_into_there(converter, environments, tmp_path):
    """Another Python where there is one, and another scikit-learn in any case: loaded and tried in its own environment."""
    others = [version for version in environments.interpreters() if version in ("3.9", "3.10", "3.12")]
    older = "scikit-learn==1.5.2\npandas<3\njoblib\nnumpy<2.1\n"
    environment = environments.lock(python=others[0] if others else "", requirements=older)
    rows = train(environments, environment, "ordinal", tmp_path)
    looked, _ = inspect_and_convert(converter, environment, tmp_path, rows)
    assert looked.signature.output.classes == ("False", "True")


def test_a_file_that_is_no_model_is_an_error_with_the_reason(converter, environment, tmp_path):
    """A model that does not load is refused, with what its own environment said."""
    (tmp_path / "model.pkl").write_bytes(b"not a pickle")
    with pytest.raises(Invalid, match=r"model\.pkl does not work in its own environment: \w+"):
        converter.inspect(
            InspectionRequest(folder=tmp_path, entry="model.pkl", flavor="sklearn", environment=environment)
        )


def test_an_example_that_mixes_types_is_refused_by_its_column(converter, environments, environment, tmp_path):
    """An input example must have one type a column."""
    train(environments, environment, "number", tmp_path)
    request = InspectionRequest(
        folder=tmp_path,
        entry="model.pkl",
        flavor="sklearn",
        example=[{"x": 1.0}, {"x": "two"}],
        environment=environment,
    )
    with pytest.raises(Invalid, match="column 'x' of the input example mixes number and string"):
        converter.inspect(request)


BOOSTED = """
import joblib, json, sys
import numpy as np, pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from xgboost import XGBClassifier, XGBRegressor
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(2000, 4)), columns=list("abcd")).astype("float32").astype(float)
X.loc[::7, "a"] = np.nan
two = (X["b"] * X["c"] > 0).astype(int)
three = np.digitize(X["b"], [-0.5, 0.5])
kinds = {
    "xgboost": lambda: XGBClassifier(n_estimators=30).fit(X, two),
    "xgboost, a number": lambda: XGBRegressor(n_estimators=30).fit(X, 100 * X["b"]),
    "lightgbm, three classes": lambda: LGBMClassifier(n_estimators=20, verbose=-1).fit(X, three),
    "lightgbm in a pipeline": lambda: make_pipeline(
        FunctionTransformer(), LGBMRegressor(n_estimators=20, verbose=-1)
    ).fit(X, 100 * X["b"]),
}
joblib.dump(kinds[sys.argv[1]](), sys.argv[2] + "/model.pkl")
open(sys.argv[2] + "/rows.json", "w").write(X.head(300).to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def boosted_environment(environments) -> Environment:
    """Boosted trees of both kinds, as on a machine without a GPU."""
    return environments.lock(python="", requirements="scikit-learn\npandas\njoblib\nxgboost-cpu\nlightgbm\n")


@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("xgboost", "probability"),
        ("xgboost, a number", "number"),
        ("lightgbm, three classes", "probabilities"),
        ("lightgbm in a pipeline", "number"),
    ],
)
def test_boosted_trees_of_others_are_converted(
    environments, boosted_environment, converter, tmp_path, kind, output
) -> None:
    """As exactly as scikit-learn's own, missing values and names of columns included."""
    python = environments.build(boosted_environment)
    subprocess.run([str(python), "-W", "ignore", "-c", BOOSTED, kind, str(tmp_path)], check=True)
    rows = json.loads((tmp_path / "rows.json").read_text())
    looked, conversion = inspect_and_convert(converter, boosted_environment, tmp_path, rows)
    assert looked.signature.output.kind == output
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.reason
    assert conversion.max_difference < 1e-5
