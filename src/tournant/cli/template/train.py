"""Train a model, measure it, and leave what tournant picks up: a model folder, metrics and reference rows."""

import json
import os
from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

params = json.loads(Path(os.environ["TOURNANT_PARAMS"]).read_text())

data = load_breast_cancer(as_frame=True).frame
data.columns = [name.replace(" ", "_") for name in data.columns]
train, test = train_test_split(data, test_size=0.3, random_state=0, stratify=data["target"])
inputs = [name for name in data.columns if name != "target"]

model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=params["max_iter"]))
model.fit(train[inputs], train["target"])
score = model.predict_proba(test[inputs])[:, 1]

Path("model").mkdir(exist_ok=True)
joblib.dump(model, "model/model.pkl")
Path("model/input_example.json").write_text(test[inputs].head(3).to_json(orient="records"))
Path("metrics.json").write_text(
    json.dumps({"auroc": roc_auc_score(test["target"], score), "log_loss": log_loss(test["target"], score)})
)
Path("build").mkdir(exist_ok=True)
test.assign(score=score).to_parquet("build/reference.parquet")
