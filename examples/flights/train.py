"""Train the model and write its folder: model.pkl, and example requests.

Categories become plain ordinal numbers. HistGradientBoosting can split on categories as sets
(`categorical_features=`), but that does not survive the conversion to ONNX: the converted model answers differently.
"""

import json
import os
from pathlib import Path

import duckdb
import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from columns import CATEGORIES, INPUTS, LABEL, MAY_BE_MISSING, NUMBERS

DEFAULTS = {"max_iter": 150, "learning_rate": 0.06, "max_leaf_nodes": 20, "min_samples_leaf": 200, "max_features": 0.3}


def parameters() -> dict:
    path = os.environ.get("TOURNANT_PARAMS")
    given = json.loads(Path(path).read_text()) if path else {}
    return {name: given.get(name, default) for name, default in DEFAULTS.items()}


def build(params: dict) -> Pipeline:
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("categories", ordinal, CATEGORIES), ("numbers", "passthrough", NUMBERS)])
    # early_stopping would hold out random rows, which makes the model depend on the order of the rows
    return make_pipeline(columns, HistGradientBoostingClassifier(random_state=0, early_stopping=False, **params))


def load(path: str) -> pd.DataFrame:
    flights = duckdb.read_parquet(path).df()
    return flights.astype({**dict.fromkeys(CATEGORIES, "object"), **dict.fromkeys(NUMBERS, "float32")})


def examples(flights: pd.DataFrame) -> list[dict]:
    """Some requests, the last one without weather and plane: those columns may be missing."""
    rows = json.loads(flights[INPUTS].iloc[:: max(1, len(flights) // 5)].to_json(orient="records", double_precision=15))
    return [*rows[:5], {**rows[0], **dict.fromkeys(MAY_BE_MISSING)}]


def save(model: object, rows: list[dict], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.pkl")
    (folder / "input_example.json").write_text(json.dumps(rows, indent=1) + "\n")


def main() -> None:
    flights = load("build/train.parquet")
    model = build(parameters()).fit(flights[INPUTS], flights[LABEL])
    save(model, examples(flights), Path("model"))
    print(f"trained on {len(flights)} flights")


if __name__ == "__main__":
    main()
