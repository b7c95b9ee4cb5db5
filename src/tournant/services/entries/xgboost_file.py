"""Loads what XGBoost's `save_model` wrote beside this file, as one of its scikit-learn classes."""

import json
import pathlib

import xgboost

path = str(next(p for p in pathlib.Path(__file__).parent.iterdir() if p.suffix in (".json", ".ubj")))
config = json.loads(xgboost.Booster(model_file=path).save_config())
objective = config["learner"]["objective"]["name"]
model = xgboost.XGBClassifier() if objective.startswith(("binary:", "multi:")) else xgboost.XGBRegressor()
model.load_model(path)
