"""Model files as XGBoost and LightGBM write them: known by their bytes, loaded and converted in their own environments."""

import json
import subprocess
from pathlib import Path

import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.conversion import OnnxConverter
from tournant.domain.environment import Environment
from tournant.domain.registry import ConversionStatus
from tournant.errors import Invalid
from tournant.ports import ConversionRequest, InspectionRequest
from tournant.services.native_models import add_entry, native_format

pytestmark = pytest.mark.slow

TRAIN = """
import json, sys
import numpy as np, pandas as pd
folder = sys.argv[1]
rng = np.random.default_rng(0)
X = pd.DataFrame(rng.normal(size=(600, 3)), columns=["a", "b", "c"])
X.iloc[::7, 1] = np.nan
score = X["a"] + np.nan_to_num(X["b"]) * X["c"]
targets = {"binary": (score > 0).astype(int), "several": pd.cut(score, [-99, -1, 1, 99], labels=False), "number": 100 + 5 * score}
import xgboost, lightgbm
for kind, y in targets.items():
    one = xgboost.XGBRegressor if kind == "number" else xgboost.XGBClassifier
    for suffix in ("json", "ubj"):
        one(n_estimators=8, max_depth=3).fit(X, y).save_model(f"{folder}/xgboost-{kind}.{suffix}")
    one = lightgbm.LGBMRegressor if kind == "number" else lightgbm.LGBMClassifier
    one(n_estimators=8, verbose=-1).fit(X, y).booster_.save_model(f"{folder}/lightgbm-{kind}.txt")
json.dump(json.loads(X.head(100).to_json(orient="records")), open(folder + "/rows.json", "w"))
json.dump({"xgboost": xgboost.__version__}, open(folder + "/versions.json", "w"))
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory) -> UvEnvironments:
    return UvEnvironments(Settings.load(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def environment(environments) -> Environment:
    return environments.lock(python="", requirements="scikit-learn\npandas\nxgboost-cpu\nlightgbm\n")


@pytest.fixture(scope="module")
def trained(environments, environment, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    subprocess.run([str(environments.build(environment)), "-W", "ignore", "-c", TRAIN, str(folder)], check=True)
    return folder


@pytest.mark.parametrize("kind", ["binary", "several", "number"])
@pytest.mark.parametrize("name", ["xgboost-{}.json", "xgboost-{}.ubj", "lightgbm-{}.txt"])
def test_a_library_s_own_file_is_loaded_and_converted(environments, environment, trained, tmp_path, kind, name):
    """One number for a regression, a probability for two classes, one for each of several; missing values too."""
    file = tmp_path / name.format(kind)
    file.write_bytes((trained / file.name).read_bytes())
    found = native_format(file)
    assert found
    assert found.flavor == "sklearn"
    entry = add_entry(tmp_path, found)
    converter = OnnxConverter(environments, Settings.load(home=tmp_path / "home"))
    rows = json.loads((trained / "rows.json").read_text())
    looked = converter.inspect(
        InspectionRequest(folder=tmp_path, entry=entry, flavor=found.flavor, example=rows, environment=environment)
    )
    kinds = {"binary": "probability", "several": "probabilities", "number": "number"}
    assert looked.signature.output.kind == kinds[kind]
    assert [column.name for column in looked.signature.inputs] == ["a", "b", "c"]
    target = tmp_path / "model.onnx"
    conversion = converter.convert(
        ConversionRequest(
            folder=tmp_path,
            entry=entry,
            flavor=found.flavor,
            predict=looked.predict,
            signature=looked.signature,
            example=looked.example,
            environment=environment,
            target=target,
        )
    )
    assert conversion.status is ConversionStatus.SUCCESSFUL, conversion.summary
    assert target.stat().st_size > 500


def test_what_a_file_needs_stands_in_it(trained):
    """XGBoost writes its version, in either format; LightGBM reads what older ones wrote."""
    version = json.loads((trained / "versions.json").read_text())["xgboost"]
    for suffix in ("json", "ubj"):
        found = native_format(trained / f"xgboost-binary.{suffix}")
        assert found
        assert found.requirements[0] == f"xgboost=={version}"
    lightgbm = native_format(trained / "lightgbm-binary.txt")
    assert lightgbm
    assert lightgbm.requirements[0] == "lightgbm>=4"


@pytest.mark.parametrize("name", ["xgboost-binary.json", "lightgbm-binary.txt"])
def test_half_of_a_file_is_refused(trained, tmp_path, name):
    """An upload that broke off would fail in production only."""
    half = tmp_path / name
    content = (trained / name).read_bytes()
    half.write_bytes(content[: len(content) // 2])
    with pytest.raises(Invalid, match="is the file whole"):
        native_format(half)
