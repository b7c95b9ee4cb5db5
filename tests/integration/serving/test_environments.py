"""A model of another Python and another scikit-learn than the platform's, served beside a converted one."""

import os
import subprocess
import sys

import pytest

from tournant.adapters.environments.uv import UvEnvironments
from tournant.config import Settings
from tournant.messages.routing import DeploymentRoute, ModelRoute, RevisionRoute

TRAIN = """
import joblib, pandas, sklearn, sys
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder
rows = pandas.DataFrame({"plane": ["N1", "N2"] * 50, "x": [i / 100 for i in range(100)]})
one, words = OneHotEncoder(handle_unknown="ignore"), TfidfVectorizer(analyzer="char")
steps = make_column_transformer((one, ["plane"]), (words, "plane"), remainder="passthrough")
model = make_pipeline(steps, LogisticRegression()).fit(rows, [i % 2 for i in range(100)])
joblib.dump(model, sys.argv[1])
print(*model.predict_proba(pandas.DataFrame({"plane": ["N2", "N1", "Ü 21"], "x": [0.25, 0.5, 0.75]}))[:, 1])
"""


@pytest.mark.slow
def test_another_python_and_scikit_learn_serve_beside_a_converted_model(control, converted, deployment, tmp_path, run):
    """The worker's scores are those of the model in its own environment: of categories, of text, and of what was never seen."""
    home = tmp_path / "home"
    environments = UvEnvironments(Settings(home=home, environ=dict(os.environ)))
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = next((found for found in sorted(environments.interpreters(), reverse=True) if found != own), own)
    environment = environments.lock(python=python, requirements="scikit-learn<1.7\npandas<3\n")
    model = tmp_path / "model.pkl"
    said = subprocess.check_output([environments.build(environment), "-c", TRAIN, str(model)], text=True)
    expected = [float(score) for score in said.split()]

    first = converted(1)
    route = RevisionRoute(
        id="legacy/1",
        model=ModelRoute(
            version="legacy@1",
            tree=control.put_tree({"model.pkl": model.read_bytes()}),
            entry="model.pkl",
            predict="predict_proba",
            environment=environment.digest,
            python=environment.python,
            lock=environment.lock,
        ),
        signature=first.signature,
        example=first.example,
    )
    legacy = DeploymentRoute(name="legacy", slo_p99_ms=200.0, stable=route.id, revisions=(route,))
    control.route(deployment(first), legacy)
    gateway = run(environments)
    control.wait_applied()
    rows = [{"plane": "N2", "x": 0.25}, {"plane": "N1", "x": 0.5}, {"plane": "Ü 21", "x": 0.75}]
    status, answer = gateway.predict("legacy", inputs=rows)
    assert (status, control.status("legacy/1").mode) == (200, "worker")
    assert [prediction["score"] for prediction in answer["predictions"]] == pytest.approx(expected, abs=1e-12)
    assert gateway.predict(inputs=rows[0])[1]["revision"] == "flights/1"
