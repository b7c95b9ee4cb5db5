"""The model that every server of the area `serving` serves: HistGradientBoosting, 200 trees, 30 features, one pickle for all.

Every environment has the same scikit-learn. tournant's is fitted on named columns, since it is asked by name; the peers' on the same
numbers as a matrix, which is what is cheapest for them.
"""

import json
import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers

__all__ = ["COLUMNS", "REQUIREMENTS", "TREES", "Models", "train"]

COLUMNS, TREES, ROWS = 30, 200, 64
TOLERANCE = 1e-4  # of a converted model
REQUIREMENTS = ("joblib==1.5.2", "numpy==2.3.4", "pandas==2.3.3", "scikit-learn==1.7.2", "scipy==1.16.2")

TRAIN = f"""
import json, joblib, numpy as np, os, pandas as pd, sys
from sklearn.ensemble import HistGradientBoostingClassifier
rng = np.random.default_rng(0)
names = [f"x{{i}}" for i in range({COLUMNS})]
X = rng.normal(size=(20_000, {COLUMNS})).astype(np.float32)
y = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=20_000) > 0
frame = pd.DataFrame(X, columns=names)
for kind, rate, data in (("matrix", 0.1, X), ("champion", 0.1, frame), ("challenger", 0.11, frame)):
    model = HistGradientBoostingClassifier(max_iter={TREES}, learning_rate=rate, early_stopping=False, random_state=0)
    os.makedirs(kind)
    joblib.dump(model.fit(data, y), kind + "/model.pkl")
    if kind == "matrix":
        json.dump(model.predict_proba(X[:{ROWS}])[:, 1].tolist(), open("scores.json", "w"))
json.dump(frame.head({ROWS}).astype(float).to_dict("records"), open("rows.json", "w"))
"""


@dataclass(frozen=True, slots=True)
class Models:
    """Folders with a `model.pkl`, rows to ask for, and the probability that scikit-learn gives each."""

    matrix: Path
    champion: Path
    challenger: Path
    rows: list[dict[str, float]]
    scores: list[float]

    def check(self, name: str, row: int, score: float, *, tolerance: float = TOLERANCE) -> None:
        """Refuse a server that does not give what scikit-learn gives."""
        if not math.isclose(score, self.scores[row], abs_tol=tolerance):
            raise SystemExit(f"{name} gives {score} for row {row}, and scikit-learn {self.scores[row]}")


def train(folder: Path) -> Models:
    """Fit the models, in an environment of their own."""
    folder.mkdir(parents=True)
    python = peers.environment("serving-model", *REQUIREMENTS)
    subprocess.run([str(python), "-c", TRAIN], check=True, cwd=folder)
    rows, scores = (json.loads((folder / name).read_text()) for name in ("rows.json", "scores.json"))
    return Models(folder / "matrix", folder / "champion", folder / "challenger", rows, scores)
